"""Checkpoints of nanoGPT: GPT-2 with GELU by the error function, as its train.py saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from llmbench.adapters.importers import course_model
from llmbench.adapters.importers.course_model import CourseCheckpoint, CourseModel, Weights
from llmbench.config.course_settings import NanoGPTSettings
from llmbench.errors import UsageError

SIZES = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")
GPT2_SIZES = (50257, 50304)  # of GPT-2's tokenizer, the second padded to a multiple of 64
TRANSPOSED = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
CONVERT = "write the ids of its characters (`stoi` in meta.pkl) to meta.json beside it"


class NanoGPT(CourseModel):
    """A checkpoint of nanoGPT."""

    settings, course = NanoGPTSettings, "nanoGPT"

    @classmethod
    def read(cls, settings: NanoGPTSettings) -> CourseCheckpoint:
        """Read `ckpt.pt`: `model_args` and `model`."""
        saved, where = course_model.read_saved(Path(settings.place)), settings.place
        if not isinstance(saved.get("model_args"), dict):
            raise UsageError("no checkpoint of nanoGPT: it has no model_args", where=where)
        sizes = course_model.take_sizes(saved["model_args"], SIZES, where)
        weights = course_model.take_weights(saved.get("model"), where, (".attn.bias",))
        head = course_model.take_weight(weights, "lm_head.weight", where)
        table = course_model.take_weight(weights, "transformer.wte.weight", where)
        config = course_model.make_config(
            "GPT2Config",
            n_positions=sizes.pop("block_size"),
            **sizes,
            activation_function="gelu",
            tie_word_embeddings=torch.equal(head, table),
        )
        tokenizer, bos = _find_tokenizer(settings, sizes["vocab_size"])
        file, named = Path(settings.place), _rename(weights)
        return CourseCheckpoint("GPT2LMHeadModel", config, named, tokenizer, (file,), bos)


def _rename(weights: Weights) -> Weights:
    """Transpose what transformers keeps by columns; a bias that was left out is zero."""
    found = dict[str, torch.Tensor]()
    for name, value in weights.items():
        part, _, kind = name.rpartition(".")
        is_turned = kind == "weight" and part.endswith(TRANSPOSED)
        found[name] = value.t() if is_turned and value.ndim == 2 else value
        if kind == "weight" and (is_turned or ".ln_" in part) and f"{part}.bias" not in weights:
            found[f"{part}.bias"] = torch.zeros(len(value))
    return found


def _find_tokenizer(settings: NanoGPTSettings, size: int) -> tuple[Any, str | None]:
    """The tokenizer, and the start symbol that the course's sampling begins with."""
    file = Path(settings.vocabulary or Path(settings.place).with_name("meta.json"))
    if settings.tokenizer is None and (settings.vocabulary or file.is_file()):
        ids = course_model.read_json(file)
        ids = ids.get("stoi", ids)
        letters = isinstance(ids, dict) and all(len(letter) == 1 for letter in ids)
        if not letters or sorted(map(repr, ids.values())) != sorted(map(repr, range(size))):
            said = f"expected a character for each of the ids 0 to {size - 1}"
            raise UsageError(said, where=str(file), hint="as in meta.pkl, under `stoi`")
        return course_model.make_character_tokenizer(ids), "\n" if "\n" in ids else None
    if settings.tokenizer is None and size not in GPT2_SIZES:
        raise UsageError(
            f"nothing tells which characters the {size} ids stand for",
            where=settings.place,
            hint=f"{CONVERT}, or to ?vocabulary=FILE.json",
        )
    return course_model.require_tokenizer(settings, "its ids are those of GPT-2's"), None
