"""A run in the folder of an earlier one that does not name all of its models: damaged cells are
rows, and no number of the others changes without a line.
"""

from __future__ import annotations

import shutil

import pytest
from support.lossy_runs import bits, left_out, prepare, run, write_text

from llmbench.errors import UsageError
from llmbench.runner import in_process
from llmbench.runner import run as runner_run
from llmbench.runner.progress import Silent


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder with a suite and a text of 60 documents, as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(in_process, "_certify", lambda *arguments: None)  # takes seconds a model
    return prepare(tmp_path)


@pytest.fixture
def said(monkeypatch):
    """The warnings of runs."""
    lines = []

    class Heard(Silent):
        def warn(self, text):
            lines.append(text)

    monkeypatch.setattr(runner_run, "Silent", Heard)
    return lines


def damage(path):
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])


def samples(model):
    return f"out/samples/{model}/likelihood.parquet"


def test_a_damaged_cell_of_another_model_is_a_row_and_a_line(place, said):
    first = run(["gaps", "llama3", "nfc"], out="out")
    damage(place / samples("nfc"))
    second = run(["llama3"], out="out")
    (row,) = second.record.failures
    assert (row.model, row.task, row.reason) == ("nfc", "likelihood", "error")
    assert row.message.startswith("damaged: its files were changed, cut or removed")
    (line,) = said
    assert line.startswith("nfc likelihood is left off the board: damaged")
    assert bits(second) == {k: v for k, v in bits(first).items() if k != "nfc"}
    assert left_out(second) == left_out(first) == ["d7", "d11"]
    assert any("lossy for gaps (1), nfc (1)" in note for note in second.board.tables[0].notes)
    third = run(["gaps"], out="out")  # and it stays so
    assert third.record.failures == second.record.failures
    assert left_out(third) == ["d7", "d11"]
    fourth = run(["nfc"], out="out")
    assert fourth.record.failures == []
    assert bits(fourth) == bits(first)


@pytest.mark.parametrize("damaging", [damage, lambda path: path.unlink()])
def test_documents_of_a_damaged_cell_are_known_from_the_record(place, said, damaging):
    first = run(["gaps", "llama3", "nfc"], out="out")
    damaging(place / "out/cells/nfc/likelihood.json")
    for _ in range(2):
        second = run(["llama3"], out="out")
        assert [(f.model, f.reason) for f in second.record.failures] == [("nfc", "error")]
        assert left_out(second) == ["d7", "d11"]
        assert bits(second) == {k: v for k, v in bits(first).items() if k != "nfc"}
    assert len(said) == 2


def test_models_are_found_by_their_cells_if_the_record_is_damaged(place, said):
    first = run(["gaps", "llama3", "nfc"], out="out")
    file = place / "out/run.json"
    file.write_bytes(file.read_bytes().replace(b'"seed": 0', b'"seed": 1', 1))
    second = run(["llama3"], out="out")
    assert bits(second) == bits(first)
    assert left_out(second) == left_out(first)
    (line,) = said
    assert "its digest is wrong" in line
    assert "models of earlier runs are read from their finished cells" in line


def test_a_run_is_refused_if_nothing_tells_which_documents_to_leave_out(place, said):
    first = run(["gaps", "llama3", "nfc"], out="out")
    damage(place / "out/run.json")
    damage(place / "out/cells/nfc/likelihood.json")
    with pytest.raises(UsageError, match="the cell of nfc for likelihood is damaged") as refused:
        run(["llama3"], out="out")
    assert "name this model too" in str(refused.value)
    again = run(["nfc"], out="out")
    assert bits(again) == bits(first)


def test_a_refused_model_with_a_damaged_cell_stops_a_run_without_it(place):
    odd = {7: "the\x04 tap", 8: "a\x04 tap", 11: "the cafe\u0301 tap", 19: "the \u2581 tap"}
    write_text(place / "test.jsonl", range(60), odd)
    run(["gaps", "nfc", "gemma"], out="out")
    damage(place / "out/cells/gaps/likelihood.json")
    with pytest.raises(UsageError, match="the cell of gaps for likelihood is damaged"):
        run(["nfc"], out="out")


def test_scores_that_change_as_a_model_joins_are_told(place, said):
    run(["gaps", "llama3"], out="out")
    run(["nfc"], out="out")
    (line,) = said
    assert line == (
        "likelihood: the scores of gaps, llama3 changed: 2 documents are left out for all models,"
        " 1 before"
    )
    run(["llama3"], out="out")
    assert len(said) == 1


def test_cells_of_another_question_are_told_where_they_leave_the_board(place, said):
    run(["gaps", "llama3"], out="out")
    second = run(["llama3"], out="out", seed=1)
    assert set(bits(second)) == {"llama3"}
    (line,) = said
    assert line.startswith("gaps likelihood is left off the board: measured with other texts")


def test_a_model_that_only_failed_stays_if_it_is_not_asked_again(place):
    write_text(place / "test.jsonl", range(60), {i: f"a\x04 {i}" for i in range(9)})
    first = run(["gaps", "llama3"], out="out")
    assert [f.model for f in first.record.failures] == ["gaps"]
    assert not (place / "out/cells/gaps").exists()
    second = run(["llama3"], out="out")
    assert second.record.failures == first.record.failures
    assert {row.name for row in second.record.models} == {"gaps", "llama3"}


def test_a_cell_under_another_model_s_name_is_no_cell_of_it(place, said):
    run(["gaps", "llama3"], out="out")
    shutil.copytree(place / "out/cells/gaps", place / "out/cells/twin")
    second = run(["llama3"], out="out")
    assert set(bits(second)) == {"gaps", "llama3"}
    assert [(f.model, f.reason) for f in second.record.failures] == [("twin", "error")]
    assert len(said) == 1
