"""The largest batch within a budget: by arithmetic, on curves of many shapes; and in processes of
their own, of a model of known size.
"""

from __future__ import annotations

import json
import random

import pytest
from support.run_helpers import folder, llmbench, run_json

from llmbench.cli.options import parse_size
from llmbench.errors import ModelError, OutOfMemory, UsageError
from llmbench.hardware.machine import oom_kills
from llmbench.tasks.performance.max_batch import MaxBatch
from llmbench.tasks.performance.max_batch_search import Attempt, guess_batch, line, search

MIB = 1 << 20


def curve(peak, limit=None, rate=lambda batch: float(batch)):
    """Attempts on a model of these peaks; beyond `limit` bytes the memory is refused. They are
    counted.
    """

    def attempt(batch):
        attempt.made.append(batch)
        size = peak(batch)
        return (
            Attempt(batch, None, refused="no memory")
            if limit is not None and size > limit
            else Attempt(batch, size, rate(batch))
        )

    attempt.made = []
    return attempt


@pytest.mark.parametrize("fits", [1, 2, 3, 4, 5, 7, 30, 31, 500, 1023])
@pytest.mark.parametrize("refuses", [True, False])
def test_on_a_straight_line_it_is_found_to_the_very_number_in_few_attempts(fits, refuses):
    peak = lambda batch: 300 * MIB + 16 * MIB * batch  # noqa: E731
    budget = peak(fits) + 7 * MIB
    attempt = curve(peak, limit=budget if refuses else None)
    found = search(attempt, budget, 1024)
    assert (found.fits, found.at_least) == (fits, False)
    assert len(attempt.made) == len(set(attempt.made)) <= 8


@pytest.mark.parametrize("seed", range(30))
def test_on_any_growing_curve_it_is_found_to_the_very_number(seed):
    draw, peaks, size = random.Random(seed), {}, 10_000
    for batch in range(1, 3000):
        size += draw.choice([0, 1, 50, 2000])
        peaks[batch] = size
    budget = draw.randrange(peaks[1], peaks[2000])
    attempt = curve(peaks.__getitem__)
    found = search(attempt, budget, 2048)
    assert found.fits == max(batch for batch in peaks if peaks[batch] <= budget)
    assert len(attempt.made) < 40


@pytest.mark.parametrize("seed", range(20))
def test_it_ends_whatever_the_peaks_are(seed):
    draw = random.Random(seed)
    attempt = curve(lambda batch: draw.randrange(1000), limit=800)
    found = search(attempt, 500, 300)
    assert len(attempt.made) == len(set(attempt.made)) <= 60
    assert found.fits == 0 or next(a for a in found.attempts if a.batch == found.fits).peak <= 500


def test_a_model_that_fits_at_the_end_of_the_search_says_at_least():
    found = search(curve(lambda batch: 100), 1000, 64)
    assert (found.fits, found.at_least) == (64, True)
    found = search(curve(lambda batch: 100 * batch), 1000, 1)
    assert (found.fits, found.at_least) == (1, True)


def test_a_model_that_does_not_fit_once_is_tried_once():
    attempt = curve(lambda batch: 2000 * batch)
    assert search(attempt, 1000, 64).fits == 0
    assert attempt.made == [1]


def test_room_to_spare_and_the_useful_batch():
    found = search(
        curve(lambda batch: 1000 + 100 * batch, rate=lambda batch: min(batch, 8) * 10.0),
        10_000,
        1024,
    )
    assert found.fits == 90
    assert found.spare == 80  # 1000 + 100 x 80 = 9000
    tried = {a.batch: a.rate for a in found.attempts}
    assert found.useful == min(batch for batch in tried if batch >= 8)


def test_a_line_needs_two_batches_and_must_rise():
    assert line([Attempt(1, 10)]) is None
    assert line([Attempt(1, 10), Attempt(2, None)]) is None
    assert line([Attempt(1, 10), Attempt(2, 9)]) is None
    assert line([Attempt(1, 10), Attempt(3, 30)]) == (0.0, 10.0)
    assert guess_batch([Attempt(1, 10), Attempt(3, 30)], 95) == 9


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8 * 10**9), ("512MiB", 512 * MIB), ("1.5 gib", 3 << 29), ("1000", 1000), ("2k", 2000)],
)
def test_a_size_of_memory_is_read(text, size):
    assert parse_size(None, None, text) == size
    assert parse_size(None, None, None) is None


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "GB"])
def test_what_is_no_size_is_refused(text):
    class Parameter:
        opts = ["--memory-budget"]

    with pytest.raises(UsageError, match="invalid size"):
        parse_size(None, Parameter, text)


def test_a_model_of_which_not_one_answer_fits_is_out_of_memory():
    from llmbench.data.text import Document, Text

    task = MaxBatch(
        Text("t", (Document("a", "The tap dripped. " * 40),)), MaxBatch.Settings(task="max-batch")
    )
    with pytest.raises(OutOfMemory, match="one answer needs 2,000 bytes, and the budget is 1,000"):
        task.outcome(search(curve(lambda batch: 2000), 1000, 8), "1000")

    class Uneven:
        is_remote = False

        def generate(self, requests):
            from llmbench.adapter import Chunk

            for row, request in enumerate(requests):
                yield Chunk(row, request.forced_text[row:], 1, "length")

    with pytest.raises(ModelError, match="same length"):
        task.attempt(Uneven(), 2)


HOARDER = '''
import numpy as np
from llmbench.adapter import Adapter, Chunk, ModelInfo

HELD = 16 << 20


class Hoarder(Adapter):
    """Holds 16 MiB for each answer in the making, and no torch."""

    @property
    def info(self):
        return ModelInfo("hoarder", "", "bytes", None, None, None, "cpu", "hoarder-1")

    def generate(self, requests):
        held = []
        for request in requests:
            held.append(np.ones(HELD, dtype=np.uint8))
        for at in range(len(requests[0].forced_text)):
            for row, request in enumerate(requests):
                end = "length" if at + 1 == len(request.forced_text) else None
                yield Chunk(row, request.forced_text[at], at + 1, end)


class Breaks(Hoarder):
    def generate(self, requests):
        raise ValueError("a bad day")


class Bounded(Hoarder):
    """Dies with more than six answers in the making, however much memory there is."""

    def generate(self, requests):
        if len(requests) > 6:
            import os
            os.kill(os.getpid(), 11)
        yield from super().generate(requests)


class Dies(Hoarder):
    def generate(self, requests):
        import os
        os.kill(os.getpid(), 9)
'''
SUITE = """
name: fit
version: 1
texts: {test: {source: test.jsonl}}
tasks: [{task: max-batch, prompt_bytes: 20, answer_bytes: 10, most: 200}]
models: [uniform-bytes]
"""


@pytest.mark.slow
def test_in_processes_of_their_own_it_is_exact_to_one_and_none_is_killed(tmp_path):
    place = folder(tmp_path)
    (place / "fit.yaml").write_text(SUITE)
    (place / "hoarder.py").write_text(HOARDER)
    kills = oom_kills()
    models = [
        word
        for name in ("Hoarder", "Breaks", "Dies", "Bounded")
        for word in ("--model", f"hoarder.py:{name}")
    ]
    done = llmbench(
        "run",
        "fit.yaml",
        "--out",
        "out",
        "--memory-budget",
        "600MiB",
        "--device",
        "cpu",
        *models,
        cwd=place,
    )
    assert done.returncode == 1, done.stderr
    record = run_json(place / "out")
    row = next(score for score in record["scores"] if score["metric"] == "max_batch")
    peaks = {batch: peak for batch, peak, _ in row["curve"] if peak is not None}
    idle = peaks[1] - 16 * MIB
    want = (600 * MIB - idle) // (16 * MIB)
    assert abs(row["value"] - want) <= 1
    assert peaks[row["value"]] <= 600 * MIB
    assert row["value"] + 1 in {
        batch for batch, peak, _ in row["curve"] if peak is None or peak > 600 * MIB
    }
    assert (row["at_least"], row["budget"]) == (False, 600 * MIB)
    assert row["spare"] < row["value"]
    reasons = {failure["model"]: failure["reason"] for failure in record["failures"]}
    assert reasons == {"uniform-bytes": "unsupported", "Breaks": "error", "Dies": "crashed"}
    assert oom_kills() == kills
    bounded = next(
        score
        for score in record["scores"]
        if (score["model"], score["metric"]) == ("Bounded", "max_batch")
    )
    assert bounded["value"] == 6
    assert "a bad day" in next(
        failure["message"] for failure in record["failures"] if failure["model"] == "Breaks"
    )
    attempts = [
        json.loads(text)
        for text in (place / "out/samples/Hoarder/max-batch.jsonl").read_text().splitlines()
    ]
    assert [row["batch"] for row in attempts[:3]] == [1, 2, 4]
