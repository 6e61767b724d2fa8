"""Which models of a record are the same weights in fewer bits, or compiled, and of which model."""

from __future__ import annotations

from collections.abc import Sequence

from llmbench.results.record import ModelRow

BITS = {"float64": 64, "float32": 32, "bfloat16": 16, "float16": 16}  # of number formats
MADE_OF = ("weights_sha256", "converted_from")  # digests in `origin` of the same weights


def find_parents(models: Sequence[ModelRow]) -> dict[str, str]:
    """Return model -> the one that it was made from, of those that have one among these.

    It is the one that the model's card names. Otherwise it is the first of those with the same
    weights whose numbers are widest, not rounded, and that is not compiled.
    """
    names = {model.name for model in models}
    found = {}
    for model in models:
        if model.parent is not None:
            if model.parent in names - {model.name}:
                found[model.name] = model.parent
            continue
        family = [other for other in models if _share_weights(model, other)]
        parent = min(family, key=_rank_plainness, default=model)
        if _rank_plainness(parent) < _rank_plainness(model) and not is_rounded(parent):
            found[model.name] = parent.name
    return found


def _share_weights(one: ModelRow, other: ModelRow) -> bool:
    """Whether two models were made of the same file, and read a text from the same start."""
    made_of = [
        {
            value
            for key in MADE_OF
            if isinstance(value := (row.origin or {}).get(key), str) and value
        }
        for row in (one, other)
    ]
    starts = [(row.origin or {}).get("bos") for row in (one, other)]
    return bool(made_of[0] & made_of[1]) and starts[0] == starts[1]


def is_rounded(model: ModelRow) -> bool:
    """Whether its weights are in fewer bits than a number format of floats has."""
    return model.quantization is not None or model.dtype not in BITS


def _rank_plainness(model: ModelRow) -> tuple[bool, int, bool]:
    return is_rounded(model), -BITS.get(model.dtype or "", 0), model.compiled is not None


def describe_child(model: ModelRow, parent: ModelRow) -> str:
    """Return which model it was made from, and what it has that this one has not.

    As in `x-int8 is x, int8 (torchao, weight-only)`.
    """
    dtype = model.dtype if model.dtype != parent.dtype else None
    rounding = model.quantization if model.quantization != parent.quantization else None
    is_compiled = model.compiled is not None and parent.compiled is None
    parts = [part for part in (rounding, dtype, "compiled" if is_compiled else None) if part]
    if not parts:
        return f"{model.name} was made from {parent.name}"
    return f"{model.name} is {parent.name}, {', '.join(parts)}"
