"""The front door from Python: `run` and `score`, the same as the command line; and what both need."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmbench import data, hub, leaderboard, pretrained, record, registry, runner
from llmbench import plan as plans
from llmbench.adapter import Adapter, Materials, Passage, Window
from llmbench.card import Card
from llmbench.data import Text
from llmbench.errors import LlmbenchError, ModelError, OutOfMemory, Unsupported, UsageError, is_out_of_memory
from llmbench.ledger import KINDS, PSEUDO, WORD_COUNTER, Totals, count_words
from llmbench.metrics.likelihood import intervals
from llmbench.record import Record
from llmbench.renderers import csv, html, markdown, table
from llmbench.tasks.likelihood import Likelihood, check_ledger, items_of, looks_ahead, scored

RENDERERS = {"table": table.render, "md": markdown.render, "csv": csv.render, "html": html.render}
WRITTEN = ("md", "csv", "html")


@dataclass(frozen=True)
class Run:
    """A finished run: its record and its folder. In a notebook it shows its board."""

    record: Record
    folder: Path
    interrupted: bool = False

    @property
    def board(self) -> leaderboard.Board:
        return leaderboard.build(self.record, self.folder)

    def value(self, model: str, metric: str = "bits_per_byte", task: str | None = None) -> float:
        """One score. KeyError where it was not measured."""
        for score in self.record.scores:
            if score.model == model and score.metric == metric and task in (None, score.task):
                return score.value
        raise KeyError(f"no {metric} of {model}")

    def __str__(self) -> str:
        return table.render(self.board)

    def _repr_html_(self) -> str:
        page = html.render(self.board).replace("&", "&amp;").replace('"', "&quot;")
        return f'<iframe srcdoc="{page}" style="width:100%;height:640px;border:0" sandbox="allow-scripts"></iframe>'


def run(
    suite: str | Path,
    models: Sequence[str] = (),
    *,
    data: Mapping[str, str | Path] | None = None,
    watcher: runner.Watcher | None = None,
    **options: Any,
) -> Run:
    """Run a suite, with further `models`. `options` are those of the command line: only, out, device, dtype, threads, limit, seed, timeout, offline.

    Raises UsageError where suite, models or texts are wrong; then nothing ran. Models that fail are in `record.failures`.
    """
    given = {name: str(path) for name, path in (data or {}).items()}
    if "only" in options:
        options["only"] = tuple(options["only"])
    if options.get("out") is not None:
        options["out"] = Path(options["out"])
    chosen = plans.Options(models=tuple(str(model) for model in models), data=given, **options)
    made = plans.plan(str(suite), chosen)
    result, interrupted = runner.run(made, watcher)
    finished = Run(result, made.out, interrupted)
    write_boards(finished.board, made.out)
    return finished


def write_boards(board: leaderboard.Board, folder: Path) -> None:
    """leaderboard.md, .csv and .html."""
    for ending in WRITTEN:
        record.write_text(folder / f"leaderboard.{ending}", RENDERERS[ending](board))


def open_run(path: str | Path) -> Run:
    """A run by its folder or its run.json."""
    file = Path(path)
    return Run(record.load(file), file if file.is_dir() else file.parent)


def materials(
    given: Mapping[str, str], card: Card, *, seed: int = 0, device: str = "cpu", dtype: str | None = None, progress: Any = None
) -> Materials:
    """What a model outside a suite gets: the texts given as train and valid, else the tales of the built-in text, and its letters as the domain."""
    for name in given:
        if name not in ("train", "valid"):
            raise UsageError(f"--data {name}: only train and valid can be given here")
    if "valid" in given and "train" not in given:
        raise UsageError("--data valid was given without --data train")
    texts: dict[str, Text | None] = {name: data.load(name, path) for name, path in given.items()}
    domain: dict[str, Text] = {}
    if "train" not in texts:
        texts = {role: data.load(role, "fables", select={"part": "tales", "split": role}) for role in ("train", "valid")}
        domain = {role: data.load(f"domain-{role}", "fables", select={"part": "letters", "split": role}) for role in ("train", "valid")}
    return Materials(
        domain=domain.get("train"),
        domain_valid=domain.get("valid"),
        train=texts["train"],
        valid=texts.get("valid"),
        seed=seed,
        device=device,
        dtype=dtype or "float32",
        progress=progress or (lambda what, share, remark: None),
    )


def find(spec: str) -> Card:
    """The card of a SPEC, after a look at its checkpoint: what is wrong or not here is said before anything heavy is imported."""
    card = registry.resolve(spec)
    first = registry.lineage(card)[0].checkpoint if card.checkpoint is not None else None
    if first is not None and first.id is not None and (pretrained.is_directory(first.id) or not hub.reachable()):
        pretrained.verify(pretrained.locate(first.id, first.revision), first.trust_remote_code)
    return card


def load_model(spec: str, given: Mapping[str, str] | None = None, **options: Any) -> tuple[Card, Adapter]:
    """The card and the model of a SPEC, in this process. ModelError where making it raises."""
    return load_with_materials(spec, given, **options)[:2]


def load_with_materials(spec: str, given: Mapping[str, str] | None = None, **options: Any) -> tuple[Card, Adapter, Materials]:
    """The same, and what the model was made from."""
    card = find(spec)
    stuff = materials(given or {}, card, **options)
    with model_errors(card.name):
        return card, registry.make(card, stuff), stuff


@contextmanager
def model_errors(name: str) -> Iterator[None]:
    """Whatever somebody's model raises, as one line."""
    try:
        yield
    except (LlmbenchError, KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        kind = OutOfMemory if is_out_of_memory(error) else ModelError
        raise kind(f"{frames[-1].filename}:{frames[-1].lineno}: {type(error).__name__}: {error}", where=name) from error


def score(spec: str, text: str | Path, *, window: str | int = "half", given: Mapping[str, str] | None = None, **options: Any) -> dict[str, Any]:
    """Bits per byte of one model on one text file: the mapping that `llmbench score --json` prints."""
    if isinstance(window, str) and window not in ("half", "rolling"):
        raise UsageError(f"unknown window rule {window!r}", hint="half, rolling, or a stride in tokens")
    rule = Window(window)  # type: ignore[arg-type]  # a wrong word was refused above
    loaded = data.load("text", text)
    card, adapter = load_model(spec, given, **options)
    passages = [Passage(document.text, id=document.id) for document in loaded.documents]
    if looks_ahead(adapter):
        raise Unsupported("a model that sees both sides has pseudo-bits only", where=card.name, hint=f"llmbench run SUITE --model {spec}")
    with model_errors(card.name):
        ledgers = scored(adapter, passages, rule)
        for passage, ledger in zip(passages, ledgers, strict=True):
            check_ledger(ledger, passage)
    adapter.close()
    totals = Totals.of(ledgers, sum(count_words(passage.text) for passage in passages))
    found = intervals(items_of(ledgers, passages), totals)
    headline, words = found["bits_per_byte"], found.get("word_perplexity")
    return {
        "model": card.name,
        "text": str(text),
        "sha256": loaded.sha256,
        "bytes": totals.bytes,
        "documents": totals.documents,
        "bits": _number(totals.bits),
        "bits_per_byte": _number(headline.value),
        "low": headline.low,
        "high": headline.high,
        "byte_perplexity": _number(found["byte_perplexity"].value),
        "word_perplexity": None if words is None else _number(words.value),
        "token_perplexity": _number(totals.token_perplexity),
        "tokens": totals.tokens,
        "words": totals.words,
        "signature": f"{Likelihood(loaded, rule).signature};words={WORD_COUNTER}",
        "charges": {kind: _number(math.fsum(ledger.total(i) for ledger in ledgers)) for i, kind in enumerate(KINDS) if i != PSEUDO},
    }


def _number(value: float | None) -> float | str | None:
    """Infinite bits are the string "inf"."""
    return "inf" if value is not None and math.isinf(value) else value
