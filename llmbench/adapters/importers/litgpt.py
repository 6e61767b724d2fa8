"""Checkpoint directories of LitGPT, of the kinds that are LLaMA or GPT-NeoX in transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from llmbench.adapters.importers import course_model
from llmbench.adapters.importers.course_model import CourseCheckpoint, CourseModel, Weights
from llmbench.config import strict_yaml
from llmbench.config.course_settings import LitGPTSettings
from llmbench.errors import ModelError, Unsupported, UsageError

WEIGHTS, CONFIG = "lit_model.pth", "model_config.yaml"
SIZES = {
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_embd": "hidden_size",
    "block_size": "max_position_embeddings",
    "padded_vocab_size": "vocab_size",
    "intermediate_size": "intermediate_size",
}
NUMBERS = ("norm_eps", "rotary_percentage", "rope_base")
KINDS = ("norm_class_name", "mlp_class_name", "parallel_residual", "gelu_approximate", "bias")
READ = (*SIZES, *NUMBERS, *KINDS, "n_query_groups", "head_size", "attn_bias")
SILENT = ("hf_config", "vocab_size", "padding_multiple")  # change no number
# keys that change none if they have this value; any other must be empty
NEUTRAL: Mapping[str, Any] = {
    "rope_condense_ratio": 1,
    "norm_1": True,
    "norm_2": True,
    "routed_scaling_factor": 1.0,
    "norm_qk_type": "default",
}
PECULIAR = ("Gemma", "OLMo")  # names by which LitGPT computes norms in another way
NAMES = {
    "Llama": {
        "transformer.wte": "model.embed_tokens",
        "transformer.ln_f": "model.norm",
        "transformer.h.#.norm_1": "model.layers.#.input_layernorm",
        "transformer.h.#.norm_2": "model.layers.#.post_attention_layernorm",
        "transformer.h.#.attn.proj": "model.layers.#.self_attn.o_proj",
        "transformer.h.#.mlp.fc_1": "model.layers.#.mlp.gate_proj",
        "transformer.h.#.mlp.fc_2": "model.layers.#.mlp.up_proj",
        "transformer.h.#.mlp.proj": "model.layers.#.mlp.down_proj",
    },
    "GPTNeoX": {
        "transformer.wte": "gpt_neox.embed_in",
        "transformer.ln_f": "gpt_neox.final_layer_norm",
        "transformer.h.#.norm_1": "gpt_neox.layers.#.input_layernorm",
        "transformer.h.#.norm_2": "gpt_neox.layers.#.post_attention_layernorm",
        "transformer.h.#.attn.proj": "gpt_neox.layers.#.attention.dense",
        "transformer.h.#.mlp.fc": "gpt_neox.layers.#.mlp.dense_h_to_4h",
        "transformer.h.#.mlp.proj": "gpt_neox.layers.#.mlp.dense_4h_to_h",
    },
}


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
        given = _read_config(folder / CONFIG)
        network, values, fills = _choose_network(given, str(folder / CONFIG))
        file = folder / WEIGHTS
        saved = course_model.read_saved(file)
        weights = course_model.take_weights(saved.get("model", saved), str(file))
        named = course_model.rename_parts(weights, NAMES[network])
        named = _part_projections(named, network, given, str(file))
        sizes = {name: given[key] for key, name in SIZES.items()}
        config = course_model.make_config(
            f"{network}Config", **sizes, **values, tie_word_embeddings=False
        )
        tokenizer = course_model.load_tokenizer(settings.tokenizer or str(folder))
        kind = f"{network}ForCausalLM"
        return CourseCheckpoint(kind, config, named, tokenizer, (file,), fills=fills)


def _read_config(file: Path) -> dict[str, Any]:
    """Read what LitGPT writes whole. Raises Unsupported if it sets what is not read here."""
    data, places = strict_yaml.read(file)
    given = {k: v for k, v in data.items() if k not in SILENT} if isinstance(data, dict) else {}
    for key, value in given.items():
        odd = value if key not in NEUTRAL else value != NEUTRAL[key]
        if key == "name":
            odd = any(word in str(value) for word in PECULIAR)
        if odd and key not in READ:
            raise Unsupported(
                f"`{key}: {value}` of LitGPT is not supported",
                where=strict_yaml.place(file, places, (key,)),
                hint="if `litgpt convert_from_litgpt` knows it, take hf:DIRECTORY",
            )
    whole = (*SIZES, "n_query_groups", "head_size")
    if missing := [key for key in READ if key not in (*whole, "attn_bias", *given)]:
        raise UsageError(f"it has no `{missing[0]}`, which LitGPT writes", where=str(file))
    sizes = course_model.take_sizes(given, whole, str(file))
    if sizes["n_head"] % sizes["n_query_groups"] or sizes["n_embd"] % sizes["n_head"]:
        raise UsageError("n_head divides n_embd, and n_query_groups n_head", where=str(file))
    return given | course_model.take_numbers(given, NUMBERS, str(file))


def _choose_network(
    given: Mapping[str, Any], where: str
) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Return transformers' network, values of its config, and the biases that LitGPT leaves out."""
    kinds = (given["norm_class_name"], given["mlp_class_name"])
    heads, groups, size = given["n_head"], given["n_query_groups"], given["head_size"]
    turned, gelu = given["rotary_percentage"], given["gelu_approximate"]
    rotation = {"rope_type": "default", "rope_theta": given["rope_base"]}
    is_plain = groups == heads and heads * size == given["n_embd"] and 0 < turned <= 1
    if kinds == ("RMSNorm", "LLaMAMLP") and not given["parallel_residual"] and turned == 1:
        biased = bool(given["bias"] or given.get("attn_bias"))
        values = {
            "rms_norm_eps": given["norm_eps"],
            "num_key_value_heads": groups,
            "head_dim": size,
            "attention_bias": biased,
            "mlp_bias": bool(given["bias"]),
            "rope_parameters": rotation,
        }
        return "Llama", values, ("self_attn.o_proj.bias",) if biased and not given["bias"] else ()
    if kinds == ("LayerNorm", "GptNeoxMLP") and is_plain and gelu in ("none", "tanh"):
        values = {
            "layer_norm_eps": given["norm_eps"],
            "hidden_act": "gelu" if gelu == "none" else "gelu_pytorch_tanh",
            "use_parallel_residual": bool(given["parallel_residual"]),
            "attention_bias": True,
            "rope_parameters": {**rotation, "partial_rotary_factor": turned},
        }
        linear = ("attention.query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
        fills = () if given["bias"] else tuple(f".{name}.bias" for name in linear)
        return "GPTNeoX", values, fills
    raise Unsupported(
        f"{kinds[1]} with {kinds[0]} in this combination is neither LLaMA nor GPT-NeoX",
        where=where,
        hint="if `litgpt convert_from_litgpt` knows it, take hf:DIRECTORY",
    )


def _part_projections(
    weights: Weights, network: str, given: Mapping[str, Any], where: str
) -> Weights:
    """Put the joint projections as the network has them: `attn.qkv` has all queries, all keys, all
    values; `attn.attn`, of older checkpoints, has them group by group.
    """
    heads, groups, size = given["n_head"], given["n_query_groups"], given["head_size"]
    found = {k: v for k, v in weights.items() if ".attn.qkv." not in k and ".attn.attn." not in k}
    for name in weights.keys() - found:
        joint, (block, _, kind) = weights[name], name.partition(".attn.")
        number = block.removeprefix("transformer.h.")
        if len(joint) != (heads + 2 * groups) * size:
            raise ModelError(
                f"it has {len(joint)} rows; the config says {heads} heads and {groups} groups of"
                f" {size}",
                where=f"{where}: {name}",
            )
        parts = [rows * size for rows in (heads, groups, groups)]
        if kind.startswith("attn."):
            grouped = joint.reshape(groups, -1, *joint.shape[1:])
            shares = [rows // groups for rows in parts]
            three = [part.flatten(0, 1) for part in torch.split(grouped, shares, 1)]
        else:
            three = list(torch.split(joint, parts))
        kind = kind.rpartition(".")[2]
        if network == "Llama":
            for letter, part in zip("qkv", three, strict=True):
                found[f"model.layers.{number}.self_attn.{letter}_proj.{kind}"] = part
        else:
            apart = [part.reshape(heads, size, *part.shape[1:]) for part in three]
            place = f"gpt_neox.layers.{number}.attention.query_key_value.{kind}"
            found[place] = torch.cat(apart, 1).flatten(0, 1)
    return found
