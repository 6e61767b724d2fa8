"""Weights in 8 and 4 bits: rounded here when a checkpoint is loaded, or by whoever made it.

On the CPU torchao rounds every linear layer, the head included, of a model that was loaded whole;
embeddings stay as they are. On CUDA bitsandbytes rounds while it loads, and leaves the head alone.
Both are imported only when a scheme is asked for.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from llmbench.errors import ModelError, UsageError
from llmbench.hardware import machine
from llmbench.hardware.device import is_cuda
from llmbench.models.pretrained.files import config_value

GROUP = 32  # weights of a row that share a scale in 4 bits
LEFT = 0.1  # of the weights of all layers: the most that may stay as they are
EXTRA = "pip install 'llmbench[quantize]'"
TORCHAO = {
    "int8": "int8 (torchao, weight-only)",
    "int8-dynamic": "int8 (torchao, weights and activations)",
    "int4": f"int4 (torchao, weight-only, groups of {GROUP})",
}
BITSANDBYTES: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "int8": ("int8 (bitsandbytes, weights and activations)", {"load_in_8bit": True}),
    "int4": ("nf4 (bitsandbytes)", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}),
}


def name_scheme(scheme: str, device: str) -> str:
    """What a scheme is on this device, and which library does it, as a record says it."""
    return BITSANDBYTES[scheme][0] if rounds_while_loading(scheme, device) else TORCHAO[scheme]


def rounds_activations(name: str | None) -> bool:
    """Whether a scheme, as `name_scheme` calls it, rounds what flows between the layers, too."""
    return name is not None and "activations" in name


def rounds_while_loading(scheme: str | None, device: str) -> bool:
    """Whether a scheme is transformers' own work with bitsandbytes."""
    return is_cuda(device) and scheme in BITSANDBYTES


def find_library_version(name: str) -> str:
    """Return `torchao 0.18.0` of a scheme's name: what decides the rounded weights with it."""
    library = "bitsandbytes" if "bitsandbytes" in name else "torchao"
    return f"{library} {machine.version(library)}"


def make_loading_arguments(
    scheme: str | None, device: str, dtype: torch.dtype | None, where: str
) -> dict[str, Any]:
    """What `from_pretrained` is given besides: nothing, unless the weights are rounded while they
    are loaded.
    """
    if scheme is None or not rounds_while_loading(scheme, device):
        return {}
    _import("bitsandbytes", where, "pip install bitsandbytes")
    transformers = importlib.import_module("transformers")
    chosen: dict[str, Any] = dict(BITSANDBYTES[scheme][1])
    if "load_in_4bit" in chosen and dtype is not None:
        chosen["bnb_4bit_compute_dtype"] = dtype
    config = transformers.BitsAndBytesConfig(**chosen)
    return {"quantization_config": config, "device_map": {"": device}}


def quantise(model: nn.Module, scheme: str, device: str, where: str) -> None:
    """Round the weights of a model in place, unless they were rounded while it was loaded."""
    if rounds_while_loading(scheme, device):
        return
    if any(weight.dtype == torch.float64 for weight in model.parameters()):
        raise UsageError(
            "weights in float64 cannot be rounded to few bits", where=where, hint="dtype=float32"
        )
    torchao = _import("torchao.quantization", where, EXTRA)
    _turn_layers(model)
    _check_share(model, where)
    configs: Mapping[str, Callable[[], Any]] = {
        "int8": torchao.Int8WeightOnlyConfig,
        "int8-dynamic": torchao.Int8DynamicActivationInt8WeightConfig,
        "int4": lambda: torchao.IntxWeightOnlyConfig(
            weight_dtype=torch.int4,  # type: ignore[attr-defined]  # not in the stubs
            granularity=importlib.import_module("torchao.quantization.granularity").PerGroup(GROUP),
        ),
    }
    odd = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and layer.in_features % GROUP
    ]
    if scheme == "int4" and odd:
        raise UsageError(
            f"int4 needs layers whose width is a multiple of {GROUP}: {odd[0]} is not",
            where=where,
            hint="int8",
        )
    torchao.quantize_(model, configs[scheme]())


def _turn_layers(model: Any) -> None:
    """Put linear layers in the place of GPT-2's own, which hold the same matrix turned on its side,
    and which torchao passes over.
    """
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if type(layer).__name__ == "Conv1D" and "nf" in vars(layer):
                inputs, outputs = layer.weight.shape
                turned = nn.Linear(inputs, outputs, device="meta")
                turned.weight = nn.Parameter(layer.weight.detach().t().contiguous(), False)
                turned.bias = layer.bias
                setattr(module, name, turned.train(layer.training))


def _check_share(model: nn.Module, where: str) -> None:
    """Refuse a model of which a good part would stay as it is, under a name that says otherwise."""
    inside = 0
    outside: dict[str, int] = {}
    for path, module in model.named_modules():
        for name, weight in module.named_parameters(prefix=path, recurse=False):
            if isinstance(module, nn.Linear):
                inside += weight.numel()
            elif weight.dim() > 1 and not isinstance(module, nn.Embedding):
                outside[name] = weight.numel()
    if not inside:
        raise UsageError(
            "it has no linear layers that could be quantised", where=where, hint="leave it out"
        )
    share = sum(outside.values()) / (inside + sum(outside.values()))
    if share > LEFT:
        largest = max(outside, key=outside.__getitem__)
        raise UsageError(
            f"{100 * share:.0f} % of its weights would not be rounded, as they are in no linear"
            f" layer: {largest}",
            where=where,
            hint="leave quantize out",
        )


def _import(module: str, where: str, hint: str) -> Any:
    package = module.partition(".")[0]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it tells of kernels for other machines
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ModelError(
            f"quantising needs the package {package}: {error}", where=where, hint=hint
        ) from None
    finally:
        logging.disable(before)


def describe_quantised(config: Any) -> str | None:
    """What a checkpoint was rounded to by whoever made it, `4-bit (gptq)`; None if it was not."""
    found = config_value(config, "quantization_config")
    if found is None:
        return None
    facts: Mapping[str, Any] = found if isinstance(found, Mapping) else found.to_dict()
    method = str(facts.get("quant_method", "unknown"))
    bits = facts.get("bits") or (4 if facts.get("load_in_4bit") else None)
    bits = bits or (8 if facts.get("load_in_8bit") else None)
    return f"{bits}-bit ({method})" if bits else method


def count_bytes(parameters: Iterator[Tensor]) -> int:
    """Bytes that tensors take in memory, each once; of rounded ones their numbers, scales and
    offsets, and not what they stand for.
    """
    return sum(_bytes(tensor) for tensor in {id(p): p for p in parameters}.values())


def _bytes(tensor: Tensor) -> int:
    """torchao's tensors are made of others, whose names they tell."""
    if type(tensor) in (Tensor, nn.Parameter):
        return tensor.numel() * tensor.element_size()
    try:
        names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]  # of a wrapper only
    except AttributeError:
        return tensor.numel() * tensor.element_size()
    return sum(_bytes(vars(tensor)[name]) for name in names)
