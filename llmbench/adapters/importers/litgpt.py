"""Checkpoint directories of LitGPT, of the kinds that are LLaMA or GPT-NeoX in transformers."""

from __future__ import annotations

from pathlib import Path

from llmbench.adapters.importers import course_model, lit_config, lit_weights
from llmbench.adapters.importers.course_model import CourseCheckpoint, CourseModel
from llmbench.config.course_settings import LitGPTSettings
from llmbench.errors import UsageError

FILES = ("lit_model.pth", "model_config.yaml")


class LitGPT(CourseModel):
    """A checkpoint of LitGPT."""

    settings, course = LitGPTSettings, "LitGPT"

    @classmethod
    def read(cls, settings: LitGPTSettings) -> CourseCheckpoint:
        """Read lit_model.pth, model_config.yaml, and the tokenizer beside them."""
        folder = Path(settings.place)
        for name in FILES:
            if not (folder / name).is_file():
                raise UsageError(f"no checkpoint of LitGPT: it has no {name}", where=str(folder))
        file = folder / FILES[0]
        shape = lit_config.read_shape(folder / FILES[1])
        saved = course_model.read_saved(file)
        weights = course_model.take_weights(saved.get("model", saved), str(file))
        config = course_model.make_config(f"{shape.network}Config", **shape.values)
        named = lit_weights.rename(weights, shape, str(file))
        tokenizer = course_model.load_tokenizer(settings.tokenizer or str(folder))
        network = f"{shape.network}ForCausalLM"
        return CourseCheckpoint(network, config, named, tokenizer, (file,))
