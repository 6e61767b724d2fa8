"""`model_config.yaml` of LitGPT: which network of transformers it means, and of what sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmbench.adapters.importers.course_model import take_sizes
from llmbench.config import strict_yaml
from llmbench.errors import Unsupported, UsageError

SIZES = {
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_embd": "hidden_size",
    "block_size": "max_position_embeddings",
    "padded_vocab_size": "vocab_size",
    "intermediate_size": "intermediate_size",
}
# what LitGPT takes if a key is left out
DEFAULTS: Mapping[str, Any] = {
    "norm_class_name": "LayerNorm",
    "norm_eps": 1e-5,
    "parallel_residual": True,
    "mlp_class_name": "GptNeoxMLP",
    "gelu_approximate": "none",
    "bias": True,
    "attn_bias": False,
    "rotary_percentage": 0.25,
    "rope_base": 10000,
}
NUMBERS = ("norm_eps", "rotary_percentage", "rope_base")
GELU = {"none": "gelu", "tanh": "gelu_pytorch_tanh"}
SILENT = ("name", "hf_config", "vocab_size", "padding_multiple", "n_query_groups", "head_size")
# keys that change nothing if they have this value; any other key must be empty
NEUTRAL: Mapping[str, Any] = {
    "rope_condense_ratio": 1,
    "norm_1": True,
    "norm_2": True,
    "routed_scaling_factor": 1.0,
    "norm_qk_type": "default",
}
PECULIAR = ("Gemma", "OLMo")  # names by which LitGPT computes norms in another way


@dataclass(frozen=True)
class LitShape:
    """network: Llama or GPTNeoX. values: of transformers' config. sizes: of the projections."""

    network: str
    values: Mapping[str, Any]
    depth: int
    heads: int
    groups: int
    head_size: int


def read_shape(file: Path) -> LitShape:
    """Read a config. Raises Unsupported if it sets what transformers would not compute alike."""
    data, places = strict_yaml.read(file)
    given: dict[str, Any] = {**DEFAULTS, **{k: v for k, v in data.items() if v is not None}}
    for key in given:
        if not _is_known(key, given[key]):
            raise Unsupported(
                f"`{key}: {given[key]}` of LitGPT is not supported",
                where=strict_yaml.place(file, places, (key,)),
                hint="if `litgpt convert_from_litgpt` knows it, take hf:DIRECTORY",
            )
    given.setdefault("n_query_groups", given.get("n_head"))
    if given["mlp_class_name"] == "GptNeoxMLP" and isinstance(given.get("n_embd"), int):
        given.setdefault("intermediate_size", 4 * given["n_embd"])
    found = take_sizes(given, (*SIZES, "n_query_groups"), str(file))
    given.setdefault("head_size", found["n_embd"] // found["n_head"])
    found |= take_sizes(given, ("head_size",), str(file))
    if found["n_head"] % found["n_query_groups"] or found["n_embd"] % found["n_head"]:
        raise UsageError("n_head divides n_embd, and n_query_groups n_head", where=str(file))
    given |= {key: _read_number(given[key], key, file) for key in NUMBERS}
    return _make_shape(given, found, file)


def _read_number(value: Any, key: str, file: Path) -> float:
    try:
        return float(value)  # YAML reads 1e-05 as a text
    except (TypeError, ValueError):
        raise UsageError(f"{key} must be a number: it is {value!r}", where=str(file)) from None


def _is_known(key: str, value: Any) -> bool:
    """Whether a key is read here, or says nothing that could change a number."""
    if key == "name":
        return not any(word in str(value) for word in PECULIAR)
    if key in NEUTRAL:
        return bool(value == NEUTRAL[key])
    return key in (*SIZES, *DEFAULTS, *SILENT) or not value


def _make_shape(given: Mapping[str, Any], sizes: Mapping[str, int], file: Path) -> LitShape:
    values: dict[str, Any] = {name: sizes[key] for key, name in SIZES.items()}
    values["tie_word_embeddings"] = False
    turned = given["rotary_percentage"]
    rotation = {"rope_type": "default", "rope_theta": given["rope_base"]}
    activation = GELU.get(given["gelu_approximate"])
    kinds = (given["norm_class_name"], given["mlp_class_name"])
    if kinds == ("RMSNorm", "LLaMAMLP") and not given["parallel_residual"] and turned == 1:
        network = "Llama"
        values |= {
            "rms_norm_eps": given["norm_eps"],
            "num_key_value_heads": sizes["n_query_groups"],
            "head_dim": sizes["head_size"],
            "attention_bias": bool(given["bias"] or given["attn_bias"]),
            "mlp_bias": bool(given["bias"]),
            "rope_parameters": rotation,
        }
    elif kinds == ("LayerNorm", "GptNeoxMLP") and _is_plain(sizes, turned) and activation:
        network = "GPTNeoX"
        values |= {
            "layer_norm_eps": given["norm_eps"],
            "hidden_act": activation,
            "use_parallel_residual": bool(given["parallel_residual"]),
            "attention_bias": True,
            "rope_parameters": {**rotation, "partial_rotary_factor": turned},
        }
    else:
        raise Unsupported(
            f"{kinds[1]} with {kinds[0]} in this combination is neither LLaMA nor GPT-NeoX",
            where=str(file),
            hint="if `litgpt convert_from_litgpt` knows it, take hf:DIRECTORY",
        )
    parts = (sizes["n_layer"], sizes["n_head"], sizes["n_query_groups"], sizes["head_size"])
    return LitShape(network, values, *parts)


def _is_plain(sizes: Mapping[str, int], turned: float) -> bool:
    """Whether every head has keys of its own and is turned in part, and all fill the rows."""
    width = sizes["n_head"] * sizes["head_size"]
    is_wide = sizes["n_query_groups"] == sizes["n_head"] and width == sizes["n_embd"]
    return is_wide and 0 < turned <= 1
