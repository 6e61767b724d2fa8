"""lm-eval's tasks, asked of a model behind a server: the values of the model in this process."""

from __future__ import annotations

import pytest

pytest.importorskip("lm_eval")
from support.fake_servers import FakeServer
from support.lm_eval_tasks import TASKS, ask_llmbench, write_tasks


def test_a_server_has_the_values_of_its_model(tiny, connect, tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    place = write_tasks(tmp_path / "tasks")
    folder, model = tiny
    with FakeServer(model, context=66) as server:
        adapter = connect(server, tokenizer=str(folder))
        for name in TASKS:
            ours, theirs = ask_llmbench(adapter, place, name), ask_llmbench(model, place, name)
            for one, other in zip(ours.samples, theirs.samples, strict=True):
                assert (one["id"], one["output"]) == (other["id"], other["output"])
                for metric, numbers in one["statistics"].items():
                    assert numbers == pytest.approx(other["statistics"][metric], rel=1e-6)
