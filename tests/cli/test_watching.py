"""A model whose native code dies ends a command with one line; signals reach the model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from support import forks, run_helpers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can watch")
MODELS = """\
import os, signal
from llmbench import TokenAdapter, Tokens


class Dies(TokenAdapter):
    context, bos_ids = None, (256,)

    def encode(self, text):
        data = text.encode()
        return Tokens.of(list(data), [bytes([b]) for b in data])

    def decode(self, ids):
        return bytes(ids)

    def logits(self, ids):
        os.kill(os.getpid(), signal.SIGSEGV)


class Waits(Dies):
    def __init__(self):
        print("ready", flush=True)
        signal.pause()
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "native.py").write_text(MODELS)
    (tmp_path / "text.txt").write_text("a kettle")
    return tmp_path


@pytest.mark.parametrize("command", ["score {} text.txt", "check {}", "generate {} Hi"])
def test_a_segmentation_fault_is_one_line_that_names_the_model(place, command):
    words = command.format("native.py:Dies").split()
    done = run_helpers.llmbench(*words, cwd=place)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "llmbench: native.py:Dies: the model's process was killed by the signal SIGSEGV (a fault of"
        " its engine: run it in a suite, in which other models go on)"
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_signal_ends_the_model_as_well(place, number, code):
    root = forks.TESTS.parent
    with subprocess.Popen(
        [sys.executable, "-m", "llmbench", "score", "native.py:Waits", "text.txt"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(20) == code
        assert process.stdout.read() == ""  # until nobody can write any more
