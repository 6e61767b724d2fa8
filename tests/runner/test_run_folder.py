"""What a run believes of the files in its folder, and what it knows of runs that were killed."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager

import pytest
from support.run_helpers import folder, llmbench, run_json

from llmbench import storage
from llmbench.conformance import certificates
from llmbench.plan import plan
from llmbench.results.cell import CellHead, write_cell
from llmbench.results.outcome import Outcome
from llmbench.results.record import ModelRow
from llmbench.runner.folder.run_folder import RunFolder
from llmbench.runner.folder.turns import BEGUN

MODELS = '''\
import os, signal, time
from llmbench import storage
from llmbench.adapters.trivial import UniformBytes
from pathlib import Path


class Floor(UniformBytes):
    """Needs no torch, and starts quickly."""


class Last(Floor):
    """Another one."""


class Forges(Floor):
    """Writes well-sealed results of the models before and after it."""
    def score(self, passages, window=None):
        for name in ("Floor", "Last"):
            cell = storage.read_sealed(Path("honest/cells") / name / "likelihood.json")
            for row in cell["scores"]:
                if row["metric"] == "bits_per_byte":
                    row["value"] = 0.125
            for kind in ("samples", "charges"):
                for file in (Path("honest") / kind / name).iterdir():
                    storage.write_bytes(Path("out") / kind / name / file.name, file.read_bytes())
            storage.write_sealed(Path("out/cells") / name / "likelihood.json", cell)
        proof = storage.read_sealed(Path("honest/certificates/Floor.json"))
        for name in ("Floor", "Last"):
            storage.write_sealed(Path("out/certificates") / f"{name}.json", {**proof, "forged": 1})
        yield from super().score(passages)


class Kills(Floor):
    """Kills the run."""
    def score(self, passages, window=None):
        if not os.path.exists("mercy"):
            run = int(os.environ.get("LLMBENCH_TESTS_RUN", os.getppid()))
            os.kill(run, getattr(signal, Path("signal").read_text()))
            time.sleep(100)
        yield from super().score(passages)
'''


@pytest.fixture
def place(tmp_path):
    made = folder(tmp_path)
    suite = (made / "tiny.yaml").read_text().splitlines()
    short = [line for line in suite if "continuation" not in line]
    (made / "tiny.yaml").write_text("\n".join(short) + "\n")
    (made / "light.py").write_text(MODELS)
    return made


def run(place, *names, out="out"):
    models = [part for name in names for part in ("--model", f"light.py:{name}")]
    arguments = ("run", "tiny.yaml", *models, "--only", "uniform-bytes", "--out", out)
    return llmbench(*arguments, cwd=place)


def bits(place):
    rows = run_json(place / "out")["scores"]
    return {row["model"]: row["value"] for row in rows if row["metric"] == "bits_per_byte"}


@contextmanager
def opened(made):
    made.out.mkdir(exist_ok=True)
    with (made.out / ".lock").open("w") as lock:
        yield RunFolder(made, lock)


def planned(place, monkeypatch):
    monkeypatch.chdir(place)
    options = plan.Options(only=("uniform-bytes", "zlib"), out=place / "out", cache=place / "cache")
    return plan.plan("tiny.yaml", options)


def write(made, model):
    head = CellHead(
        made.keys[model, "likelihood"], made.question, "", "likelihood", ModelRow(name=model)
    )
    return write_cell(made.out, head, Outcome([], [{"id": "a", "statistics": {}}]), 0.0)


def test_a_cell_is_believed_if_it_was_there_or_its_own_worker_wrote_it(place, monkeypatch):
    made = planned(place, monkeypatch)
    write(made, "zlib")
    with opened(made) as run_folder:
        digest = write(made, "uniform-bytes")
        assert run_folder.cell("zlib", "likelihood") is not None
        assert run_folder.cell("uniform-bytes", "likelihood") is None
        run_folder.accept_cell("uniform-bytes", "likelihood", digest)
        assert run_folder.cell("uniform-bytes", "likelihood") is not None
        assert run_folder.remove_unknown() == []
        assert run_folder.lost_cells() == []


def test_forged_cells_certificates_and_rounds_are_removed_and_changed_samples_noticed(
    place, monkeypatch
):
    made = planned(place, monkeypatch)
    write(made, "zlib")
    with opened(made) as run_folder:
        assert run_folder.cell("zlib", "likelihood") is not None
        write(made, "uniform-bytes")
        storage.write_sealed(certificates.of_run(made.out, "zlib"), {"levels": {}})
        storage.write_sealed(made.out / "rounds" / "speed.json", {"again": None})
        assert run_folder.read_rounds("speed") == {}
        assert run_folder.remove_unknown() == [
            "cells/uniform-bytes/likelihood.json",
            "certificates/zlib.json",
            "rounds/speed.json",
        ]
        (made.out / "samples" / "zlib" / "likelihood.jsonl").write_text("{}\n")
        assert run_folder.lost_cells() == [("zlib", "likelihood")]


def test_a_certificate_counts_only_for_the_model_whose_worker_wrote_it(place, monkeypatch):
    made = planned(place, monkeypatch)
    with opened(made) as run_folder:
        proof = {"state": "earned", "why": "", "tried": [], "seconds": 0.0}
        row = {
            "version": certificates.version(),
            "fingerprint": "f",
            "device": "cpu",
            "levels": dict.fromkeys(certificates.LEVELS, proof),
        }
        in_cache = certificates.of_weights(place / "cache", "f", "cpu")
        digest = storage.write_sealed(in_cache, row)
        assert run_folder.certificate("zlib", "f", "cpu", in_cache=True) is None
        run_folder.accept_certificate("liar", "", digest)
        assert run_folder.certificate("zlib", "f", "cpu", in_cache=True) is None
        assert run_folder.certificate("liar", "f", "cpu", in_cache=True) is not None
    with opened(made) as run_folder:
        assert run_folder.certificate("zlib", "f", "cpu", in_cache=True) is not None
        assert run_folder.certificate("zlib", "f", "cpu", in_cache=False) is None


def test_a_pipe_in_the_place_of_a_cell_is_not_waited_for(place, monkeypatch):
    made = planned(place, monkeypatch)
    write(made, "zlib")
    with opened(made) as run_folder:
        path = made.cell_path("zlib", "likelihood")
        path.unlink()
        os.mkfifo(path)
        assert run_folder.cell("zlib", "likelihood") is None
        assert run_folder.remove_unknown() == []


def kill(made, turn):
    """A run in which the parent dies in this turn."""
    with opened(made) as run_folder:
        run_folder.turns.begin(turn)


def test_deaths_in_a_turn_count_until_it_gets_further_or_ends(place, monkeypatch):
    made = planned(place, monkeypatch)
    for expected in (1, 2):
        kill(made, "zlib")
        with opened(made) as run_folder:
            assert run_folder.turns.deaths == {"zlib": expected}
            assert run_folder.turns.is_left_out("zlib") is (expected == 2)
    (row,) = run_folder.leave_out("zlib")
    assert (row.model, row.task, row.reason) == ("zlib", "likelihood", "crashed")
    assert "killed 2 times" in row.message
    assert str(made.out / BEGUN) in row.hint
    write(made, "zlib")
    with opened(made) as run_folder:
        assert run_folder.turns.deaths == {"zlib": 1}


def test_a_turn_that_ended_has_no_deaths_and_an_interrupted_one_no_more(place, monkeypatch):
    made = planned(place, monkeypatch)
    kill(made, "zlib")
    with opened(made) as run_folder:
        run_folder.turns.begin("uniform-bytes")
        run_folder.turns.end()  # interrupted
    with opened(made) as run_folder:
        assert run_folder.turns.deaths == {"zlib": 1}
        run_folder.turns.begin("zlib")
        run_folder.turns.end("zlib")
        assert run_folder.turns.deaths == {}
    assert not (made.out / BEGUN).exists()


def test_a_damaged_note_of_who_was_at_work_says_nothing(place, monkeypatch):
    made = planned(place, monkeypatch)
    for data in ({"at_work": {"zlib": 3}}, {"deaths": [1]}):
        storage.write_sealed(made.out / BEGUN, data)
        with opened(made) as run_folder:
            assert run_folder.turns.deaths == {}
    (made.out / BEGUN).write_text(json.dumps({"deaths": {"zlib": 2}}))
    with opened(made) as run_folder:
        assert run_folder.turns.deaths == {}


@pytest.mark.slow
def test_forged_results_of_models_before_and_after_are_not_believed(place):
    assert run(place, "Floor", "Last", out="honest").returncode == 0
    done = run(place, "Floor", "Forges", "Last")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert bits(place) == {"uniform-bytes": 8.0, "Forges": 8.0, "Last": 8.0}
    (row,) = run_json(place / "out")["failures"]
    assert (row["model"], row["task"], row["reason"]) == ("Floor", "likelihood", "error")
    assert "its files were changed or removed" in row["message"]
    for name in ("cells/Floor/likelihood.json", "cells/Last/likelihood.json"):
        assert f"removed {name}: it is not what a worker of this model wrote" in done.stderr
    assert not (place / "out/cells/Floor/likelihood.json").exists()
    assert run(place, "Floor", "Last").returncode == 0
    assert bits(place) == dict.fromkeys(("uniform-bytes", "Forges", "Floor", "Last"), 8.0)


@pytest.mark.slow
def test_a_run_that_a_model_kills_is_told_of_and_the_model_left_out_in_the_end(place):
    (place / "signal").write_text("SIGKILL")
    for expected in ("", "killed once while Kills was at work: it is tried again"):
        done = run(place, "Kills", "Last")
        assert done.returncode == -9
        assert expected in done.stderr
    done = run(place, "Kills", "Last")
    assert done.returncode == 1
    assert "killed 2 times while Kills was at work: it is left out" in done.stderr
    assert bits(place) == {"uniform-bytes": 8.0, "Last": 8.0}
    (row,) = run_json(place / "out")["failures"]
    assert (row["model"], row["reason"]) == ("Kills", "crashed")
    (place / "mercy").touch()
    (place / "out" / BEGUN).unlink()
    assert run(place, "Kills", "Last").returncode == 0
    assert not (place / "out" / BEGUN).exists()


@pytest.mark.slow
def test_a_run_that_a_model_interrupts_names_it(place):
    (place / "signal").write_text("SIGTERM")
    done = run(place, "Kills", "Last")
    assert done.returncode == 130
    assert "interrupted while Kills was at work" in done.stderr
    assert bits(place) == {"uniform-bytes": 8.0}


def test_the_turns_of_one_task_have_deaths_and_rows_of_their_own(place, monkeypatch):
    made = planned(place, monkeypatch)
    for _ in range(2):
        kill(made, "zlib/likelihood")
    with opened(made) as run_folder:
        assert run_folder.turns.is_left_out("zlib/likelihood")
        assert not run_folder.turns.is_left_out("zlib")
        (row,) = run_folder.leave_out("zlib/likelihood")
        assert (row.model, row.task) == ("zlib", "likelihood")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_that_kills_the_rounds_is_left_out_of_them_alone(place):
    with (place / "my_models.py").open("a") as file:
        file.write(
            "\n\nclass Shoots(Good):\n    def logits(self, ids):\n        import signal\n"
            "        os.kill(os.getppid(), signal.SIGKILL)\n        time.sleep(100)\n"
        )
    (place / "speed.yaml").write_text(
        "name: quick-speed\nversion: 1\ntexts: {test: {source: train.txt}}\nmodels: []\ntasks:\n"
        "- {task: speed, prompt_bytes: 16, answer_bytes: 4, blocks: 8, block_seconds: 0.01}\n"
    )
    models = ("--model", "my_models.py:Good", "--model", "my_models.py:Shoots")
    arguments = ("run", "speed.yaml", *models, "--out", "out")
    for count in (0, 1):
        done = llmbench(*arguments, cwd=place)
        assert done.returncode == -9
        assert done.stderr.count("killed once while Shoots/speed was at work") == count
    done = llmbench(*arguments, cwd=place)
    assert done.returncode == 1, done.stderr
    assert "killed 2 times while Shoots/speed was at work: it is left out" in done.stderr
    record = run_json(place / "out")
    assert {row["model"] for row in record["scores"]} == {"Good"}
    assert [(row["model"], row["reason"]) for row in record["failures"]] == [("Shoots", "crashed")]
    assert "session" in record["notes"]["tasks"]["speed"]
