"""Exports to trackers, each read back by the tracker itself."""

from __future__ import annotations

import json
import math
import re
import socket
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import exported_runs, trackers
from support.exported_runs import HOSTILE, make, scores_of

from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.integrations.exports import deliver
from llmbench.integrations.exports.registry import TARGETS, find_target
from llmbench.integrations.exports.target import Export, Tracked, name_file
from llmbench.integrations.exports.trackers.tracked import find_unit

TRACKERS = [target.name for target in TARGETS.values() if target.is_tracker]
READ = {name: getattr(trackers, f"read_{name}") for name in TRACKERS}


@pytest.fixture(params=TRACKERS)
def tracker(request, monkeypatch):
    """The name of a tracker that is installed, in an environment with keys and addresses."""
    pytest.importorskip(request.param)
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "TRACKIO_SPACE_ID", "HF_TOKEN"):
        monkeypatch.setenv(name, "secret-7a1b")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return request.param


def export(name, source, place):
    said = []
    assert deliver.deliver(find_target(name), source, place, say=said.append) == place
    return said


@pytest.mark.parametrize("kind", ["example", "hostile"])
def test_a_tracker_reads_back_every_value_interval_unit_and_curve(tracker, tmp_path, kind):
    source = getattr(exported_runs, kind)()
    wanted = {run.name: run for run in make(tracker, source).tracked}
    assert set(wanted) == {score.model for score in scores_of(source)}
    place = tmp_path / "kept"
    export(tracker, source, place)
    runs = READ[tracker](place)
    assert len(runs) == len(wanted)
    for run in runs:
        if tracker == "tensorboard":
            model = next(name for name in wanted if name_file(name) == run["name"])
        else:
            model = run["config"]["model"]
        tracked = wanted[model]
        curves = {key: [tuple(row) for row in rows] for key, rows in tracked.curves.items()}
        found = {key: [tuple(row) for row in rows] for key, rows in run["all"].items()}
        assert {key: found[key] for key in curves} == curves
        values = {key: rows[-1][1] for key, rows in found.items() if key not in curves}
        assert values == tracked.values
        for key in (*values, *curves):
            if tracker == "tensorboard":
                assert run["units"][key] == find_unit(tracked, key)
        for key, unit in tracked.units.items():
            assert run["units"][key] == unit


def test_no_key_and_no_folder_of_the_machine_is_kept(tracker, tmp_path):
    """A local store of MLflow has no folder of its own in it either."""
    place = tmp_path / "kept"
    export(tracker, exported_runs.run(tmp_path / "run", "a", "b"), place)
    files = [file for file in place.rglob("*") if file.is_file()]
    assert files
    secrets = ["secret-7a1b", str(tmp_path), str(Path.cwd()), str(Path.home()) + "/"]
    if len(socket.gethostname()) > 4:
        secrets.append(socket.gethostname())
    for file in files:
        raw = file.read_bytes()
        assert not [word for word in secrets if word.encode() in raw], file
        assert "secret" not in file.name


def test_a_dry_run_needs_no_tracker_and_shows_what_one_would_get(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    folder = exported_runs.run(tmp_path / "run", "a").opened.folder
    for name in TRACKERS:
        done = CliRunner().invoke(cli, ["export", str(folder), "--to", name, "--dry-run"])
        assert done.exit_code == 0, done.exception
        tracked = Tracked(**json.loads(done.stdout))
        assert asdict(tracked) == json.loads(
            json.dumps(asdict(make(name, exported_runs.run(tmp_path / name, "a")).tracked[0]))
        )
        assert tracked.values["likelihood/bits_per_byte"] == 1.5


def test_an_absent_tracker_is_one_line_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in TRACKERS:
        with pytest.raises(UsageError, match=re.escape(f"pip install 'llmbench[{name}]'")):
            find_target(name).check()


def test_only_mlflow_takes_an_address():
    assert [name for name in TRACKERS if find_target(name).takes_uri] == ["mlflow"]


def test_an_address_where_no_server_is_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UsageError, match="MLflow refuses"):
        deliver.deliver(
            find_target("mlflow"), exported_runs.example(), tmp_path, "http://127.0.0.1:9"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_server_of_mlflow_gets_what_a_file_store_gets(tmp_path, monkeypatch, capfd):
    pytest.importorskip("mlflow")
    pytest.importorskip("flask", reason="the server is of the whole mlflow package")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    source, said = exported_runs.example(), []
    export("mlflow", source, tmp_path / "kept")
    with trackers.serve_mlflow(tmp_path) as address:
        capfd.readouterr()
        deliver.deliver(find_target("mlflow"), source, uri=address, say=said.append)
        assert capfd.readouterr().out == ""
        sent = trackers.read_mlflow(address)
    kept = READ["mlflow"](tmp_path / "kept")
    for run in kept:  # a database makes of infinity the largest number that it has
        run["all"] = {k: v for k, v in run["all"].items() if math.isfinite(v[-1][1])}
    assert sorted(sent, key=lambda run: run["name"]) == sorted(kept, key=lambda run: run["name"])
    assert said == [
        "6 runs sent; left out, since databases hold no infinity: likelihood/bits_per_byte of mine,"
        " likelihood/byte_perplexity of mine"
    ]


def test_a_server_is_sent_no_infinity_of_a_run_that_goes(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    live = find_target("mlflow").load().Live(tmp_path, (tmp_path / "kept").as_uri())
    live.log(Tracked("a", "s", {}, {}, {}), {"x/y": math.inf, "x/z": 1.0}, 0)
    said = live.finish(Export([], [Tracked("a", "s", {}, {"x/y": math.inf, "x/z": 1.0}, {})]))
    assert said == "1 run sent; left out, since databases hold no infinity: x/y of a"
    (run,) = READ["mlflow"](tmp_path / "kept")
    assert run["all"] == {"x/z": [(0, 1.0)]}


def test_two_runs_of_a_suite_stand_in_one_experiment(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for _ in range(2):
        export("mlflow", exported_runs.example(), tmp_path)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tmp_path.as_uri())
    assert [found.name for found in client.search_experiments()] == ["llmbench-by-hand"]
    assert len(trackers.read_mlflow(tmp_path)) == 2 * 6


def test_the_same_run_again_replaces_tensorboards_files(tmp_path):
    pytest.importorskip("tensorboard")
    for _ in range(2):
        export("tensorboard", exported_runs.example(), tmp_path)
    assert len(list(tmp_path.rglob("events.out.tfevents.*"))) == 6


def test_a_hostile_name_is_one_line_where_a_tracker_shows_it():
    from llmbench.integrations.exports.trackers.tracked import name_project, show_name

    for tracked in make("mlflow", exported_runs.hostile()).tracked:
        assert show_name(tracked).isprintable()
        assert tracked.name.startswith(HOSTILE)
        assert re.fullmatch(r"llmbench-[A-Za-z0-9_+-]+", name_project(tracked))
        for key in tracked.values:
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*/[A-Za-z0-9][A-Za-z0-9._+-]*", key)
