"""The last proof: a text is coded with the model's probabilities, and decoded from the bits by the model alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llmbench.adapter import Adapter
from llmbench.checks import TORTURE, Check, Failed, Skip, Subject, show
from llmbench.coding import Reader, roundtrip
from llmbench.errors import Unsupported
from llmbench.spelling import END, SpellReader

if TYPE_CHECKING:
    from llmbench.token_adapter import TokenAdapter

SYMBOLS = 200  # of one text, at most
SLACK = 16.0  # bits, and a thousandth: what coding in whole numbers may cost


def decodable(subject: Subject) -> str:
    """A sample coded with the model's probabilities comes back byte for byte, and is as long as the ledger says, within 16 bits + 0.1 %."""
    if not subject.scores:
        raise Skip(f"{type(subject.adapter).__name__} does not score text")
    if subject.given:
        raise Skip("it needs a source")
    model = subject.tokens
    if model is None and type(subject.adapter).next_distribution is Adapter.next_distribution:
        raise Skip("it shows no next-symbol distribution")
    texts = [*subject.texts, TORTURE[0]] if model is not None else [text for text in subject.texts if text.isascii()]
    coded, charged, symbols, size = 0, 0.0, 0, 0
    for text in texts:
        part = _code(subject, model, text)
        if part is None:
            continue
        bits, count, cut = part
        (ledger,) = subject.score(cut)
        coded, charged, symbols, size = coded + bits, charged + ledger.total(), symbols + count, size + len(cut.encode())
    if not size:
        raise Skip("no text could be coded: its symbols are not among those shown")
    if not abs(coded - charged) <= SLACK + charged / 1000:
        cause = "what is charged is not what the model predicts: something is free, or not normalised"
        raise Failed(f"{size} bytes in {symbols} symbols", f"{coded} bits when coded, {charged:.1f} in the ledger", cause)
    return f"{size} bytes in {symbols} symbols: {coded} bits coded, {charged:.1f} in the ledger, decoded byte for byte"


def _code(subject: Subject, model: TokenAdapter | None, text: str) -> tuple[int, int, str] | None:
    """(bits, symbols, the text that was coded: a beginning of `text`); None where it cannot be."""
    if model is None:
        return _code_shown(subject, text)
    try:
        cut, symbols = _symbols(model, text)
    except Unsupported:
        return None
    bits, found = roundtrip(lambda: _Tokens(model), symbols)
    model.encode("another text")  # so that a decoder that remembers what it read is found
    got = _text(model, found)
    if got != cut.encode():
        raise Failed(
            show(cut), f"{show(got)} when decoded", "the symbols do not hold the text, or what is predicted depends on more than what came before"
        )
    return bits, len(symbols), cut


def _symbols(model: TokenAdapter, text: str) -> tuple[str, list[int]]:
    """A beginning of the text that fits the context, as symbols: ids, or an id (or the escape) with the bytes of a piece and END behind it."""
    room = SYMBOLS if model.context is None else min(SYMBOLS, model.context - len(model.start) + 1)
    tokens = model.encode(text)
    if tokens.loss:
        raise Unsupported(tokens.loss)
    raw = text.encode()
    if len(tokens.ids) > room:
        text = raw[: int(tokens.end[room - 1])].decode(errors="ignore")
        tokens, raw = model.encode(text), text.encode()
    if tokens.spelling.any() and _speller(model) is None:
        raise Unsupported("it spells pieces, and shows no vocabulary that says how")
    symbols: list[int] = []
    for token, start, end, spelled in zip(tokens.ids.tolist(), tokens.start.tolist(), tokens.end.tolist(), tokens.spelling.tolist(), strict=True):
        symbols += [token, *raw[start:end], END] if spelled else [token]
    return text, symbols


def _speller(model: TokenAdapter) -> Any:
    return getattr(getattr(model, "vocabulary", None), "speller", None)


def _text(model: TokenAdapter, symbols: list[int]) -> bytes:
    """The bytes that symbols stand for, by the model alone."""
    out, ids, at = b"", list[int](), 0
    marks = _marks(model)
    while at < len(symbols):
        if symbols[at] in marks and _speller(model) is not None:
            last = symbols.index(END, at + 1)
            out, ids = out + model.decode(ids) + bytes(symbols[at + 1 : last]), []
            at = last + 1
        else:
            ids.append(symbols[at])
            at += 1
    return (out + model.decode(ids)).removeprefix(model.opens)


def _marks(model: TokenAdapter) -> set[int]:
    """The ids that announce a spelled piece."""
    return {model.unknown} if model.unknown is not None else {model.start[0]} if model.escape else set()


class _Tokens:
    """A token model read symbol by symbol, spelled pieces byte by byte."""

    def __init__(self, model: TokenAdapter):
        import torch

        self.model, self.torch = model, torch
        with torch.inference_mode():
            self.state, self.logits = model.prefill(torch.tensor([model.start], device=model.device))
        self.waiting: int | None = None  # an id that was taken, and is read when it is asked what follows
        self.spelling: SpellReader | None = None
        self.announced = 0

    def distribution(self) -> NDArray[np.float64]:
        if self.spelling is not None:
            return self.spelling.distribution()
        if self.waiting is not None:
            with self.torch.inference_mode():
                self.state, self.logits = self.model.step(self.state, self.torch.tensor([self.waiting], device=self.model.device))
            self.waiting = None
        p = self.torch.softmax(self.logits[0].double(), 0).cpu().numpy()
        if not self.model.escape:
            return np.asarray(p)
        held = np.zeros(max(len(p), self.model.start[0] + 1))
        held[: len(p)] = p * (1 - self.model.escape)
        held[self.model.start[0]] += self.model.escape
        return held

    def take(self, index: int) -> None:
        if self.spelling is not None and index != END:
            self.spelling.take(index)
            return
        if self.spelling is None and index in _marks(self.model) and _speller(self.model) is not None:
            self.spelling, self.announced = SpellReader(_speller(self.model)), index
            return
        self.waiting = self.announced if self.spelling is not None else index
        self.spelling = None


class _Shown:
    """Any adapter that shows its next-symbol distribution, read symbol by symbol."""

    def __init__(self, adapter: Adapter):
        self.adapter, self.text = adapter, b""

    def distribution(self) -> NDArray[np.float64]:
        self.symbols, p = self.adapter.next_distribution(self.text.decode())
        return np.asarray(p, dtype=np.float64)

    def take(self, index: int) -> None:
        self.text += self.symbols[index]


def _code_shown(subject: Subject, text: str) -> tuple[int, int, str] | None:
    """The same for an adapter of which only the distributions can be seen; the symbols are the pieces that the ledger charges."""
    (ledger,) = subject.score(text)
    raw, readers = text.encode(), list[_Shown]()

    def begin() -> Reader:
        readers.append(_Shown(subject.adapter))
        return readers[-1]

    symbols, walk, at = [], begin(), 0
    assert isinstance(walk, _Shown)
    for start, end in zip(ledger.start.tolist()[:SYMBOLS], ledger.end.tolist()[:SYMBOLS], strict=True):
        walk.distribution()
        index = {symbol: i for i, symbol in enumerate(walk.symbols)}.get(raw[start:end])
        if index is None:
            return None
        symbols.append(index)
        walk.take(index)
        at = end
    bits, _ = roundtrip(begin, symbols)
    if readers[-1].text != raw[:at]:
        raise Failed(show(text), f"{show(readers[-1].text)} when decoded", "what is predicted depends on more than what came before")
    return bits, len(symbols), raw[:at].decode()


CHECKS = (
    Check("decodable", "a text coded with the model's probabilities is decoded by the model alone, at the length charged", decodable, earns="A3"),
)
