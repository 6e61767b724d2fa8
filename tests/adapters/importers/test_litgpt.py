"""LitGPT: GPT-NeoX and LLaMA by config; the loss, the checks, and what is refused."""

from __future__ import annotations

import shutil

import pytest
import torch
import yaml
from support import courses
from support.course_checks import find_failed, find_losses, load

from llmbench import ModelError, Unsupported, UsageError

KINDS = {
    "pythia": {},
    "serial": {"parallel_residual": False, "gelu_approximate": "tanh"},
    "no bias": {"bias": False, "rotary_percentage": 0.25},
    "llama": courses.LLAMA_LIKE,
    "qwen": {**courses.LLAMA_LIKE, "attn_bias": True, "n_query_groups": 1},
    "biased llama": {**courses.LLAMA_LIKE, "bias": True, "head_size": 16},
}


@pytest.fixture
def folder(tmp_path, tokenizer):
    shutil.copytree(tokenizer, tmp_path, dirs_exist_ok=True)
    return tmp_path


def save(folder, changes, **more):
    network = courses.LitGPT(**changes)
    courses.draw(network)
    torch.save(network.state_dict(), folder / "lit_model.pth")
    facts = {"name": "tiny", "hf_config": {"org": "me"}, "padding_multiple": 64, "norm_qk": False}
    facts |= {"sliding_window_size": None, "rope_condense_ratio": 1, "norm_1": True}
    (folder / "model_config.yaml").write_text(yaml.dump({**network.config, **facts, **more}))
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_course_s(folder, kind):
    network = save(folder, KINDS[kind])
    model = load(f"litgpt:{folder}")
    got, want = find_losses(model, network)
    assert got == pytest.approx(want, rel=1e-5)
    assert (model.info.family, model.info.context) == ("LitGPT", 24)


@pytest.mark.parametrize("kind", ["pythia", "llama"])
def test_it_passes_every_check(folder, kind):
    save(folder, KINDS[kind])
    assert find_failed(f"litgpt:{folder}") == []


def test_projections_laid_out_group_by_group_are_the_same(folder):
    network = save(folder, courses.LLAMA_LIKE)
    state = {}
    for name, value in network.state_dict().items():
        if ".attn.qkv." in name:
            q, k, v = value.split((32, 16, 16))
            q, k, v = q.unflatten(0, (2, 16)), k.unflatten(0, (2, 8)), v.unflatten(0, (2, 8))
            value = torch.cat((q, k, v), 1).flatten(0, 1)
            name = name.replace("qkv", "attn")
        state[name] = value
    torch.save({"model": state}, folder / "lit_model.pth")
    got, want = find_losses(load(f"litgpt:{folder}"), network)
    assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rope_condense_ratio": 2}, r"model_config.yaml:\d+:\d+: `rope_condense_ratio: 2`"),
        ({"sliding_window_size": 8}, "`sliding_window_size: 8` of LitGPT is not supported"),
        ({"name": "Gemma-2b"}, "`name: Gemma-2b` of LitGPT"),
        ({"mlp_class_name": "GemmaMLP"}, "GemmaMLP with LayerNorm in this combination"),
        ({"norm_1": False}, "`norm_1: False`"),
        ({"a_new_key": 3}, "`a_new_key: 3`"),
    ],
)
def test_what_transformers_would_compute_otherwise_is_unsupported(folder, changes, said):
    save(folder, {}, **changes)
    with pytest.raises(Unsupported, match=said):
        load(f"litgpt:{folder}")


def test_a_config_of_another_checkpoint_is_refused(folder):
    save(folder, {}, n_layer=3)
    with pytest.raises(ModelError, match="weights are missing"):
        load(f"litgpt:{folder}")
    save(folder, courses.LLAMA_LIKE, n_query_groups=4)
    with pytest.raises(ModelError, match="64 rows; the config says 4 heads and 4 groups of 8"):
        load(f"litgpt:{folder}")
    save(folder, {}, norm_eps="small")
    with pytest.raises(UsageError, match="norm_eps must be a number: it is 'small'"):
        load(f"litgpt:{folder}")
    (folder / "lit_model.pth").unlink()
    with pytest.raises(UsageError, match=r"it has no lit_model\.pth"):
        load(f"litgpt:{folder}")
