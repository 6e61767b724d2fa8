"""Reviewed records: what is refused, what is stored, and that an edited one is noticed."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner
from support.hand_runs import ACCURACY, BITS, RATE, Hand, bits, right
from support.run_helpers import folder, llmbench

from llmbench import storage
from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.results import gate, promote, record
from llmbench.results.compare import compare
from llmbench.results.matching import pair_runs
from llmbench.results.record import Machine
from llmbench.results.samples import open_results

RATES = tuple(1.9 + 0.017 * i for i in range(12))
CELLS = {"lstm": ["likelihood", "choice", "speed"], "rnn": ["likelihood"]}
UNSUPPORTED = [
    {"model": "rnn", "task": task, "reason": "unsupported", "message": "it does not", "hint": ""}
    for task in ("choice", "speed")
]


def hand(folder, failures=UNSUPPORTED, cells=CELLS):
    made = Hand(folder, failures=failures, notes={"cells": cells})
    made.add("lstm", BITS, bits(*RATES)).add("lstm", ACCURACY, right("110100")).add(
        "rnn", BITS, bits(*RATES[::-1])
    )
    return made.add("lstm", RATE, [[1000.5 + i, 1] for i in range(8)], session="s1")


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder outside of any checkout, whatever the machine's folders are in."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def git(folder, *arguments):
    names = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *names, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(outside):
    if shutil.which("git") is None:
        pytest.skip("git is not here")
    place = outside / "project"
    place.mkdir()
    (place / "model.py").write_text("x = 1\n")
    git(place, "init", "-q")
    git(place, "add", "model.py")
    git(place, "commit", "-q", "-m", "Begin")
    return place


def test_a_run_becomes_a_record_named_after_its_suite_and_machine(outside):
    done = CliRunner().invoke(
        cli, ["record", "promote", str(hand(outside / "run").write())], standalone_mode=False
    )
    assert (done.exception, done.return_value) == (None, 0)
    assert done.output == "baselines/records/by-hand@a-processor-4-cores.json\n"
    kept = record.load(outside / done.output.strip())
    assert [score.value for score in kept.scores] == [
        score.value for score in record.load(outside / "run").scores
    ]
    assert kept.review.commit is None


@pytest.mark.parametrize(
    "name",
    [
        "../../../escaped",
        "/tmp/escaped",
        "..",
        "a/b",
        "a\\b",
        "",
        ".hidden",
        "line\n",
        "half \ud800",
    ],
)
def test_a_record_does_not_choose_which_file_is_written(outside, name):
    made = hand(outside / "run")
    made.changes["suite"] = {"name": name, "version": 1, "sha256": "0" * 64}
    run = open_results(made.write())
    before = sorted(outside.rglob("*"))
    with pytest.raises(UsageError, match="no file can be called after the suite"):
        promote.promote(run)
    assert sorted(outside.rglob("*")) == before
    assert promote.promote(run, outside / "record.json").is_file()


def test_the_items_of_a_record_are_those_of_the_run(outside):
    run = open_results(hand(outside / "run").write())
    kept = open_results(promote.promote(run, outside / "record.json"))
    for model, task in (
        ("lstm", "likelihood"),
        ("rnn", "likelihood"),
        ("lstm", "choice"),
        ("lstm", "speed"),
    ):
        expected = [(item.key, item.statistics, item.session) for item in run.items(model, task)]
        assert expected
        assert [
            (item.key, item.statistics, item.session) for item in kept.items(model, task)
        ] == expected
    assert (
        kept.items("rnn", "choice")
        == kept.items("nobody", "likelihood")
        == kept.items("lstm", "nothing")
        == []
    )


def test_a_comparison_with_a_record_is_the_comparison_with_its_run(outside):
    run, other = (
        open_results(hand(outside / "run").write()),
        Hand(outside / "other").add("lstm", BITS, bits(*(rate + 0.1 for rate in RATES))).write(),
    )
    kept = open_results(promote.promote(run, outside / "record.json"))
    rows = [compare(("a", "b"), pair_runs(open_results(other), one)).rows for one in (run, kept)]
    assert rows[0] == rows[1]
    assert next(row for row in rows[0] if row.metric == "bits_per_byte").verdict == "worse"
    assert not gate.gate(open_results(other), kept, {}).ok
    assert gate.gate(run, kept, {}).ok


def test_models_that_were_asked_the_same_items_share_their_ids(outside):
    made = hand(outside / "run", cells={}).add("ngram", BITS, bits(1.0, 2.0), ids=["x", "y"])
    data = json.loads(
        promote.promote(open_results(made.write()), outside / "record.json").read_text()
    )
    assert [
        (len(group["ids"]), list(group["models"])) for group in data["items"]["likelihood"]
    ] == [(12, ["lstm", "rnn"]), (2, ["ngram"])]
    assert data["items"]["speed"][0]["sessions"] == ["s1"] * 8
    assert "sessions" not in data["items"]["choice"][0]


@pytest.mark.parametrize("reason", ["error", "crashed", "timeout", "out_of_memory"])
def test_a_run_with_a_failed_cell_is_refused_and_names_it(outside, reason):
    failures = [
        *UNSUPPORTED,
        {
            "model": "mine",
            "task": "likelihood",
            "reason": reason,
            "message": "a bad day",
            "hint": "",
        },
    ]
    with pytest.raises(UsageError, match=f"1 failed cells, mine on likelihood the first .{reason}"):
        promote.promote(
            open_results(hand(outside / "run", failures=failures).write()), outside / "record.json"
        )
    assert not (outside / "record.json").exists()


def test_an_interrupted_run_is_refused(outside):
    with pytest.raises(UsageError, match="rnn on choice is not done: the run was interrupted"):
        promote.promote(
            open_results(hand(outside / "run", failures=UNSUPPORTED[1:]).write()),
            outside / "record.json",
        )


def test_a_run_without_its_samples_is_refused(outside):
    place = hand(outside / "run").write()
    (place / "samples" / "rnn" / "likelihood.jsonl").unlink()
    with pytest.raises(UsageError, match="the samples of rnn on likelihood are not there"):
        promote.promote(open_results(place), outside / "record.json")


def test_samples_that_do_not_give_the_score_are_refused(outside):
    place = hand(outside / "run").write()
    storage.write_lines(
        place / "samples" / "rnn" / "likelihood.jsonl",
        [{"id": "d0", "statistics": {"bits_per_byte": [300.0, 100]}}],
    )
    with pytest.raises(UsageError, match="do not give its bits_per_byte"):
        promote.promote(open_results(place), outside / "record.json")


def test_a_record_is_not_promoted_again(outside):
    place = promote.promote(open_results(hand(outside / "run").write()), outside / "record.json")
    with pytest.raises(UsageError, match="a reviewed record already"):
        promote.promote(open_results(place), outside / "other.json")


def test_uncommitted_changes_are_refused_and_other_records_are_not(checkout):
    run = open_results(hand(checkout.parent / "run").write())
    place = checkout / "baselines" / "records" / "one.json"
    assert record.load(promote.promote(run, place)).review.commit == git(
        checkout, "rev-parse", "HEAD"
    )
    promote.promote(
        run, place.with_name("two.json")
    )  # the first one is not committed, and that is no matter
    promote.promote(run, checkout / "elsewhere.json")
    promote.promote(run, checkout / "elsewhere.json")  # nor is the file that is written anew
    (checkout / "elsewhere.json").unlink()
    (checkout / "model.py").write_text("x = 2\n")
    before = place.read_bytes()
    with pytest.raises(UsageError, match=r"not committed: model\.py \("):
        promote.promote(run, place)
    assert place.read_bytes() == before
    git(checkout, "commit", "-q", "-a", "-m", "Go on")
    (checkout / "new.py").write_text("y = 1\n")
    with pytest.raises(UsageError, match=r"not committed: new\.py \("):
        promote.promote(run, place)


def test_the_run_itself_may_lie_in_the_checkout(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    run = open_results(hand(checkout / "run").write())
    assert record.load(promote.promote(run)).review.commit
    (checkout / "runs").mkdir()
    (checkout / "runs" / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="not committed: runs/"):
        promote.promote(run)


def test_a_checkout_without_a_commit_has_none(outside):
    if shutil.which("git") is None:
        pytest.skip("git is not here")
    git(outside, "init", "-q", "empty")
    assert promote.clean_commit(outside / "empty" / "record.json") is None


def edited(data, key):
    if key == "value":
        data["scores"][0]["value"] -= 0.5
    elif key == "item":
        data["items"]["likelihood"][0]["models"]["lstm"]["bits_per_byte"][0][0] += 1
    elif key == "gate":
        data["suite"]["gate"] = {"bits_per_byte": 9.0}
    elif key == "commit":
        data["review"]["commit"] = "f" * 40
    elif key == "review":
        del data["review"]
    elif key == "items":
        del data["items"]
    return data


@pytest.mark.parametrize("key", ["value", "item", "gate", "commit", "review", "items"])
def test_an_edited_record_is_refused_with_its_path(outside, key):
    place = promote.promote(open_results(hand(outside / "run").write()), outside / "record.json")
    record.load(place)
    place.write_text(json.dumps(edited(json.loads(place.read_text()), key)))
    with pytest.raises(UsageError, match=r"record\.json: the reviewed record was edited"):
        record.load(place)


def test_a_record_that_was_only_laid_out_anew_is_the_same(outside):
    place = promote.promote(open_results(hand(outside / "run").write()), outside / "record.json")
    place.write_text(json.dumps(json.loads(place.read_text()), indent=4, sort_keys=True))
    assert record.load(place).items


def test_a_torn_record_is_refused_with_its_path(outside):
    place = promote.promote(open_results(hand(outside / "run").write()), outside / "record.json")
    place.write_text(place.read_text()[:-40])
    with pytest.raises(UsageError, match=r"record\.json: the record is torn"):
        record.load(place)


@pytest.mark.parametrize("review", [3, {}, {"promoted": "x"}, {"promoted": "x", "sha256": 4}])
def test_a_review_that_is_none_is_refused(outside, review):
    place = promote.promote(open_results(hand(outside / "run").write()), outside / "record.json")
    place.write_text(json.dumps({**json.loads(place.read_text()), "review": review}))
    with pytest.raises(UsageError, match=r"record\.json: the record is wrong at review"):
        record.load(place)


def test_a_runs_own_record_has_no_place_for_a_review(outside):
    assert (
        not {"items", "review"}
        & json.loads((hand(outside / "run").write() / "run.json").read_text()).keys()
    )


def test_the_file_has_a_line_for_each_score_so_that_a_review_can_be_read(outside):
    text = promote.promote(
        open_results(hand(outside / "run").write()), outside / "record.json"
    ).read_text()
    lines = [line for line in text.split("\n") if '"metric":"' in line]
    assert len(lines) == 4
    assert max(len(line) for line in text.split("\n")) <= promote.LINE + 100


def test_from_a_run_to_a_record_to_a_gate(outside):
    folder(outside)
    with (outside / "tiny.yaml").open("a") as file:
        file.write("gate: {bits_per_byte: 5%}\n")
    assert (
        llmbench(
            "run", "tiny.yaml", "--only", "uniform-bytes", "--out", "run", cwd=outside
        ).returncode
        == 0
    )
    done = llmbench("record", "promote", "run", cwd=outside)
    assert done.returncode == 0, done.stderr
    held = llmbench(
        "gate", "run", "--against", done.stdout.strip(), "--format", "json", cwd=outside
    )
    assert held.returncode == 0, held.stderr
    (row,) = json.loads(held.stdout)["rows"]
    assert (row["row"]["metric"], row["row"]["verdict"], row["allowed"], row["state"]) == (
        "bits_per_byte",
        "tie",
        "5 %",
        "passed",
    )


def test_machines_are_named_in_letters_that_every_file_system_has():
    machine = Machine(cpu="AMD EPYC 7B13 (R)", cores=16, gpus=[{"name": "NVIDIA A100/80GB"}])
    assert promote.machine_name(machine) == "amd-epyc-7b13-r-16-cores-nvidia-a100-80gb"
    assert promote.machine_name(Machine(cpu="x")) == "x-cores"
