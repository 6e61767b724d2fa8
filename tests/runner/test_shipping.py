"""The weights that come with llmbench: whether they are those of the recipes, and their use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from llmbench.cli.main import cli
from llmbench.hardware import machine
from llmbench.plan.plan import Options, plan
from llmbench.plan.resolved_model import make_adapter
from llmbench.plan.training_state import list_damage
from llmbench.runner.shipping import renew, targets
from llmbench.runner.shipping.targets import SAME_LOSS, list_targets, measure_first_losses
from llmbench.training import muon, shipped
from llmbench.training.shipped import FOLDER, read_manifest

COMMAND = "run `llmbench train --shipped`, and commit what it writes"
MOST_BYTES = 25 << 20

all_targets = cache(list_targets)
ROWS = read_manifest(FOLDER)["networks"]


def target(suite, model):
    return next(t for t in all_targets() if suite in t.suites and t.model.name == model)


@pytest.fixture(autouse=True)
def _one_thread_count():
    """As many threads as the shipped networks were trained with: sums are rounded by it."""
    before = torch.get_num_threads()
    torch.set_num_threads(next(iter(ROWS.values()))["machine"]["threads"] if ROWS else before)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of what comes with llmbench, which is used in its place."""
    place = tmp_path / "weights"
    shutil.copytree(FOLDER, place)
    monkeypatch.setattr(shipped, "FOLDER", place)
    return place


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A cache in which several tests train the same network once."""
    return tmp_path_factory.mktemp("kept")


def build(what, cache, **changes):
    return make_adapter(what.model, replace(what.build_context, cache=cache, **changes))


def test_every_baseline_of_the_suites_has_weights_of_its_very_recipe():
    names = {t.model.name for t in all_targets()}
    assert {"char-ffn", "word-ffn", "rnn", "lstm", "transformer-decoder", "nano-gpt2"} <= names
    stale = [t.name for t in all_targets() if t.key not in ROWS]
    assert not stale, f"the shipped weights of {', '.join(stale)} are stale: {COMMAND}"
    left = set(ROWS) - {t.key for t in all_targets()}
    assert not left, f"nothing uses {[ROWS[key]['folder'] for key in left]}: {COMMAND}"


def test_the_files_are_those_of_the_manifest_and_small_and_safe():
    damage = [
        found
        for row in ROWS.values()
        if (found := shipped.Shipped(FOLDER / row["folder"], row).find_damage())
    ]
    assert not damage, f"{damage}: {COMMAND}"
    folders = {place.name for place in FOLDER.iterdir() if place.is_dir()}
    assert folders == {row["folder"] for row in ROWS.values()}
    files = [file for file in FOLDER.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".safetensors", ".json", ".txt"}
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES


def test_the_manifest_says_where_when_and_to_which_figures():
    for row in ROWS.values():
        assert row["machine"]["processor"]
        assert row["machine"]["libraries"]["torch"]
        assert row["seconds"] > 0
        assert 1 < row["valid"] < 6
        assert set(row["test"]) >= {"test"}
        assert len(row["first_losses"]) == targets.FIRST_STEPS


@pytest.mark.parametrize("what", all_targets(), ids=lambda t: t.name)
def test_a_training_begins_with_the_losses_of_the_shipped_one(what, tmp_path):
    row = ROWS.get(what.key)
    assert row is not None, COMMAND
    found = measure_first_losses(what, tmp_path)
    assert found == pytest.approx(row["first_losses"], rel=SAME_LOSS), (
        "the training changed: raise TRAINING_VERSION in llmbench/training/shipped.py, then"
        f" {COMMAND}"
    )


@pytest.mark.parametrize("change", ["iterations", "schedule", "betas", "batches"])
def test_changed_training_maths_changes_the_first_losses(change, tmp_path, monkeypatch):
    what = target("quick", "char-ffn")
    if change == "iterations":
        monkeypatch.setattr(muon, "ITERATIONS", 4)
    elif change == "schedule":
        from llmbench.training import trainer

        usual = trainer._schedule
        monkeypatch.setattr(trainer, "_schedule", lambda step, recipe: 0.9 * usual(step, recipe))
    elif change == "betas":
        usual_adam = torch.optim.AdamW
        monkeypatch.setattr(
            torch.optim,
            "AdamW",
            lambda *some, **more: usual_adam(*some, **more | {"betas": (0.0, 0.95)}),
        )
    else:
        from llmbench.training import causal_lm

        usual_windows = causal_lm.random_windows
        monkeypatch.setattr(
            causal_lm,
            "random_windows",
            lambda some, start, batch, length, reach, rng: usual_windows(
                some, start, batch, length, reach, type(rng)(type(rng.bit_generator)(1))
            ),
        )
    found = measure_first_losses(what, tmp_path)
    assert found != pytest.approx(ROWS[what.key]["first_losses"], rel=SAME_LOSS)


def test_a_whole_training_gives_the_shipped_network(tmp_path):
    what = target("quick", "char-ffn")
    row = ROWS[what.key]
    trained = build(what, tmp_path, retrain_since=time.time())
    found = min(bits for _, bits in trained.info.training["curve"])
    assert found == pytest.approx(row["valid"], abs=renew.SAME_BITS), COMMAND
    assert trained.info.training["steps"] == row["steps"]
    here = {**row["machine"], "libraries": {n: machine.version(n) for n in renew.LIBRARIES}}
    if here == renew._describe_machine():
        (file,) = tmp_path.glob("networks/*/model.safetensors")
        there = load_file(FOLDER / row["folder"] / "model.safetensors")
        ours = load_file(file)
        assert ours.keys() == there.keys()
        assert all(torch.equal(ours[name], there[name]) for name in ours)


@pytest.mark.parametrize("name", ["lstm", "nano-gpt2-finetuned"])
def test_shipped_weights_are_used_without_a_cache_and_say_so(name, tmp_path):
    what = target("standard", name)
    adapter = build(what, tmp_path / "never")
    assert not (tmp_path / "never").exists()
    row = ROWS[what.key]
    training = adapter.info.training
    assert training["shipped"].startswith(row["date"][:10])
    assert training["seconds"] == row["seconds"]
    assert adapter.info.dtype == "float32"


def test_shipped_and_cached_weights_are_one_and_the_same(tmp_path, copied):
    what = target("quick", "rnn")
    shipped_one = build(what, tmp_path / "cache")
    trained = build(what, tmp_path / "cache", retrain_since=time.time())
    cached = build(what, tmp_path / "cache", retrain_since=1.0)
    assert trained.info.fingerprint == cached.info.fingerprint
    (kept,) = tmp_path.glob("cache/networks/*/model.safetensors")
    assert {tensor.dtype for tensor in load_file(kept).values()} == {torch.float16}
    row = ROWS[what.key]
    shutil.copy(kept, copied / row["folder"] / "model.safetensors")
    manifest = json.loads((copied / "manifest.json").read_text())
    files = manifest["networks"][what.key]["files"]
    files["model.safetensors"] = renew.storage.digest_file(kept)
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert build(what, tmp_path / "none").info.fingerprint == trained.info.fingerprint
    assert shipped_one.info.training["curve"]


@pytest.mark.parametrize("damage", ["a bit", "missing", "one more", "manifest", "no manifest"])
def test_what_is_not_as_the_manifest_says_is_refused_and_trained(damage, kept, copied, capfd):
    what = target("quick", "char-ffn")
    place = copied / ROWS[what.key]["folder"]
    weights = place / "model.safetensors"
    if damage == "a bit":
        raw = bytearray(weights.read_bytes())
        raw[-1] ^= 1
        weights.write_bytes(raw)
    elif damage == "missing":
        (place / "config.json").unlink()
    elif damage == "one more":
        (place / "more.json").write_text("{}")
    elif damage == "no manifest":
        (copied / "manifest.json").unlink()
    else:
        (copied / "manifest.json").write_text("{")
    adapter = build(what, kept)
    assert "shipped" not in adapter.info.training
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert "came with llmbench" in said[0]


def test_a_damaged_manifest_is_told_once_and_a_damaged_network_by_its_name(copied, tmp_path):
    made = plan("quick", Options(out=tmp_path / "out", cache=tmp_path / "cache"))
    what = target("quick", "char-ffn")
    (copied / ROWS[what.key]["folder"] / "config.json").unlink()
    (said,) = list_damage(made)
    assert said.startswith("the weights of char-ffn that came with llmbench are not used")
    (copied / "manifest.json").write_text("{")
    (said,) = list_damage(made)
    assert "Invalid JSON" in said


def test_a_dry_run_says_what_is_damaged(copied, tmp_path):
    (copied / "manifest.json").write_text("{")
    done = CliRunner().invoke(cli, ["run", "quick", "--dry-run", "--out", str(tmp_path / "out")])
    assert done.stderr.count("came with llmbench are not used") == 1
    assert done.stdout.count("to train") == 5


def test_a_damaged_manifest_is_told_in_words(copied):
    for text, said in (("{", "Invalid JSON"), ('{"networks": {"k": {}}}', "networks: k: model: ")):
        (copied / "manifest.json").write_text(text)
        with pytest.raises(renew.storage.Damaged, match=said):
            read_manifest(copied)


def test_a_manifest_cannot_name_files_elsewhere(copied):
    what = target("quick", "char-ffn")
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["networks"][what.key]["folder"] = "../elsewhere"
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(renew.storage.Damaged, match="elsewhere"):
        read_manifest(copied)


@pytest.mark.parametrize("change", ["seed", "text", "recipe"])
def test_another_seed_text_or_recipe_has_no_shipped_weights(change):
    what = target("quick", "char-ffn")
    context = what.build_context
    model = what.model
    if change == "seed":
        context = replace(context, seed=1)
    elif change == "text":
        context = replace(context, train=context.valid)
    else:
        recipe = model.card.recipe.model_copy(update={"steps": 101})
        model = replace(model, card=model.card.model_copy(update={"recipe": recipe}))
    assert (
        model.place_trained(what.build_context if change == "recipe" else context).shipped is None
    )
    assert what.model.place_trained(what.build_context).shipped is not None


def test_a_renewal_trains_only_what_is_stale(copied):
    what = target("quick", "char-ffn")
    manifest = json.loads((copied / "manifest.json").read_text())
    gone = manifest["networks"].pop(what.key)
    manifest["networks"]["0" * 16] = {**gone, "folder": "old-00000000"}
    (copied / "manifest.json").write_text(json.dumps(manifest))
    (copied / "old-00000000").mkdir()
    shutil.rmtree(copied / gone["folder"])
    said = {r.target.name: r.said for r in renew.renew((), lambda *_: None, copied)}
    assert [name for name, text in said.items() if text.startswith("trained")] == [what.name]
    assert not (copied / "old-00000000").exists()
    found = read_manifest(copied)["networks"]
    assert found.keys() == ROWS.keys()
    assert found[what.key]["first_losses"] == pytest.approx(gone["first_losses"], rel=SAME_LOSS)
    weights = load_file(copied / gone["folder"] / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}


@pytest.mark.slow
def test_a_verification_tells_the_same_weights_from_others(copied, monkeypatch):
    what = target("quick", "char-ffn")
    monkeypatch.setattr(renew, "list_targets", lambda: [what])
    list(renew.renew(("char-ffn",), lambda *_: None, copied))
    (report,) = renew.verify((), lambda *_: None, copied)
    assert (report.said, report.is_right) == ("the same weights, to the bit", True)
    monkeypatch.setattr(muon, "ITERATIONS", 2)
    (report,) = renew.verify((), lambda *_: None, copied)
    assert report.said.startswith("other weights; ")
    file = copied / read_manifest(copied)["networks"][what.key]["folder"] / "config.json"
    file.write_text("{}")
    (report,) = renew.verify((), lambda *_: None, copied)
    assert not report.is_right


def test_shipped_weights_are_found_where_the_package_is_reached_through_a_link(tmp_path):
    (tmp_path / "llmbench").symlink_to(FOLDER.parent)
    code = (
        "from llmbench.runner.shipping.targets import list_targets\n"
        "from llmbench.training.shipped import FOLDER, read_manifest\n"
        "rows = read_manifest(FOLDER)['networks']\n"
        "print([t.name for t in list_targets() if t.key not in rows])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr
