"""Translation: a source in, a target out, held against a reference by BLEU, chrF and TER."""

from __future__ import annotations

from llmbench.tasks.writing import Writing


class Translation(Writing):
    protocol = "translation/1"
    metrics = ("bleu", "chrf", "ter")
