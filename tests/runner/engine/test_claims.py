"""Which worker gets which shard, and what becomes of those of a worker that dies."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from llmbench.runner.engine.claims import Claims

CELL = ("model", "task")
EDGES = [0, 3, 5, 9, 10]


def claim(claims, worker, waits=True):
    return claims.claim(CELL, EDGES, worker, waits=waits)


def test_each_shard_is_given_once_in_order():
    claims = Claims()
    spans = [claim(claims, number % 2, waits=False)["span"] for number in range(4)]
    assert spans == [list(span) for span in pairwise(EDGES)]
    assert claim(claims, 0, waits=False)["span"] is None


def test_at_the_end_all_files_are_named():
    claims = Claims()
    for number, _ in enumerate(pairwise(EDGES)):
        claim(claims, 0)
        claims.add_file(CELL, f"{number}.npz", f"digest {number}")
    assert claim(claims, 0) == {
        "span": None,
        "shards": {f"{number}.npz": f"digest {number}" for number in range(4)},
    }


def test_the_worker_that_waits_gets_the_shard_of_one_that_died():
    claims, got = Claims(), []
    for worker in (1, 1, 1, 2):
        claim(claims, worker)
    waiting = threading.Thread(target=lambda: got.append(claim(claims, 1)))
    waiting.start()
    assert claims.take_back(2)
    waiting.join(30)
    assert got[0]["span"] == [9, 10]


def test_a_shard_that_ends_two_workers_ends_its_cell():
    claims = Claims()
    claim(claims, 1)
    assert claims.take_back(1)
    assert claim(claims, 2)["span"] == [0, 3]
    assert not claims.take_back(2)
    assert claim(claims, 3)["refused"] == "the items 0 to 2 of task ended 2 workers"


def test_a_worker_that_had_no_shard_has_no_second_try():
    claims = Claims()
    assert not claims.take_back(1)
    claim(claims, 1)
    claims.drop(CELL)
    assert not claims.take_back(1)


@pytest.mark.parametrize(("count", "expected"), [(1, "model"), (2, "model"), (3, None), (4, None)])
def test_help_is_needed_while_several_shards_wait(count, expected):
    claims = Claims()
    for _ in range(count):
        claim(claims, 1)
    assert claims.find_needy() == expected


def test_nobody_waits_after_the_end():
    claims, got = Claims(), []
    for worker in (1, 1, 1, 2):
        claim(claims, worker)
    waiting = threading.Thread(target=lambda: got.append(claim(claims, 1)))
    waiting.start()
    claims.end()
    waiting.join(30)
    assert got[0]["refused"]


def test_who_comes_to_help_too_late_has_nothing_to_do():
    claims = Claims()
    claim(claims, 1)
    claims.drop(CELL)
    assert claim(claims, 2, waits=False) == {"span": None, "shards": {}}
    assert claim(claims, 3)["span"] == [0, 3]  # asked anew by a worker of its own
