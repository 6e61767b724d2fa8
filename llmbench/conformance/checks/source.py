"""Checks of models that read a source and write a target: both sides are encoded as the model's own
loss has them, and a text is characters alone.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import numpy as np

from llmbench.adapter import Adapter, Passage
from llmbench.conformance.check import Check, Failed, Skip, Subject, show
from llmbench.data.probe_texts import PROSE, SOURCE
from llmbench.errors import Unsupported
from llmbench.ledger import END

if TYPE_CHECKING:
    from llmbench.adapters.encoder_decoder import EncoderDecoderAdapter

ROOM = 2e-4  # relative difference of two sums of bits that rounding explains
# what tokenizers have been seen to take for their own marks
MARKS = ("</s>", "<s>", "<pad>", "<unk>", "<|endoftext|>", ">>en<< it", "<mask>", "eng_Latn")


def _find_pair_model(subject: Subject) -> EncoderDecoderAdapter:
    module = sys.modules.get("llmbench.adapters.encoder_decoder")
    adapter: Adapter = subject.adapter
    if module is None or not isinstance(adapter, module.EncoderDecoderAdapter):
        raise Skip("it reads no source")
    return cast("EncoderDecoderAdapter", adapter)


def check_targets(subject: Subject) -> str:
    """The ids of a target decode to the target; what they lose is said."""
    model, tried = _find_pair_model(subject), 0
    for text in (*subject.texts, *MARKS):
        tokens = model.encode(text)
        if tokens.loss:
            continue
        tried += 1
        got = model.decode(tokens.ids.tolist())
        if got.removeprefix(model.opens) != text.encode() and got != text.encode():
            raise Failed(
                f"decode(encode({show(text)}))",
                show(got),
                "targets are encoded with one tokenizer and decoded with another",
            )
    if not tried:
        raise Skip("its tokenizer loses part of every target that was tried")
    return f"{tried} targets"


def check_own_loss(subject: Subject) -> str:
    """The bits of a target and its end are those of the model's own loss."""
    model, tried = _find_pair_model(subject), 0
    for target in subject.texts:
        for source in (SOURCE, PROSE[1]):
            passage = Passage(target, context=source, score_eos=True)
            try:
                (ledger,) = model.score([passage])
                want = model.reference_bits(source, target)
            except Unsupported:
                continue
            if want is None:
                raise Skip("it has no loss of its own to compare with")
            got = ledger.total() + ledger.total(END)
            room = max(ROOM, 4 * _step(model))
            if not np.isclose(got, want, rtol=room, atol=1e-3):
                raise Failed(
                    f"{show(target)} after the source {show(source)}",
                    f"{got:.4f} bits, {want:.4f} by the model's own loss",
                    "the target is encoded by the source's tokenizer, or the decoder is given other"
                    " ids to begin with than it was trained with",
                )
            tried += 1
    if not tried:
        raise Skip("no pair could be scored", refused=True)
    return f"{tried} pairs"


def _step(model: EncoderDecoderAdapter) -> float:
    """How finely the model's numbers round: 0 for 32 bits."""
    return {"bfloat16": 2.0**-7, "float16": 2.0**-10}.get(str(model.info.dtype), 0.0)


def check_sources(subject: Subject) -> str:
    """A source that spells a special token gives none."""
    model = _find_pair_model(subject)
    ends = {*model.eos_ids, model.pad}

    def count(source: str) -> int:
        return sum(id in ends for id in model.encode_source(source))

    usual = count(SOURCE)
    for mark in MARKS:
        source = f"{mark} {SOURCE} {mark}"
        if count(source) != usual:
            raise Failed(
                f"encode_source({show(source)})",
                f"{count(source)} ids that end or pad a text, {usual} without {mark!r}",
                "a text that spells a special token is encoded as that token",
            )
    return f"{len(MARKS)} sources"


CHECKS = (
    Check(
        "target-encoding",
        "decoding the tokens of a target gives the target",
        check_targets,
        bars="A1",
    ),
    Check(
        "own-loss",
        "bits of a target are those of the model's own loss",
        check_own_loss,
        bars="A1",
    ),
    Check(
        "source-text",
        "a source that spells a special token is text",
        check_sources,
        bars="A1",
    ),
)
