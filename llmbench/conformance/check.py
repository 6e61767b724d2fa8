"""What an adapter must hold, one named check a rule. This file says what a check is and what it is
given; the others hold the checks.

A check is a function that takes a `Subject` and gives, in a few words, what it tried. It raises
`Failed` where the rule is broken, and `Skip` where the adapter lacks what the rule is about.
Anything else that it raises is an error, and an error never counts as a pass.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from llmbench.adapter import Adapter, Passage, Window
from llmbench.conformance.noise import Noise, measure
from llmbench.data.probe_texts import PROMPTS, PROSE, SOURCE
from llmbench.errors import Unsupported
from llmbench.inference.text.lines import check_tokens
from llmbench.ledger import CODE, Ledger

if TYPE_CHECKING:
    from llmbench.adapters.token import TokenAdapter

Level = Literal["A1", "A2", "A3"]

LOGITS = 1 << 26  # of one pass: more are not held for a check
LARGE = 20_000_000  # parameters: such a model is asked about less
CUTS = 24  # lengths at which a text is tried to be cut
DRAWN = (4, 12, 30, 90)  # tokens of drawn texts
POOL = 4000  # tokens that are looked at for them
TRIES = 20  # texts that are drawn until one is taken


class Failed(AssertionError):
    """A rule is broken: what was sent, what came, and what is usually wrong then."""

    def __init__(self, sent: str, came: str, cause: str):
        super().__init__(f"sent {sent}; came {came}; likely cause: {cause}")
        self.sent, self.came, self.cause = sent, came, cause


class Skip(Exception):
    """The adapter lacks what the check is about, or nothing that was tried could be used; the
    reason is shown. `refused`: it has it, and would not: then nothing is proven, and what the check
    bars is not earned.
    """

    def __init__(self, reason: str, refused: bool = False):
        super().__init__(reason)
        self.refused = refused


@dataclass(frozen=True)
class Check:
    """A rule by name. `earns`: the certificate that needs it passed; `bars`: the lowest certificate
    that it must not fail.
    """

    name: str
    rule: str
    function: Callable[[Subject], str]
    earns: Level | None = None
    bars: Level | None = None


@dataclass
class Subject:
    """An adapter under test. `make` gives another one, fresh, where that is possible. `seed` draws
    what is drawn. Not `thorough`: samples are a quarter as large, as in a run.
    """

    adapter: Adapter
    make: Callable[[], Adapter] | None = None
    seed: int = 0
    thorough: bool = True
    told: bool = field(default=False, init=False)  # whether its obstacle was shown
    sent: int = field(default=0, init=False)  # texts that were drawn
    _held: dict[str, bool] = field(default_factory=dict, init=False)  # texts that were tried
    _own: list[int] = field(default_factory=list, init=False)  # tokens that texts are drawn from

    def __post_init__(self) -> None:
        self.adapter.forget_answers()

    @cached_property
    def tokens(self) -> TokenAdapter | None:
        """The adapter, where its symbols can be looked at."""
        return tokens_of(self.adapter)

    @cached_property
    def obstacle(self) -> str:
        """Why no check can be run, with what to do; "" if they can."""
        model = self.tokens
        if model is None:
            return ""
        if not model.bos_ids:
            return (
                "`bos_ids` is empty, so nothing predicts the first token of a text: set it to ids"
                " that may stand before any text, as that of a newline"
            )
        import torch

        line = list(model.bos_ids)
        with suppress(Exception):  # an `encode` that raises is named by the checks
            line += model.encode("a").ids.tolist()
        try:
            with torch.inference_mode():
                model.logits(torch.tensor([line[: model.context]], device=model.device))
        except IndexError as error:
            return (
                f"`logits` raised IndexError for the ids {line}: {error}; `bos_ids` and the ids of"
                " `encode` must be ids that the model knows"
            )
        return ""

    @cached_property
    def scores(self) -> bool:
        """Whether it charges text at all."""
        return self.adapter.can_score

    @cached_property
    def context(self) -> str:
        """What every text is scored after: nothing, but for models that need a source."""
        return (
            SOURCE if self.scores and not self._takes("a", "") and self._takes("a", SOURCE) else ""
        )

    def _takes(self, text: str, context: str) -> bool:
        try:
            list(self.adapter.score([Passage(text, context=context)]))
        except Unsupported:
            return False
        return True

    def holds(self, text: str) -> bool:
        """Whether the adapter takes the text; its tokenizer may lose part of it, and say so. A text
        whose tokens can be seen is not scored for this.
        """
        model = self.tokens
        if model is not None and not self.context:
            return can_hold(model, text)
        if text not in self._held:
            self._held[text] = not self.scores or self._takes(text, self.context)
        return self._held[text]

    def cut(self, text: str, most: int) -> str:
        """The longest beginning of the text, of at most so many characters, that it takes."""
        for size in range(min(most, len(text)), max(0, most - CUTS), -1):
            if self.holds(text[:size]):
                return text[:size]
        return ""

    @cached_property
    def texts(self) -> list[str]:
        """Texts of rising length that it takes: prose; where its tokenizer loses some of that, what
        is left of it in plain letters; and where that is lost as well, tokens drawn at random.
        """
        plain = [" ".join(re.findall("[a-z]+", text.lower())) for text in PROSE]
        found = [text for text in (*PROSE, *plain) if self.holds(text)]
        if len(found) < len(PROSE):
            found += [f"{text} {text}" for text in found if self.holds(f"{text} {text}")]
        if len(found) < len(PROSE):
            found += [text for size in DRAWN if (text := self.draw(size))]
        if len(found) < len(PROSE):
            raise Skip("not applicable: its tokenizer loses part of every text that was tried")
        return sorted(dict.fromkeys(found[: len(PROSE)]), key=len)

    @cached_property
    def prompts(self) -> list[str]:
        """Beginnings of texts that it takes."""
        if all(self.holds(prompt) for prompt in PROMPTS):
            return list(PROMPTS)
        return [self.cut(text, 40) or text for text in self.texts[:0:-1]]

    @cached_property
    def joined(self) -> str:
        """The texts as one, as far as it takes that."""
        for between in (" ", ""):
            if self.holds(whole := between.join(self.texts)):
                return whole
        return self.texts[-1]

    def repeat(self, least: int) -> str:
        """A text of at least so many bytes: the others, again and again."""
        unit = next(
            (
                unit
                for between in ("\n", " ", "")
                if self.holds((unit := self.joined + between) + unit.rstrip())
            ),
            self.joined,
        )
        return (unit * (1 + least // len(unit.encode()))).rstrip()

    def draw(self, count: int) -> str:
        """A text of about so many of the model's own tokens, drawn anew, which it takes; "" where
        its tokens cannot be seen, or none is found.
        """
        model = self.tokens
        if model is None:
            return ""
        if not self._own:
            ids = self.rng().permutation(self.symbols)[:POOL].tolist()
            self._own.extend(id for id in ids if _is_plain(model.decode([id])))
        for _ in range(TRIES if self._own else 0):
            self.sent += 1
            chosen = np.random.default_rng([self.seed, self.sent]).choice(self._own, count)
            text = model.decode_text(chosen.tolist()).decode(errors="ignore").strip()
            if text and self.holds(text):
                return text
        return ""

    @cached_property
    def half(self) -> float:
        """How finely 16-bit weights round, of which less is asked; 0 for finer ones. Where parts
        can be seen, what they are, not what it says.
        """
        steps = {"bfloat16": 2.0**-7, "float16": 2.0**-10}
        model = self.tokens
        if model is None:
            return steps.get(str(self.adapter.info.dtype), 0.0)
        found = {
            str(p.dtype).removeprefix("torch.")
            for module in model.modules.values()
            for p in module.parameters()
        }
        return max((steps.get(name, 0.0) for name in found), default=0.0)

    @property
    def most_rounded(self) -> float:
        """Bits by which one charge may differ in 16 bits, whatever it is; so may a sum of them."""
        return max(0.25, 128 * self.half)

    @cached_property
    def noise(self) -> Noise | None:
        """How far apart the engine's own answers are, if it says that it rounds activations."""
        model = self.tokens
        if model is None or not model.rounds_activations:
            return None
        return measure(model, self.texts[-2:], self.thorough)

    @property
    def tie(self) -> float:
        """Nats between two tokens of which either may be the likeliest, beyond rounding."""
        return self.noise.room if self.noise else 0.0

    def room(self, logits: Any, writes: bool = False, batched: bool = False) -> float:
        """Nats by which two ways to the same log-probabilities may differ: 1e-3, and for 16 bits
        six steps of the largest logit.

        writes: one way is that of generation, where an engine may round in its own way.
        batched: one way is beside other rows, which changes how many tokens are read at once.
        """
        least = max(1e-3, self.noise.room) if (writes or batched) and self.noise else 1e-3
        return max(0.1, 6 * self.half * float(logits.abs().max())) if self.half else least

    @cached_property
    def large(self) -> bool:
        """Whether the modules that can be seen are large. What a model says of its size is asked
        only if it shows none, as an engine of its own.
        """
        model = self.tokens
        if model is None:
            return False
        seen = sum(p.numel() for module in model.modules.values() for p in module.parameters())
        return (seen or model.info.parameters or 0) > LARGE

    @cached_property
    def symbols(self) -> int:
        """How many symbols a token model chooses from."""
        import torch

        model = self.tokens
        assert model is not None
        with torch.inference_mode():
            return int(model.logits(torch.tensor([model.bos_ids], device=model.device)).shape[-1])

    def beyond(self, text: str) -> bool:
        """Whether an adapter of which only distributions are seen may have read this text in
        windows, so that it cannot be held to one pass.
        """
        context = self.adapter.info.context
        return self.tokens is None and context is not None and len(text.encode()) + 1 > context

    def score_accepted(self, texts: Sequence[str]) -> tuple[list[str], list[Ledger]]:
        """The texts that the adapter does not refuse, and their ledgers; all at once where none is
        refused, or where it can be seen which are.
        """
        seen = self.tokens is not None and not self.context
        held = [text for text in texts if self.holds(text)] if seen else list(texts)
        kept, ledgers = list[str](), list[Ledger]()
        try:
            if len(held) >= len(texts) / 2:
                return held, self.score(*held)
        except Skip as skip:
            if not skip.refused:
                raise
            for text in held:
                try:
                    ledgers += self.score(text)
                except Skip:
                    continue
                kept.append(text)
        if len(kept) < len(texts) / 2:
            raise Skip(f"{len(texts) - len(kept)} of {len(texts)} texts are refused", refused=True)
        return kept, ledgers

    def score(self, *texts: str, window: Window = Window("rolling")) -> list[Ledger]:
        """Ledgers of the texts, scored side by side. Skip where the adapter scores no text."""
        return self.charge(
            [Passage(text, context=self.context, id=str(i)) for i, text in enumerate(texts)], window
        )

    def charge(
        self, passages: Sequence[Passage], window: Window = Window("rolling")
    ) -> list[Ledger]:
        """The same for passages."""
        if not self.scores:
            raise Skip(f"{type(self.adapter).__name__} does not score text")
        try:
            ledgers = list(self.adapter.score(passages, window))
        except Unsupported as error:
            raise Skip(f"refused: {error}", refused=True) from None
        if any((ledger.kind == CODE).any() for ledger in ledgers):
            raise Skip("one code for a whole text has no charges inside it")
        return ledgers

    def fresh(self) -> str:
        """A text that was not sent before: words of the others, in an order drawn anew."""
        words = self.texts[-1].split()
        for _ in range(TRIES if len(words) > 1 else 0):
            self.sent += 1
            order = np.random.default_rng([self.seed, self.sent]).permutation(words).tolist()
            text = " ".join(order[:24])
            if self.tokens is None or self.holds(text):
                return text
        return self.draw(24) or self.texts[-1]

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def off(
        self, one: NDArray[np.float64], other: NDArray[np.float64], least: float = 1e-4
    ) -> NDArray[np.int64]:
        """Where bits differ by more than rounding: 1e-4 of them and `least`; in 16 bits, more."""
        relative, absolute = (4 * self.half, self.most_rounded) if self.half else (1e-4, least)
        if self.noise and not self.half:
            return self.noise.find_beyond(one - other, absolute)
        return np.flatnonzero(~np.isclose(one, other, rtol=relative, atol=absolute))

    def close(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
        """Whether two rows of bits are as long as each other, and equal but for rounding."""
        return one.shape == other.shape and not self.off(one, other).size


def can_hold(model: TokenAdapter, text: str) -> bool:
    """Whether the tokens of a text hold all of it."""
    try:
        check_tokens(model, model.encode(text), text.encode())
    except Unsupported:
        return False
    return True


def _is_plain(raw: bytes) -> bool:
    """Whether a token's bytes are characters that are seen, or a space before them."""
    try:
        return raw.decode().removeprefix(" ").isprintable() and bool(raw.strip())
    except UnicodeDecodeError:
        return False


def tokens_of(adapter: Adapter) -> TokenAdapter | None:
    """The adapter as a token model, if it is one. Torch is not loaded for this: without it nobody
    can have made one.
    """
    module = sys.modules.get("llmbench.adapters.token")
    return adapter if module is not None and isinstance(adapter, module.TokenAdapter) else None


def show(value: Any, most: int = 80) -> str:
    """A value as a message shows it: shortened in the middle."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 2 + 3 :]}"


def first_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Where two rows of bits differ most, in words."""
    if one.shape != other.shape:
        return f"{len(one)} charges beside {len(other)}"
    at = int(np.nanargmax(np.abs(one - other))) if len(one) else 0
    return f"charge {at} is {one[at]:.6f} bits beside {other[at]:.6f}"
