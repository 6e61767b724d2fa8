"""Which baselines' weights come with llmbench, and the first losses by which a changed training is
noticed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from llmbench import storage
from llmbench.adapter import BuildContext
from llmbench.data.text import Text
from llmbench.plan import suite as plan_suite
from llmbench.plan.resolved_model import ResolvedModel, make_adapter, resolve_model
from llmbench.training import shipped
from llmbench.training.place import place_stages

SUITES = ("quick", "standard")
FIRST_STEPS = 5  # whose losses are kept
# of a loss, relative: other processors round otherwise, and five steps amplify that little
SAME_LOSS = 1e-4


@dataclass(frozen=True)
class Target:
    """A baseline as a suite trains it. `tests`: the texts that the suite asks it about, by role."""

    suites: tuple[str, ...]
    model: ResolvedModel
    build_context: BuildContext
    tests: Mapping[str, Text]

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.model.name} ({', '.join(self.suites)})"

    @cached_property
    def facts(self) -> dict[str, object]:
        """What decides its weights."""
        found = self.model.describe_trained(self.build_context)
        assert found is not None
        return found

    @property
    def key(self) -> str:
        """Its name in the manifest."""
        return shipped.make_key(self.facts)


def list_targets() -> list[Target]:
    """The baselines of `SUITES` that are trained here from nothing, each once, parents first."""
    found: dict[str, Target] = {}
    for name in SUITES:
        suite = plan_suite.read(name)
        suite.load_texts({})
        asked = {task.text for task in suite.tasks if task.text is not None}
        texts = suite.texts
        for card in suite.cards([], []):
            model = resolve_model(card)
            build_context = BuildContext(
                train=texts.get("train"),
                valid=texts.get("valid"),
                domain=texts.get("domain"),
                domain_valid=texts.get("domain_valid"),
                offline=True,
            )
            if card.recipe is None or model.describe_trained(build_context) is None:
                continue
            tests = {role: texts[role] for role in sorted(asked)}
            target = Target((suite.name,), model, build_context, tests)
            before = found.get(target.key)
            if before is None:
                found[target.key] = target
            else:
                names = (*before.suites, suite.name)
                found[target.key] = replace(before, suites=names, tests={**before.tests, **tests})
    return sorted(found.values(), key=lambda target: len(target.model.stages))


class _Enough(Exception):
    """The first steps are made."""


def measure_first_losses(target: Target, cache: Path) -> list[float]:
    """Begin the training of a target anew; return the losses of its first steps, in bits a symbol.

    cache: an empty folder. What it is fine-tuned from is not trained, but must have come with
    llmbench.
    """
    losses: list[float] = []

    def watch(step: int, loss: float) -> None:
        losses.append(loss)
        if step == FIRST_STEPS:
            raise _Enough

    begun = time.time()
    stages = target.model.stages[:-1]
    build_context = replace(target.build_context, cache=cache, on_loss=watch)
    if stages:
        place = place_stages(stages, build_context)
        if place.shipped is not None:
            shutil.copytree(place.current, place.folder)
            storage.seal_folder(place.folder)
    try:
        make_adapter(target.model, replace(build_context, retrain_since=begun))
    except _Enough:
        return losses
    raise AssertionError(f"{target.name} was not trained")
