"""Runs as a user does them: the program in a child process, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from support import forks

SUITE = """\
name: tiny
version: 1
texts:
  train: {source: train.txt}
  valid: {source: valid.txt}
  test: {source: test.jsonl}
tasks:
  - {task: likelihood, text: test}
  - {task: continuation, prompts: ["The "], max_bytes: 20}
models: [uniform-bytes, byte-ngram, zlib]
"""

MODELS = '''\
import os, time, torch
from llmbench.adapters.token import TokenAdapter, Tokens


class Good(TokenAdapter):
    """Bytes, untrained."""
    context = 32
    bos_ids = (256,)

    def __init__(self):
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Embedding(257, 8), torch.nn.Linear(8, 256))

    def encode(self, text):
        data = text.encode()
        return Tokens.of(list(data), [bytes([b]) for b in data])

    def decode(self, ids):
        return bytes(i for i in ids if i < 256)

    def logits(self, ids):
        return self.net(ids)


class Raises(Good):
    def logits(self, ids):
        raise ValueError("a bad day")


class NoStart(Good):
    def __init__(self):
        raise RuntimeError("weights are missing")


class Nan(Good):
    def logits(self, ids):
        return self.net(ids) * float("nan")


class Shape(Good):
    def logits(self, ids):
        return self.net(ids)[:, -1]


class Hungry(Good):
    def logits(self, ids):
        raise MemoryError("no more")


class Dies(Good):
    """Killed in the middle, unless the file says that all is well."""
    def logits(self, ids):
        if not os.path.exists("well"):
            os.kill(os.getpid(), 9)
        return self.net(ids)


class Hangs(Good):
    def logits(self, ids):
        time.sleep(1000)


class Loud(Good):
    def logits(self, ids):
        print("{not an event}")
        return self.net(ids)


class Rude(Good):
    def logits(self, ids):
        raise SystemExit(3)
'''


def folder(tmp_path: Path) -> Path:
    """A folder with a suite, its texts and models of every temper."""
    text = (
        "The tap dripped, and the kettle counted. One, it said; two, it said; and then it lost"
        " count and began again.\n"
    )
    (tmp_path / "tiny.yaml").write_text(SUITE)
    (tmp_path / "train.txt").write_text(text * 20)
    (tmp_path / "valid.txt").write_text(text[::-1])
    rows = [{"id": f"d{i}", "text": text[i:] + f"Number {i}."} for i in range(12)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "my_models.py").write_text(MODELS)
    return tmp_path


def with_support() -> dict[str, str]:
    """The environment of a child process whose models import `support`."""
    return forks.add_tests(os.environ)


def llmbench(*arguments: str, cwd: Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return forks.run(["llmbench", *arguments], cwd=cwd, env=with_support(), timeout=timeout)


def started(*arguments: str, cwd: Path) -> subprocess.Popen[str] | forks.Process:
    """The program, started and not waited for; Ctrl-C reaches it even where the tests themselves
    run with it ignored, as in a script's background.
    """
    if forks.can_be_forked(environment := with_support()):
        return forks.Process(["llmbench", *arguments], cwd, environment)
    command = [sys.executable, "-m", "llmbench", *arguments]
    # the child's own affair, before it becomes Python
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=heed,
    )


def run_json(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())
