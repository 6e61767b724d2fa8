"""The divergence of a model from its parent: against sums by hand, and what cannot be compared."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
import torch

from llmbench.adapter import Passage, Window
from llmbench.adapters.token import TokenAdapter, Tokens
from llmbench.cli import main
from llmbench.errors import Unsupported
from llmbench.inference.divergence import diverge, split_into_items, summarise

LETTERS = "ab\n"


class Table(TokenAdapter):
    """Letters, each predicted by the one before it, by a table of probabilities."""

    context = None
    bos_ids = (2,)

    def __init__(self, table, scale=1.0):
        self.net = torch.nn.Embedding.from_pretrained(torch.tensor(table).log() * scale)

    def encode(self, text):
        return Tokens.of([LETTERS.index(c) for c in text], [c.encode() for c in text])

    def decode(self, ids):
        return "".join(LETTERS[i] for i in ids).encode()

    def logits(self, ids):
        return self.net(ids)


PARENT = [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.2, 0.4, 0.4]]
CHILD = [[0.25, 0.5, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5]]
# of the rows of PARENT from those of CHILD
KL = [
    0.5 * math.log(0.5 / 0.25) + 0.25 * math.log(0.25 / 0.5),
    0.0,
    0.2 * math.log(0.2 / 0.25) + 0.4 * math.log(0.4 / 0.25) + 0.4 * math.log(0.4 / 0.5),
]


def compare(child, parent, *texts, **more):
    return list(
        diverge(child, parent, [Passage(t, id=str(i)) for i, t in enumerate(texts)], **more)
    )


def test_each_token_has_the_divergence_and_the_bits_of_its_row():
    (found,) = compare(Table(CHILD), Table(PARENT), "abba")
    before = [2, 0, 1, 1]  # "\n", a, b, b
    assert found.nats == pytest.approx([KL[i] for i in before], abs=1e-7)
    targets = [0, 1, 1, 0]
    for bits, table in ((found.bits, CHILD), (found.parent_bits, PARENT)):
        want = [-math.log2(table[i][j]) for i, j in zip(before, targets, strict=True)]
        assert bits == pytest.approx(want, abs=1e-6)
    assert found.agreed.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_a_model_does_not_diverge_from_itself():
    found = summarise(compare(Table(PARENT), Table(PARENT), "abab\n" * 20, "bb"))
    assert (found.difference.value, found.nats.value, found.agreement.value) == (0.0, 0.0, 1.0)
    assert found.agreement.high == 1.0


def test_what_the_parent_excludes_costs_nothing_and_what_the_child_excludes_all():
    barred = [[0.0, 0.5, 0.5], *PARENT[1:]]
    (found,) = compare(Table(PARENT), Table(barred), "ab")
    assert math.isfinite(found.nats[1])
    (found,) = compare(Table(barred), Table(PARENT), "ab")
    assert math.isinf(found.nats[1])


def test_windows_change_neither_bits_nor_divergence():
    """Each letter depends on the one before it alone."""
    short, other = Table(CHILD), Table(PARENT)
    short.context = 8
    text = "abba\nbaab" * 9
    (one,) = compare(short, other, text, window=Window(3))
    (whole,) = compare(Table(CHILD), Table(PARENT), text)
    assert np.allclose(one.nats, whole.nats)
    assert np.allclose(one.bits, whole.bits)


def test_items_are_documents_or_the_blocks_of_the_only_one():
    several = split_into_items(compare(Table(CHILD), Table(PARENT), "ab" * 300, "ba", "\n"))
    assert [(item.id, item.bytes, item.tokens) for item in several] == [
        ("0", 600, 600.0),
        ("1", 2, 2.0),
        ("2", 1, 1.0),
    ]
    one = compare(Table(CHILD), Table(PARENT), "ab" * 300)
    blocks = split_into_items(one)
    assert sum(item.bytes for item in blocks) == 600
    assert len(blocks) == 3
    assert sum(item.nats for item in blocks) == pytest.approx(several[0].nats)


def test_the_summary_is_of_sums_with_intervals_over_items():
    texts = ["ab" * 9, "ba\n" * 5, "bbb", "aaaa"]
    found = summarise(compare(Table(CHILD), Table(PARENT), *texts))
    bits = [
        sum(
            -math.log2(CHILD[LETTERS.index(p)][LETTERS.index(c)])
            for p, c in zip("\n" + t, t, strict=False)
        )
        for t in texts
    ]
    assert found.bits.value == pytest.approx(sum(bits) / sum(map(len, texts)), abs=1e-6)
    assert found.difference.value == pytest.approx(found.bits.value - found.parent_bits.value)
    assert found.nats.low < found.nats.value < found.nats.high
    assert found.nats.n == len(texts)
    assert found.speed.low < found.speed.value < found.speed.high


def test_other_tokens_are_refused():
    class Pairs(Table):
        bos_ids = (0,)

    with pytest.raises(Unsupported, match="do not cut a text into the same tokens"):
        compare(Pairs(CHILD), Table(PARENT), "ab")


def test_other_vocabularies_are_refused():
    wider = [[*row, 1.0] for row in PARENT]
    with pytest.raises(Unsupported, match="vocabularies differ: 4 and 3 logits"):
        compare(Table(wider), Table(PARENT), "ab")


def call(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["llmbench", "divergence", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main.main()
    return caught.value.code, *capsys.readouterr()


def test_the_command_prints_a_table_and_json(folders, tmp_path, monkeypatch, capsys):
    """A checkpoint beside itself."""
    file = tmp_path / "text.jsonl"
    file.write_text(
        "".join(json.dumps({"text": f"The tap dripped {i} times."}) + "\n" for i in range(4))
    )
    spec = f"hf:{folders['gpt2']}"
    code, out, _ = call(monkeypatch, capsys, spec, spec, file)
    assert code == 0
    row = next(line for line in out.splitlines() if line.startswith("divergence, nats a token "))
    assert row.split()[4:] == ["0.0000", "[0.0000,", "0.0000]"]
    assert "95 % over 4 documents" in out
    code, out, _ = call(monkeypatch, capsys, spec, spec, file, "--json")
    found = json.loads(out)
    assert (code, found["nats"]["value"], found["agreement"]["value"]) == (0, 0.0, 1.0)
    assert [row["id"] for row in found["documents"]] == [f"line-{i}" for i in (1, 2, 3, 4)]
    assert found["model"]["weights_bytes"] == found["parent"]["weights_bytes"]


def test_a_model_without_logits_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "text.txt").write_text("A text.")
    code, out, err = call(monkeypatch, capsys, "zlib", "zlib", tmp_path / "text.txt")
    assert (code, out) == (2, "")
    assert "zlib: only models that show the logits of their tokens can be compared so" in err
