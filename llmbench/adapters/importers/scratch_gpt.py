"""Weights of the GPT in "Build a Large Language Model (From Scratch)" (Raschka 2024)."""

from __future__ import annotations

from pathlib import Path

import torch

from llmbench.adapters.importers import course_model
from llmbench.adapters.importers.course_model import CourseCheckpoint, CourseModel, Weights
from llmbench.config.course_settings import ScratchGPTSettings
from llmbench.errors import UsageError

OUTSIDE = {
    "tok_emb.weight": "wte.weight",
    "pos_emb.weight": "wpe.weight",
    "final_norm.scale": "ln_f.weight",
    "final_norm.shift": "ln_f.bias",
}
INSIDE = {
    "norm1.scale": "ln_1.weight",
    "norm1.shift": "ln_1.bias",
    "norm2.scale": "ln_2.weight",
    "norm2.shift": "ln_2.bias",
    "att.out_proj": "attn.c_proj",
    "ff.layers.0": "mlp.c_fc",
    "ff.layers.2": "mlp.c_proj",
}
PROJECTIONS = ("W_query", "W_key", "W_value")


class ScratchGPT(CourseModel):
    """A GPT of that book."""

    settings, course = ScratchGPTSettings, "LLMs-from-scratch"

    @classmethod
    def read(cls, settings: ScratchGPTSettings) -> CourseCheckpoint:
        """Read a state dictionary, alone or under `model_state_dict`."""
        file, where = Path(settings.place), settings.place
        saved = course_model.read_saved(file)
        state = saved.get("model_state_dict", saved)
        weights = course_model.take_weights(state, where, (".att.mask",))
        rows, width = course_model.take_weight(weights, "tok_emb.weight", where).shape
        positions = course_model.take_weight(weights, "pos_emb.weight", where)
        depth = len({name.split(".")[1] for name in weights if name.startswith("trf_blocks.")})
        if width % settings.heads:
            raise UsageError(f"{width} is no multiple of {settings.heads} heads", where=where)
        config = course_model.make_config(
            "GPT2Config",
            vocab_size=rows,
            n_positions=len(positions),
            n_embd=width,
            n_layer=depth,
            n_head=settings.heads,
            tie_word_embeddings=False,
        )
        named = _rename(weights, depth, where)
        tokenizer = course_model.require_tokenizer(settings, "that book uses GPT-2's")
        return CourseCheckpoint("GPT2LMHeadModel", config, named, tokenizer, (file,))


def _rename(weights: Weights, depth: int, where: str) -> Weights:
    """The weights by transformers' names: matrices by columns, the three projections in one."""
    left = dict(weights)
    found = {"lm_head.weight": left.pop("out_head.weight", torch.empty(0))}
    found |= {f"transformer.{new}": left.pop(old) for old, new in OUTSIDE.items() if old in left}
    for layer in range(depth):
        old, new = f"trf_blocks.{layer}", f"transformer.h.{layer}"
        parts = [f"{old}.att.{name}" for name in PROJECTIONS]
        three = [course_model.take_weight(left, f"{part}.weight", where) for part in parts]
        found[f"{new}.attn.c_attn.weight"] = torch.cat(three).t()
        biases = [left.pop(f"{part}.bias", torch.zeros(len(three[0]))) for part in parts]
        found[f"{new}.attn.c_attn.bias"] = torch.cat(biases)
        left = {name: left[name] for name in left.keys() - {f"{part}.weight" for part in parts}}
        for name, to in INSIDE.items():
            for kind in ("", ".weight", ".bias"):
                if (value := left.pop(f"{old}.{name}{kind}", None)) is not None:
                    found[f"{new}.{to}{kind}"] = value.t() if kind == ".weight" else value
    return found | left
