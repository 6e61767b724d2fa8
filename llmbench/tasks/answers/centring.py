"""Accuracy above a baseline, (accuracy - baseline) / (1 - baseline), as in DCLM's CORE (Li et al.
2024, DataComp-LM).

The baseline is what guessing, or always giving the most common answer, reaches, as the authors of
the task have published it. The map is affine, so intervals and paired tests are those of accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from llmbench.metrics.facts import FACTS
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import SampleRow
from llmbench.results.signature import Signature

CENTRED = FACTS["centred_accuracy"]
BASELINE: float | None = Field(
    None,
    ge=0,
    lt=1,
    strict=False,
    description="the accuracy that counts as 0: adds `centred_accuracy`, (accuracy - baseline) / (1"
    " - baseline)",
)


def centre(accuracy: float, baseline: float) -> float:
    """Return an accuracy on the scale on which the baseline is 0 and all right is 1."""
    return (accuracy - baseline) / (1 - baseline)


def add_centred(samples: Sequence[SampleRow], baseline: float) -> None:
    """Put into the statistics of each sample what it adds to the centred accuracy."""
    for sample in samples:
        hit, _ = sample["statistics"]["accuracy"]
        sample["statistics"][CENTRED.name] = [centre(hit, baseline), 1.0]


def score_centred(accuracy: ScoreRow, baseline: float) -> ScoreRow:
    """Return the score of the centred accuracy from that of the accuracy, its interval with it."""
    low, high = (
        None if end is None else centre(end, baseline)
        for end in (accuracy["low"], accuracy["high"])
    )
    signature = Signature.parse(accuracy["signature"]).extend(baseline=f"{baseline:g}")
    value = centre(accuracy["value"], baseline)
    return CENTRED.row(value, accuracy["n"], str(signature), low, high)
