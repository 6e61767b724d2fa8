"""What a model costs beside its parent: the difference over the same items, kept and told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t
from support import hand_record

from llmbench.leaderboard import board
from llmbench.leaderboard.renderers import html, markdown
from llmbench.results.parents.differences import compare_with_parents
from llmbench.results.ranking import Items
from llmbench.results.record import ModelRow, Score
from llmbench.results.tables.items import ItemTable

BITS = {"plain": [100.0, 220.0, 90.0], "small": [104.0, 230.0, 93.0]}
SIZES = [100.0, 200.0, 80.0]
RATES = {"plain": [200.0, 210.0, 190.0, 205.0], "small": [100.0, 100.0, 100.0, 110.0]}


def rows():
    origin = {"weights_sha256": "w"}
    more = {"dtype": "float32", "origin": origin}
    return [
        hand_record.model("plain", 5, weights_bytes=4000, **more),
        hand_record.model("small", 5, weights_bytes=1100, quantization="int8 (torchao)", **more),
    ]


def scores(**changes):
    found = []
    for name, bits in BITS.items():
        value = sum(bits) / sum(SIZES)
        found += hand_record.likelihood(name, value, 0.05, None, **changes)
        rate = float(np.median(RATES[name]))
        found.append(hand_record.speed(name, "decode_bytes_per_second", rate, 5.0))
    return found


def read(score, sizes=SIZES, session="s"):
    """The items of a score as a run would have them."""
    table = ItemTable()
    if score.metric == "bits_per_byte":
        for i, (bits, size) in enumerate(zip(BITS[score.model], sizes, strict=True)):
            table.add(f"d{i}", {"bits_per_byte": [bits, size]}, "")
    else:
        for i, rate in enumerate(RATES[score.model]):
            table.add(f"block {i}", {score.metric: [rate, 1.0]}, session)
    return Items.of(table, score.metric)


def compare(found, read=read):
    models = [ModelRow.model_validate(row) for row in rows()]
    return compare_with_parents(models, [Score.model_validate(one) for one in found], read)


def test_bits_differ_by_the_sum_over_the_sum():
    found = compare(scores())["likelihood"]["small"]
    assert found["parent"] == "plain"
    assert found["difference"] == pytest.approx((4 + 10 + 3) / 380)
    assert found["low"] <= found["difference"] <= found["high"]
    assert found["n"] == 3


def test_rates_differ_by_the_paired_logarithms_of_their_blocks():
    found = compare(scores())["speed"]["small"]
    logs = np.log(np.array(RATES["small"]) / np.array(RATES["plain"]))
    half = t.ppf(0.975, 3) * logs.std(ddof=1) / 2
    assert found["difference"] == pytest.approx(logs.mean())
    assert (found["low"], found["high"]) == pytest.approx((logs.mean() - half, logs.mean() + half))


def test_the_noise_of_an_engine_widens_the_difference():
    plain = compare(scores())["likelihood"]["small"]
    noisy = compare(scores(noise=0.01))["likelihood"]["small"]
    assert noisy["low"] == pytest.approx(plain["low"] - 0.02)
    assert noisy["high"] == pytest.approx(plain["high"] + 0.02)


def test_other_items_are_not_compared():
    def read_others(score):
        return read(score, [*SIZES[:2], 81.0] if score.model == "small" else SIZES, score.model)

    assert compare(scores(), read_others) == {}


def test_other_protocols_are_not_compared():
    found = [{**one, "signature": f"{one['signature']};x={one['model']}"} for one in scores()]
    assert compare(found) == {}


def board_of(**changes):
    kept = [
        *scores(),
        hand_record.score("plain", "peak_ram", 2 << 30, task="memory", unit="bytes"),
        hand_record.score("small", "peak_ram", 1 << 30, task="memory", unit="bytes"),
    ]
    notes = {key: {"against_parent": found} for key, found in compare(scores()).items()}
    made = hand_record.record(models=rows(), scores=kept, notes={"tasks": notes}, **changes)
    return board.build(made)


def test_the_board_says_what_few_bits_cost_and_gained():
    tables = {table.task: table for table in board_of().tables}
    (said,) = [note for note in tables["likelihood"].notes if note.startswith("small is plain")]
    factor = math.exp(np.log(np.array(RATES["small"]) / np.array(RATES["plain"])).mean())
    assert said.startswith("small is plain, int8 (torchao): +0.0447 bits/byte [+")
    assert f"; decode × {factor:.2f} [" in said
    assert said.endswith("; weights × 0.28; peak RAM × 0.50.")
    (fast,) = [note for note in tables["speed"].notes if note.startswith("small is plain")]
    assert fast.startswith(f"small is plain, int8 (torchao): decode × {factor:.2f} [")


def test_every_board_has_the_sentence():
    made = board_of()
    for renderer in (markdown, html):
        assert "small is plain, int8 (torchao): +0.0447" in renderer.render(made)
