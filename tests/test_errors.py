"""What errors say in records, which people publish."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmbench.errors import drop_folders


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("{here}/own.py:4: no file '{here}/in/weights.pt'", "own.py:4: no file 'weights.pt'"),
        ("no such directory: {here}/models/", "no such directory: models/"),
        ("see file://{here}/worker.log (again)", "see worker.log (again)"),
        ("~/models/x.gguf: not a GGUF file", "x.gguf: not a GGUF file"),
        ("~/x.gguf", "x.gguf"),
        (r"C:\Users\me\x.gguf: not a GGUF file", "x.gguf: not a GGUF file"),
    ],
)
def test_a_path_of_this_machine_is_cut_to_its_name(said, kept, tmp_path):
    assert drop_folders(said.format(here=tmp_path)) == kept


def test_a_home_whose_name_has_spaces_is_cut(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "a b"))
    assert drop_folders(f"{Path.home()}/models/x.bin: damaged") == "x.bin: damaged"


@pytest.mark.parametrize(
    "said",
    [
        "POST /v1/completions gave 404",
        "http://localhost:8000/tmp/x/y did not answer",
        "tokens and/or bytes, 1/2/3, openai-community/gpt2",
        "/nowhere-on-this-machine/models/x.bin",
        "a ratio of 3 / 4",
    ],
)
def test_other_words_with_slashes_stay(said):
    assert drop_folders(said) == said
