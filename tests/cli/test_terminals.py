"""Commands in a real terminal of 80 and of 120 columns: nothing that they write is wider, so that
no row is broken.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len
from support import forks
from support.wide_record import build_data, write_items

from llmbench.results.record import Record

CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\]8;[^\x1b\x07]*(?:\x1b\\|\x07)")
SUITE = """\
name: tiny
version: 1
texts:
  test: {source: test.txt}
tasks:
  - {task: likelihood, text: test}
models: [uniform-bytes, zlib]
"""


def run_in_terminal(columns: int, folder: Path, *arguments: str) -> list[str]:
    """Run llmbench with a terminal as its stdout and stderr; return the lines that stay or are
    drawn over, as they are seen.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    settings = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    child = start_in_terminal(slave, arguments, folder, {**settings, "TERM": "xterm-256color"})
    os.close(slave)
    written = b""
    while piece := read_piece(master):
        written += piece
    os.close(master)
    assert child.wait() == 0, written.decode()
    return re.split(r"[\r\n]+", CONTROL.sub("", written.decode()))


def start_in_terminal(slave, arguments, folder, environment):
    if forks.can_be_forked(environment):
        child = forks.Process(["llmbench", *arguments], folder, environment, slave)
        child.stdout.close()
        return child
    return subprocess.Popen(
        [sys.executable, "-m", "llmbench", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env=environment,
    )


def read_piece(master: int) -> bytes:
    """What the terminal was sent; nothing once its last writer has gone."""
    try:
        return os.read(master, 1 << 16)
    except OSError:
        return b""


def find_wide(lines: list[str], columns: int) -> list[str]:
    """Lines that are wider, but for paths, which have no place to break them."""
    return [
        line
        for line in lines
        if cell_len(line) > columns and not re.search(r"file://|^wrote ", line)
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two runs of other machines, with long names, notes and samples."""
    folder = tmp_path_factory.mktemp("runs")
    for number in range(2):
        whole = build_data(8, 2, seed=number)
        whole["machine"] |= {"cpu": f"A processor with a rather long name, number {number + 1}"}
        Record.model_validate(whole).write(folder / f"run-{number}")
        write_items(folder / f"run-{number}", 8, 2, items=30)
    (folder / "tiny.yaml").write_text(SUITE)
    (folder / "test.txt").write_text("The kettle counted. One, it said; two, it said.\n" * 20)
    return folder


@pytest.mark.parametrize(
    ("command", "columns"),
    [
        ("report run-0", 80),
        ("report run-0", 120),
        ("leaderboard run-0 run-1", 80),
        ("leaderboard run-0 run-1", 120),
        ("compare run-0 run-1", 80),
        ("compare run-0 run-1", 120),
        ("run tiny.yaml --out new", 80),
    ],
)
def test_no_row_is_wider_than_the_terminal(runs, command, columns):
    lines = run_in_terminal(columns, runs, *command.split())
    assert len(lines) > 10
    assert find_wide(lines, columns) == []
    assert max(map(cell_len, lines)) > 70
