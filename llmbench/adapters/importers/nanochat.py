"""Checkpoint directories of nanochat, as its first releases save them."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from llmbench.adapters.importers import course_model
from llmbench.adapters.importers.course_model import CourseCheckpoint, CourseModel
from llmbench.config.course_settings import NanoChatSettings
from llmbench.errors import Unsupported, UsageError

SIZES = {
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_kv_head": "num_key_value_heads",
    "n_embd": "hidden_size",
    "sequence_len": "max_position_embeddings",
    "vocab_size": "vocab_size",
}
INSIDE = {f"attn.c_{letter}": f"self_attn.{letter}_proj" for letter in "qkv"}
INSIDE |= {"attn.c_proj": "self_attn.o_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
NAMES = {f"transformer.h.#.{old}": f"model.layers.#.{new}" for old, new in INSIDE.items()}
NAMES |= {"transformer.wte": "model.embed_tokens"}
BOS = "<|bos|>"


class NanoChat(CourseModel):
    """A checkpoint of nanochat."""

    settings, course = NanoChatSettings, "nanochat"

    @classmethod
    def read(cls, settings: NanoChatSettings) -> CourseCheckpoint:
        """Read model_STEP.pt and meta_STEP.json; the tokenizer stands there or elsewhere."""
        file = _find_weights(settings)
        meta = file.with_name(f"{file.stem.replace('model', 'meta')}.json")
        given = course_model.read_json(meta).get("model_config")
        if not isinstance(given, dict):
            raise UsageError("it has no model_config", where=str(meta))
        if odd := sorted(given.keys() - SIZES):
            said = f"`{odd[0]}: {given[odd[0]]}` of a later nanochat is not supported"
            raise Unsupported(said, where=str(meta))
        sizes = course_model.take_sizes(given, SIZES, str(meta))
        config = course_model.make_config(
            "NanoChatConfig",
            **{name: sizes[key] for key, name in SIZES.items()},
            intermediate_size=4 * sizes["n_embd"],
            rms_norm_eps=torch.finfo(torch.float32).eps,  # what torch's rms_norm takes by itself
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        )
        weights = course_model.take_weights(course_model.read_saved(file), str(file))
        weights = course_model.rename_parts(weights, NAMES)
        tokenizer = course_model.load_tokenizer(settings.tokenizer or settings.place)
        bos = BOS if BOS in tokenizer.get_vocab() else None
        return CourseCheckpoint("NanoChatForCausalLM", config, weights, tokenizer, (file,), bos)


def _find_weights(settings: NanoChatSettings) -> Path:
    """The weights of the step that is asked for, or of the last one."""
    files = {
        int(found[1]): file
        for file in Path(settings.place).iterdir()
        if (found := re.fullmatch(r"model_(\d{1,9})\.pt", file.name))
    }
    step = max(files, default=0) if settings.step is None else settings.step
    if step not in files:
        steps = ", ".join(map(str, sorted(files))) or "no model_STEP.pt at all"
        raise UsageError(f"it has no step {step}, only {steps}", where=settings.place)
    return files[step]
