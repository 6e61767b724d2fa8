"""Checks of the ledger: every byte is charged once, by what the model predicts for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from llmbench.adapter import Adapter, Passage
from llmbench.conformance.check import Check, Failed, Skip, Subject, can_hold, show
from llmbench.data.probe_texts import TORTURE
from llmbench.errors import Unsupported
from llmbench.ledger import KINDS, SPELLING, Ledger, LedgerError

BORDER, INSIDE, SKIPPED = "at a border", "inside a token", "skipped"  # how two texts part


def check_byte_coverage(subject: Subject) -> str:
    """Charges of each text tile its bytes, in the order asked; a text may be refused, never
    changed.
    """
    charged, refused = 0, []
    for text in (*subject.texts, *TORTURE, "", "a"):
        try:
            (ledger,) = require_one_ledger_each(subject.score(text), [text])
        except Skip as skip:
            refused.append(str(skip))
            continue
        require_tiling(ledger, text)
        charged += 1
    if not charged:
        raise Skip(refused[0])
    for both in ([subject.texts[0], subject.texts[1]], [subject.texts[1], subject.texts[0]]):
        for text, ledger in zip(
            both, require_one_ledger_each(subject.score(*both), both), strict=True
        ):
            require_tiling(ledger, text)
    said = f", {len(refused)} refused ({refused[0]})" if refused else ""
    return f"{charged} texts{said}"


def require_one_ledger_each(ledgers: list[Ledger], texts: Sequence[str]) -> list[Ledger]:
    """The ledgers; Failed unless there is one for each text."""
    if len(ledgers) != len(texts):
        raise Failed(
            f"{len(texts)} texts", f"{len(ledgers)} ledgers", "a text was dropped or split"
        )
    return ledgers


def require_tiling(ledger: Ledger, text: str) -> None:
    """Raise Failed unless the ledger's charges tile the UTF-8 bytes of the text, and charge nothing
    else.
    """
    size = len(text.encode())
    if ledger.bytes != size:
        cause = (
            "bits and bytes are not of the same string: the text was changed, or the count is not"
            " of its UTF-8 bytes"
        )
        raise Failed(show(text), f"a ledger of {ledger.bytes} bytes for {size}", cause)
    try:
        ledger.check()
    except LedgerError as error:
        raise Failed(
            show(text), str(error), "a token was dropped, doubled or given the wrong span"
        ) from None
    odd = sorted({KINDS[kind] for kind in ledger.kind.tolist()} - {"token", "spelling"})
    if odd or ledger.loss:
        raise Failed(
            show(text),
            f"charges of kind {', '.join(odd)}" if odd else ledger.loss,
            "something else than the text alone was charged",
        )


def check_first_symbol(subject: Subject) -> str:
    """The first token is charged, by what the model predicts after BOS alone."""
    tried = 0
    for text in subject.texts:
        (ledger,) = subject.score(text)
        spelled = len(ledger.kind) > 1 and int(ledger.kind[1]) == SPELLING
        got = float(ledger.bits[: 2 if spelled else 1].sum())
        want = _after_start(subject, text, int(ledger.end[0]))
        if want is None:
            continue
        tried += 1
        if not subject.close(np.array([got]), np.array([want])):
            cause = "the first token is skipped, or BOS is missing, doubled or not the model's own"
            raise Failed(
                show(text),
                f"{got:.4f} bits for its first token, which its own prediction makes {want:.4f}",
                cause,
            )
    if tried:
        return f"first tokens of {tried} texts"
    letters, ledgers = subject.score_accepted([chr(c) for c in range(33, 127)])
    if all(not ledger.bits[:1].any() for ledger in ledgers):
        raise Failed(
            f"{len(letters)} texts of one character",
            "0 bits for each",
            "the first token is skipped",
        )
    return (
        f"{len(letters)} texts of one character are not free (no next-token distribution to"
        " compare with)"
    )


def _after_start(subject: Subject, text: str, end: int) -> float | None:
    """-log2 p of the token that `text` begins with; None where that cannot be known."""
    model = subject.tokens
    if model is not None and not subject.context:
        import torch  # here and below: a model without torch does not wait for it

        tokens = model.encode(text)
        with torch.inference_mode():
            row = torch.log_softmax(
                model._last(torch.tensor([model.bos_ids], device=model.device))[0].double(), 0
            )
        if int(tokens.ids[0]) >= len(row):
            return None  # an escape: the vocabulary's own affair
        return (
            -float(row[int(tokens.ids[0])]) / math.log(2)
            - math.log2(1 - model.escape)
            + float(tokens.spelling[0])
        )
    if type(subject.adapter).next_distribution is Adapter.next_distribution or subject.context:
        return None
    try:
        symbols, p = subject.adapter.next_distribution("")
    except Unsupported:
        return None
    place = (
        {symbol: i for i, symbol in enumerate(symbols)}.get(text.encode()[:end]) if end else None
    )
    if place is None:
        return None
    return -math.log2(float(p[place])) if p[place] > 0 else math.inf


def check_single_bos(subject: Subject) -> str:
    """BOS is added by llmbench: `encode` does not add it, and nothing is charged for
    it.
    """
    model = subject.tokens
    if model is None:
        raise Skip("its tokens cannot be seen")
    if not model.bos_ids:
        raise Failed(
            "nothing",
            "`bos_ids` is empty",
            "the model has no BOS, so its first token could not be charged",
        )
    if len(model.encode("").ids):
        raise Failed(
            "encode('')",
            f"{len(model.encode('').ids)} ids",
            "`encode` adds BOS or EOS",
        )
    for text in subject.texts:
        tokens = model.encode(text)
        if (
            tuple(tokens.ids[: len(model.bos_ids)].tolist()) == model.bos_ids
            and int(tokens.end[len(model.bos_ids) - 1]) == 0
        ):
            raise Failed(
                f"encode({show(text)})",
                f"ids that begin with start {model.bos_ids}",
                "`encode` adds BOS, which is then there twice",
            )
    return f"{len(subject.texts) + 1} texts"


def check_round_trip(subject: Subject) -> str:
    """decode(encode(text)) is the text, and two texts have two rows of ids; a tokenizer that loses
    something says so.
    """
    model = subject.tokens
    if model is None:
        raise Skip("its tokens cannot be seen")
    seen: dict[tuple[int, ...], str] = {}
    tried, lossy = 0, 0
    texts = [
        *subject.texts,
        *TORTURE,
        *(text.upper() for text in subject.texts),
        *(text.replace("\n", " ") for text in subject.texts),
    ]
    held = []  # all of them first: a decoder that remembers the last text is found
    for text in dict.fromkeys(texts):
        if can_hold(model, text):
            held.append((text, model.encode(text)))
        else:
            lossy += 1
    for text, tokens in held:
        if bool((tokens.spelling > 0).any()):
            continue  # what is spelled is charged for, and is not in the ids
        tried += 1
        if (got := model.decode_text(tokens.ids.tolist())) != text.encode():
            raise Failed(
                f"decode(encode({show(text)}))",
                show(got),
                "the tokenizer changes or loses part of the text",
            )
        other = seen.setdefault(tuple(tokens.ids.tolist()), text)
        if other != text:
            raise Failed(
                f"{show(text)} and {show(other)}",
                "the same ids",
                "capitals or white space are free: they are not among the tokens",
            )
    if not tried:
        raise Skip(
            f"no text to try: {lossy} are refused or lose something and say so, the others are"
            " spelled in part"
        )
    return f"{tried} texts" + (
        f", {lossy} that are refused or lose something and say so" if lossy else ""
    )


def check_chain_rule(subject: Subject) -> str:
    """bits(a + b) = bits(a) + bits(b after a), where all fits the context; where a token covers the
    end of a and the beginning of b, bits(b after a) are those from this token on.
    """
    if subject.context:
        raise Skip("the context is a source, not a beginning of the text")
    found: list[str] = []
    model = subject.tokens
    for whole in subject.texts:
        if model is not None and model.context is not None:  # as much of it as the context holds
            ends = model.encode(whole).end[: model.context - len(model.bos_ids)]
            whole = whole.encode()[: int(ends[-1]) if len(ends) else 0].decode(errors="ignore")
            whole = subject.cut(whole, len(whole))
        for at in sorted({len(whole) // 4, len(whole) // 2, len(whole) - 5} - {0, len(whole)}):
            if not subject.holds(whole[:at]):
                at = max(0, whole.rfind(" ", 0, max(0, at)))
            found.append(_compare_parts(subject, whole[:at], whole[at:]))
    tried, inside = found.count(BORDER) + found.count(INSIDE), found.count(INSIDE)
    if not tried:
        raise Skip(
            f"no pair could be used: of {len(found)} the tokens do not part, or they do not fit the"
            " context"
        )
    within = f", {inside} of them parted inside a token" if inside else ""
    return f"{tried} pairs{within}, {len(found) - tried} skipped"


def _compare_parts(subject: Subject, a: str, b: str) -> str:
    """Hold the bits of b after a against those of a + b; return how they part, or SKIPPED."""
    if not a or not subject.holds(a) or not subject.holds(a + b):
        return SKIPPED
    together, first = subject.score(a + b)[0], subject.score(a)[0]
    how = _find_parting(subject, a, b, together)
    if how == SKIPPED:
        return how
    (rest,) = subject.charge([Passage(b, context=a)])
    if rest.bytes != len(b.encode()):
        raise Failed(
            f"{show(b)} after {show(a)}",
            f"a ledger of {rest.bytes} bytes",
            "the context is charged as well",
        )
    if how == BORDER:
        want, said = together.total() - first.total(), "together less those of the first"
    else:
        want, said = _bits_from(together, len(a.encode())), "from the token that covers both on"
    if not subject.close(
        np.array([want + first.total()]), np.array([rest.total() + first.total()])
    ):
        if subject.beyond(a + b):
            return SKIPPED
        raise Failed(
            f"{show(b)} after {show(a)}",
            f"{rest.total():.4f} bits, {want:.4f} {said}",
            "the context is not read, or is read differently from the text",
        )
    return how


def _bits_from(ledger: Ledger, at: int) -> float:
    """Bits of the charges from the one on that covers byte `at` of the text."""
    first = int(np.flatnonzero((ledger.start >= at) | (ledger.end > at))[0])
    if first and ledger.kind[first] == SPELLING and ledger.start[first] < at:
        first -= 1  # the unknown token that is spelled
    return float(ledger.bits[first:].sum())


def _find_parting(subject: Subject, a: str, b: str, together: Ledger) -> str:
    """BORDER if the tokens of `a` are those that a + b begins with, INSIDE if a token covers the
    end of `a` and the beginning of `b`; SKIPPED if neither is known, or a window cuts them.
    """
    size, model = len(a.encode()), subject.tokens
    if model is None:
        return BORDER if bool((together.end == size).any()) else SKIPPED
    whole, first = model.encode(a + b), model.encode(a).ids.tolist()
    ids = whole.ids.tolist()
    if model.context is not None and len(ids) + len(model.bos_ids) > model.context:
        return SKIPPED
    if bool(((whole.start < size) & (whole.end > size)).any()):
        return INSIDE
    apart = bool(first) and ids[: len(first)] == first and len(ids) > len(first)
    return BORDER if apart and int(whole.end[len(first) - 1]) == size else SKIPPED


CHECKS = (
    Check(
        "byte-coverage",
        "charges tile the bytes of every text, in the order of the texts",
        check_byte_coverage,
        earns="A1",
    ),
    Check(
        "first-symbol",
        "the first token is scored, given BOS only",
        check_first_symbol,
        bars="A1",
    ),
    Check("single-bos", "BOS is given once and never scored", check_single_bos, bars="A1"),
    Check(
        "round-trip", "decoding the tokens of a text gives the text", check_round_trip, bars="A1"
    ),
    Check("chain-rule", "bits(a + b) = bits(a) + bits(b after a)", check_chain_rule, bars="A1"),
)
