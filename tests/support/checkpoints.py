"""Checkpoints for tests and benchmarks: ordinary `save_pretrained` folders whose weights are drawn,
not trained.

The weights are whole numbers from NumPy's frozen generator times one float32, so they are the same
bits on every machine and under every torch.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

END = "<|endoftext|>"


def gpt2_shape(
    folder: Path,
    tokenizer_files: Path,
    *,
    context: int = 256,
    layers: int = 2,
    width: int = 64,
    heads: int = 2,
    spread: float = 0.15,
    seed: int = 0,
) -> Path:
    """GPT-2's architecture at any size, with the real tokenizer: its vocab.json and merges.txt are
    in `tokenizer_files`.
    """
    vocabulary = json.loads((tokenizer_files / "vocab.json").read_text(encoding="utf-8"))
    lines = (tokenizer_files / "merges.txt").read_text(encoding="utf-8").split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    tokenizer = GPT2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=context)
    if tokenizer.encode("Hello world") != [15496, 995]:
        raise ValueError("this is not GPT-2's tokenizer")
    tokenizer.save_pretrained(folder)
    return _gpt2(
        folder, len(vocabulary), vocabulary[END], context, layers, width, heads, spread, seed
    )


def gpt2_5m(folder: Path, training_text: str, *, spread: float = 0.08, seed: int = 0) -> Path:
    """5.5 million parameters: 4 layers, 256 wide, context 1,024, and a byte-level BPE of 8,192
    entries learnt from `training_text`.
    """
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        [training_text], vocab_size=8192, special_tokens=[END], show_progress=False
    )
    size, end = trained.get_vocab_size(), trained.token_to_id(END)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, bos_token=END, eos_token=END, model_max_length=1024
    )
    tokenizer.save_pretrained(folder)
    return _gpt2(folder, size, end, 1024, 4, 256, 4, spread, seed)


def _gpt2(
    folder: Path,
    vocabulary: int,
    end: int,
    context: int,
    layers: int,
    width: int,
    heads: int,
    spread: float,
    seed: int,
) -> Path:
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        bos_token_id=end,
        eos_token_id=end,
        use_cache=True,
    )
    model = GPT2LMHeadModel(config)
    draw(model, spread, seed)
    model.save_pretrained(folder)
    return folder


def draw(model: PreTrainedModel, spread: float, seed: int) -> None:
    """Fill every matrix evenly from an interval of standard deviation `spread`, large enough for
    predictions to differ.
    """
    numbers = np.random.RandomState(seed)
    step = np.float32(spread * 3**0.5 / 2**15)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.ndim > 1:
                drawn = numbers.randint(
                    -(2**15), 2**15, size=tuple(parameter.shape), dtype=np.int32
                )
                parameter.copy_(torch.from_numpy(drawn.astype(np.float32) * step))


def weights_sha256(folder: Path) -> str:
    """Of the tensors' names, shapes and bytes: the file's header may differ between versions."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(folder / "model.safetensors").items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode() + tensor.tobytes())
    return digest.hexdigest()
