"""What is known of a card's model before anything of it is imported, found once and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from llmbench.adapter import Adapter, AdapterFacts, BuildContext
from llmbench.config.model_card import Card, CheckpointSpec, Stage, VocabularySpec
from llmbench.config.plugins import source_file
from llmbench.data import hub
from llmbench.errors import ModelError, UsageError
from llmbench.models.pretrained import files as pretrained_files
from llmbench.plan import registry
from llmbench.training import shipped
from llmbench.training.place import Place, place_network, place_stages


@dataclass(frozen=True)
class ResolvedModel:
    """A card and what it means here.

    Attributes:
        card: the model's card.
        adapter: the class of its adapter, `module:Class` or `file.py:Class`.
        facts: the attributes of that class which a run is planned by.
        stages: of a checkpoint, what has to be there or be trained, oldest first, its own last.
        is_outside: whether it runs code that came neither with llmbench nor with an installed
            adapter, so that only its fingerprint tells whether it changed.
    """

    card: Card
    adapter: str
    facts: AdapterFacts
    stages: tuple[Stage, ...]
    is_outside: bool

    @property
    def name(self) -> str:
        """The name of its card."""
        return self.card.name

    @property
    def is_object(self) -> bool:
        """Whether it is an object of the calling process, which nothing here can make."""
        return self.adapter == registry.OBJECT

    @property
    def first_checkpoint(self) -> CheckpointSpec | None:
        """Where its weights begin; None if it has no checkpoint."""
        return self.stages[0].checkpoint if self.stages else None

    @property
    def is_spread(self) -> bool:
        """Whether its layers are to lie on all GPUs."""
        return bool(self.stages) and self.stages[-1].checkpoint.device_map is not None

    @property
    def learns_from_suite(self) -> bool:
        """Whether it learns from the suite's texts, as far as its card and its class say."""
        card = self.card
        if card.checkpoint is not None and card.checkpoint.learns == "general":
            return False
        return (
            card.network is not None
            or card.recipe is not None
            or self.facts.learns_from_text is True
        )

    def list_modules(self) -> list[str]:
        """Return what has to be imported before it is loaded, as far as it came with llmbench."""
        specs = (self.adapter, self.card.network.cls if self.card.network else "")
        modules = [spec.partition(":")[0] for spec in specs if spec.startswith("llmbench.")]
        return modules + (
            ["llmbench.models.pretrained.loading", "transformers"] if self.stages else []
        )

    def verify_files(self, offline: bool = False) -> None:
        """Check the files of its first checkpoint, if they must be on this machine.

        Raises Unavailable if they are not, and UsageError if they are damaged or unsafe.
        """
        first = self.first_checkpoint
        if first is None or first.id is None:
            return
        if not pretrained_files.is_on_hub(first.id) or offline or not hub.reachable():
            checkpoint = pretrained_files.locate(first.id, first.revision)
            pretrained_files.verify(checkpoint, first.trust_remote_code)

    def identify_files(self) -> list[Any]:
        """Return names, sizes and times of the files of weights that its card's arguments name."""
        known = registry.find_arguments(self.card.adapter)
        if known is None:
            return []
        files = known.model_validate(self.card.arguments).list_files()
        return [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.is_file()]

    def place_trained(self, build_context: BuildContext, stages: int | None = None) -> Place:
        """Return where what its training gives is, or will be; or what its first `stages` give."""
        return self._place(len(self.stages) if stages is None else stages, build_context)

    def _place(self, count: int, build_context: BuildContext) -> Place:
        """Where the network is, or the checkpoint after the first `count` stages."""
        card = self.card
        assert card.recipe is not None
        if card.network is None:
            return place_stages(self.stages[:count], build_context)
        vocabulary = card.vocabulary or VocabularySpec(splitter=self.facts.default_splitter)
        return place_network(
            card.network, vocabulary, card.recipe, build_context, source_file(self.adapter)
        )

    def describe_trained(self, build_context: BuildContext) -> dict[str, object] | None:
        """Return what decides the weights of what its training gives; see training.shipped."""
        card = self.card
        if card.network is None:
            return shipped.describe_stages(self.stages, build_context) if self.stages else None
        assert card.recipe is not None
        vocabulary = card.vocabulary or VocabularySpec(splitter=self.facts.default_splitter)
        return shipped.describe_network(
            card.network, vocabulary, card.recipe, build_context, source_file(self.adapter)
        )

    def count_steps(self, build_context: BuildContext) -> int:
        """Return how many training steps are still to be made: those of stages not yet trained."""
        if self.card.network is not None and self.card.recipe is not None:
            return 0 if self.place_trained(build_context).is_there() else self.card.recipe.steps
        steps = 0
        for count in range(len(self.stages), 0, -1):  # a stage that is there needs none before it
            recipe = self.stages[count - 1].recipe
            if recipe is None or self._place(count, build_context).is_there():
                break
            steps += recipe.steps
        return steps

    def to_json(self) -> Any:
        """Return it as plain JSON, for a worker."""
        return _JSON.dump_python(self, mode="json", by_alias=True)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> ResolvedModel:
        """Read what `to_json` gave."""
        return _JSON.validate_python(data)


_JSON = TypeAdapter(ResolvedModel)


def resolve_model(card: Card | str) -> ResolvedModel:
    """Find out what a card, or the SPEC of one, means here.

    The facts of an adapter that is not built in are the defaults until `with_facts` gives its own.
    """
    card = registry.resolve(card) if isinstance(card, str) else card
    adapter = registry.find_adapter(card.adapter)
    facts = registry.FACTS.get(adapter, AdapterFacts())
    outside = [
        spec
        for spec in (adapter, card.network.cls if card.network else "")
        if ":" in spec
        and not spec.startswith("llmbench.")
        and spec not in registry.adapters().values()
    ]
    return ResolvedModel(card, adapter, facts, tuple(_find_stages(card)), bool(outside))


def with_facts(model: ResolvedModel, facts: AdapterFacts) -> ResolvedModel:
    """Return the same model with the facts that importing its class gave."""
    return replace(model, facts=facts)


def _find_stages(card: Card) -> list[Stage]:
    """The stages of a card's checkpoint, oldest first; none without a checkpoint."""
    if card.checkpoint is None:
        return []
    stages = [Stage(card.name, card.checkpoint, card.recipe)]
    while stages[0].recipe is not None and stages[0].checkpoint.id in registry.names("baselines"):
        before = registry.resolve(str(stages[0].checkpoint.id))
        if before.checkpoint is None or any(before.name == stage.name for stage in stages):
            raise UsageError(
                f"cannot fine-tune from {before.name!r}: it is not a checkpoint", where=card.name
            )
        stages.insert(0, Stage(before.name, before.checkpoint, before.recipe))
    if stages[0].recipe is None and len(stages) > 1:  # a baseline that only names a hub id
        begin = stages[1].checkpoint.model_copy(update={"id": stages[0].checkpoint.id})
        stages = [Stage(stages[1].name, begin, stages[1].recipe), *stages[2:]]
    return stages


def make_adapter(model: ResolvedModel, build_context: BuildContext) -> Adapter:
    """Make the model and move it to the device of `build_context`. Loads, and trains if needed."""
    card = model.card
    parts = {
        "network": card.network,
        "vocabulary": card.vocabulary,
        "recipe": card.recipe,
        "lineage": list(model.stages) or None,
    }
    given = {name: part for name, part in parts.items() if part is not None}
    cls = registry.adapter_class(model.adapter)
    if build_context.dtype == "auto" and "checkpoint" not in model.facts.required_parts:
        build_context = replace(build_context, dtype="float32")  # what is trained here is in
    adapter = cls.build({**card.arguments, **given}, build_context)
    if not isinstance(adapter, Adapter):
        raise ModelError(f"{card.adapter}: build gave a {type(adapter).__name__}, not an Adapter")
    return adapter.to(build_context.device, build_context.dtype)
