"""Short answers to questions: exact match and the overlap of words."""

from __future__ import annotations

from llmbench.tasks.writing import Writing


class Answer(Writing):
    protocol = "answer/1"
    metrics = ("exact_match", "f1")
