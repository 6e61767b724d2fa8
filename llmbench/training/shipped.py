"""Trained networks that come with llmbench: found by what decides their weights, and verified
before they are used.

`llmbench train --shipped` writes them. Nothing here loads torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

from llmbench.adapter import BuildContext
from llmbench.config.model_card import NetworkSpec, Recipe, Stage, VocabularySpec
from llmbench.config.source_code import PACKAGE
from llmbench.storage import Damaged, digest_file
from llmbench.training.cache import find_training_texts

# Raise it if code changes what a recipe gives: batches, losses, optimizers, networks, tokenizers.
# A test notices, and names the command that trains the shipped networks anew.
TRAINING_VERSION = 1

FOLDER = PACKAGE / "weights"
MANIFEST = "manifest.json"


class Machine(TypedDict):
    """Where a network was trained. `libraries`: their versions, by name."""

    processor: str
    system: str
    threads: int
    libraries: dict[str, str]


class ShippedRow(TypedDict):
    """A trained network in the manifest.

    model, suites: whose it is. facts: what the key is a hash of. folder: beside the manifest.
    files: name -> sha256. date: of the end of the training. seconds: of training alone. valid: bits
    per byte of the validation text. test: of the suite's other texts, by name. first_losses: bits a
    symbol at the first steps, by which a test notices that the training changed.
    """

    model: str
    suites: list[str]
    facts: dict[str, object]
    folder: str
    files: dict[str, str]
    date: str
    machine: Machine
    seconds: float
    steps: int
    valid: float
    test: dict[str, float]
    first_losses: list[float]


class Manifest(TypedDict):
    """What comes with llmbench: key -> network."""

    networks: dict[str, ShippedRow]


_ROWS = TypeAdapter(Manifest)


@dataclass(frozen=True)
class Shipped:
    """A trained network that came with llmbench, not yet verified."""

    folder: Path
    row: ShippedRow

    def verify(self) -> None:
        """Raise Damaged unless its files are those of the manifest, and no others."""
        names = sorted(
            file.relative_to(self.folder).as_posix()
            for file in self.folder.rglob("*")
            if file.is_file()
        )
        if names != sorted(self.row["files"]):
            raise Damaged(f"{self.folder.name}: files were added or are missing")
        for name, digest in self.row["files"].items():
            if digest_file(self.folder / name) != digest:
                raise Damaged(f"{self.folder.name}/{name}: not the file of the manifest")

    def find_damage(self) -> str:
        """What is wrong with its files, and what follows; "" if nothing is."""
        try:
            self.verify()
        except (Damaged, OSError) as error:
            return (
                f"the weights of {self.row['model']} that came with llmbench are not used, and it"
                f" is trained: {error}"
            )
        return ""

    def describe(self) -> str:
        """When and where it was trained."""
        machine = self.row["machine"]
        count = machine["threads"]
        threads = f"{count} thread{'' if count == 1 else 's'}"
        return f"{self.row['date'][:10]}, {machine['processor']}, {threads}"


def describe_network(
    network: NetworkSpec,
    vocabulary: VocabularySpec,
    recipe: Recipe,
    build_context: BuildContext,
    adapter: Path,
) -> dict[str, object] | None:
    """What decides the weights of a network; None if its code did not come with llmbench.

    adapter: the file of the adapter's class.
    """
    if PACKAGE not in adapter.resolve().parents or not network.cls.startswith(f"{PACKAGE.name}."):
        return None
    train, valid = build_context.train, build_context.valid
    return {
        "training": TRAINING_VERSION,
        "adapter": adapter.stem,
        "network": _dump(network),
        "vocabulary": _dump(vocabulary),
        "recipe": _dump(recipe),
        "train": train.sha256 if train else None,
        "valid": valid.sha256 if valid else None,
        "seed": build_context.seed,
    }


def describe_stages(
    stages: Sequence[Stage], build_context: BuildContext
) -> dict[str, object] | None:
    """What decides the weights after these stages; None if the first ones came from elsewhere."""
    if stages[0].checkpoint.new is None:
        return None
    rows = []
    for stage in stages:
        assert stage.recipe is not None
        texts = find_training_texts(stage, build_context)
        rows.append(
            {
                # how it is run decides nothing, and neither does a key that cards did not have yet
                "checkpoint": stage.checkpoint.model_dump(mode="json", exclude_defaults=True),
                "recipe": _dump(stage.recipe),
                "texts": [None if text is None else text.sha256 for text in texts],
            }
        )
    return {"training": TRAINING_VERSION, "stages": rows, "seed": build_context.seed}


def _dump(part: BaseModel) -> object:
    return part.model_dump(mode="json", by_alias=True, exclude_none=True)


def make_key(facts: Mapping[str, object]) -> str:
    """Return the name under which the network of these facts is in the manifest."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def find(facts: Mapping[str, object] | None, build_context: BuildContext) -> Shipped | None:
    """The network of these facts that came with llmbench; None if there is none, or if the run is
    to train it anew. Raises Damaged if the manifest is damaged or missing.
    """
    if facts is None or build_context.retrain_since is not None:
        return None
    if not (FOLDER / MANIFEST).exists():
        raise Damaged(f"{FOLDER / MANIFEST}: it is missing")
    row = read_manifest(FOLDER)["networks"].get(make_key(facts))
    return None if row is None else Shipped(FOLDER / row["folder"], row)


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a folder; an empty one if there is none. Raises Damaged if it is none."""
    path = folder / MANIFEST
    try:
        seen = path.stat()
    except OSError:
        return {"networks": {}}
    return _read(path, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> Manifest:
    try:
        found = _ROWS.validate_json(path.read_bytes())
    except OSError as error:
        raise Damaged(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise Damaged(f"{path}: {where}{first['msg']}") from None
    for row in found["networks"].values():
        for name in (row["folder"], *row["files"]):
            if not re.fullmatch(r"[\w.+-]+(/[\w.+-]+)*", name) or ".." in PurePosixPath(name).parts:
                raise Damaged(f"{path}: {name!r} is no name of a file in it")
    return found
