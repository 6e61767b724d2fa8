"""The weights of LitGPT's networks by the names that LLaMA and GPT-NeoX have in transformers."""

from __future__ import annotations

import torch
from torch import Tensor

from llmbench.adapters.importers.course_model import Weights
from llmbench.adapters.importers.lit_config import LitShape
from llmbench.errors import ModelError

OUTSIDE = {
    "Llama": {
        "transformer.wte": "model.embed_tokens",
        "transformer.ln_f": "model.norm",
        "lm_head": "lm_head",
    },
    "GPTNeoX": {
        "transformer.wte": "gpt_neox.embed_in",
        "transformer.ln_f": "gpt_neox.final_layer_norm",
        "lm_head": "lm_head",
    },
}
BLOCKS = {"Llama": "model.layers", "GPTNeoX": "gpt_neox.layers"}
INSIDE = {
    "Llama": {
        "norm_1": "input_layernorm",
        "norm_2": "post_attention_layernorm",
        "attn.proj": "self_attn.o_proj",
        "mlp.fc_1": "mlp.gate_proj",
        "mlp.fc_2": "mlp.up_proj",
        "mlp.proj": "mlp.down_proj",
    },
    "GPTNeoX": {
        "norm_1": "input_layernorm",
        "norm_2": "post_attention_layernorm",
        "attn.proj": "attention.dense",
        "mlp.fc": "mlp.dense_h_to_4h",
        "mlp.proj": "mlp.dense_4h_to_h",
    },
}
# a linear layer of GPT-NeoX always has a bias, of LLaMA if another layer of its kind has one
FILLED = ("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
FILLED_ATTENTION = ("self_attn.o_proj",)


def rename(weights: Weights, shape: LitShape, where: str) -> Weights:
    """Return the weights by transformers' names; a bias that LitGPT leaves out is zero."""
    found: Weights = {}
    for name, value in weights.items():
        part, _, kind = name.rpartition(".")
        if part in OUTSIDE[shape.network]:
            found[f"{OUTSIDE[shape.network][part]}.{kind}"] = value
            continue
        number, _, inner = part.removeprefix("transformer.h.").partition(".")
        block = f"{BLOCKS[shape.network]}.{number}"
        if inner in INSIDE[shape.network]:
            found[f"{block}.{INSIDE[shape.network][inner]}.{kind}"] = value
        elif inner in ("attn.qkv", "attn.attn"):
            three = _part(value, shape, inner == "attn.attn", f"{where}: {name}")
            found |= _name_projections(three, shape, block, kind)
        else:
            found[name] = value
    return found | _fill_biases(found, shape)


def _part(value: Tensor, shape: LitShape, is_old: bool, where: str) -> tuple[Tensor, ...]:
    """Queries, keys and values of the joint projection; old ones are laid out group by group."""
    size, shared = shape.head_size, shape.heads // shape.groups
    if len(value) != (shape.heads + 2 * shape.groups) * size:
        raise ModelError(
            f"it has {len(value)} rows; the config says {shape.heads} heads and {shape.groups}"
            f" groups of {size}",
            where=where,
        )
    if not is_old:
        sizes = [shape.heads * size, shape.groups * size, shape.groups * size]
        return torch.split(value, sizes)
    groups = value.reshape(shape.groups, (shared + 2) * size, *value.shape[1:])
    parts = torch.split(groups, [shared * size, size, size], dim=1)
    return tuple(part.flatten(0, 1) for part in parts)


def _name_projections(three: tuple[Tensor, ...], shape: LitShape, block: str, kind: str) -> Weights:
    if shape.network == "Llama":
        names = (f"{block}.self_attn.{letter}_proj.{kind}" for letter in "qkv")
        return dict(zip(names, three, strict=True))
    sizes = (shape.heads, shape.head_size)
    heads = [part.reshape(*sizes, *part.shape[1:]) for part in three]
    return {f"{block}.attention.query_key_value.{kind}": torch.cat(heads, 1).flatten(0, 1)}


def _fill_biases(weights: Weights, shape: LitShape) -> Weights:
    """Zeros for the biases that transformers has and LitGPT left out."""
    has_bias = shape.network == "GPTNeoX" or shape.values["attention_bias"]
    ends = tuple(f"{n}.weight" for n in (FILLED_ATTENTION if shape.network == "Llama" else FILLED))
    parts = [name.removesuffix(".weight") for name in weights if has_bias and name.endswith(ends)]
    rows = {part: len(weights[f"{part}.weight"]) for part in parts}
    return {f"{p}.bias": torch.zeros(n) for p, n in rows.items() if f"{p}.bias" not in weights}
