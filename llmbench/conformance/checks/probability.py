"""Checks of probabilities: they sum to one, they are those that are charged, and they do not know
what comes.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmbench.adapter import Adapter, Passage
from llmbench.conformance.check import Check, Failed, Skip, Subject, first_difference, show
from llmbench.errors import Unsupported
from llmbench.ledger import TOKEN

if TYPE_CHECKING:
    from torch import Tensor

    from llmbench.adapters.token import TokenAdapter

LOOKS_AHEAD = "the model sees what it is to predict: no causal mask, or a leak of what comes"
ROW = 600  # ids of a row whose later ids are changed
SUM = 1e-4  # how far the probabilities of all tokens may be from 1
PREFIXES = ("", "T", "The tap", "It rained on Tuesday, and")


def check_normalised(subject: Subject) -> str:
    """The next token's probabilities are at least 0, sum to 1 +- 1e-4, and are those that a text
    is charged by.
    """
    adapter = subject.adapter
    if type(adapter).next_distribution is Adapter.next_distribution:
        raise Skip("it shows no next-token distribution")
    compared, prefixes = 0, [prefix for prefix in PREFIXES if subject.holds(prefix)]
    if len(prefixes) < len(PREFIXES):
        prefixes += [cut for text in subject.texts if (cut := subject.cut(text, 20))]
    for prefix in prefixes:
        try:
            symbols, p = adapter.next_distribution(prefix)
        except Unsupported as error:
            raise Skip(str(error)) from None
        p = np.asarray(p, dtype=np.float64)
        if p.shape != (len(symbols),):
            raise Failed(
                f"next_distribution({prefix!r})",
                f"{len(symbols)} tokens and probabilities of shape {p.shape}",
                "one for each token",
            )
        if not (p >= 0).all() or abs(float(p.sum()) - 1) > SUM:
            came = f"a sum of {float(p.sum()):.6f}, the smallest being {float(p.min()):.3g}"
            raise Failed(
                f"next_distribution({prefix!r})",
                came,
                "logits that were not normalised, or tokens left out of the sum",
            )
        compared += _compare_charges(subject, prefix, list(symbols), p)
    if not compared:
        raise Skip("no token could be compared with what is charged")
    return f"{len(prefixes)} distributions, {compared} of their tokens as charged"


def _compare_charges(
    subject: Subject, prefix: str, symbols: list[bytes], p: NDArray[np.float64]
) -> int:
    """Compare -log2 p of likely and of drawn tokens with the charge of a text that goes on with
    them; gives how many could be.
    """
    if subject.context:
        return 0
    likely, drawn = (
        np.argsort(-p)[:6].tolist(),
        subject.rng().choice(len(p), min(10, len(p)), replace=False).tolist(),
    )
    going_on = {
        i: text
        for i in dict.fromkeys([*likely, *drawn])
        if symbols[i]
        and symbols.count(symbols[i]) == 1
        and (text := _go_on(subject, prefix, i, symbols[i]))
    }
    chosen, texts = list(going_on), list(going_on.values())
    done = 0
    for i, ledger in zip(chosen, subject.score(*texts) if texts else [], strict=True):
        last = ledger.start >= len(prefix.encode())
        if int(last.sum()) != 1 or int(ledger.kind[last][0]) != TOKEN:
            continue
        want, got = -math.log2(float(p[i])) if p[i] else math.inf, float(ledger.bits[last][0])
        done += 1
        if not subject.close(np.array([want]), np.array([got])):
            if subject.beyond(texts[chosen.index(i)]):
                done -= 1
                continue
            sent = f"{symbols[i]!r} after {prefix!r}"
            raise Failed(
                sent,
                f"{got:.4f} bits charged, {want:.4f} predicted",
                "what is charged is not -log2 of a normalised probability of that token",
            )
    return done


def _go_on(subject: Subject, prefix: str, index: int, symbol: bytes) -> str:
    """The text whose tokens are those of the prefix and this one; "" where there is none."""
    model = subject.tokens
    if model is None:
        return (prefix.encode() + symbol).decode(errors="ignore")
    ids = [*model.encode(prefix).ids.tolist(), index]
    if model.context is not None and len(ids) - 1 + len(model.bos_ids) > model.context:
        return ""
    for raw in (prefix.encode() + symbol, model.decode_text(ids)):
        text = raw.decode(errors="ignore")
        if text.encode() == raw and raw.startswith(prefix.encode()) and subject.holds(text):
            tokens = model.encode(text)
            if tokens.ids.tolist() == ids and not tokens.spelling.any():
                return text
    return ""


def disjoint_sum(subject: Subject) -> str:
    """Texts of which none begins another: their probabilities sum to at most 1."""
    count = 60 if subject.large else 700 if subject.thorough else 175
    sums, proven = [], False
    for name, texts in _families(subject, count).items():
        texts = list(dict.fromkeys(texts))
        try:
            kept, ledgers = subject.score_accepted(texts)
        except Skip as skip:
            if not skip.refused:
                raise
            continue  # a tokenizer may hold none of them, and say so
        total = math.fsum(2.0 ** -ledger.total() for ledger in ledgers)
        said = name if len(kept) == len(texts) else f"{len(kept)} of {name}"
        sums.append(f"{said}: {total:.3g}")
        proven = proven or "words" in name or "tokens" in name
        if total > 1 + 1e-3:
            cause = (
                "something is free: unknown words, the first token, a change of base (nats for"
                " bits), or scores that are not normalised"
            )
            raise Failed(name, f"probabilities that sum to {total:.4g}", cause)
    if not proven:
        raise Skip("texts of more than one token are refused", refused=True)
    return "; ".join(sums)


def _families(subject: Subject, count: int) -> dict[str, list[str]]:
    """Texts by family; in each none begins another."""
    rng, letters = subject.rng(), np.array(list(string.ascii_lowercase))
    before = next((word for word in ("The ", "the ") if subject.holds(f"{word}a")), "The ")
    found = {
        "128 texts of one byte": [chr(c) for c in range(128)],
        f"{count} rare characters": [chr(c) for c in range(0x4E00, 0x4E00 + count)],
        f"{count} invented words of 9 letters": [
            "".join(rng.choice(letters, 9)) for _ in range(count)
        ],
        f"{count} words of 6 letters after a known one": [
            before + "".join(rng.choice(letters, 6)) for _ in range(count)
        ],
    }
    if not subject.holds(found[f"{count} invented words of 9 letters"][0]):
        drawn = sorted({text for _ in range(count) if (text := subject.draw(2))})
        found[f"{count} texts of two tokens"] = [
            text
            for text, follows in zip(drawn, [*drawn, ""][1:], strict=True)
            if not follows.startswith(text)
        ]
    return found


def no_look_ahead(subject: Subject) -> str:
    """Other tokens later change no earlier charge."""
    model, said = subject.tokens, []
    if model is not None:
        said.append(_ids_look_back(subject, model))
    pairs = 0
    for text, at, other in _pairs(subject):
        if not subject.holds(other):
            continue
        if model is not None and len(model.encode(text).ids) != len(model.encode(other).ids):
            continue
        one, two = subject.score(text)[0], subject.score(other)[0]
        n = min(len(one.end), len(two.end))
        same = (one.end[:n] <= at) & (one.start[:n] == two.start[:n]) & (one.end[:n] == two.end[:n])
        if model is not None:
            same &= _same_symbols(model, text, other, n)
        stop = int(np.argmin(same)) if not same.all() else n  # up to the first that differs
        if not stop:
            continue
        pairs += 1
        if not subject.close(one.bits[:stop], two.bits[:stop]):
            came = first_difference(one.bits[:stop], two.bits[:stop])
            raise Failed(
                f"{show(text)}, and the same with other characters from byte {at} on",
                came,
                LOOKS_AHEAD,
            )
    if pairs:
        said.append(f"{pairs} pairs of texts")
    if not said:
        raise Skip("no two texts could be compared token by token")
    return ", ".join(said)


def _pairs(subject: Subject) -> Iterator[tuple[str, int, str]]:
    """(text, place, the text with other characters from there on): other letters, whose words are
    as long, and characters of all kinds, drawn at random.
    """
    rng, kinds = subject.rng(), np.array(list(string.ascii_letters + string.digits + " .,;!?"))
    for text in subject.texts[1:] if subject.thorough else subject.texts[1:2]:
        for share in (0.3, 0.6, 0.95) if subject.thorough else (0.5,):
            at = int(len(text) * share)
            yield (
                text,
                at,
                text[:at]
                + "".join(chr(97 + (ord(c) + 5) % 26) if c.isalpha() else c for c in text[at:]),
            )
            yield text, at, text[:at] + "".join(rng.choice(kinds, len(text) - at))


def _same_symbols(model: TokenAdapter, one: str, other: str, n: int) -> NDArray[np.bool_]:
    """Which of the first `n` charges are of the same token. A spelled piece has two charges, so
    such texts are cut there.
    """
    a, b = model.encode(one), model.encode(other)
    same = np.zeros(n, dtype=bool)
    spelled = np.flatnonzero((a.spelling > 0) | (b.spelling > 0))
    m = min(n, int(spelled[0]) if len(spelled) else n, len(a.ids))
    same[:m] = a.ids[:m] == b.ids[:m]
    return same


def _ids_look_back(subject: Subject, model: TokenAdapter) -> str:
    """The same on rows of ids, which changes no token border: in the plain pass, and in body and
    head where these are used.
    """
    import torch  # here and below: a model without torch does not wait for it

    ids = _some_ids(subject, model, ROW if subject.thorough else ROW // 5)
    if len(ids) < 2:
        return "rows of one id have nothing behind them"
    ways: dict[str, Callable[[Tensor], Tensor]] = {"logits": model.logits}
    if model.has_split_head:
        ways["body and head"] = lambda line: _by_rows(model, model.hidden(line))
    if model.is_stateful:
        ways["carry"] = lambda line: _by_rows(model, model.forward_with_state(line, None)[0])
    places = sorted({1, 2, len(ids) // 2, len(ids) - 1} - {len(ids)})
    changed = 0
    with torch.inference_mode():
        for name, way in ways.items():
            want = torch.log_softmax(way(ids[None])[0].float(), -1)
            for at in places if subject.thorough else places[:1] + places[2:3]:
                changed += 1
                other = _change_from(subject, ids, at)
                got = torch.log_softmax(way(other[None])[0].float(), -1)
                if not torch.allclose(want[:at], got[:at], rtol=1e-3, atol=subject.room(want)):
                    gap = float((want[:at] - got[:at]).abs().max())
                    raise Failed(
                        f"{len(ids)} ids, and the same with others from {at} on, to {name}",
                        f"earlier rows differ by {gap:.4g} nats",
                        LOOKS_AHEAD,
                    )
    return f"{changed} changes of later ids ({', '.join(ways)})"


def _change_from(subject: Subject, ids: Tensor, at: int) -> Tensor:
    """The ids with others, drawn at random, from place `at` on: the same ones in another order
    would not show a leak that is blind to order.
    """
    import torch

    other, count = ids.clone(), subject.symbols
    step = torch.from_numpy(subject.rng().integers(1, max(2, count), len(ids) - at))
    other[at:] = (ids[at:] + step.to(ids)) % count
    return other


def _by_rows(model: TokenAdapter, rows: Tensor) -> Tensor:
    """(B, T, D) rows through the head -> (B, T, V)."""
    flat = model.head(rows.reshape(-1, rows.shape[-1]))
    return flat.reshape(*rows.shape[:-1], flat.shape[-1])


def _some_ids(subject: Subject, model: TokenAdapter, most: int) -> Tensor:
    """A row of ids that the model takes: BOS ids, and what a text is made of."""
    import torch

    ids = [*model.bos_ids, *model.encode(subject.joined).ids.tolist()]
    return torch.tensor(ids[: min(most, model.context or most)], device=model.device)


def pseudo(subject: Subject) -> str:
    """Of a model that sees both sides: pseudo-bits do not depend on what else is asked, and a
    sample of them is a part of the whole.
    """
    adapter = subject.adapter
    if type(adapter).pseudo_score is Adapter.pseudo_score:
        raise Skip("it fills no gaps")
    passages = [Passage(text, id=str(i)) for i, text in enumerate(subject.texts)]
    try:
        whole = list(adapter.pseudo_score(passages))
    except Unsupported as error:
        raise Skip(f"refused: {error}", refused=True) from None
    for passage, ledger in zip(passages, whole, strict=True):
        ledger.check()
        (alone,) = adapter.pseudo_score([passage])
        if not subject.close(alone.bits, ledger.bits):
            raise Failed(
                f"{show(passage.text)} alone and beside others",
                first_difference(alone.bits, ledger.bits),
                "padding is seen by the model",
            )
    if not any(ledger.bits.any() for ledger in whole):
        raise Failed(
            f"{len(passages)} texts",
            "0 bits for every gap",
            "nothing is masked: the model is shown what it is asked about",
        )
    held = [dict(zip(ledger.start.tolist(), ledger.bits.tolist(), strict=True)) for ledger in whole]
    for found, ledger in zip(held, adapter.pseudo_score(passages, 5, subject.seed), strict=True):
        for start, bits in zip(ledger.start.tolist(), ledger.bits.tolist(), strict=True):
            if not subject.close(np.array([found.get(start, math.nan)]), np.array([bits])):
                raise Failed(
                    "a sample of 5 positions",
                    f"{bits:.4f} bits at byte {start}, {found.get(start)} in the whole",
                    "another masking for samples",
                )
    return f"{len(passages)} texts alone and together, and a sample"


CHECKS = (
    Check(
        "normalised",
        "the probabilities of the next token sum to 1, and scores are made of them",
        check_normalised,
        earns="A2",
    ),
    Check("causality", "later tokens do not change earlier charges", no_look_ahead, earns="A2"),
    Check(
        "disjoint-sum",
        "the probabilities of texts that exclude one another sum to at most 1",
        disjoint_sum,
        bars="A1",
    ),
    Check("pseudo", "pseudo-bits do not depend on what else is scored", pseudo),
)
