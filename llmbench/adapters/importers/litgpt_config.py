"""What a config of LitGPT says, as transformers says it of LLaMA or GPT-NeoX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from llmbench.adapters.importers.course_model import take_numbers, take_sizes
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
WHOLE = (*SIZES, "n_query_groups", "head_size")
NUMBERS = ("norm_eps", "rotary_percentage", "rope_base")
KINDS = ("norm_class_name", "mlp_class_name", "parallel_residual", "gelu_approximate", "bias")
SILENT = ("hf_config", "vocab_size", "padding_multiple")  # change no number
# keys that change none if they have this value; any other must be empty
NEUTRAL: dict[str, object] = {"rope_condense_ratio": 1, "norm_1": True, "norm_2": True}
NEUTRAL |= {"routed_scaling_factor": 1.0, "norm_qk_type": "default"}
PECULIAR = ("Gemma", "OLMo")  # names by which LitGPT computes norms in another way
HINT = "if `litgpt convert_from_litgpt` knows it, take hf:DIRECTORY"


class Choice(NamedTuple):
    """transformers' network, values of its config, and the biases that LitGPT leaves out."""

    network: str
    values: Mapping[str, Any]
    fills: tuple[str, ...]


def read_config(file: Path) -> dict[str, Any]:
    """Read what LitGPT writes whole. Raises Unsupported if it sets what is not read here."""
    data, places = strict_yaml.read(file)
    given = {k: v for k, v in data.items() if k not in SILENT} if isinstance(data, dict) else {}
    read = (*WHOLE, *NUMBERS, *KINDS, "attn_bias")
    for key, value in [(key, value) for key, value in given.items() if key not in read]:
        odd = value != NEUTRAL[key] if key in NEUTRAL else value
        if key == "name":
            odd = any(word in str(value) for word in PECULIAR)
        if odd:
            at = strict_yaml.place(file, places, (key,))
            raise Unsupported(f"`{key}: {value}` of LitGPT is not supported", where=at, hint=HINT)
    if missing := [key for key in (*NUMBERS, *KINDS) if key not in given]:
        raise UsageError(f"it has no `{missing[0]}`, which LitGPT writes", where=str(file))
    sizes = take_sizes(given, WHOLE, str(file))
    if sizes["n_head"] % sizes["n_query_groups"] or sizes["n_embd"] % sizes["n_head"]:
        raise UsageError("n_head divides n_embd, and n_query_groups n_head", where=str(file))
    return given | take_numbers(given, NUMBERS, str(file))


def choose_network(given: Mapping[str, Any], where: str) -> Choice:
    """Return the network that is the same function. Raises Unsupported if there is none."""
    kinds, bias = (given["norm_class_name"], given["mlp_class_name"]), bool(given["bias"])
    heads, groups, size = (given[name] for name in ("n_head", "n_query_groups", "head_size"))
    turned, gelu = given["rotary_percentage"], given["gelu_approximate"]
    rotation = {"rope_type": "default", "rope_theta": given["rope_base"]}
    values = {name: given[key] for key, name in SIZES.items()} | {"tie_word_embeddings": False}
    if kinds == ("RMSNorm", "LLaMAMLP") and not given["parallel_residual"] and turned == 1:
        biased = bool(bias or given.get("attn_bias"))
        values |= {"rms_norm_eps": given["norm_eps"], "num_key_value_heads": groups}
        values |= {"head_dim": size, "attention_bias": biased, "mlp_bias": bias}
        values |= {"rope_parameters": rotation}
        return Choice("Llama", values, ("self_attn.o_proj.bias",) if biased and not bias else ())
    is_plain = groups == heads and heads * size == given["n_embd"] and 0 < turned <= 1
    if kinds == ("LayerNorm", "GptNeoxMLP") and is_plain and gelu in ("none", "tanh"):
        values |= {"layer_norm_eps": given["norm_eps"], "attention_bias": True}
        values |= {"hidden_act": "gelu" if gelu == "none" else "gelu_pytorch_tanh"}
        values |= {"use_parallel_residual": bool(given["parallel_residual"])}
        linear = ("attention.query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
        fills = () if bias else tuple(f".{name}.bias" for name in linear)
        rotation["partial_rotary_factor"] = turned
        return Choice("GPTNeoX", {**values, "rope_parameters": rotation}, fills)
    said = f"{kinds[1]} with {kinds[0]} in this combination is neither LLaMA nor GPT-NeoX"
    raise Unsupported(said, where=where, hint=HINT)
