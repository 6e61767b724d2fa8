"""llama.cpp itself, on a small LLaMA whose weights are known. Skipped without llama-cpp-python,
which is built from source: `pip install 'llmbench[gguf]'`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from llmbench.adapter import BuildContext, Passage, Request
from llmbench.adapters.gguf.gguf import GGUF
from llmbench.errors import LlmbenchError
from llmbench.inference.token_bits import token_bits

pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
gguf_files = pytest.importorskip("support.gguf_files", reason="needs gguf")

TEXT = "the kettle said nothing in the morning, and the tap said less."


@pytest.fixture(scope="module")
def network():
    return gguf_files.llama()


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    path = gguf_files.write_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf", network)
    adapter = GGUF.build({"file": str(path), "context": 128, "parallel": 2}, BuildContext())
    yield adapter
    adapter.close()


def test_bits_are_those_of_the_weights_in_transformers(model, network):
    (ledger,) = model.score([Passage(TEXT)])
    ids = [*model.bos_ids, *model.encode(TEXT).ids.tolist()]
    with torch.inference_mode():
        logits = network(torch.tensor([ids])).logits[0, :-1]
    want = token_bits(logits, np.array(ids[1:]))
    np.testing.assert_allclose(ledger.bits, want, atol=3e-3)  # its cache is in 16 bits
    assert abs(ledger.bits.sum() - want.sum()) / len(TEXT) < 1e-4


def test_tokens_are_the_bytes_of_the_text(model):
    tokens = model.encode("the tap: 1 é 🙂\n")
    assert tokens.loss == ""
    assert model.decode(tokens.ids.tolist()) == "the tap: 1 é 🙂\n".encode()
    assert int(tokens.end[-1]) == len("the tap: 1 é 🙂\n".encode())


def test_special_tokens_in_a_text_are_letters(model):
    assert len(model.encode("<|im_end|>").ids) == len("<|im_end|>")


def test_steps_give_what_one_pass_gives(model):
    ids = torch.tensor([[1, 20, 30, 40, 50], [1, 60, 70, 80, 90]])
    whole = model.logits(ids)
    state, logits = model.prefill(ids[:, :2])
    for at in (2, 3, 4):
        state, logits = model.step(state, ids[:, at])
    torch.testing.assert_close(logits, whole[:, -1], atol=2e-2, rtol=1e-2)


def test_greedy_answers_are_those_of_transformers(model, network):
    (ids,) = [[*model.bos_ids, *model.encode("the tap").ids.tolist()]]
    with torch.inference_mode():
        made = network.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False)
    text = "".join(c.text for c in model.generate([Request("the tap", max_tokens=8)]))
    want = model.decode(made[0, len(ids) :].tolist()).decode(errors="replace")
    assert text == want


def test_what_it_is_comes_from_the_file(model, network):
    info = model.info
    assert info.parameters == sum(p.numel() for p in network.parameters())
    assert (info.family, info.context, info.tokenizer) == ("llama", 128, "byte-level BPE")
    assert info.dtype == "F32 (GGUF)"


def test_a_file_that_breaks_off_is_one_line(model, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(Path(model.file).read_bytes()[:5000])
    with pytest.raises(LlmbenchError, match="cannot load this file"):
        GGUF.build({"file": str(broken)}, BuildContext())
