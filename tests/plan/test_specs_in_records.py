"""How a record names the models that were added on the command line: without folders."""

from __future__ import annotations

import pytest

from llmbench.plan.registry import hide_folders


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("gpt2", "gpt2"),
        ("hf:openai-community/gpt2?dtype=bfloat16", "hf:openai-community/gpt2?dtype=bfloat16"),
        ("hf:/home/me/models/tiny?bos=no", "hf:tiny?bos=no"),
        ("hf:../models/tiny/", "hf:tiny"),
        ("nanogpt:out/ckpt.pt", "nanogpt:ckpt.pt"),
        ("gguf:/home/me/y.gguf?context=5", "gguf:y.gguf?context=5"),
        ("models/y.gguf", "y.gguf"),
        ("~/my cards/c.yaml", "c.yaml"),
        ("C:\\me\\c.yaml", "c.yaml"),
        ("/home/me/my.py:Model", "my.py:Model"),
        ("package.module:Model", "package.module:Model"),
        ("openai:m@http://127.0.0.1:80/v1", "openai:m@http://127.0.0.1:80/v1"),
        (
            "openai:m@http://h/v1?tokenizer=/home/me/t&chat=true",
            "openai:m@http://h/v1?tokenizer=t&chat=true",
        ),
    ],
)
def test_a_record_names_models_without_folders_of_the_machine(spec, shown):
    assert hide_folders(spec) == shown


def test_a_directory_that_is_there_is_no_name_of_a_hub(tmp_path, monkeypatch):
    (tmp_path / "me" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hide_folders("hf:me/tiny") == "hf:tiny"
    assert hide_folders("hf:me/other") == "hf:me/other"
