"""Whole runs: cells, failures as rows, resume, interrupts. Each test starts real workers."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.run_helpers import folder, llmbench, run_json, started

from llmbench.ledger import KINDS
from llmbench.plan import plan
from llmbench.results import record
from llmbench.runner import run
from llmbench.runner.progress import Silent

BAD = ("Raises", "NoStart", "Hungry", "Dies", "Rude")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One run with good models and bad ones."""
    place = folder(tmp_path_factory.mktemp("mixed"))
    models = [
        part for name in ("Good", "Loud", *BAD) for part in ("--model", f"my_models.py:{name}")
    ]
    return place, llmbench("run", "tiny.yaml", *models, "--out", "out", cwd=place)


@contextmanager
def hang_run(place, *more):
    """A run in the folder that has come to a model which hangs."""
    models = ("--model", "my_models.py:Hangs", *more)
    with started("run", "tiny.yaml", *models, "--out", "out", cwd=place) as child:
        for line in child.stderr:
            if "Hangs" in line:
                break
        yield child


def bits_and_ranks(found):
    """Bits per byte and rank of each model of a record."""
    return {
        score.model: (score.value, score.rank)
        for score in found.scores
        if score.metric == "bits_per_byte"
    }


def rows(place, **wanted):
    return [
        row
        for row in run_json(place / "out")["scores"]
        if all(row[key] == value for key, value in wanted.items())
    ]


def test_bad_models_are_rows_and_everything_else_goes_on(mixed):
    place, done = mixed
    assert done.returncode == 1, done.stderr
    found = {(f["model"], f["task"]): f for f in run_json(place / "out")["failures"]}
    reasons = {
        model: {f["reason"] for (m, _), f in found.items() if m == model} for model, _ in found
    }
    assert reasons == {
        **dict.fromkeys(("Raises", "NoStart", "Rude"), frozenset({"error"})),
        "Hungry": {"out_of_memory"},
        "Dies": {"crashed"},
        **dict.fromkeys(("uniform-bytes", "zlib"), frozenset({"unsupported"})),
    }
    messages = {model: f["message"] for (model, task), f in found.items() if task == "likelihood"}
    assert "a bad day" in messages["Raises"]
    assert "my_models.py:" in messages["Raises"]
    assert "weights are missing" in messages["NoStart"]
    assert "SIGKILL" in messages["Dies"]
    assert len(rows(place, metric="bits_per_byte")) == 5  # three floors, Good, Loud


def test_no_record_and_no_board_names_a_folder_of_this_machine(mixed):
    place, _ = mixed
    out = place / "out"
    files = [*out.glob("*.*"), *out.glob("*/*/*.json"), *out.glob("certificates/*.json")]
    names = {"run.json", "leaderboard.html", "leaderboard.md", "likelihood.json", "Raises.json"}
    assert names <= {file.name for file in files}
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not [
            name for name in (str(place), str(Path.home()), str(Path.cwd())) if name in text
        ]


def test_the_record_keeps_the_contract(mixed):
    place, _ = mixed
    data = run_json(place / "out")
    assert {
        "schema",
        "llmbench",
        "suite",
        "started",
        "finished",
        "seed",
        "options",
        "machine",
        "models",
        "scores",
        "failures",
    } <= data.keys()
    assert {"cpu", "cores", "memory_bytes", "gpus", "os", "python", "packages", "threads"} <= data[
        "machine"
    ].keys()
    model = {
        "name",
        "stage",
        "family",
        "tokenizer",
        "parameters",
        "context",
        "weights_bytes",
        "dtype",
        "device",
        "fingerprint",
        "certificate",
        "overlap",
        "published",
    }
    assert all(model <= row.keys() for row in data["models"])
    score = {
        "model",
        "task",
        "metric",
        "value",
        "low",
        "high",
        "unit",
        "better",
        "n",
        "signature",
        "rank",
    }
    assert all(score <= row.keys() for row in data["scores"])
    assert all(
        {"model", "task", "reason", "message", "hint"} <= row.keys() for row in data["failures"]
    )
    record.load(place / "out")


def test_numbers_are_what_they_must_be(mixed):
    place, _ = mixed
    assert rows(place, model="uniform-bytes", metric="bits_per_byte")[0]["value"] == 8.0
    good, loud = (
        rows(place, model=name, metric="bits_per_byte")[0]["value"] for name in ("Good", "Loud")
    )
    assert good == loud
    ranks = {row["model"]: row["rank"] for row in rows(place, metric="bits_per_byte")}
    assert ranks["zlib"] is None
    assert ranks["byte-ngram"] == [1, 1]
    assert ranks["Good"] == [3, 4] == ranks["Loud"]
    overlap = {row["name"]: row["overlap"] for row in run_json(place / "out")["models"]}
    assert overlap["byte-ngram"] > 0.5
    assert overlap["uniform-bytes"] == 0
    assert overlap["Good"] is None


def test_charges_and_samples_are_stored(mixed):
    place, _ = mixed
    table = pq.read_table(place / "out/charges/byte-ngram/likelihood.parquet").to_pydict()
    lines = [
        json.loads(line)
        for line in (place / "out/samples/byte-ngram/likelihood.jsonl").read_text().splitlines()
    ]
    assert [line["id"] for line in lines] == [f"d{i}" for i in range(12)]
    for line in lines:
        bits, size = line["statistics"]["bits_per_byte"]
        mine = [
            (a, b, c)
            for d, a, b, c in zip(
                table["document"], table["start"], table["end"], table["bits"], strict=True
            )
            if d == line["id"]
        ]
        assert sum(c for _, _, c in mine) == pytest.approx(bits)
        assert mine[0][0] == 0
        assert mine[-1][1] == size == line["bytes"]
    assert set(table["kind"]) <= set(KINDS)
    said = [
        json.loads(line)
        for line in (place / "out/samples/Good/continuation.jsonl").read_text().splitlines()
    ]
    assert said[0]["input"] == "The"  # its space goes over to the answer
    assert said[0]["output"]


def test_boards_are_written_in_every_format(mixed):
    place, done = mixed
    out = place / "out"
    assert "byte-ngram" in done.stdout
    assert "| byte\\-ngram" in (out / "leaderboard.md").read_text().replace(
        "byte-ngram", "byte\\-ngram"
    )
    table = list(csv.DictReader((out / "leaderboard.csv").open()))
    assert {row["model"] for row in table} == {
        "uniform-bytes",
        "byte-ngram",
        "zlib",
        "Good",
        "Loud",
    }
    assert (
        float(next(row for row in table if row["model"] == "uniform-bytes")["bits_per_byte"]) == 8.0
    )
    page = (out / "leaderboard.html").read_text()
    assert "byte-ngram" in page
    assert "http" not in page.replace("http-equiv", "")


def test_going_on_finishes_only_what_is_missing(mixed):
    place, _ = mixed
    (place / "well").touch()  # now Dies lives
    before = {path: path.stat().st_mtime_ns for path in (place / "out/cells").rglob("*.json")}
    models = [part for name in ("Good", "Dies") for part in ("--model", f"my_models.py:{name}")]
    done = llmbench("run", "tiny.yaml", *models, "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    after = {path: path.stat().st_mtime_ns for path in (place / "out/cells").rglob("*.json")}
    assert {path.parent.name for path in after.keys() - before.keys()} == {"Dies"}
    assert all(after[path] == before[path] for path in before)
    failed = {
        f["model"] for f in run_json(place / "out")["failures"] if f["reason"] != "unsupported"
    }
    assert failed == set(BAD) - {"Dies"}  # not asked again: their rows stay, and do not count


@pytest.mark.slow
def test_a_torn_cell_is_run_again(tmp_path):
    place = folder(tmp_path)
    arguments = ("run", "tiny.yaml", "--only", "uniform-bytes", "--out", "out")
    llmbench(*arguments, cwd=place)
    cell = place / "out/cells/uniform-bytes/likelihood.json"
    whole = cell.read_text()
    cell.write_text(whole[: len(whole) // 2])
    assert llmbench(*arguments, cwd=place).returncode == 0
    assert json.loads(cell.read_text())["scores"] == json.loads(whole)["scores"]


@pytest.mark.slow
def test_changed_data_is_not_taken_for_the_old(tmp_path):
    place = folder(tmp_path)
    arguments = ("run", "tiny.yaml", "--only", "byte-ngram", "--out", "out")
    llmbench(*arguments, cwd=place)
    old = rows(place, metric="bits_per_byte")[0]["value"]
    (place / "train.txt").write_text("something else entirely, nothing like a kettle. " * 9)
    llmbench(*arguments, cwd=place)
    assert rows(place, metric="bits_per_byte")[0]["value"] > old


@pytest.mark.slow
def test_another_suite_in_the_folder_is_refused(tmp_path):
    place = folder(tmp_path)
    llmbench("run", "tiny.yaml", "--only", "zlib", "--out", "out", cwd=place)
    (place / "tiny.yaml").write_text(
        (place / "tiny.yaml").read_text().replace("version: 1", "version: 2")
    )
    done = llmbench("run", "tiny.yaml", "--only", "zlib", "--out", "out", cwd=place)
    assert done.returncode == 2
    assert "choose another --out" in done.stderr
    (place / "full").mkdir()
    (place / "full/something").touch()
    assert llmbench("run", "tiny.yaml", "--out", "full", cwd=place).returncode == 2


def test_a_model_that_hangs_is_timed_out(tmp_path):
    place = folder(tmp_path)
    models = ("--model", "my_models.py:Hangs", "--only", "Hangs", "--only", "zlib")
    done = llmbench("run", "tiny.yaml", *models, "--timeout", "12", "--out", "out", cwd=place)
    assert done.returncode == 1
    hung = [f for f in run_json(place / "out")["failures"] if f["model"] == "Hangs"]
    assert {f["reason"] for f in hung} == {"timeout"}
    assert "--timeout" in hung[0]["hint"]


@pytest.mark.parametrize(
    "sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupt_keeps_what_is_done(tmp_path, sent):
    place = folder(tmp_path)
    with hang_run(place) as child:
        child.send_signal(sent)
        rest = child.stderr.read()
    assert child.returncode == 130
    assert "Resume with the same command and --out out" in rest
    assert {row["model"] for row in rows(place)} == {"uniform-bytes", "byte-ngram", "zlib"}


class Impatient(Silent):
    """Ctrl-C while models are compared."""

    def progress(self, name, what, share, remark):
        if what == "comparing":
            assert (name, share, remark) == ("tiny", 0.0, "likelihood, bits_per_byte")
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupt_while_models_are_compared_keeps_what_was_measured_and_the_next_run_compares(
    tmp_path,
):
    options = plan.Options(
        only=("uniform-bytes", "byte-ngram"),
        out=tmp_path / "out",
        device="cpu",
        cache=tmp_path / "cache",
    )
    made = plan.plan(str(folder(tmp_path) / "tiny.yaml"), options)
    result, interrupted = run.run(made, Impatient())
    assert interrupted
    assert record.load(tmp_path / "out") == result
    bits = bits_and_ranks(result)
    assert {rank for _, rank in bits.values()} == {None}
    whole, interrupted = run.run(made)
    assert not interrupted
    again = bits_and_ranks(whole)
    assert {model: value for model, (value, _) in again.items()} == {
        model: value for model, (value, _) in bits.items()
    }
    assert {model: rank for model, (_, rank) in again.items()} == {
        "byte-ngram": (1, 1),
        "uniform-bytes": (2, 2),
    }


def test_a_worker_does_not_outlive_its_parent(tmp_path, fresh):
    place = folder(tmp_path)
    with hang_run(place, "--only", "Hangs") as child:
        import psutil

        deadline = time.monotonic() + 60
        while not (workers := psutil.Process(child.pid).children()) and time.monotonic() < deadline:
            pass
        assert workers
        child.kill()
        gone, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert gone


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/bin/mount").exists(),
    reason="a full disk is made with mount, as root",
)
def test_a_full_disk_is_a_row_and_a_clear_line(tmp_path):
    place = folder(tmp_path)
    (place / "small").mkdir()
    if subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place / "small")],
        check=False,
        capture_output=True,
    ).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        done = llmbench(
            "run", "tiny.yaml", "--model", "my_models.py:Good", "--out", "small/out", cwd=place
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == 1
        assert "No space left" in done.stderr + done.stdout
        for cell in (place / "small/out/cells").rglob("*.json"):
            json.loads(cell.read_text())  # what is there is whole
    finally:
        subprocess.run(["/bin/umount", str(place / "small")], check=False)


def test_two_runs_in_one_folder_do_not_meet(tmp_path):
    place = folder(tmp_path)
    with hang_run(place, "--only", "Hangs") as child:
        second = llmbench("run", "tiny.yaml", "--only", "zlib", "--out", "out", cwd=place)
        child.send_signal(signal.SIGINT)
        child.stderr.read()
    assert second.returncode == 2
    assert "another run is at work" in second.stderr
