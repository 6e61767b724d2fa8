"""Where items are cut into shards."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from llmbench import limits
from llmbench.tasks.shards.cutting import cut, size_shards


def test_shards_are_as_full_as_they_may_be():
    assert cut([3, 3, 3, 9, 1, 1], 6) == [0, 2, 3, 4, 6]


def test_an_item_that_is_too_large_has_a_shard_of_its_own():
    assert cut([100], 6) == [0, 1]
    assert cut([1, 100, 1], 6) == [0, 1, 2, 3]


def test_nothing_has_no_shard():
    assert cut([], 6) == [0]


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(1, 100))
def test_a_cut_from_an_edge_on_has_the_same_edges(sizes, most):
    edges = cut(sizes, most)
    assert (edges[0], edges[-1]) == (0, len(sizes))
    for first, last in pairwise(edges):
        assert sum(sizes[first:last]) <= most or last == first + 1
        assert [edge + first for edge in cut(sizes[first:], most)] == edges[edges.index(first) :]


def test_a_larger_model_has_smaller_shards():
    assert size_shards(134_515_008, "cpu") == 66_907
    assert size_shards(10**9, "cpu") == 9_000
    assert size_shards(70 * 10**9, "cpu") == limits.LEAST_SHARD_BYTES
    assert size_shards(0, "cpu") == limits.MOST_SHARD_BYTES
    assert size_shards(134_515_008, "cuda:0") == limits.MOST_SHARD_BYTES
    assert size_shards(None, "cpu") == 64 << 10
