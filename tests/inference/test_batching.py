"""Each job is in one pass, whatever is narrow, large, or fails; passes side by side give what
passes one after another give.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from types import SimpleNamespace

import pytest
import torch
from support import small_checkpoints

from llmbench.adapter import Passage
from llmbench.errors import OutOfMemory
from llmbench.inference import batching, scoring


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Passes:
    """A `forward` that remembers what it was given, and in which thread, and how many threads torch
    had there.
    """

    def __init__(self, width=64, fails=lambda jobs: None):
        self.width, self.fails, self.seen, self.threads, self.inside = (
            width,
            fails,
            [],
            set(),
            set(),
        )

    def __call__(self, model, jobs):
        self.fails(jobs)
        self.seen.append(list(jobs))
        self.threads.add(threading.current_thread().name)
        self.inside.add((torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return self.width


def over(jobs, passes, *, thread_safe=True, device="cpu", budget=10):
    batching.in_batches(
        SimpleNamespace(device=device, thread_safe=thread_safe),
        jobs,
        lambda job: job,
        passes,
        budget,
    )
    return [job for batch in passes.seen for job in batch]


@pytest.mark.parametrize("thread_safe", [True, False])
def test_every_job_is_in_one_pass_of_at_most_the_budget_or_alone(thread_safe, two_threads):
    jobs = [1, 2, 3, 4, 5, 6, 7, 20, 1, 1, 3, 3]
    passes = Passes()
    assert sorted(over(jobs, passes, thread_safe=thread_safe)) == sorted(jobs)
    assert all(len(batch) * max(batch) <= 10 or len(batch) == 1 for batch in passes.seen)
    assert passes.seen[0] == [20]  # memory's peak comes at once


def test_narrow_passes_of_a_reentrant_model_have_a_thread_each_and_torch_one_in_it(two_threads):
    both = threading.Barrier(2, timeout=60)
    passes = Passes(
        fails=lambda jobs: both.wait() if max(jobs) == 9 else None
    )  # goes on only when two are at work at once
    over([10, 9, 9, 1, 1, 1], passes)
    assert len(passes.threads) == 3  # the first pass is the caller's
    assert passes.inside == {(2, False), (1, True)}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    "case", [{"thread_safe": False}, {"device": "cuda:0"}, {"width": batching.NARROW + 1}]
)
def test_all_other_passes_come_one_after_another(case, two_threads):
    passes = Passes(case.pop("width", 64))
    over([10, 9, 9, 8], passes, **case)
    assert passes.threads == {threading.current_thread().name}


def test_with_one_thread_all_passes_are_the_callers():
    assert torch.get_num_threads() == 1  # as conftest.py says
    passes = Passes()
    over([10, 9, 9, 8], passes)
    assert passes.threads == {threading.current_thread().name}


def test_what_one_pass_raises_ends_all_and_torch_has_its_threads_again(two_threads):
    def fails(jobs):
        if max(jobs) < 10:
            raise ValueError(f"broken at {max(jobs)}")

    passes = Passes(fails=fails)
    with pytest.raises(ValueError, match="broken at 9"):
        over([10, *[9] * 50], passes)
    assert passes.seen == [[10]]
    assert torch.get_num_threads() == 2


def test_ctrl_c_ends_all_after_the_passes_that_have_begun(two_threads):
    cleared, seen = threading.Event(), []

    class Told(deque):
        def clear(self):
            super().clear()
            cleared.set()

    def run(batch):
        seen.append(batch)
        if len(seen) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        assert cleared.wait(60)

    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # processes of pytest-xdist ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            batching._run_in_threads(Told([[1]] * 50), run)
    finally:
        signal.signal(signal.SIGINT, before)
    assert 1 <= len(seen) <= 2
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("thread_safe", [True, False])
def test_a_pass_that_finds_no_memory_is_halved_until_it_does(thread_safe, two_threads):
    def fails(jobs):
        if len(jobs) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    passes = Passes(fails=fails)
    assert sorted(over([1] * 35, passes, thread_safe=thread_safe)) == [1] * 35
    assert max(len(batch) for batch in passes.seen) == 2


def test_one_job_for_which_there_is_no_memory_is_said_so(two_threads):
    def fails(jobs):
        if jobs[0] == 7:
            raise MemoryError

    with pytest.raises(OutOfMemory, match="no memory for one window of 7 ids"):
        over([10, 7, 7], Passes(fails=fails))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_ledgers_are_the_same_run_in_threads(family, two_threads, tmp_path, monkeypatch):
    model = small_checkpoints.load(small_checkpoints.MAKERS[family](tmp_path))
    prompts = [f"{number} {'tap ' * (number % 4)}is" for number in range(30)]
    asked = [
        Passage(f" {word}", context=prompt)
        for prompt in prompts
        for word in ("on", "not", "the kettle")
    ]
    passages = [*asked, *(Passage("The kettle said nothing. " * number) for number in range(1, 9))]
    assert model.thread_safe
    assert model.supports_packing
    forward, names = scoring._forward_packed, set()

    def remembered(model, packs):
        names.add(threading.current_thread().name)
        return forward(model, packs)

    monkeypatch.setattr(scoring, "_forward_packed", remembered)
    together = [ledger.bits for ledger in scoring.score(model, passages, budget=100)]
    assert len(names) > 1
    monkeypatch.setattr(type(model), "thread_safe", False)
    names.clear()
    one_by_one = [ledger.bits for ledger in scoring.score(model, passages, budget=100)]
    assert names == {threading.current_thread().name}
    for a, b in zip(together, one_by_one, strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-5)


def test_no_threads_for_rotations_computed_anew_and_code_of_a_checkpoint(tmp_path):
    model = small_checkpoints.load(small_checkpoints.llama(tmp_path))
    assert model.thread_safe
    model.loaded.config.rope_parameters = {
        **model.loaded.config.rope_parameters,
        "rope_type": "dynamic",
        "factor": 2.0,
    }
    assert not model.thread_safe
    model.loaded.config.rope_parameters["rope_type"] = "llama3"
    assert model.thread_safe
    model.loaded.trusted = True
    assert not model.thread_safe
