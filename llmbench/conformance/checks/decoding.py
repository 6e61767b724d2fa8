"""The last proof: a text is coded with the model's probabilities, and decoded from the bits by the
model alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmbench.adapter import Adapter, Passage
from llmbench.conformance.arithmetic_coding import decode, encode
from llmbench.conformance.check import (
    Check,
    Failed,
    Skip,
    Subject,
    can_hold,
    first_difference,
    show,
    tokens_of,
)
from llmbench.data.probe_texts import TORTURE
from llmbench.ledger import SPELLING, Ledger
from llmbench.models.tokenizers.spelling import END, SpellReader

if TYPE_CHECKING:
    from llmbench.adapters.token import TokenAdapter

SYMBOLS = 200  # of one text, at most
DEAR = 40.0  # bits of one symbol, which the coder still resolves
SLACK = 16.0  # bits, and a thousandth: what coding in whole numbers may cost


def decodable(subject: Subject) -> str:
    """Texts coded with the model's probabilities come back byte for byte from a second model that
    has only the bits and the number of symbols; each symbol costs what the ledger charges for it,
    and each text is as long as the ledger says, within 16 bits + 0.1 %.
    """
    if not subject.scores:
        raise Skip(f"{type(subject.adapter).__name__} does not score text")
    if subject.context:
        raise Skip("it needs a source")
    model = subject.tokens
    if model is None and type(subject.adapter).next_distribution is Adapter.next_distribution:
        raise Skip("it shows no next-token distribution")
    other = subject.make() if subject.make is not None else None
    if other is None or other is subject.adapter:
        raise Skip(
            "there is no second model to decode with, which has not seen the text", refused=True
        )
    texts = (
        [*subject.texts, TORTURE[0]]
        if model is not None
        else [text for text in subject.texts if text.isascii()]
    )
    try:
        return _there_and_back(subject, other, texts)
    finally:
        other.close()


def _there_and_back(subject: Subject, other: Adapter, texts: Sequence[str]) -> str:
    coded, charged, symbols, size = 0, 0.0, 0, 0
    for text in texts:
        part = _code(subject.adapter, text)
        if part is None:
            continue
        bits, costs, row, cut = part
        _as_charged(subject, cut, len(bits), costs)
        got = _decode_bits(other, bits, len(row))
        if got != cut.encode():
            cause = (
                "the tokens do not hold the text, or what is predicted depends on more than what"
                " came before"
            )
            raise Failed(show(cut), f"{show(got)} when decoded", cause)
        coded, charged, symbols, size = (
            coded + len(bits),
            charged + sum(costs),
            symbols + len(row),
            size + len(cut.encode()),
        )
    if not size:
        raise Skip(
            "no text could be coded: its tokens are not among those shown, or cannot happen",
            refused=True,
        )
    return (
        f"{size} bytes in {symbols} symbols: {coded} bits coded, {charged:.1f} predicted and"
        " charged, decoded byte for byte by a second model"
    )


Coded = tuple[
    list[int], list[float], list[int], str
]  # bits, bits of each charge, symbols, the text that was coded: a beginning of what was asked


def _as_charged(subject: Subject, text: str, coded: int, costs: list[float]) -> None:
    (ledger,) = subject.score(text)
    charges = _by_symbol(ledger)
    cause = (
        "what is charged is not what the model predicts: something is free, not normalised, or of"
        " another model"
    )
    if len(charges) != len(costs):
        raise Failed(
            show(text), f"{len(costs)} symbols when coded, {len(charges)} in the ledger", cause
        )
    if not subject.close(np.array(costs), charges):
        if subject.beyond(text):
            raise Skip(
                "it reads long texts in windows of its own, which cannot be seen", refused=True
            )
        raise Failed(
            show(text), f"coded beside charged: {first_difference(np.array(costs), charges)}", cause
        )
    if not abs(coded - float(charges.sum())) <= SLACK + float(charges.sum()) / 1000:
        raise Failed(
            show(text), f"{coded} bits when coded, {charges.sum():.1f} in the ledger", cause
        )


def _by_symbol(ledger: Ledger) -> NDArray[np.float64]:
    """Bits of each symbol, spelling included."""
    first = np.flatnonzero(ledger.kind != SPELLING)
    return np.add.reduceat(ledger.bits, first) if len(first) else np.zeros(0)


def _code(adapter: Adapter, text: str) -> Coded | None:
    """The text coded by the adapter's own predictions, up to a symbol that costs more than the
    coder resolves; None where nothing is left.
    """
    model = tokens_of(adapter)
    if model is None:
        return _code_shown(adapter, text)
    cut, symbols = _symbols(model, text)
    while symbols:
        bits, costs = encode(_Tokens(model), symbols)
        rows = _group_costs(model, symbols, costs)
        far = next((i for i, cost in enumerate(rows) if cost > DEAR), None)
        if far is None:
            return bits, rows, symbols, cut
        tokens = model.encode(cut)
        shorter = cut.encode()[: int(tokens.start[far])].decode(errors="ignore")
        if not shorter or shorter == cut:
            return None
        cut, symbols = _symbols(model, shorter)
    return None


def _group_costs(model: TokenAdapter, symbols: list[int], costs: list[float]) -> list[float]:
    """Costs of the model's symbols: those of a spelled piece belong to its announcement."""
    rows: list[float] = []
    spelling = False
    for symbol, cost in zip(symbols, costs, strict=True):
        if spelling:
            rows[-1] += cost
            spelling = symbol != END
        else:
            rows.append(cost)
            spelling = symbol in _marks(model) and model.speller is not None
    return rows


def _decode_bits(other: Adapter, bits: list[int], count: int) -> bytes:
    """What the bits say to a model that has seen nothing else."""
    model = tokens_of(other)
    if model is None:
        reader = _Shown(other)
        decode(reader, bits, count)
        return reader.text
    return _text(model, decode(_Tokens(model), bits, count))


def _symbols(model: TokenAdapter, text: str) -> tuple[str, list[int]]:
    """A beginning of the text that fits the context, as symbols: ids, or an id (or the escape) with
    the bytes of a piece and END behind it.
    """
    room = (
        SYMBOLS if model.context is None else min(SYMBOLS, model.context - len(model.bos_ids) + 1)
    )
    if not can_hold(model, text):
        return "", []
    tokens, raw = model.encode(text), text.encode()
    for end in tokens.end[:room][::-1].tolist() if len(tokens.ids) > room else []:
        text = raw[:end].decode(errors="ignore")
        if can_hold(model, text) and len((tokens := model.encode(text)).ids) <= room:
            raw = text.encode()
            break
    else:
        if len(tokens.ids) > room:
            return "", []
    if tokens.spelling.any() and model.speller is None:
        raise Skip("it spells pieces, and shows no vocabulary that says how", refused=True)
    symbols: list[int] = []
    for token, start, end, spelled in zip(
        tokens.ids.tolist(),
        tokens.start.tolist(),
        tokens.end.tolist(),
        tokens.spelling.tolist(),
        strict=True,
    ):
        symbols += [token, *raw[start:end], END] if spelled else [token]
    return text, symbols


def _text(model: TokenAdapter, symbols: list[int]) -> bytes:
    """The bytes that symbols stand for, by the model alone."""
    if model.speller is None:
        return model.decode_text(symbols)
    out, ids, at = b"", list[int](), 0
    marks = _marks(model)
    while at < len(symbols):
        if symbols[at] in marks:
            last = symbols.index(END, at + 1)
            out, ids = out + model.decode(ids) + bytes(symbols[at + 1 : last]), []
            at = last + 1
        else:
            ids.append(symbols[at])
            at += 1
    return (out + model.decode(ids)).removeprefix(model.opens)


def _marks(model: TokenAdapter) -> set[int]:
    """The ids that announce a spelled piece."""
    return (
        {model.unknown}
        if model.unknown is not None
        else {model.bos_ids[0]}
        if model.escape
        else set()
    )


class _Tokens:
    """A token model read symbol by symbol, spelled pieces byte by byte."""

    def __init__(self, model: TokenAdapter):
        import torch

        self.model, self.torch = model, torch
        with torch.inference_mode():
            self.state, self.logits = model.prefill(
                torch.tensor([model.bos_ids], device=model.device)
            )
        self.waiting: int | None = (
            None  # an id that was taken, and is read when it is asked what follows
        )
        self.spelling: SpellReader | None = None
        self.announced = 0

    def distribution(self) -> NDArray[np.float64]:
        if self.spelling is not None:
            return self.spelling.distribution()
        if self.waiting is not None:
            with self.torch.inference_mode():
                self.state, self.logits = self.model.step(
                    self.state, self.torch.tensor([self.waiting], device=self.model.device)
                )
            self.waiting = None
        p = self.torch.softmax(self.logits[0].double(), 0).cpu().numpy()
        if not self.model.escape:
            return np.asarray(p)
        held = np.zeros(max(len(p), self.model.bos_ids[0] + 1))
        held[: len(p)] = p * (1 - self.model.escape)
        held[self.model.bos_ids[0]] += self.model.escape
        return held

    def take(self, index: int) -> None:
        if self.spelling is not None and index != END:
            self.spelling.take(index)
            return
        speller = self.model.speller
        if self.spelling is None and speller is not None and index in _marks(self.model):
            self.spelling, self.announced = SpellReader(speller), index
            return
        self.waiting = self.announced if self.spelling is not None else index
        self.spelling = None


class _Shown:
    """Any adapter that shows its next-token distribution, read symbol by symbol."""

    def __init__(self, adapter: Adapter):
        self.adapter, self.text = adapter, b""

    def distribution(self) -> NDArray[np.float64]:
        self.symbols, p = self.adapter.next_distribution(self.text.decode())
        return np.asarray(p, dtype=np.float64)

    def take(self, index: int) -> None:
        self.text += self.symbols[index]


def _code_shown(adapter: Adapter, text: str) -> Coded | None:
    """The same for an adapter of which only the distributions can be seen; the symbols are the
    pieces that the ledger charges.
    """
    (ledger,) = adapter.score([Passage(text)])
    raw, walk, symbols, at = text.encode(), _Shown(adapter), list[int](), 0
    for start, end in zip(
        ledger.start.tolist()[:SYMBOLS], ledger.end.tolist()[:SYMBOLS], strict=True
    ):
        p = walk.distribution()
        index = (
            {symbol: i for i, symbol in enumerate(walk.symbols)}.get(raw[start:end])
            if end > start
            else None
        )
        if index is None:
            return None
        if not p[index] > 2.0**-DEAR:
            break
        symbols.append(index)
        walk.take(index)
        at = end
    if not symbols:
        return None
    bits, costs = encode(_Shown(adapter), symbols)
    return bits, costs, symbols, raw[:at].decode(errors="ignore")


CHECKS = (
    Check(
        "decodable",
        "a text encoded with the model's probabilities is decoded by the model alone, at"
        " the length scored",
        decodable,
        earns="A3",
    ),
)
