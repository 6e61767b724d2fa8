"""Checkpoint directories of LitGPT, of the kinds that are LLaMA or GPT-NeoX in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from llmbench.adapters.importers import course_model
from llmbench.adapters.importers.course_model import CourseCheckpoint, CourseModel, Weights
from llmbench.adapters.importers.litgpt_config import choose_network, read_config
from llmbench.config.course_settings import LitGPTSettings
from llmbench.errors import ModelError, UsageError

WEIGHTS, CONFIG = "lit_model.pth", "model_config.yaml"
# parts by LitGPT's names: transformers' names, outside its layers and in one
LLAMA = {"wte": "embed_tokens", "ln_f": "norm"}
LLAMA |= {"norm_1": "input_layernorm", "norm_2": "post_attention_layernorm"}
LLAMA |= {"attn.proj": "self_attn.o_proj", "mlp.proj": "mlp.down_proj"}
LLAMA |= {"mlp.fc_1": "mlp.gate_proj", "mlp.fc_2": "mlp.up_proj"}
NEOX = LLAMA | {"wte": "embed_in", "ln_f": "final_layer_norm", "attn.proj": "attention.dense"}
NEOX |= {"mlp.fc": "mlp.dense_h_to_4h", "mlp.proj": "mlp.dense_4h_to_h"}
PARTS = {"Llama": ("model", LLAMA), "GPTNeoX": ("gpt_neox", NEOX)}


class LitGPT(CourseModel):
    """A checkpoint of LitGPT."""

    settings, course = LitGPTSettings, "LitGPT"

    @classmethod
    def read(cls, settings: LitGPTSettings) -> CourseCheckpoint:
        """Read lit_model.pth, model_config.yaml, and the tokenizer beside them."""
        folder = Path(settings.place)
        for name in (WEIGHTS, CONFIG):
            if not (folder / name).is_file():
                raise UsageError(f"no checkpoint of LitGPT: it has no {name}", where=str(folder))
        file, given = folder / WEIGHTS, read_config(folder / CONFIG)
        kind, values, fills = choose_network(given, str(folder / CONFIG))
        saved = course_model.read_saved(file)
        weights = course_model.take_weights(saved.get("model", saved), str(file))
        top, parts = PARTS[kind]
        names = {f"transformer.{old}": f"{top}.{parts[old]}" for old in ("wte", "ln_f")}
        names |= {f"transformer.h.#.{old}": f"{top}.layers.#.{new}" for old, new in parts.items()}
        named = course_model.rename_parts(weights, names)
        named = _part_projections(named, top, given, str(file))
        config = course_model.make_config(f"{kind}Config", **values)
        tokenizer = course_model.load_tokenizer(settings.tokenizer or str(folder))
        kind = f"{kind}ForCausalLM"
        return CourseCheckpoint(kind, config, named, tokenizer, (file,), fills=fills)


def _part_projections(weights: Weights, top: str, given: Any, where: str) -> Weights:
    """Put the joint projections as the network has them: `attn.qkv` has all queries, all keys, all
    values; `attn.attn`, of older checkpoints, has them group by group.
    """
    size, groups = given["head_size"], given["n_query_groups"]
    parts = [given["n_head"], groups, groups]  # heads of queries, keys, values
    found = {k: v for k, v in weights.items() if ".attn.qkv." not in k and ".attn.attn." not in k}
    for name in weights.keys() - found:
        joint, (layer, _, kind) = weights[name], name.partition(".attn.")
        if len(joint) != sum(parts) * size:
            said = f"it has {len(joint)} rows; the config says {parts[0]} heads and {groups} groups"
            raise ModelError(f"{said} of {size}", where=f"{where}: {name}")
        heads = joint.reshape(-1, size, *joint.shape[1:])
        three = list(torch.split(heads, parts))
        if kind.startswith("attn."):
            grouped = heads.reshape(groups, -1, *heads.shape[1:])
            shares = torch.split(grouped, [n // groups for n in parts], 1)
            three = [part.flatten(0, 1) for part in shares]
        place, kind = layer.replace("transformer.h", f"{top}.layers"), kind.rpartition(".")[2]
        if top == "model":
            for letter, part in zip("qkv", three, strict=True):
                found[f"{place}.self_attn.{letter}_proj.{kind}"] = part.flatten(0, 1)
        else:
            joined = torch.stack(three, 1).flatten(0, 2)
            found[f"{place}.attention.query_key_value.{kind}"] = joined
    return found
