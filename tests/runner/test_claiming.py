"""How a worker comes to the shards that it computes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from llmbench.config.fingerprints import UNHASHED
from llmbench.runner.folder.shards import claim_shards, make_shelf
from llmbench.testing import MockAdapter

SEEN = MockAdapter().info
UNSEEN = replace(SEEN, fingerprint=f"{UNHASHED}weights")


def open_shelf(tmp_path, info, known=(), emit=lambda event: None):
    return make_shelf(tmp_path, "task", "key", info, known, emit)


def test_shards_of_weights_that_nobody_sees_are_of_one_process(tmp_path):
    for info, expected in ((SEEN, {}), (UNSEEN, None)):
        told = []
        first = open_shelf(tmp_path, info, emit=told.append)
        first.write(0, 3, {})
        assert first.read(0, 3) == {}
        assert open_shelf(tmp_path, info, [told[0]["digest"]]).read(0, 3) == expected


def test_the_edges_of_all_shards_are_told_once(tmp_path):
    edges, told = list(range(1001)), []
    spans = [{"span": list(span), "shards": {}} for span in pairwise(edges)]
    replies = iter([*spans, {"span": None, "shards": {}}])
    claimed = list(claim_shards(told.append, replies, "task", open_shelf(tmp_path, SEEN), edges))
    assert claimed == list(pairwise(edges))
    assert [event["edges"] for event in told] == [edges, *[[]] * 1000]
