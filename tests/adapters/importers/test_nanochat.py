"""nanochat: its loss, its checks, its steps, and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from support import courses
from support.course_checks import find_failed, find_losses, load

from llmbench import ModelError, Unsupported, UsageError

CONFIG = {
    "sequence_len": 24,
    "vocab_size": 320,
    "n_layer": 2,
    "n_head": 4,
    "n_kv_head": 2,
    "n_embd": 32,
}


@pytest.fixture
def folder(tmp_path, tokenizer):
    shutil.copytree(tokenizer, tmp_path, dirs_exist_ok=True)
    return tmp_path


def save(folder, step=650, compiled=True, seed=0, **more):
    network = courses.NanoChat(**CONFIG)
    courses.draw(network, seed)
    before = "_orig_mod." if compiled else ""
    state = {f"{before}{name}": value for name, value in network.state_dict().items()}
    torch.save(state, folder / f"model_{step:06d}.pt")
    meta = {"step": step, "val_bpb": 0.9, "model_config": {**CONFIG, **more}}
    (folder / f"meta_{step:06d}.json").write_text(json.dumps(meta))
    return network


@pytest.mark.parametrize("compiled", [True, False])
def test_the_loss_is_the_course_s(folder, compiled):
    network = save(folder, compiled=compiled)
    model = load(f"nanochat:{folder}")
    got, want = find_losses(model, network)
    assert got == pytest.approx(want, rel=1e-5)
    assert (model.info.family, model.info.context) == ("nanochat", 24)


def test_it_passes_every_check(folder):
    save(folder)
    assert find_failed(f"nanochat:{folder}") == []


def test_the_last_step_is_taken_unless_another_is_named(folder):
    networks = {step: save(folder, step, seed=step) for step in (9, 10)}
    for options, step in (("", 10), ("?step=9", 9)):
        got, want = find_losses(load(f"nanochat:{folder}{options}"), networks[step])
        assert got == pytest.approx(want, rel=1e-5)
    with pytest.raises(UsageError, match="it has no step 11, only 9, 10"):
        load(f"nanochat:{folder}?step=11")


def test_a_later_architecture_is_unsupported(folder):
    save(folder, window_pattern="SSSL")
    with pytest.raises(Unsupported, match="`window_pattern: SSSL` of a later nanochat"):
        load(f"nanochat:{folder}")
    network = save(folder)
    state = {**network.state_dict(), "resid_lambdas": torch.ones(2)}
    torch.save(state, folder / "model_000650.pt")
    with pytest.raises(ModelError, match="weights are unknown: resid_lambdas"):
        load(f"nanochat:{folder}")


def test_a_pickled_tokenizer_is_not_read(tmp_path):
    save(tmp_path)
    (tmp_path / "tokenizer.pkl").write_bytes(b"c")
    with pytest.raises(UsageError, match="there is no tokenizer of transformers") as refused:
        load(f"nanochat:{tmp_path}")
    assert "?tokenizer=DIRECTORY" in str(refused.value)


def test_what_is_no_checkpoint_is_refused(folder):
    with pytest.raises(UsageError, match=r"no model_STEP\.pt at all"):
        load(f"nanochat:{folder}")
    save(folder)
    (folder / "meta_000650.json").write_text("{}")
    with pytest.raises(UsageError, match="it has no model_config"):
        load(f"nanochat:{folder}")
    (folder / "meta_000650.json").unlink()
    with pytest.raises(UsageError, match=r"meta_000650\.json: cannot be read"):
        load(f"nanochat:{folder}")
