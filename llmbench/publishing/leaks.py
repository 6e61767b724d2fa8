"""What must not be published: secrets, and paths of the machine that a run was made on."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from llmbench.errors import UsageError

# what keys and tokens of well-known services look like
PATTERNS = {
    "a token of Hugging Face": rb"\bhf_[A-Za-z0-9]{30,}",
    "an API key (sk-...)": rb"\bsk-[A-Za-z0-9_-]{32,}",
    "a token of GitHub": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})",
    "an access key of AWS": rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "an API key of Google": rb"\bAIza[A-Za-z0-9_-]{35}\b",
    "a token of Slack": rb"\bxox[abprs]-[A-Za-z0-9-]{20,}",
    "a private key": rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a password in an address": rb"\bhttps?://[^\s/:@\"']{1,64}:[^\s/@\"']{4,}@",
}
NAMED_SECRET = re.compile(r"(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY)", re.IGNORECASE)
LEAST_SECRET = 8  # characters: shorter values stand in texts by accident
LEAST_PATH = 5  # the same of a folder's path: `/tmp` alone says nothing of a machine
OVERLAP = 4096  # bytes that two pieces share, so that nothing is cut in two
PIECE = 1 << 22


def check_leaks(folder: Path, names: list[str], run: Path, settings: Mapping[str, str]) -> None:
    """Raise UsageError, which names the file and never the secret, if one of these files holds a
    secret or a path of this machine.

    run: the folder of the run. settings: environment variables; values of those that are named
    like secrets are looked for.
    """
    wanted = {
        **{f"the value of the environment variable {k}": v for k, v in _find_secrets(settings)},
        **{f"the path of {what}": path for what, path in _find_paths(run)},
    }
    exact = {what: _forms(value) for what, value in wanted.items()}
    patterns = {what: re.compile(pattern) for what, pattern in PATTERNS.items()}
    for name in names:
        for piece in _read_pieces(folder / name):
            found = next(
                (what for what, forms in exact.items() if any(form in piece for form in forms)),
                None,
            ) or next((what for what, one in patterns.items() if one.search(piece)), None)
            if found is not None:
                raise UsageError(
                    f"it holds {found}, so nothing is published",
                    where=name,
                    hint="publish without samples (--no-samples), or run again without it",
                )


def _find_secrets(settings: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in settings.items()
        if NAMED_SECRET.search(name) and len(value) >= LEAST_SECRET
    ]


def _find_paths(run: Path) -> Iterator[tuple[str, str]]:
    """What to call each folder that tells of this machine, and its path with a separator."""
    found = {"the run's folder": run.resolve().parent, "the temporary folder": None}
    with suppress(OSError, RuntimeError):
        found["the home folder"] = Path.home()
    with suppress(OSError):
        found["the current folder"] = Path.cwd()
    found["the temporary folder"] = Path(tempfile.gettempdir()).resolve()
    for what, folder in found.items():
        if folder is not None and len(path := str(folder)) >= LEAST_PATH:
            yield what, path + os.sep


def _forms(value: str) -> list[bytes]:
    """A value as it may stand in a file: as it is, and within JSON."""
    plain = value.encode("utf-8", "surrogateescape")
    return list(dict.fromkeys([plain, plain.replace(b"\\", b"\\\\"), plain.replace(b"/", b"\\/")]))


def _read_pieces(file: Path) -> Iterator[bytes]:
    rest = b""
    with file.open("rb") as handle:
        while piece := handle.read(PIECE):
            piece = rest + piece
            yield piece
            rest = piece[-OVERLAP:]
