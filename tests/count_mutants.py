"""Count the mutants that the tests kill: `python tests/count_mutants.py`, after `mutmut run`.

For each module: how many of the mutants that change behaviour are killed. Two kinds of survivors
change none: a sentence in other letters, and those that tests/equivalent_mutants.txt lists with
the reason. Prints every other survivor, every listed one that there is no more, and a line for each
module. Exits with 1 if a module is below 95 % or a mutant was not tried.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

LEAST = 0.95
LISTED = Path(__file__).parent / "equivalent_mutants.txt"
LITERAL = re.compile(r'"([^"]*)"')
Kind = Literal["killed", "wording", "equivalent", "survived", "not tried"]


class Change(NamedTuple):
    """A mutant: its function, as `llmbench/ledger.py Ledger.check`, and its lines of the diff."""

    place: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.place}\n- {self.old}\n+ {self.new}\n"


def parse(text: str) -> dict[Change, str]:
    """The listed mutants and why each changes nothing. A block is a function, a line of it after
    `-`, and each of its mutants after a `+`; the reason above it holds for all blocks below it.
    """
    found, reason = {}, ""
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        comment = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
        reason = " ".join(comment) or reason
        place, *code = lines[len(comment) :] or [""]
        old = [line for line in code if line.startswith("-")]
        found |= {change(place, [*old, line]): reason for line in code if line.startswith("+")}
    return found


def change(place: str, diff: Iterable[str]) -> Change:
    """A mutant from a diff; white space between its words does not count."""
    lines = [line for line in diff if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    sides = (
        " ".join(" ".join(line[1:] for line in lines if line[0] == sign).split()) for sign in "-+"
    )
    return Change(place, *sides)


def is_wording(old: str, new: str) -> bool:
    """Whether only the letters' case, or an added XX, tells two lines apart, in text with spaces:
    a name, a key or a format has none.
    """
    before, after = LITERAL.findall(old), LITERAL.findall(new)
    return LITERAL.sub('""', old) == LITERAL.sub('""', new) and all(
        one == other or (" " in one and one.casefold() == other.replace("XX", "").casefold())
        for one, other in zip(before, after, strict=True)
    )


def mutants() -> Iterable[tuple[str, str, Change]]:
    """Module, status and change of each mutant in mutants/."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        for key, code in data.exit_code_by_key.items():
            name, owner = orig_function_and_class_names_from_key(key)
            place = f"{path} {f'{owner}.' if owner else ''}{name.rpartition('.')[2]}"
            killed = status_by_exit_code[code] == "killed"
            diff = "" if killed else get_diff_for_mutant(key, path=path)
            yield str(path), status_by_exit_code[code], change(place, diff.splitlines())


def sort(status: str, found: Change, listed: Iterable[Change]) -> Kind:
    """What became of a mutant. One that takes for ever or ends the process is noticed, too."""
    if status in ("killed", "timeout", "segfault"):
        return "killed"
    if status == "not checked":
        return "not tried"
    if found in listed:
        return "equivalent"
    return "wording" if is_wording(found.old, found.new) else "survived"


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> int:
    listed = parse(LISTED.read_text())
    kinds: dict[str, Counter[Kind]] = {}
    seen = set()
    for path, status, found in mutants():
        kind = sort(status, found, listed)
        kinds.setdefault(path, Counter())[kind] += 1
        seen.add(found)
        if kind == "survived":
            say(found)
    for gone in listed.keys() - seen:
        say(f"listed, and not among the survivors: {gone}")
    fails = False
    for path, count in kinds.items():
        all_changes = count["killed"] + count["survived"]
        share = count["killed"] / max(1, all_changes)
        fails |= share < LEAST or bool(count["not tried"])
        say(
            f"{path}: {count['killed']} of {all_changes} killed ({100 * share:.1f} %); beside them"
            f" {count['wording']} of wording, {count['equivalent']} equivalent,"
            f" {count['not tried']} not tried"
        )
    return int(fails)


if __name__ == "__main__":
    sys.exit(main())
