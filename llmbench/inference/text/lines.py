"""A passage as ids before a model's forward passes, and as a ledger after them. Needs no torch.

Whatever gives the bits of ids, in this process or behind a server, charges the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llmbench.adapter import Passage, Window
from llmbench.errors import ModelError, Unsupported
from llmbench.inference.windows import Piece, windows
from llmbench.ledger import END, SPELLING, TOKEN, Ledger
from llmbench.models.tokenizers.tokens import Tokens

LOSSY = "lossy tokenizer: "  # what such an error begins with


@dataclass
class PassageLine:
    """A passage as ids: start symbols, what is given, the text, and its end where that is asked
    for; `bits` of each target from `first` on. `shared`: bytes of the context that the text's first
    token covers, too.
    """

    passage: Passage
    ids: NDArray[np.int64]
    tokens: Tokens
    first: int
    shared: int = 0
    bits: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


class TextModel(Protocol):
    """What is asked of a model about a text before and after its forward passes."""

    context: int | None
    bos_ids: tuple[int, ...]
    eos_ids: tuple[int, ...]
    chat_eos_ids: tuple[int, ...]

    def encode(self, text: str) -> Tokens:
        """Return the ids of a text, without bos_ids, and the bytes that each stands for."""
        ...

    def encode_all(self, texts: Sequence[str]) -> list[Tokens]:
        """Return what `encode` returns for each text."""
        ...

    def decode(self, ids: Sequence[int]) -> bytes:
        """Return the bytes that the ids stand for."""
        ...

    def encode_chat(self, system: str, prompt: str) -> Sequence[int]:
        """Return the ids of a user's message in the chat template, up to where the answer is."""
        ...

    def read_rendered(self, prompt: str) -> tuple[Sequence[int], str]:
        """Return the ids up to the last marker of turns, and the text behind it."""
        ...


def encode_lines(model: TextModel, passages: Sequence[Passage]) -> list[PassageLine]:
    """Return the passages as ids, each checked to hold every byte of its text and context."""
    contexts = [_read_context(model, passage) for passage in passages]
    whole = model.encode_all(
        [context + passage.text for (_, context), passage in zip(contexts, passages, strict=True)]
    )
    return [
        _encode_line(model, passage, tokens, context)
        for passage, tokens, context in zip(passages, whole, contexts, strict=True)
    ]


def _read_context(model: TextModel, passage: Passage) -> tuple[Sequence[int], str]:
    """The ids of what a template wrote, and the context that is encoded together with the text."""
    if passage.chat is not None:
        return model.encode_chat(passage.chat, passage.context), ""
    return model.read_rendered(passage.context) if passage.rendered else ((), passage.context)


def count_ids(model: TextModel, passage: Passage) -> int:
    """Return how many ids a passage with its context has, without start symbols."""
    head, context = _read_context(model, passage)
    return len(head) + len(model.encode(context + passage.text).ids)


def _encode_line(
    model: TextModel, passage: Passage, tokens: Tokens, before: tuple[Sequence[int], str]
) -> PassageLine:
    """`tokens`: of `context` and `text` encoded as one string, as a model reads them. They part at
    the last token border before the text: a token that covers the end of the context and the
    beginning of the text is charged whole, to the text. `before`: as of `_read_context`.
    """
    if not model.bos_ids:
        raise ModelError(
            "`bos_ids` is empty, so nothing predicts the first token of a text",
            hint="set it to ids that may stand before any text, as that of a newline",
        )
    head, context = before
    check_tokens(model, tokens, (context + passage.text).encode())
    given = len(context.encode())
    split = tokens.find_border(given)
    shared = max(0, given - int(tokens.start[split])) if split < len(tokens.ids) else 0
    given_ids = np.concatenate([np.asarray(head, dtype=np.int64), tokens.ids[:split]])
    text = Tokens(
        tokens.ids[split:],
        np.maximum(tokens.start[split:] - given, 0),
        tokens.end[split:] - given,
        tokens.spelling[split:],
    )
    ends = model.eos_ids if passage.chat is None else model.chat_eos_ids or model.eos_ids
    end = ends[:1] if passage.score_eos else ()
    if passage.score_eos and not end:
        raise Unsupported(
            "the model has no end symbol, so it cannot be charged for where a text ends",
            hint="set `eos_ids`",
        )
    adds_bos = passage.chat is None and (passage.add_bos or not len(given_ids))
    start = model.bos_ids if adds_bos else ()
    ids = np.concatenate(
        [np.asarray(start, dtype=np.int64), given_ids, text.ids, np.asarray(end, dtype=np.int64)]
    )
    charged = len(text.ids) + len(end)
    first = len(ids) - charged
    return PassageLine(passage, ids, text, first, shared, np.full(charged, np.nan))


def check_tokens(model: TextModel, tokens: Tokens, raw: bytes) -> None:
    """The spans must tile the text, and the ids must stand for the bytes of their spans, spelled
    pieces apart: a tokenizer that loses, changes or gives away bytes is caught before anything is
    charged.
    """
    if tokens.loss:  # first: of what is lost no token may be left to cover it
        raise Unsupported(f"{LOSSY}{tokens.loss}")
    edges = np.concatenate(([0], tokens.end))
    if (
        not len(tokens.ids) == len(tokens.start) == len(tokens.spelling)
        or int(edges[-1]) != len(raw)
        or bool((tokens.start != edges[:-1]).any())
    ):
        raise ModelError(
            f"the tokens' spans do not tile the text: they cover {int(edges[-1])} of {len(raw)}"
            f" bytes in {len(tokens.ids)} tokens",
            hint="`encode` must account for every byte",
        )
    if tokens.loss == "":
        return
    spelled = tokens.spelling > 0
    runs = np.flatnonzero(np.diff(spelled.astype(np.int8))) + 1
    bounds = [0, *runs.tolist(), len(spelled)] if len(spelled) else [0]
    for a, b in zip(bounds, bounds[1:], strict=False):
        want = raw[tokens.start[a] : tokens.end[b - 1]]
        if not spelled[a] and (got := model.decode(tokens.ids[a:b].tolist())) != want:
            at = next(
                (i for i, (x, y) in enumerate(zip(got, want, strict=False)) if x != y),
                min(len(got), len(want)),
            )
            raise Unsupported(
                f"{LOSSY}byte {int(tokens.start[a]) + at} of the text does not come back"
                " from decode(encode(text))",
                hint="spell unknown pieces out (docs/adapters.md), or change nothing in the text",
            )


def _encode_checked(model: TextModel, text: str) -> tuple[Tokens | None, str]:
    """The tokens of a text, and ""; or None, and what the tokenizer loses of it."""
    try:
        tokens = model.encode(text)
        check_tokens(model, tokens, text.encode())
    except Unsupported as error:
        return None, error.what.removeprefix(LOSSY)
    return tokens, ""


def find_loss(model: TextModel, passage: Passage) -> str:
    """Return what a tokenizer loses of a passage and its context; "" if it holds all of them."""
    return _encode_checked(model, passage.context + passage.text)[1]


def find_prompt_loss(model: TextModel, prompt: str) -> str:
    """Return what a tokenizer loses of a prompt, or the first piece that it reads as unknown."""
    tokens, loss = _encode_checked(model, prompt)
    if tokens is None:
        return loss
    unknown = np.flatnonzero(tokens.spelling > 0)
    if not len(unknown):
        return ""
    start, end = int(tokens.start[unknown[0]]), int(tokens.end[unknown[0]])
    piece = prompt.encode()[start:end].decode(errors="replace")
    return f"{piece!r} at byte {start} is not in the vocabulary"


def cut_line(line: PassageLine, context: int | None, window: Window) -> list[Piece]:
    """Return the windows that charge each of a line's targets once; what is given is read as far
    back as one window holds it.
    """
    most = len(line.ids) if context is None else context
    if line.passage.context and 0 < len(line.bits) <= most:
        last = len(line.ids) - 1
        return [Piece(max(0, last - most), last, line.first)]
    return windows(len(line.ids), line.first, most, window.stride(most))


def make_ledger(line: PassageLine) -> Ledger:
    """Token charges over their spans; an unknown piece is an empty token charge, then a spelling
    charge over its bytes.
    """
    tokens, size = line.tokens, len(line.passage.text.encode())
    spelled = tokens.spelling > 0
    if spelled.any():
        start, end, bits, kind = _charges(tokens, spelled, line.bits)
    else:
        start, end, bits, kind = (
            tokens.start,
            tokens.end,
            line.bits[: len(tokens.ids)],
            np.full(len(tokens.ids), TOKEN, dtype=np.uint8),
        )
    if line.passage.score_eos:
        start, end = np.append(start, size), np.append(end, size)
        bits, kind = np.append(bits, line.bits[-1]), np.append(kind, np.uint8(END))
    ledger = Ledger(start, end, bits, kind, size, line.passage.id, context_bytes=line.shared)
    ledger.check()
    return ledger


def _charges(
    tokens: Tokens, spelled: NDArray[np.bool_], price: NDArray[np.float64]
) -> tuple[NDArray[Any], ...]:
    """Start, end, bits and kind where there are unknown pieces; `price`: bits of each token."""
    where = np.cumsum(1 + spelled) - 1 - spelled  # place of each token charge in the ledger
    count = len(tokens.ids) + int(spelled.sum())
    start, end = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    bits, kind = np.empty(count), np.full(count, TOKEN, dtype=np.uint8)
    start[where], bits[where] = tokens.start, price[: len(tokens.ids)]
    end[where] = np.where(spelled, tokens.start, tokens.end)
    after = where[spelled] + 1
    start[after], end[after], bits[after], kind[after] = (
        tokens.start[spelled],
        tokens.end[spelled],
        tokens.spelling[spelled],
        SPELLING,
    )
    return start, end, bits, kind
