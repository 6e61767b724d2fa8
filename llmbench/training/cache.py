"""Where trained networks are kept: the name of a folder is a hash of all that decides the weights.

Sources are read and not imported, so that nothing here loads torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from llmbench.adapter import BuildContext
from llmbench.config.model_card import PLACEMENTS, NetworkSpec, Recipe, Stage, VocabularySpec
from llmbench.config.plugins import source_files
from llmbench.config.source_code import PACKAGE, digest_code, find_imports
from llmbench.data.loading import load
from llmbench.data.text import Text
from llmbench.hardware import machine
from llmbench.models.pretrained import files as pretrained_files

# Modules that decide no weights and are left out of a key. What is not named here is in it: too
# much costs a training, too little would give stale weights.
NOT_IN_KEYS = (
    "llmbench.config",
    "llmbench.data.fields",
    "llmbench.data.hub",
    "llmbench.data.loading",
    "llmbench.data.storyworld",
    "llmbench.errors",
    "llmbench.hardware",
    "llmbench.inference.generation",
    "llmbench.inference.sampling",
    "llmbench.limits",
    "llmbench.models.pretrained.fast_import",
    "llmbench.models.pretrained.files",
    "llmbench.models.steps",
    "llmbench.storage",
    "llmbench.training.cache",
)
FINETUNING = PACKAGE / "training" / "finetuning.py"


def digest_training_code(files: Iterable[Path]) -> str:
    """Return a hash of what these files and all that they import do, of what decides weights."""
    return digest_code(find_imports(files, NOT_IN_KEYS))


def checkpoint_folder(
    network: NetworkSpec,
    vocabulary: VocabularySpec,
    recipe: Recipe,
    build_context: BuildContext,
    adapter: Path,
) -> Path:
    """Return the folder of a trained network's checkpoint.

    Its name depends on all that decides the weights on one machine, also on the code of `adapter`
    (the file of the adapter's class), of the network, and of what both import.
    """
    assert build_context.train is not None
    valid = build_context.valid
    facts = [
        network.model_dump(),
        vocabulary.model_dump(),
        recipe.model_dump(),
        build_context.train.sha256,
        valid.sha256 if valid else None,
        build_context.seed,
        build_context.device,
        machine.version("torch"),
        digest_training_code([adapter, *source_files(network.cls)]),
    ]
    return build_context.cache / "networks" / _hash(facts)


def folder_of_training(stages: Sequence[Stage], build_context: BuildContext) -> Path:
    """Return the folder of the checkpoint that the last of these stages trains.

    Its name depends on all that decides the weights on one machine.
    """
    facts: list[Any] = [
        build_context.seed,
        build_context.device,
        *(machine.version(name) for name in ("torch", "transformers", "tokenizers", "peft")),
    ]
    for stage in stages:
        assert stage.recipe is not None
        facts += [
            stage.checkpoint.model_dump(exclude=set(PLACEMENTS)),
            stage.recipe.model_dump(),
        ]
        facts += [
            None if text is None else text.sha256
            for text in find_training_texts(stage, build_context)
        ]
    first = stages[0].checkpoint
    if first.id is not None:
        begin = pretrained_files.locate(first.id, first.revision)
        facts.append(begin.commit or pretrained_files.weights_sha256(begin.folder))
    facts.append(digest_training_code([FINETUNING]))
    return build_context.cache / "checkpoints" / _hash(facts)


def _hash(facts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def find_training_texts(
    stage: Stage, build_context: BuildContext
) -> tuple[Text | None, Text | None]:
    """Return (training text, validation text) of a stage.

    Without a validation text the end of the training text is held out.
    """
    if stage.checkpoint.learns == "general":
        train, valid = (
            load(role, "fables", select={"part": "tales", "split": role})
            for role in ("train", "valid")
        )
        return train, valid
    if stage.checkpoint.learns == "domain" and build_context.find_text("domain") is not None:
        return build_context.domain, build_context.find_text("domain_valid")
    return build_context.find_text("train"), build_context.find_text("valid")
