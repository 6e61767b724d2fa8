"""One model in this process: what `llmbench score`, `generate` and `train` need, and no more, so
that they start quickly.
"""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypedDict

from llmbench.adapter import Adapter, BuildContext, Progress, Window
from llmbench.config.model_card import Card
from llmbench.data import loading
from llmbench.data.text import Document, Text
from llmbench.errors import (
    Exit,
    LlmbenchError,
    ModelError,
    OutOfMemory,
    Unsupported,
    UsageError,
    check_utf8,
    describe_exit,
    hold_exits,
    is_out_of_memory,
)
from llmbench.hardware import machine
from llmbench.ledger import WORD_COUNTER
from llmbench.metrics.facts import BITS_PER_BYTE, FACTS
from llmbench.metrics.likelihood import intervals
from llmbench.plan.resolved_model import ResolvedModel, make_adapter, resolve_model
from llmbench.runner.progress import warn
from llmbench.runner.screening import screen
from llmbench.storage import default_cache
from llmbench.tasks.likelihood import Likelihood
from llmbench.tasks.passages import Passages, measure
from llmbench.tasks.prompts import check_plain


def build_context(
    given: Mapping[str, str],
    *,
    seed: int = 0,
    device: str = "cpu",
    dtype: str | None = None,
    progress: Any = None,
    retrain: bool = False,
    kept_answers: Path | None = None,
) -> BuildContext:
    """What a model outside a suite gets: the texts given as train and valid, else the tales of the
    built-in text, and its letters as the domain. kept_answers: where a server's answers are kept.
    """
    for name in given:
        if name not in ("train", "valid"):
            raise UsageError(f"--data {name}: only train and valid can be given here")
    if "valid" in given and "train" not in given:
        raise UsageError("--data valid was given without --data train")
    texts: dict[str, Text | None] = {name: loading.load(name, path) for name, path in given.items()}
    domain: dict[str, Text] = {}
    if "train" not in texts:
        texts = {
            role: loading.load(role, "fables", select={"part": "tales", "split": role})
            for role in ("train", "valid")
        }
        domain = {
            role: loading.load(
                f"domain-{role}", "fables", select={"part": "letters", "split": role}
            )
            for role in ("train", "valid")
        }
    return BuildContext(
        domain=domain.get("train"),
        domain_valid=domain.get("valid"),
        train=texts["train"],
        valid=texts.get("valid"),
        seed=seed,
        device=device,
        dtype=dtype or "float32",
        progress=progress or _ignore,
        retrain_since=time.time() if retrain else None,
        kept_answers=kept_answers,
    )


def find(spec: str) -> ResolvedModel:
    """Return the model of a SPEC, after a check of its files, before anything heavy is imported."""
    model = resolve_model(spec)
    model.verify_files()
    return model


def load_model(
    spec: str, given: Mapping[str, str] | None = None, **options: Any
) -> tuple[Card, Adapter]:
    """Return card and adapter of a SPEC, made in this process. ModelError if making it raises."""
    model, adapter, _ = load_with_context(spec, given, **options)
    return model.card, adapter


def load_with_context(
    spec: str, given: Mapping[str, str] | None = None, **options: Any
) -> tuple[ResolvedModel, Adapter, BuildContext]:
    """Make the model of a SPEC; return what is known of it, its adapter, and its build context."""
    machine.keep_freed_memory()
    model = find(spec)
    stuff = build_context(given or {}, **options)
    if options.get("progress"):
        _announce_training(model, stuff)
    with model_errors(model.name):
        return model, make_adapter(model, stuff), stuff


def _announce_training(model: ResolvedModel, stuff: BuildContext) -> None:
    """Tell a person who waits that the model must be trained first, and how long that takes."""
    if model.card.recipe is None:
        return
    steps, known = model.count_steps(stuff), model.card.estimate
    if steps:
        takes = f", about {steps * known.seconds_per_step:.0f} s on two cores" if known else ""
        warn(
            f"{model.name} is not trained yet: it is trained now ({steps:,} steps{takes}) and kept"
            " for the next time"
        )


@contextmanager
def model_errors(name: str) -> Iterator[None]:
    """Whatever somebody's model raises, as one line; also if it tries to end the program."""
    try:
        with hold_exits():
            yield
    except (LlmbenchError, KeyboardInterrupt, BrokenPipeError, GeneratorExit):
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        kind = OutOfMemory if is_out_of_memory(error) else ModelError
        raise kind(_tell(error), where=name) from error


def _tell(error: BaseException) -> str:
    """What was raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = frames[-2] if isinstance(error, Exit) else frames[-1]  # the last one only holds it up
    said = describe_exit(error) or f"{type(error).__name__}: {error}"
    return f"{frame.filename}:{frame.lineno}: {said}"


@contextmanager
def evaluation_mode(adapter: Adapter) -> Iterator[None]:
    """Put the torch modules among the adapter's attributes in evaluation mode, for a while."""
    torch = sys.modules.get("torch")
    before = []
    if torch is not None:
        owned = [part for part in vars(adapter).values() if isinstance(part, torch.nn.Module)]
        before = [(part, part.training) for module in owned for part in module.modules()]
    try:
        for module, _ in before:
            module.training = False
        yield
    finally:
        for module, training in before:
            module.training = training


Number = float | Literal["inf"]  # infinite bits are the string "inf", as in JSON


class TextScore(TypedDict):
    """What `llmbench score --json` prints. `low`, `high`: the 95 % interval of bits per byte."""

    model: str
    text: str
    sha256: str
    bytes: int
    documents: int
    bits: Number
    bits_per_byte: Number
    low: float | None
    high: float | None
    byte_perplexity: Number
    word_perplexity: Number | None
    token_perplexity: Number | None
    tokens: int
    words: int
    signature: str
    charges: dict[str, Number]  # kind of charge -> bits


def score(
    model: str | Adapter,
    file: str | Path | None = None,
    *,
    text: str | None = None,
    window: str | int = "half",
    fields: Mapping[str, str] | None = None,
    given: Mapping[str, str] | None = None,
    **options: Any,
) -> TextScore:
    """Score one model on one text: bits per byte and more, as `llmbench score --json` prints them.

    model: a SPEC as on the command line, or an adapter, which is used in this process.
    file: a text (one document), a file of rows (.jsonl, .json, .csv, .tsv, also .gz: a document
    in each), or the name of a built-in text.
    text: the text itself, instead of a file.
    fields: the rows' field that holds the text, {"text": "content"}; a.b is b in the object a.
    window: how a text longer than the context is split: "half", "rolling", or a stride in tokens.
    given, options (seed, device, dtype, progress): for a SPEC: training texts by role, and how to
    run it.
    Raises UsageError for a wrong model or text, CellError if the model cannot score it, or if it
    fails a cheap check (`screening.CHECKS`), for example because it sees later tokens.
    """
    if isinstance(window, str) and window not in ("half", "rolling"):
        raise UsageError(
            f"unknown window rule {window!r}", hint="half, rolling, or a stride in tokens"
        )
    rule = Window(window)  # type: ignore[arg-type]  # a wrong word was refused above
    loaded = load_given(file, text, fields or {})
    if isinstance(model, Adapter):
        if given or options:
            raise UsageError(
                f"{', '.join([*(['given'] if given else []), *options])}: these are for a SPEC;"
                " an adapter is used as it is"
            )
        with evaluation_mode(model):
            name = model.info.name
            with model_errors(name):
                screen(model, name)
            return _score(name, model, loaded, str(file or "text"), rule)
    if not isinstance(model, str):
        raise UsageError(
            f"expected a SPEC or an adapter, got {type(model).__name__}",
            hint="llmbench.wrap(model, tokenizer) makes an adapter of a torch module",
        )
    card, adapter = load_model(model, given, **options)
    watch = options.get("progress") or _ignore
    with model_errors(card.name):
        screen(adapter, card.name, options.get("progress"), default_cache())
        facts = _score(card.name, adapter, loaded, str(file or "text"), rule, watch)
        adapter.close()
    return facts


def load_given(file: str | Path | None, text: str | None, fields: Mapping[str, str]) -> Text:
    """Return the text in a file, or the text itself. UsageError if both or neither are given."""
    if (file is None) == (text is None):
        raise UsageError("give either a file or `text`")
    for name in fields:
        if name != "text":
            raise UsageError(f"fields: expected only `text`, got {name!r}")
    if text is None:
        loaded = loading.load("text", str(file), fields=fields)
        check_plain(loaded)
        return loaded
    if not text:
        raise UsageError("the text is empty", where="text")
    check_utf8(text, "the text")
    return Text("text", (Document("text", text),))


def _ignore(what: str, share: float, remark: str) -> None:
    """Nobody watches."""


def _score(
    name: str,
    adapter: Adapter,
    loaded: Text,
    source: str,
    rule: Window,
    progress: Progress = _ignore,
) -> TextScore:
    passages = Passages(loaded.documents)
    if adapter.is_masked:
        raise Unsupported(
            "a model that sees both sides has pseudo-bits only",
            where=name,
            hint="run a suite: `llmbench run SUITE --model SPEC`, or llmbench.run",
        )
    with model_errors(name):
        count = measure(adapter, passages, rule, progress)
    totals = count.totals
    found = intervals(count.items, totals)
    headline, words = found[BITS_PER_BYTE], found.get("word_perplexity")
    signature = Likelihood(loaded, rule).signature
    row = FACTS[BITS_PER_BYTE].row(  # as boards have it, within the metric's bounds
        headline.value, headline.n, str(signature), headline.low, headline.high
    )
    per_token = totals.token_perplexity
    return {
        "model": name,
        "text": source,
        "sha256": loaded.sha256,
        "bytes": totals.bytes,
        "documents": totals.documents,
        "bits": _number(totals.bits),
        "bits_per_byte": _number(headline.value),
        "low": row["low"],
        "high": row["high"],
        "byte_perplexity": _number(found["byte_perplexity"].value),
        "word_perplexity": None if words is None else _number(words.value),
        "token_perplexity": None if per_token is None else _number(per_token),
        "tokens": totals.tokens,
        "words": totals.words,
        "signature": str(signature.extend(words=WORD_COUNTER)),
        "charges": {kind: _number(bits) for kind, bits in count.charges.items()},
    }


def _number(value: float) -> Number:
    """Infinite bits as the string "inf"."""
    return "inf" if math.isinf(value) else value
