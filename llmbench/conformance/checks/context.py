"""Checks of context: each token of a long text is charged by what its window shows, and the
context of a text is read as it should be.

The reference is a plain pass over each window by itself, with none of the scorer's batching,
splitting or caching.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmbench import limits
from llmbench.adapter import Adapter, Passage, Window
from llmbench.conformance.check import LOGITS, Check, Failed, Skip, Subject, can_hold, show
from llmbench.ledger import END, TOKEN

if TYPE_CHECKING:
    from llmbench.adapters.token import TokenAdapter

LONGEST = 25_000  # bytes of what long texts are cut from, at first
NEAR = 12  # tokens before its end at which a text may be cut
LONG = 1500  # tokens of a long text, where a context is shorter
FAR = 12  # bytes of what stands before a text, for each token of the context: more than it holds
SHORT = 12  # characters of texts after the same text
ROOM = 1e-3  # bits by which a charge may differ from that of a plain pass
PLACES = 40  # of a text of which only distributions are seen
NARROW = 96  # tokens of the windows of a model whose own are too large to be tried
WIDEST = 2048  # tokens of the windows of a large model that are tried as they are
SLOW = 512  # and beyond which narrow ones are tried instead, if that can be: it takes minutes else
RULES = ("rolling", "half")
CAUSE = (
    "what is charged there is not what the model predicts from its own window: positions that start"
    " anew, context that is lost, or free tokens"
)


def borders(subject: Subject) -> str:
    """Each token of a long text is charged once, by its own context: at the borders of windows as
    elsewhere, under each rule.
    """
    model = subject.tokens
    if model is None or subject.context:
        return _shown(subject, subject.repeat(LONGEST))
    if not _is_wide(subject, model):
        compared, tried = _try_borders(subject, model, _lengths(subject, model))
        return _say(subject, compared, tried)
    own = model.context
    with _narrow(subject, model):
        compared, tried = _try_borders(subject, model, [2 * NARROW + 1])
    said = f"{_say(subject, compared, tried)}, in windows of {NARROW} tokens instead of its {own}"
    if not subject.thorough:
        return said
    # one window of its own, as long as can be held: long rows are computed in other ways
    compared, tried = _try_borders(subject, model, [min(LONG, LOGITS // subject.symbols)])
    return f"{said}; {compared} charges in windows of its own"


def _say(subject: Subject, compared: int, tried: int) -> str:
    return (
        f"{compared} charges of {tried} texts, each as by a plain pass over its window, under"
        f" {' and '.join(_rules(subject))}"
    )


def _rules(subject: Subject) -> tuple[str, ...]:
    """The rules that are tried; "half" is the default of tasks."""
    return RULES if subject.thorough or not subject.large else RULES[1:]


def _try_borders(subject: Subject, model: TokenAdapter, lengths: Sequence[int]) -> tuple[int, int]:
    """Compare texts of these lengths in tokens; return how many charges of how many texts."""
    size, tried, compared = LONGEST, 0, 0
    long = subject.repeat(size)
    tokens = model.encode(long)
    for count in lengths:
        while len(tokens.ids) < count:
            if size > limits.CHECK_BYTES:
                raise Skip(f"{len(long)} bytes are only {len(tokens.ids)} tokens")
            size *= 2
            long = subject.repeat(size)
            tokens = model.encode(long)
        text = _cut_to_tokens(model, long, tokens.end[:count].tolist())
        ids = model.encode(text).ids.tolist()
        tried += 1
        for rule in _rules(subject):
            # the rules' own words
            compared += _compare(subject, model, text, ids, Window(rule))  # type: ignore[arg-type]
    return compared, tried


def _is_wide(subject: Subject, model: TokenAdapter) -> bool:
    """Whether windows of the model's own context are too large to be tried."""
    if model.context is None:
        return False
    most = SLOW if _leaves_windows(model) else WIDEST
    return model.context * subject.symbols > LOGITS or (subject.large and model.context > most)


def _leaves_windows(model: TokenAdapter) -> bool:
    """Whether llmbench cuts its windows: `score` is not overridden."""
    return type(model).score is _get_usual_score()


@contextmanager
def _narrow(subject: Subject, model: TokenAdapter) -> Iterator[None]:
    """Let a model that leaves its windows to llmbench have a small context, for a while.

    Raises Skip if it cuts windows itself, or NARROW tokens are too many as well.
    """
    own = model.context
    if not _leaves_windows(model) or NARROW * subject.symbols > LOGITS:
        raise Skip(
            f"a window of {own} tokens, {subject.symbols} to choose from, is too large to be tried"
            " here",
            refused=True,
        )
    model.context = NARROW
    try:
        yield
    finally:
        model.context = own


def _get_usual_score() -> object:
    from llmbench.adapters.token import TokenAdapter

    return TokenAdapter.score


def _cut_to_tokens(model: TokenAdapter, text: str, ends: Sequence[int]) -> str:
    """The longest beginning of the text that ends with a token of it and that the model holds."""
    for end in ends[: -NEAR - 1 : -1]:
        cut = text.encode()[:end].decode(errors="ignore")
        if can_hold(model, cut):
            return cut
    raise Skip(
        "not applicable: its tokenizer loses part of every text that was tried", refused=True
    )


def _lengths(subject: Subject, model: TokenAdapter) -> list[int]:
    symbols = subject.symbols
    context, long = model.context, LONG if subject.thorough else LONG // 4
    if context is None:
        return [1, 2, min(long, LOGITS // symbols)]
    if subject.large and not subject.thorough:
        return [context + context // 2 + 1]
    most = 2 * context + 1 if subject.large else max(2 * context + 1, long)
    return (
        sorted({context - 1, context, context + 1, 2 * context, most} - {0})
        if subject.thorough
        else [most]
    )


def _compare(
    subject: Subject, model: TokenAdapter, text: str, ids: list[int], window: Window
) -> int:
    (ledger,) = subject.score(text, window=window)
    bits = ledger.bits[ledger.kind == TOKEN]
    if len(bits) != len(ids):
        raise Failed(
            f"{len(ids)} tokens, window {window}",
            f"{len(bits)} charges",
            "a token at a window's border is dropped or charged twice",
        )
    line = [*model.bos_ids, *ids]
    want = _reference(model, line, len(model.bos_ids), window)
    known = ~np.isnan(want)
    off = subject.off(bits[known], want[known], ROOM)
    if off.size:
        at = int(np.flatnonzero(known)[off[0]])
        raise Failed(
            f"{len(ids)} tokens, window {window}",
            f"{bits[at]:.4f} bits for token {at}, which its window makes {want[at]:.4f}",
            CAUSE,
        )
    return int(known.sum())


def _reference(
    model: TokenAdapter, line: list[int], first: int, window: Window
) -> NDArray[np.float64]:
    """Bits of the line's tokens from `first` on, a pass a window; NaN for an escape, which is the
    vocabulary's own affair.
    """
    import torch

    out, target, context = np.full(len(line) - first, np.nan), first, model.context or len(line)
    stride = window.stride(context)
    while target < len(line):
        end = (
            min(context, len(line) - 1)
            if target == first and first <= context
            else min(target + stride, len(line)) - 1
        )  # the last target
        begin = max(0, end - context)
        asked = torch.tensor(line[target : end + 1], device=model.device)
        with torch.inference_mode():
            logits = model.logits(torch.tensor([line[begin:end]], device=model.device))[0]
            rows = logits[target - 1 - begin :]  # the others are charged by other windows
            known = asked < rows.shape[1]
            chosen = rows.gather(1, asked.where(known, 0)[:, None])[:, 0].double()
            nats = torch.logsumexp(rows.double(), 1) - chosen
        bits = nats / math.log(2) - math.log2(1 - model.escape)
        out[target - first : end + 1 - first] = bits.where(known, math.nan).cpu().numpy()
        target = end + 1
    return out


def _shown(subject: Subject, long: str) -> str:
    """The same for an adapter of which only distributions are seen: at places of a long text, where
    its context allows one pass.
    """
    adapter = subject.adapter
    if type(adapter).next_distribution is Adapter.next_distribution or subject.context:
        raise Skip("neither its tokens nor its distributions can be seen")
    text, compared = subject.cut(long, LONG), 0
    for rule in RULES:
        # the rules' own words
        (ledger,) = subject.score(text, window=Window(rule))  # type: ignore[arg-type]
        raw, count = text.encode(), len(ledger.bits)
        for i in sorted({*np.linspace(0, count - 1, PLACES).astype(int).tolist()}):
            start, end = int(ledger.start[i]), int(ledger.end[i])
            symbols, p = adapter.next_distribution(raw[:start].decode())
            place = (
                {symbol: at for at, symbol in enumerate(symbols)}.get(raw[start:end])
                if end > start
                else None
            )
            if place is None:
                continue
            want = -math.log2(float(p[place])) if p[place] > 0 else math.inf
            if not subject.close(np.array([want]), ledger.bits[i : i + 1]):
                if subject.beyond(raw[:end].decode()):
                    raise Skip(
                        "it reads long texts in windows of its own, which cannot be seen",
                        refused=True,
                    )
                raise Failed(
                    f"{show(text)}, window {rule}",
                    f"{ledger.bits[i]:.4f} bits at byte {start}, {want:.4f} predicted",
                    CAUSE,
                )
            compared += 1
    if not compared:
        raise Skip("its charges are of tokens that it does not show", refused=True)
    return f"{compared} charges of a text of {len(text)} bytes, each as it is predicted"


def check_conditioning(subject: Subject) -> str:
    """A context that is too long loses its beginning, and is free; the end of a text is charged if
    asked for; BOS can be left out.
    """
    model = subject.tokens
    if model is None or subject.context:
        raise Skip("its tokens cannot be seen")
    if model.context is None or model.context * subject.symbols <= LOGITS:
        return _try_contexts(subject, model)
    own = model.context
    with _narrow(subject, model):
        tried = _try_contexts(subject, model)
    return f"{tried}, in windows of {NARROW} tokens instead of its {own}"


def _try_contexts(subject: Subject, model: TokenAdapter) -> str:
    text, tried = subject.texts[0], []
    far = subject.repeat(FAR * (model.context or 1))
    for name, passage in {
        "a long text before it": Passage(_after(subject, far, text), context=far),
        "no BOS": Passage(_after(subject, text, text), context=text, add_bos=False),
        "its end": Passage(text, score_eos=True),
    }.items():
        text = passage.text
        if passage.score_eos and not model.eos_ids:
            continue
        if not subject.holds(passage.context + text):
            continue
        whole, part = model.encode(passage.context + text), model.encode(passage.context)
        n = len(part.ids)
        if passage.context and (
            whole.ids[:n].tolist() != part.ids.tolist()
            or int(whole.end[n - 1]) != len(passage.context.encode())
        ):
            continue  # no token ends where the context does
        (ledger,) = subject.charge([passage])
        line = [
            *(model.bos_ids if passage.add_bos else ()),
            *whole.ids.tolist(),
            *(model.eos_ids[:1] if passage.score_eos else ()),
        ]
        _pair(subject, model, name, line, ledger.bits[np.isin(ledger.kind, (TOKEN, END))])
        tried.append(name)
    tried += _beside(subject)
    if not tried:
        raise Skip("no text has a token border where its context ends")
    return f"a text with {', with '.join(tried)}"


def _after(subject: Subject, before: str, text: str) -> str:
    """The text, with a space in front where it cannot follow `before` as it stands."""
    return text if subject.holds(before + text) else f" {text}"


def _beside(subject: Subject) -> list[str]:
    """Texts after the same text are charged together as each is alone: what is given may be read
    once for all.
    """
    texts = [subject.cut(text, SHORT) or text for text in subject.texts]
    passages = [
        Passage(follows, context=texts[0])
        for text in texts
        if subject.holds(texts[0] + (follows := _after(subject, texts[0], text)))
    ]
    if len(passages) < 2:
        return []
    for passage, ledger in zip(passages, subject.charge(passages), strict=True):
        (alone,) = subject.charge([passage])
        if subject.off(ledger.bits, alone.bits, ROOM).size:
            came = (
                f"{ledger.total():.4f} bits beside others after the same text, {alone.total():.4f}"
                " alone"
            )
            raise Failed(
                show(passage.text),
                came,
                "texts after the same text see each other, or their positions do not go on from"
                " its end",
            )
    return ["others after the same text"]


def _pair(
    subject: Subject, model: TokenAdapter, name: str, line: list[int], bits: NDArray[np.float64]
) -> None:
    """Hold the charges of a line's last tokens against one pass over as much of the line as the
    context holds.
    """
    import torch

    count, context = len(bits), model.context or len(line)
    if count > context:
        return
    begin = max(0, len(line) - 1 - context)
    with torch.inference_mode():
        rows = torch.log_softmax(
            model.logits(torch.tensor([line[begin:-1]], device=model.device))[0].double(), -1
        )
    for i, t in enumerate(range(len(line) - count, len(line))):
        if line[t] >= rows.shape[1]:
            continue
        want = -float(rows[t - 1 - begin, line[t]]) / math.log(2) - math.log2(1 - model.escape)
        if subject.off(bits[i : i + 1], np.array([want]), ROOM).size:
            cause = (
                "the wrong end of the context is read, it is not read at all, or the end is free"
            )
            raise Failed(
                f"a text with {name}",
                f"{bits[i]:.4f} bits for its token {i}, which its context makes {want:.4f}",
                cause,
            )


CHECKS = (
    Check(
        "window-boundaries",
        "each token of a long text is scored in its own window, also at window borders",
        borders,
        bars="A1",
    ),
    Check(
        "conditioning",
        "a context that is too long loses its beginning, and is not scored; the end of a"
        " text is scored if asked for",
        check_conditioning,
        bars="A1",
    ),
)
