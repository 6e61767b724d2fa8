"""Tell what a file holds: rows or one text by its name's ending, and by its bytes if the name
misleads.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from llmbench.errors import UsageError

Format = Literal["text", "json lines", "json", "csv", "tsv"]

FORMATS: dict[str, Format] = {
    ".jsonl": "json lines",
    ".jsonlines": "json lines",
    ".ndjson": "json lines",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
}
PROSE = (".txt", ".text", ".md")  # endings of files that are one text, whatever is in it

# Endings of files that are no text as they stand
UNREAD = {
    **dict.fromkeys((".parquet", ".arrow", ".feather", ".xlsx", ".ods"), "rows"),
    **dict.fromkeys((".bz2", ".xz", ".zst", ".zip", ".7z", ".tar", ".tgz", ".lz4"), "compressed"),
    **dict.fromkeys((".pdf", ".docx", ".odt", ".epub", ".rtf"), "a formatted document"),
    **dict.fromkeys(
        (".gguf", ".safetensors", ".pt", ".bin", ".npy", ".npz", ".pkl"), "numbers, not text"
    ),
}

# First bytes of files that are not UTF-8, and what to do about it
SIGNS = {
    b"\x1f\x8b": "it is gzip; name it .gz, as in NAME.txt.gz or NAME.jsonl.gz",
    b"\xff\xfe": "it looks like UTF-16; convert it to UTF-8 first",
    b"\xfe\xff": "it looks like UTF-16; convert it to UTF-8 first",
    b"\x28\xb5\x2f\xfd": "it is zstd; unpack it first",
    b"\xfd7zXZ": "it is xz; unpack it first",
    b"BZh": "it is bzip2; unpack it first",
    b"PK\x03\x04": "it is a zip archive; unpack it first",
    b"PAR1": "it is Parquet; convert it to .jsonl",
    b"%PDF": "it is a PDF; convert it to plain text first",
}


def format_of(path: Path) -> Format:
    """The format of a file by the ending of its name. Raises UsageError if it cannot be read."""
    endings = _list_endings(path)
    last = endings[-1] if endings else ""
    if last in UNREAD:
        raise UsageError(
            f"a {last} file cannot be read: it holds {UNREAD[last]}",
            where=str(path),
            hint=f"convert it to one of {', '.join(FORMATS)}, or .txt",
        )
    rows = _find_rows(endings)
    if rows and last not in (*FORMATS, *PROSE):
        raise UsageError(
            f"a {rows} file with {last} after its name would be read as one text",
            where=str(path),
            hint=f"let its name end in {rows}",
        )
    return FORMATS.get(last, "text")


def check_prose(text: str, path: Path) -> None:
    """Raise UsageError if what is to be one text is rows of JSON, and the name does not say that it
    is a text all the same.
    """
    endings = _list_endings(path)
    if endings and endings[-1] in PROSE and not _find_rows(endings):
        return
    found = _detect_json(text)
    if found:
        ending, name = (".jsonl", "JSON lines") if found == "json lines" else (".json", "JSON")
        raise UsageError(
            f"looks like {name}, and would be one text",
            where=str(path),
            hint=f"name it {ending}{'.gz' if path.suffix.lower() == '.gz' else ''}, or .txt if it"
            " is a text as it stands",
        )


def explain_bytes(raw: bytes) -> str:
    """Return what to do about bytes that are not UTF-8."""
    return next(
        (what for sign, what in SIGNS.items() if raw.startswith(sign)),
        "convert the file to UTF-8 first",
    )


def _list_endings(path: Path) -> list[str]:
    """The endings of a name in lower case, without the .gz of a file that is unpacked."""
    endings = [ending.lower() for ending in path.suffixes]
    return endings[:-1] if endings and endings[-1] == ".gz" else endings


def _find_rows(endings: list[str]) -> str:
    """The last ending of a file of rows; "" if there is none."""
    return next((ending for ending in reversed(endings) if ending in FORMATS), "")


def _detect_json(text: str) -> Literal["json lines", "json", ""]:
    """Whether a text is an object on each of its first lines, or an array of objects."""
    begin = re.match(r"\s*(\[?)\s*(?=\{)", text)
    if begin is None:
        return ""
    try:
        _, end = json.JSONDecoder().raw_decode(text, begin.end())
    except (ValueError, RecursionError):
        return ""
    after = re.compile(r"([^\S\n]*)(\n?)\s*(.?)", re.DOTALL).match(text, end)
    assert after is not None  # it matches nothing, too
    if begin[1]:
        return "json" if after[3] in (",", "]") else ""
    is_line = "\n" not in text[begin.end() : end] and (after[2] or not after[3])
    return "json lines" if is_line and after[3] in ("", "{") else ""
