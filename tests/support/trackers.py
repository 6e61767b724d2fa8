"""What trackers keep, read by themselves: runs as name, configuration, values, curves and units."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7  # of a file of wandb, which is a log of LevelDB's
TRACKIO = """\
import json
from trackio.api import Api
from trackio.sqlite_storage import SQLiteStorage as store
runs = []
for project in store.get_projects():
    for run in Api().runs(project):
        logs = store.get_logs(project, run.name, run_id=run.id)
        runs.append({"project": project, "name": run.name, "config": run.config, "logs": logs})
print(json.dumps(runs, default=str))
"""


def read_mlflow(place: Path | str) -> list[dict[str, Any]]:
    """The runs of a file store, or of a server by its address, by MLflow's client."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=place if isinstance(place, str) else place.as_uri())
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = []
    for run in client.search_runs(experiments, order_by=["attributes.start_time"]):
        units = {
            key.removeprefix("unit."): value
            for key, value in run.data.tags.items()
            if key.startswith("unit.")
        }
        history = {
            key: [(row.step, row.value) for row in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        config = run.data.params
        runs.append({"name": run.info.run_name, "config": config, "units": units, "all": history})
    return runs


@contextmanager
def serve_mlflow(place: Path) -> Iterator[str]:
    """MLflow's own server, with a database in a folder; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = f"--host 127.0.0.1 --port {port} --workers 1 --backend-store-uri"
    server = subprocess.Popen(
        [*(sys.executable, "-m", "mlflow", "server"), *where.split(), f"sqlite:///{place}/kept.db"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert server.stdout is not None
        next(line for line in server.stdout if "startup complete" in line)
        threading.Thread(target=server.stdout.read, daemon=True).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def read_trackio(place: Path) -> list[dict[str, Any]]:
    """The runs of a database, by Trackio's own API in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", TRACKIO],
        env={**os.environ, "TRACKIO_DIR": str(place), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    runs = []
    for run in json.loads(done.stdout.splitlines()[-1]):
        history: dict[str, list[tuple[int, float]]] = {}
        for row in run["logs"]:
            for key, value in row.items():
                if "/" in key:
                    history.setdefault(key, []).append((row["step"], float(value)))
        units = run["config"].pop("units")
        runs.append({"name": run["name"], "config": run["config"], "units": units, "all": history})
    return runs


def read_wandb(place: Path) -> list[dict[str, Any]]:
    """The runs of an offline folder, by wandb's own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    runs = []
    for file in sorted(place.glob("wandb/offline-run-*/run-*.wandb")):
        run: dict[str, Any] = {"all": {}, "summary": {}}
        for raw in _read_log(file.read_bytes()):
            record = Record.FromString(raw)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                config = {u.key: json.loads(u.value_json) for u in record.run.config.update}
                units = config.pop("units")
                run |= {"name": record.run.display_name, "config": config, "units": units}
            elif kind == "history":
                step = record.history.step.num
                for item in record.history.item:
                    key = item.key or ".".join(item.nested_key)
                    if not key.startswith("_"):  # wandb's own: step and time
                        run["all"].setdefault(key, []).append((step, json.loads(item.value_json)))
            elif kind == "summary":
                for item in record.summary.update:
                    key = item.key or ".".join(item.nested_key)
                    run["summary"][key] = json.loads(item.value_json)
        for key, value in run.pop("summary").items():
            if "/" in key and key not in run["all"]:
                run["all"][key] = [(0, float(value))]
        runs.append(run)
    return runs


def _read_log(raw: bytes) -> list[bytes]:
    """The records of a log: whole ones (1), and those in parts (2 first, 3 middle, 4 last)."""
    at, parts, records = 7, b"", []
    while at + HEADER <= len(raw):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, size, kind = struct.unpack_from("<IHB", raw, at)
        if not kind:
            break
        parts += raw[at + HEADER : at + HEADER + size]
        at += HEADER + size
        if kind in (1, 4):
            records.append(parts)
            parts = b""
    return records


def read_tensorboard(place: Path) -> list[dict[str, Any]]:
    """The runs of a folder, by the data provider that TensorBoard's page asks."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.data.provider import RunTagFilter

    multiplexer = EventMultiplexer(size_guidance={"tensors": 0})
    multiplexer.AddRunsFromDirectory(str(place))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(place))
    asked = {"ctx": RequestContext(), "experiment_id": ""}
    listed = provider.list_scalars(**asked, plugin_name="scalars")
    texts = provider.read_tensors(
        **asked, plugin_name="text", downsample=1, run_tag_filter=RunTagFilter(tags=["facts"])
    )
    runs = []
    for name, tags in listed.items():
        found = provider.read_scalars(
            **asked,
            plugin_name="scalars",
            downsample=10**6,
            run_tag_filter=RunTagFilter(runs=[name]),
        )[name]
        units = {tag: facts.description for tag, facts in tags.items()}
        text = bytes(texts[name]["facts"][0].numpy.item()).decode()
        curves = {tag: [(row.step, row.value) for row in rows] for tag, rows in found.items()}
        runs.append({"name": name, "config": text, "units": units, "all": curves})
    return runs
