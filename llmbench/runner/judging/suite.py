"""The judges of a suite, at the end of its run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from llmbench import system
from llmbench.plan.plan import Plan
from llmbench.plan.suite_file import JudgeEntry


def judge_suite(planned: Plan, say: Callable[[str], None]) -> bool:
    """Let each judge of a suite judge what there is; return whether all have, and say what not.

    Each is a process of its own, as `llmbench judge` is: this one loads no model, and one that a
    judge kills would take the board with it.
    """
    is_well = True
    for number, entry in enumerate(planned.suite.file.judges):
        if len(planned.models) + entry.human < 2:
            say(f"{entry.model} judges nothing: there are not two answers to a prompt")
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = _write_command(planned, planned.suite.name_judge(number), entry, folder)
            offline = {"HF_HUB_OFFLINE": "1"} if planned.options.offline else {}
            done = subprocess.run(
                command,
                env={**os.environ, **offline},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                check=False,
                # a run that is killed leaves no judge behind that goes on asking
                preexec_fn=system.end_with_parent if system.LINUX else None,
            )
        if done.returncode:
            is_well = False
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            say(f"the judge {entry.model} failed: {lines[-1] if lines else 'without a word'}")
    return is_well


def _write_command(planned: Plan, spec: str, entry: JudgeEntry, folder: str) -> list[str]:
    """The command line of a judge; what makes an answer better is put into a file."""
    options = planned.options
    command = [sys.executable, "-m", "llmbench", "judge", str(planned.out), "--with", spec]
    command += ["--kind", entry.kind, "--task", entry.of, "--pairs", str(entry.pairs)]
    command += ["--device", options.device, "--seed", str(options.seed)]
    if options.threads is not None:
        command += ["--threads", str(options.threads)]
    if entry.human:
        command.append("--human")
    if entry.rubric:
        file = Path(folder) / "rubric.txt"
        file.write_text(entry.rubric, encoding="utf-8")
        command += ["--rubric", str(file)]
    return command
