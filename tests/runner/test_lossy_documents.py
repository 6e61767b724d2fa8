"""Documents that one model cannot hold are left out for all models of a run, however they came to
it, and boards and comparisons say so.
"""

from __future__ import annotations

import random

import pytest
from support.comparisons import print_comparison
from support.lossy_runs import ODD, SUITE, bits, left_out, prepare, run, write_text
from support.run_helpers import llmbench as llmbench_command
from support.run_helpers import run_json

import llmbench
from llmbench.leaderboard.merge.merge import merge
from llmbench.leaderboard.renderers import table
from llmbench.results.gate import gate
from llmbench.results.promote import promote
from llmbench.results.samples import open_results
from llmbench.results.signature import Signature
from llmbench.runner import in_process

BOTH = "2 of 60 documents (1.5 % of the bytes) are left out for all models: lossy for"
SEED = next(s for s in range(9) if 7 in random.Random(s).sample(range(60), 30))
PICKY = """\
from llmbench.adapters.trivial import UniformBytes


class Picky(UniformBytes):
    def find_loss(self, passage):
        return "a control byte" if "\\x04" in passage.text else ""
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder with a suite and a text of 60 documents, as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(in_process, "_certify", lambda *arguments: None)  # takes seconds a model
    return prepare(tmp_path)


def test_all_models_are_scored_on_what_all_of_them_hold(place):
    seen = run(["gaps", "nfc", "llama3"], out="out")
    assert left_out(seen) == ["d7", "d11"]
    causes = seen.record.notes.left_out["likelihood"].documents
    assert [list(models) for models in causes.values()] == [["gaps"], ["nfc"]]
    assert "byte 3" in causes["d7"]["gaps"]
    write_text(place / "test.jsonl", [i for i in range(60) if i not in (7, 11)])
    by_hand = run(["gaps", "nfc", "llama3"], out="by-hand")
    assert bits(seen).keys() == bits(by_hand).keys()
    for name, values in bits(by_hand).items():
        assert bits(seen)[name] == pytest.approx(values, rel=1e-6)
    assert by_hand.record.notes.left_out == {}
    ranks = [{s.model: s.rank for s in r.record.scores if s.rank} for r in (seen, by_hand)]
    assert ranks[0] == ranks[1]
    assert len(ranks[0]) == 3
    assert {item.key for item in seen.samples("likelihood", "llama3")} == {
        item.key for item in by_hand.samples("likelihood", "llama3")
    }


def test_a_model_that_joins_later_changes_the_scores_without_a_new_measurement(place):
    first = run(["gaps", "llama3"], out="out")
    assert left_out(first) == ["d7"]
    charged = place / "out" / "samples" / "llama3" / "likelihood.jsonl"
    before = charged.stat().st_mtime_ns
    second = run(["nfc"], out="out")
    assert left_out(second) == ["d7", "d11"]
    assert charged.stat().st_mtime_ns == before
    together = run(["gaps", "llama3", "nfc"], out="together")
    for name, values in bits(together).items():
        assert bits(second)[name] == pytest.approx(values, rel=1e-12)
    signatures = {s.signature for s in second.record.scores if s.metric == "bits_per_byte"}
    assert len(signatures) == 1
    assert Signature.parse(signatures.pop()).values()["left_out"].startswith("2 of ")


def test_every_format_says_how_many_and_for_whom(place):
    seen = run(["gaps", "nfc", "llama3"], out="out")
    assert f"{BOTH} gaps (1), nfc (1)." in seen.board.tables[0].notes
    assert "left out for all models" in " ".join(table.render(seen.board, 80).split())
    for ending in ("md", "html"):
        text = (place / "out" / f"leaderboard.{ending}").read_text().replace("\\", "")
        assert "2 of 60 documents" in text
    head, *lines = (
        line.split(",") for line in (place / "out" / "leaderboard.csv").read_text().splitlines()
    )
    assert {line[head.index("left_out")] for line in lines} == {"2"}
    said = " ".join(print_comparison(place / "out", "gaps", "llama3", "--format", "md").split())
    assert "2 of 60 documents" in said.replace("\\", "")


def test_the_limit_is_drawn_before_anything_is_left_out(place):
    seen = run(["gaps", "llama3"], out="out", limit=30, seed=SEED)
    drawn = llmbench.load_text("test.jsonl").sample(30, SEED)
    note = seen.record.notes.left_out["likelihood"]
    assert note.all_documents == 30
    assert "d7" in {document.id for document in drawn.documents}
    assert list(note.documents) == ["d7"]
    score = next(s for s in seen.record.scores if s.metric == "bits_per_byte")
    assert Signature.parse(score.signature).values()["limit"] == f"30@{SEED}"


def test_a_model_that_would_cost_too_much_is_refused_and_its_documents_stay(place):
    write_text(place / "test.jsonl", range(60), {**ODD, **{i: f"a\x04 {i}" for i in range(5)}})
    seen = run(["gaps", "nfc", "llama3"], out="out")
    (failure,) = seen.record.failures
    assert (failure.model, failure.reason) == ("gaps", "unsupported")
    assert "6 of 60 documents" in failure.message
    assert left_out(seen) == ["d11"]


def test_models_that_cost_too_much_together_are_refused_by_the_run(place):
    odd = {7: "the\x04 tap", 8: "a\x04 tap", 11: "the cafe\u0301 tap", 19: "the \u2581 tap"}
    write_text(place / "test.jsonl", range(60), odd)
    first = run(["gaps", "nfc"], out="out")
    assert left_out(first) == ["d7", "d8", "d11"]
    second = run(["gemma"], out="out")
    assert left_out(second) == ["d11", "d19"]
    (failure,) = second.record.failures
    assert (failure.model, failure.task, failure.reason) == ("gaps", "likelihood", "unsupported")
    assert "with those of other models more than 5 %" in failure.message
    assert "gaps" not in bits(second)
    third = run(["nfc"], out="out")  # the earlier refusal is found anew, not kept beside it
    assert [f.model for f in third.record.failures] == ["gaps"]


def test_runs_with_other_sets_stand_apart_and_with_the_same_set_together(place):
    run(["gaps", "llama3"], out="a")
    run(["nfc"], out="b")
    run(["gaps", "gemma"], out="c")
    apart, _ = merge([place / "a", place / "b"])
    assert len(apart.tables) == 2
    a, c = (open_results(place / name) for name in "ac")
    assert not gate(c, a, {}).ok
    why = {one.row.model_a: one.why for one in gate(c, a, {}).rows}
    assert "left_out" in why["gaps"]
    run(["gaps", "byt5"], out="d")
    joined, _ = merge([place / "a", place / "d"])
    (only,) = joined.tables
    assert {line.model for line in only.lines} == {"gaps", "llama3", "byt5"}
    assert any("1 of 60 documents" in note for note in only.notes)


def test_a_suite_without_such_documents_has_the_numbers_of_one_without_the_option(place):
    write_text(place / "test.jsonl", range(60), {})
    seen = run(["gaps", "nfc"], out="out")
    (place / "odd.yaml").write_text(SUITE.replace(", lossy: leave-out", ""))
    usual = run(["gaps", "nfc"], out="usual")
    assert [s.model_dump() for s in seen.record.scores] == [
        s.model_dump() for s in usual.record.scores
    ]


def test_a_reviewed_record_holds_the_documents_that_are_left(place):
    run(["gaps", "nfc", "llama3"], out="out")
    kept = open_results(promote(open_results(place / "out"), place / "record.json"))
    assert len(kept.items("llama3", "likelihood")) == 58
    found = gate(open_results(place / "out"), kept, {})
    assert found.ok
    assert {one.row.n for one in found.rows} == {58}


def test_a_run_that_is_resumed_leaves_out_the_same_documents(place):
    first = run(["gaps", "nfc", "llama3"], out="out")
    again = run(["llama3"], out="out")
    assert left_out(again) == left_out(first)
    assert bits(again) == bits(first)


@pytest.mark.slow
def test_a_worker_leaves_them_out_and_cells_that_are_done_follow(tmp_path):
    write_text(tmp_path / "test.jsonl", range(60))
    (tmp_path / "odd.yaml").write_text(f"{SUITE}models: [zlib]\n")
    (tmp_path / "picky.py").write_text(PICKY)
    ask = ("run", "odd.yaml", "--out", "out")
    assert llmbench_command(*ask, cwd=tmp_path).returncode == 0
    done = llmbench_command(*ask, "--model", "picky.py:Picky", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "likelihood: done before" in done.stderr
    record = run_json(tmp_path / "out")
    assert record["notes"]["left_out"]["likelihood"]["documents"] == {
        "d7": {"Picky": "a control byte"}
    }
    assert {row["left_out"] for row in record["scores"]} == {1}
    assert len({row["n"] for row in record["scores"]}) == 1
