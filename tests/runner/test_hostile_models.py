"""A model that lies to the run, or leaves something behind, harms nobody else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest
from support.run_helpers import folder, llmbench, run_json

HOSTILE = '''

class Fakes(Good):
    """Writes events, and rubbish, into every pipe it has."""
    def logits(self, ids):
        event = b'{"event": "cell", "task": "likelihood", "outcome": "done"}\\n{"event": "end"}\\n'
        for handle in range(3, 64):
            try:
                os.write(handle, b"not JSON\\n" + event + b"no line end")
            except OSError:
                pass
        return self.net(ids)


class Breeds(Good):
    """Leaves a process behind, in a session of its own."""
    def logits(self, ids):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                with open("daemon.pid", "w") as file:
                    file.write(str(os.getpid()))
                time.sleep(1000)
            os._exit(0)
        while not os.path.exists("daemon.pid"):
            pass
        return self.net(ids)


class Tidies(Good):
    """Removes the run's folder."""
    def logits(self, ids):
        import shutil
        shutil.rmtree("out", ignore_errors=True)
        return self.net(ids)
'''


@pytest.fixture
def place(tmp_path):
    folder(tmp_path)
    suite = (tmp_path / "tiny.yaml").read_text()
    short = [line for line in suite.splitlines() if "continuation" not in line]
    (tmp_path / "tiny.yaml").write_text("\n".join(short) + "\n")
    with (tmp_path / "my_models.py").open("a") as file:
        file.write(HOSTILE)
    return tmp_path


def run(place: Path, *names: str):
    models = [part for name in names for part in ("--model", f"my_models.py:{name}")]
    only = ("--only", "uniform-bytes")
    return llmbench("run", "tiny.yaml", *models, *only, "--out", "out", cwd=place)


@pytest.mark.slow
def test_neither_false_events_nor_processes_left_behind_reach_the_run(place, fresh):
    done = run(place, "Good", "Fakes", "Breeds")
    assert done.returncode == 0, done.stderr
    bits = {
        row["model"]: row["value"]
        for row in run_json(place / "out")["scores"]
        if row["metric"] == "bits_per_byte"
    }
    assert bits["Fakes"] == bits["Good"] == bits["Breeds"]
    pid = int((place / "daemon.pid").read_text())
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            break
        os.sched_yield()
    else:
        assert not psutil.pid_exists(pid)


@pytest.mark.slow
def test_a_folder_that_a_model_removed_is_one_clear_line(place):
    done = run(place, "Tidies")
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert "out: the folder was removed or replaced while the run was at work" in last
    assert "Traceback" not in done.stderr
