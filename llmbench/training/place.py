"""Where a trained network is: among those that came with llmbench, or in the cache."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmbench.adapter import BuildContext
from llmbench.config.model_card import NetworkSpec, Recipe, Stage, VocabularySpec
from llmbench.storage import SEAL, Damaged, is_intact
from llmbench.training import shipped
from llmbench.training.cache import checkpoint_folder, folder_of_training
from llmbench.training.shipped import Shipped


@dataclass(frozen=True)
class Place:
    """Where a trained network is.

    folder: in the cache, where it is or will be. shipped: the one that came with llmbench, if it is
    to be used; its files were verified. since: what was kept in the cache before is too old.
    damage: why the one that came with llmbench is not used; "" if it is, or if there is none.
    """

    folder: Path
    shipped: Shipped | None
    since: float | None
    damage: str = ""

    def tell_damage(self) -> None:
        """Say on stderr why the network that came with llmbench is not used, in one line."""
        if self.damage:
            sys.stderr.write(f"llmbench: {self.damage}\n")

    @property
    def current(self) -> Path:
        """The folder that holds the network, or will."""
        return self.folder if self.shipped is None else self.shipped.folder

    def is_there(self) -> bool:
        """Whether nothing has to be trained, as far as names tell: the cache is not verified."""
        return self.shipped is not None or (self.folder.is_dir() and not self._is_old())

    def is_kept(self) -> bool:
        """Whether the cache holds it, whole. A damaged one is removed."""
        return is_intact(self.folder) and not self._is_old()

    def _is_old(self) -> bool:
        if self.since is None:
            return False
        try:
            return (self.folder / SEAL).stat().st_mtime < self.since
        except OSError:
            return True


def place_network(
    network: NetworkSpec,
    vocabulary: VocabularySpec,
    recipe: Recipe,
    build_context: BuildContext,
    adapter: Path,
) -> Place:
    """Where a network of a card is. adapter: the file of the adapter's class."""
    facts = shipped.describe_network(network, vocabulary, recipe, build_context, adapter)
    folder = checkpoint_folder(network, vocabulary, recipe, build_context, adapter)
    return _make(folder, facts, build_context)


def place_stages(stages: Sequence[Stage], build_context: BuildContext) -> Place:
    """Where the checkpoint is that the last of these stages trains."""
    facts = shipped.describe_stages(stages, build_context)
    folder = folder_of_training(stages, build_context)
    return _make(folder, facts, build_context)


def _make(folder: Path, facts: dict[str, object] | None, build_context: BuildContext) -> Place:
    found, damage = None, ""
    try:
        found = shipped.find(facts, build_context)
    except Damaged as error:
        damage = f"the weights that came with llmbench are not used: {error}"
    if found is not None and (damage := found.find_damage()):
        found = None
    return Place(folder, found, build_context.retrain_since, damage)
