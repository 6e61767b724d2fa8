"""What shards cost: the run's own time for each, and a divided cell beside an undivided one.

pytest tests/benchmarks/test_shards.py --benchmark-only -n 0 -s
"""

from __future__ import annotations

import statistics
import time
import tracemalloc

import pytest
from support.known import quiet
from support.long_cells import write_model, write_suite

from llmbench.adapter import Window
from llmbench.data.text import Document, Text
from llmbench.plan import plan
from llmbench.runner.engine.batch import Crew, run_batch
from llmbench.runner.folder.run_folder import open_folder
from llmbench.runner.progress import Silent
from llmbench.tasks.likelihood import Likelihood
from llmbench.tasks.shards import running
from llmbench.tasks.shards.files import Shelf
from llmbench.testing import MockAdapter

SHARDS = 10_000
PAIRS = 5


class Busy:
    """A worker that computes nothing and says that it wrote a great many shards."""

    late, is_gone = False, False

    def __init__(self, count):
        self.count, self.marks = count, []

    def send(self, message):
        self.reply = message

    def events(self, timeout):
        edges = list(range(self.count + 1))
        for number in range(self.count):
            yield {"event": "claim", "task": "likelihood", "edges": edges if not number else []}
            assert self.reply["span"] == [number, number + 1]
            name = f"{number:08}.npz"
            yield {"event": "shard", "task": "likelihood", "name": name, "digest": "0" * 64}
            if number % (self.count // 10) == 0:
                self.marks.append(tracemalloc.get_traced_memory()[0])
        yield {"event": "claim", "task": "likelihood", "edges": []}
        said = {"reason": "error", "message": "it has computed nothing", "hint": ""}
        yield {"event": "failed", "task": "likelihood", **said}
        yield {"event": "end"}

    def explain_end(self, timeout):
        return "crashed", "", ""

    def wait(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.fixture
def crew(tmp_path, monkeypatch):
    write_suite(tmp_path)
    write_model(tmp_path, parent=False)
    monkeypatch.chdir(tmp_path)
    made = plan.plan("long.yaml", plan.Options(models=("uniform-bytes",), out=tmp_path / "out"))
    with open_folder(made) as folder:
        yield Crew(folder, Silent())


def test_the_run_takes_little_time_and_memory_for_a_shard(crew, benchmark):
    made, busy = crew.folder.made, Busy(SHARDS)

    def follow():
        begun = time.process_time()
        run_batch(crew, made.cards[0], made.suite.tasks, {}, lambda: busy)
        return time.process_time() - begun

    tracemalloc.start()
    seconds = benchmark.pedantic(follow, rounds=1)
    each, grown = 1000 * seconds / SHARDS, (busy.marks[-1] - busy.marks[0]) / SHARDS
    tracemalloc.stop()
    print(f"\n{each:.2f} ms of processor time and {grown:.0f} bytes for a shard, tracing included")
    assert each < 5
    assert grown < 2000


def test_a_divided_cell_beside_a_whole_one(benchmark, monkeypatch, tmp_path):
    text = Text("test", tuple(Document(f"d{i}", f"{i:05} and so on " * 60) for i in range(400)))
    task, adapter = Likelihood(text, Window("half")), MockAdapter(bits_per_byte=1.5)
    whole = sum(task.size_items(adapter))
    monkeypatch.setattr(running, "size_shards", lambda parameters, device: -(-whole // 10))
    pairs = []

    def run():
        begun = time.perf_counter()
        task.run(adapter, quiet)
        middle = time.perf_counter()
        shelf = Shelf(tmp_path / str(len(pairs)), {"key": "k"})
        running.run_shards(task, adapter, quiet, shelf)
        pairs.append((middle - begun, time.perf_counter() - middle))

    benchmark.pedantic(run, rounds=PAIRS)
    more = statistics.median(divided - undivided for undivided, divided in pairs)
    size = f"{whole // 10:,} bytes"
    print(f"\n{1000 * more / 10:.1f} ms for a shard of {size}, besides the model's work")
