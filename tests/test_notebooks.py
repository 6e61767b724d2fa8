"""The notebooks of the examples run from their first cell to their last."""

from __future__ import annotations

import os
import re
from importlib import metadata
from pathlib import Path

import pytest

import llmbench

FOLDER = Path(llmbench.__file__).parents[1] / "examples" / "notebooks"


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a notebook in an empty folder, and give its cells with their outputs."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    known = os.environ.get("PYTHONPATH", "")
    root = str(FOLDER.parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, known])))

    def run(name):
        notebook = nbformat.read(FOLDER / name, as_version=4)
        client = nbclient.NotebookClient(
            notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}
        )
        return client.execute().cells

    return run


def outputs(cells):
    """Everything that the cells showed, as text."""
    found = []
    for cell in cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            found += [str(output.get("text", "")), *(str(value) for value in data.values())]
    return "\n".join(found)


@pytest.mark.slow
@pytest.mark.timeout(500)  # 40 s of one core, and the machine may be busy
def test_the_quickstart_trains_a_model_and_puts_it_on_the_board(execute):
    cells = execute("quickstart.ipynb")
    shown = outputs(cells)
    for part in ("my-gru", "byte-ngram", "lzma", "iframe", "bits/byte  "):
        assert part in shown
    before, after = (
        float(cell.outputs[0]["data"]["text/plain"])
        for cell in cells
        if "llmbench.score" in cell.source
    )
    assert 7.5 < before < 8.5
    assert after < 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_notebook_of_colab_keeps_torch_and_its_run_outlives_a_session(execute, tmp_path):
    cells = execute("colab.ipynb")
    shown = outputs(cells)
    for part in ("lstm", "byte-ngram", "iframe", "bits/byte  ", " seconds"):
        assert part in shown
    assert "each as it was published" in shown
    assert (tmp_path / "llmbench-runs" / "quick-published" / "index.html").is_file()
    first = next(cell for cell in cells if cell.cell_type == "code")
    assert metadata.version("torch") in first.outputs[0]["data"]["text/plain"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_checkpoint_of_nanogpt_is_compared_with_gpt2s_architecture(execute):
    shown = outputs(execute("nanogpt-against-gpt2.ipynb"))
    assert "nats a character" in shown
    for part in ("mine", "nano-gpt2", "iframe", "bits_per_byte"):
        assert part in shown


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_notebook_of_tasks_writes_one_and_runs_it(execute):
    shown = outputs(execute("write-a-task.ipynb"))
    for part in ("known_word_share", "byte-ngram", "iframe"):
        assert part in shown


def test_no_notebook_replaces_torch():
    nbformat = pytest.importorskip("nbformat")
    for file in FOLDER.glob("*.ipynb"):
        source = "\n".join(cell.source for cell in nbformat.read(file, as_version=4).cells)
        assert "torch=={torch_before}" in source, file.name


def test_notebooks_import_only_what_is_public():
    nbformat = pytest.importorskip("nbformat")
    private = re.compile(r"(?:from|import) llmbench\.(?!testing\b)\S+|llmbench\._\w+")
    assert private.search("from llmbench.data.loading import load")
    for file in FOLDER.glob("*.ipynb"):
        source = "\n".join(cell.source for cell in nbformat.read(file, as_version=4).cells)
        assert private.findall(source) == [], file.name
        for name in re.findall(r"llmbench\.(\w+)\(", source):
            assert name in llmbench.__all__, f"{file.name}: {name}"


def test_notebooks_are_kept_without_outputs():
    nbformat = pytest.importorskip("nbformat")
    for file in FOLDER.glob("*.ipynb"):
        for cell in nbformat.read(file, as_version=4).cells:
            assert not cell.get("outputs")
