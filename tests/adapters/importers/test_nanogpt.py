"""nanoGPT: its loss, its checks, its characters, and what is refused."""

from __future__ import annotations

import json
import pickle

import pytest
from support import courses
from support.course_checks import TEXT, find_failed, find_losses, load

from llmbench import ModelError, UsageError
from llmbench.plan import registry
from llmbench.plan.resolved_model import resolve_model

ODD = "The kettle é 😀 said\nnothing."


@pytest.fixture
def letters(tmp_path):
    """The ids of characters as prepare.py finds them, saved as JSON."""
    ids = {letter: id for id, letter in enumerate(sorted({*TEXT, *ODD}))}
    facts = {"vocab_size": len(ids), "stoi": ids, "itos": {id: c for c, id in ids.items()}}
    (tmp_path / "meta.json").write_text(json.dumps(facts))
    return ids


class Evil:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("compiled", [True, False])
def test_the_loss_is_the_course_s(tmp_path, tokenizer, bias, compiled):
    file = tmp_path / "ckpt.pt"
    network = courses.save_nanogpt(file, 320, bias=bias, compiled=compiled)
    model = load(f"nanogpt:{file}?tokenizer={tokenizer}")
    got, want = find_losses(model, network)
    assert got == pytest.approx(want, rel=1e-5)
    assert (model.info.family, model.info.context) == ("nanoGPT", 24)


def test_characters_have_the_course_s_loss_and_begin_with_a_newline(tmp_path, letters):
    network = courses.save_nanogpt(tmp_path / "ckpt.pt", len(letters))
    model = load(f"nanogpt:{tmp_path / 'ckpt.pt'}")
    assert model.bos_ids == (letters["\n"],)
    assert model.encode(ODD).ids.tolist() == [letters[letter] for letter in ODD]
    text = ODD[:22]
    got, want = find_losses(model, network, text)
    assert got == pytest.approx(want, rel=1e-5)
    assert "byte 4" in model.encode("The ß").loss


def test_it_passes_every_check(tmp_path, tokenizer):
    courses.save_nanogpt(tmp_path / "ckpt.pt", 320)
    assert find_failed(f"nanogpt:{tmp_path / 'ckpt.pt'}?tokenizer={tokenizer}") == []


def test_characters_pass_every_check(tmp_path, letters):
    courses.save_nanogpt(tmp_path / "ckpt.pt", len(letters))
    assert find_failed(f"nanogpt:{tmp_path / 'ckpt.pt'}") == []


def test_a_padded_vocabulary_is_charged_as_the_course_does(tmp_path, tokenizer):
    network = courses.save_nanogpt(tmp_path / "ckpt.pt", 328)
    model = load(f"nanogpt:{tmp_path / 'ckpt.pt'}?tokenizer={tokenizer}")
    got, want = find_losses(model, network)
    assert got == pytest.approx(want, rel=1e-5)


def test_it_is_called_after_its_directory(tmp_path, tokenizer):
    folder = tmp_path / "out-tales"
    folder.mkdir()
    courses.save_nanogpt(folder / "ckpt.pt", 320)
    card = registry.resolve(f"nanogpt:{folder / 'ckpt.pt'}?tokenizer={tokenizer}")
    assert (card.name, card.adapter) == ("out-tales", "nanogpt")


def test_a_checkpoint_that_was_trained_on_is_another_model(tmp_path, tokenizer):
    spec = f"nanogpt:{tmp_path / 'ckpt.pt'}?tokenizer={tokenizer}"
    courses.save_nanogpt(tmp_path / "ckpt.pt", 320)
    fingerprint, files = load(spec).info.fingerprint, resolve_model(spec).identify_files()
    assert load(spec).info.fingerprint == fingerprint
    assert resolve_model(spec).identify_files() == files
    courses.save_nanogpt(tmp_path / "ckpt.pt", 320, iter_num=8)
    assert resolve_model(spec).identify_files() != files
    assert load(spec).info.fingerprint != fingerprint


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"config": Evil()}, "holds Python objects, which may run code"),
        ({"model_args": {"n_layer": 2}}, "n_head must be from 1 to"),
        ({"model_args": None}, "it has no model_args"),
        ({"model": {}}, "has no weights"),
        ({"model": {"a": 1}}, "'a' in the checkpoint is no weight"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_a_line(tmp_path, tokenizer, capsys, more, said):
    courses.save_nanogpt(tmp_path / "ckpt.pt", 320, **more)
    with pytest.raises(UsageError, match=said) as refused:
        load(f"nanogpt:{tmp_path / 'ckpt.pt'}?tokenizer={tokenizer}")
    assert "ckpt.pt" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "ran" not in capsys.readouterr().out


def test_missing_and_torn_weights_are_refused(tmp_path, tokenizer):
    file = tmp_path / "ckpt.pt"
    state = courses.save_nanogpt(file, 320).state_dict()
    courses.save_nanogpt(file, 320, model={**state, "extra": state["lm_head.weight"]})
    with pytest.raises(ModelError, match="weights are unknown: extra"):
        load(f"nanogpt:{file}?tokenizer={tokenizer}")
    del state["transformer.h.1.mlp.c_fc.weight"]
    courses.save_nanogpt(file, 320, model=state)
    with pytest.raises(ModelError, match=r"weights are missing: transformer.h.1.mlp.c_fc.weight"):
        load(f"nanogpt:{file}?tokenizer={tokenizer}")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(UsageError, match="torch cannot read the checkpoint"):
        load(f"nanogpt:{file}?tokenizer={tokenizer}")


def test_meta_pkl_is_never_unpickled(tmp_path, capsys):
    courses.save_nanogpt(tmp_path / "ckpt.pt", 12)
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UsageError, match="which characters the 12 ids stand for") as refused:
        load(f"nanogpt:{tmp_path / 'ckpt.pt'}")
    assert "to meta.json beside it" in str(refused.value)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 0,\n "b": }', "chars.json:2:7: not JSON"),
        ('{"ab": 0, "c": 1}', "expected a character for each of the ids 0 to 1"),
        ('{"a": 0, "c": 2}', "expected a character for each of the ids 0 to 1"),
        ('{"a": 0, "c": [1]}', "expected a character for each of the ids 0 to 1"),
        ("[]", "not a JSON object"),
    ],
)
def test_a_wrong_vocabulary_is_refused(tmp_path, text, said):
    courses.save_nanogpt(tmp_path / "ckpt.pt", 2)
    (tmp_path / "chars.json").write_text(text)
    with pytest.raises(UsageError, match=said):
        load(f"nanogpt:{tmp_path / 'ckpt.pt'}?vocabulary={tmp_path / 'chars.json'}")


def test_ids_of_gpt2_need_its_tokenizer(tmp_path):
    courses.save_nanogpt(tmp_path / "ckpt.pt", 50304)
    with pytest.raises(UsageError, match="does not hold its tokenizer") as refused:
        load(f"nanogpt:{tmp_path / 'ckpt.pt'}")
    assert "?tokenizer=DIRECTORY" in str(refused.value)
