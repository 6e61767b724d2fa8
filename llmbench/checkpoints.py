"""Where trained networks are kept, and under which name. Reads sources, imports none of them: the runner asks without loading torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from llmbench import machine
from llmbench.adapter import Materials
from llmbench.card import NetworkSpec, Recipe, VocabularySpec
from llmbench.imports import source_files

# What, besides recipe and data, decides the weights.
TRAINER_SOURCES = (
    *("training.py", "scoring.py", "data.py", "vocabulary.py", "spelling.py", "witten_bell.py"),
    *("models/network.py", "adapters/network.py"),
)


def checkpoint_folder(network: NetworkSpec, vocabulary: VocabularySpec, recipe: Recipe, materials: Materials) -> Path:
    """Where the checkpoint of a trained network is kept: named by a hash of everything that decides its weights on one machine."""
    assert materials.train is not None
    package, valid = Path(__file__).parent, materials.valid
    digest = hashlib.sha256()
    facts = [
        network.model_dump(),
        vocabulary.model_dump(),
        recipe.model_dump(),
        materials.train.sha256,
        valid.sha256 if valid else None,
        materials.seed,
        materials.device,
        machine.version("torch"),
    ]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for file in (*(package / name for name in TRAINER_SOURCES), *source_files(network.cls)):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return materials.cache / "networks" / digest.hexdigest()[:32]
