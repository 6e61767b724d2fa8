"""Give a checkout the version of a tag, before it is built: prepare_release.py v1.2.3.

The tag decides: it is written into llmbench/__init__.py, from which the build reads it, and into
CITATION.cff. Refused are tags that are no version, and versions that CHANGELOG.md has no dated
section for. What the section says is printed: the notes of the release.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

TAG = re.compile(r"v((?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:(?:a|b|rc)[1-9]\d*)?)")
# files that say the version, and the line of each
PLACES = {
    "llmbench/__init__.py": (r'^__version__ = ".*"$', '__version__ = "{}"'),
    "CITATION.cff": (r"^version: .*$", "version: {}"),
}


def find_version(tag: str) -> str:
    """Return the version of a tag such as v1.2.3 or v1.2.3rc1. SystemExit if it is none."""
    found = TAG.fullmatch(tag)
    if found is None:
        raise SystemExit(f"{tag}: not a version (a tag is like v1.2.3 or v1.2.3rc1)")
    return found[1]


def find_notes(changelog: str, version: str) -> str:
    """Return the section of a version, which its final release names too. SystemExit if there is
    none, or it has no date.
    """
    final = re.sub(r"(?:a|b|rc)\d+$", "", version)
    for name in (version, final):
        head = rf"^## \[{re.escape(name)}\] - \d{{4}}-\d{{2}}-\d{{2}}$"
        found = re.search(rf"{head}\n(.*?)(?=^## \[|^\[[^\]]+\]: |\Z)", changelog, re.M | re.S)
        if found is not None:
            return found[1].strip()
    raise SystemExit(
        f"CHANGELOG.md has no section for {final} (move what is in [Unreleased] to"
        f" '## [{final}] - YYYY-MM-DD')"
    )


def prepare(root: Path, tag: str) -> str:
    """Write the version of a tag into a checkout; return the notes of its release."""
    version = find_version(tag)
    notes = find_notes((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    for name, (pattern, line) in PLACES.items():
        text = (root / name).read_text(encoding="utf-8")
        text, count = re.subn(pattern, line.format(version), text, flags=re.MULTILINE)
        if count != 1:
            raise SystemExit(f"{name}: expected one line with the version, found {count}")
        (root / name).write_text(text, encoding="utf-8")
    return notes


if __name__ == "__main__":
    sys.stdout.write(prepare(Path(__file__).parents[1], sys.argv[1]) + "\n")
