"""A metric: the share of sentence ends that are questions or exclamations."""

from __future__ import annotations

from llmbench import Metric, TextMetric


class LivelyEnds(TextMetric):
    """Question and exclamation marks over all marks that end a sentence."""

    metric = Metric(
        "lively_ends",
        "share",
        None,
        "? and ! over all of . ? ! in the answers",
        format="percent",
        test="ratio",
    )
    signature = "v:1"
    needs_reference = False

    def statistics(self, output: str, reference: str) -> list[float]:
        lively = sum(output.count(mark) for mark in "?!")
        ends = lively + output.count(".")
        return [float(lively), float(ends)] if ends else []
