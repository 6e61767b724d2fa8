"""Checks of isolation: the bits of a text do not depend on the texts beside it or before it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from llmbench.adapter import Adapter, Request
from llmbench.conformance.check import Check, Failed, Subject, first_difference, show
from llmbench.conformance.checks.ledger import require_tiling
from llmbench.errors import Unsupported
from llmbench.inference.text.answer import stream_answers
from llmbench.ledger import Ledger

if TYPE_CHECKING:
    from torch import Tensor

CROWD = 100  # texts sent at once
TOTAL = 2e-5  # how far, relatively, the bits of a text may move with its company


def check_batch_invariance(subject: Subject) -> str:
    """A text has the same bits alone and beside others, in any order, whatever the padding."""
    part = subject.cut(subject.texts[-1], len(subject.texts[-1]) // 3)
    texts = (*subject.texts, subject.texts[0], "", part)
    alone = [subject.score(text)[0] for text in texts]
    for how, order in (
        ("together", range(len(texts))),
        ("in the opposite order", reversed(range(len(texts)))),
    ):
        chosen = list(order)
        for i, ledger in zip(chosen, subject.score(*(texts[i] for i in chosen)), strict=True):
            _require_same_bits(subject, texts[i], alone[i], ledger, how)
    return (
        f"{len(texts)} texts alone, together and in the opposite order, {_check_crowd(subject)} at"
        f" once{_check_padding(subject)}"
    )


def _require_same_bits(
    subject: Subject, text: str, alone: Ledger, ledger: Ledger, how: str
) -> None:
    """Raise Failed if the bits of a text beside others (`ledger`) are not those it has alone."""
    room = (subject.half or TOTAL) * max(1.0, alone.total())
    if subject.half:
        room = max(room, subject.most_rounded)
    if subject.noise:
        room = max(room, subject.noise.limit_sum(len(alone.bits)))
    if not subject.close(alone.bits, ledger.bits) or abs(alone.total() - ledger.total()) > room:
        cause = (
            "padding is seen by the model, rows of a batch influence each other, or results are"
            " given in another order"
        )
        raise Failed(
            f"{show(text)} alone and {how} with others",
            first_difference(alone.bits, ledger.bits),
            cause,
        )


def _check_crowd(subject: Subject) -> int:
    """A hundred texts of many lengths at once: what is sorted or cut into batches on the way comes
    back in order.
    """
    long = subject.joined
    count = CROWD // 4 if subject.large and not subject.thorough else CROWD
    many = [long[3 * i : 3 * i + 1 + (7 * i) % 45] for i in range(count)]
    if subject.tokens is not None and sum(map(subject.holds, many)) < count / 2:
        many = [subject.draw(1 + (7 * i) % 20) for i in range(count)]
    texts, ledgers = subject.score_accepted(many)
    for i, (text, ledger) in enumerate(zip(texts, ledgers, strict=True)):
        require_tiling(ledger, text)
        if i % 12 == 0:
            _require_same_bits(
                subject, text, subject.score(text)[0], ledger, f"as number {i} of {len(texts)}"
            )
    return len(texts)


def _check_padding(subject: Subject) -> str:
    """The same for rows of ids, padded on the right and, if the model takes that, on the left."""
    model = subject.tokens
    if model is None:
        return ""
    import torch

    ids = torch.tensor(
        [*model.bos_ids, *model.encode(subject.texts[1]).ids.tolist()], device=model.device
    )[: model.context]
    room = 7 if model.context is None else min(7, model.context - len(ids))
    if room < 1 and len(ids) > 4:
        ids, room = ids[:-3], 3
    padding = torch.full((room,), model.bos_ids[0], device=model.device)
    other = torch.cat([ids.flip(0), padding])
    with torch.inference_mode():
        want = model.logits(ids[None])[0].float()
        got = model.logits(torch.stack([torch.cat([ids, padding]), other]))[0, : len(ids)].float()
    _require_same_logits(
        subject,
        want,
        got,
        f"{len(ids)} ids alone, and with {room} ids of padding behind them, beside another row",
    )
    if not model.supports_padding:
        return "; padding behind"
    ids = ids[:5]  # behind few ids padding is seen by a model that soon forgets, too
    with torch.inference_mode():
        want = model.prefill(ids[None])[1][0].float()
        rows = torch.stack([torch.cat([padding, ids]), torch.cat([padding, ids.flip(0)])])
        got = model.prefill_padded(rows, [len(ids)] * 2)[1][0].float()
    _require_same_logits(
        subject, want, got, f"{len(ids)} ids alone, and with {room} ids of padding before them"
    )
    return "; padding behind and before"


def _require_same_logits(subject: Subject, want: Tensor, got: Tensor, sent: str) -> None:
    """Raise Failed if the log-probabilities of two tensors of logits differ. `sent`: the input."""
    import torch

    one, other = (torch.log_softmax(rows, -1).flatten() for rows in (want, got))
    if not torch.allclose(one, other, rtol=1e-3, atol=subject.room(want, batched=True)):
        at = float((one - other).abs().max())
        raise Failed(
            sent,
            f"log-probabilities that differ by up to {at:.4g} nats",
            "padding is seen by the model, or rows influence each other",
        )


def check_state_isolation(subject: Subject) -> str:
    """What was asked before leaves nothing behind: a text has the same bits after this one, after
    that one, and after speaking.
    """
    text, (before, after) = subject.fresh(), subject.texts[1:3]
    subject.score(before)
    first = subject.score(text)[0].bits
    subject.score(after)
    if subject.holds(after[::-1]):
        subject.score(after[::-1])
    ways = [
        ("after another text", subject.score(text)[0].bits),
        ("a second time", subject.score(text)[0].bits),
    ]
    if type(subject.adapter).generate is not Adapter.generate:
        with suppress(Unsupported):
            for _ in stream_answers(subject.adapter, [Request(before, max_tokens=5)]):
                pass
            ways.append(("after speaking", subject.score(text)[0].bits))
    for how, bits in ways:
        if not subject.close(first, bits):
            raise Failed(
                f"{show(text)}, again {how}",
                first_difference(first, bits),
                "a state or a cache is kept from one text to the next",
            )
    return f"one text {', '.join(how for how, _ in ways)}"


CHECKS = (
    Check(
        "batch-invariance",
        "bits do not depend on the other texts of a batch, their order, or padding",
        check_batch_invariance,
        earns="A1",
    ),
    Check(
        "state-isolation",
        "nothing is left over from the text before",
        check_state_isolation,
        bars="A1",
    ),
)
