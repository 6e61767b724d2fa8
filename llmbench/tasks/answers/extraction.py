"""What of a text is held against a reference: a part that a pattern finds, without what it ignores.

The rules are those of lm-evaluation-harness: of all matches the first or the last; of a match its
first group that holds something, without white space around it; and of both sides what `ignore`
matches is removed before they are compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import regex
from pydantic import AfterValidator, Field

from llmbench import limits
from llmbench.config.strict_yaml import Name, Strict
from llmbench.errors import ModelError

NOTHING = "[invalid]"  # what stands for an answer in which nothing is found, as in lm-eval


def _check_pattern(pattern: str) -> str:
    """The pattern, if it is one. ValueError otherwise."""
    try:
        re.compile(pattern)
        regex.compile(pattern)
    except (re.error, regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the regex {pattern!r} is wrong: {error}") from None
    return pattern


def _refuse_slow(pattern: str) -> ModelError:
    return ModelError(
        f"the regex {pattern!r} takes longer than {limits.REGEX_SECONDS:g} s on an answer",
        hint="make it simpler: without a repetition inside a repetition, as in (a+)+",
    )


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_check_pattern)]


class Extract(Strict):
    """A part of an answer that is held against the reference."""

    name: Name = Field(description="what its scores are called, besides those of the first one")
    regex: Pattern = Field(description="what is looked for; its first group that holds something")
    pick: Literal["first", "last"] = Field("first", description="of several matches")

    def find(self, text: str) -> str:
        """Return the part of a text; NOTHING if there is none."""
        compiled = regex.compile(self.regex)
        try:
            found = compiled.findall(text, timeout=limits.REGEX_SECONDS)
        except TimeoutError:
            raise _refuse_slow(self.regex) from None
        if not found:
            return NOTHING
        match = found[0 if self.pick == "first" else -1]
        if isinstance(match, tuple):
            match = next(filter(None, match), NOTHING)
        return str(match).strip()


@dataclass(frozen=True)
class Reading:
    """How an answer is read before it is scored. `empty`: an answer that says that there is none,
    read as an empty one.
    """

    ignore: Sequence[str] = ()
    ignore_case: bool = False
    empty: str = ""
    extract: Extract | None = None

    @property
    def signature(self) -> dict[str, str]:
        """What of these rules a score depends on, as parts of its signature."""
        found = {}
        if self.extract is not None:
            found["extract"] = f"{self.extract.pick} {self.extract.regex!r}"
        if self.ignore:
            found["ignore"] = repr(list(self.ignore))
        if self.ignore_case:
            found["case"] = "ignored"
        if self.empty:
            found["no_answer"] = repr(self.empty)
        return found

    def read(self, output: str) -> str:
        """Return the answer that an output gives."""
        if self.empty and output.strip().rstrip(".").casefold() == self.empty.casefold():
            return ""
        return self.clean(self.extract.find(output) if self.extract else output)

    def clean(self, text: str) -> str:
        """Return an answer, or a reference, without what is ignored."""
        for pattern in self.ignore:
            try:
                text = regex.sub(pattern, "", text, timeout=limits.REGEX_SECONDS)
            except TimeoutError:
                raise _refuse_slow(pattern) from None
        return text.lower() if self.ignore_case else text
