"""The GPT of "Build a Large Language Model (From Scratch)": its loss, its checks, refusals."""

from __future__ import annotations

import pytest
import torch
from support import courses
from support.course_checks import find_failed, find_losses, load

from llmbench import ModelError, UsageError


def save(file, bias=False):
    network = courses.ScratchGPT(320, bias)
    courses.draw(network)
    torch.save(network.state_dict(), file)
    return network


@pytest.mark.parametrize("bias", [True, False])
def test_the_loss_is_the_course_s(tmp_path, tokenizer, bias):
    network = save(tmp_path / "gpt.pth", bias)
    model = load(f"scratch-gpt:{tmp_path / 'gpt.pth'}?heads=2&tokenizer={tokenizer}")
    got, want = find_losses(model, network)
    assert got == pytest.approx(want, rel=1e-5)
    assert model.info.family == "LLMs-from-scratch"


def test_weights_beside_an_optimizer_are_the_same(tmp_path, tokenizer):
    network = save(tmp_path / "gpt.pth")
    optimizer = torch.optim.AdamW(network.parameters()).state_dict()
    saved = {"model_state_dict": network.state_dict(), "optimizer_state_dict": optimizer}
    torch.save(saved, tmp_path / "both.pth")
    model = load(f"scratch-gpt:{tmp_path / 'both.pth'}?heads=2&tokenizer={tokenizer}")
    got, want = find_losses(model, network)
    assert got == pytest.approx(want, rel=1e-5)


def test_it_passes_every_check(tmp_path, tokenizer):
    save(tmp_path / "gpt.pth")
    assert find_failed(f"scratch-gpt:{tmp_path / 'gpt.pth'}?heads=2&tokenizer={tokenizer}") == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "heads: field required"),
        ("?heads=3&tokenizer=T", "16 is no multiple of 3 heads"),
        ("?heads=2", "does not hold its tokenizer"),
        ("?heads=2&vocabulary=x", "unknown option 'vocabulary'"),
        ("?heads=x", "heads: input should be a valid integer"),
    ],
)
def test_what_is_missing_or_wrong_is_told(tmp_path, tokenizer, options, said):
    save(tmp_path / "gpt.pth")
    with pytest.raises(UsageError, match=said):
        load(f"scratch-gpt:{tmp_path / 'gpt.pth'}{options.replace('T', str(tokenizer))}")


def test_a_classifier_is_refused(tmp_path, tokenizer):
    network = save(tmp_path / "gpt.pth")
    network.out_head = torch.nn.Linear(16, 2, bias=False)
    torch.save(network.state_dict(), tmp_path / "gpt.pth")
    with pytest.raises(ModelError, match=r"another shape than the config says: lm_head.weight"):
        load(f"scratch-gpt:{tmp_path / 'gpt.pth'}?heads=2&tokenizer={tokenizer}")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        load(f"scratch-gpt:{tmp_path / 'none.pth'}?heads=2")
