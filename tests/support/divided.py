"""Cells that are cut into a number of shards, whatever the model's size."""

from __future__ import annotations

from llmbench.results.cell import CellHead, write_cell
from llmbench.results.record import ModelRow
from llmbench.tasks.shards import running


def divide(monkeypatch, task, adapter, count):
    """Have a task cut into about so many shards."""
    whole = sum(task.size_items(adapter))
    monkeypatch.setattr(running, "size_shards", lambda parameters, device: -(-whole // count))


def content(outcome, folder):
    """All that a cell holds of an outcome, byte for byte."""
    row = ModelRow.model_validate(
        {
            "name": "m",
            "family": "",
            "tokenizer": "",
            "parameters": 0,
            "context": None,
            "dtype": None,
        }
        | {"device": "cpu", "fingerprint": "f", "stage": None, "certificate": None, "published": []}
    )
    write_cell(folder, CellHead("k", "q", "here", "t", row), outcome, 0.0)
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
