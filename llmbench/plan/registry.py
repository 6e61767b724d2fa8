"""Names -> adapters, renderers, baselines, suites; SPECs -> cards. Nothing is imported
before it is asked for.

A thing is registered by one line below. Outside packages register adapters with the entry point
group `llmbench.adapters`.
"""

from __future__ import annotations

import inspect
import re
from importlib import metadata
from pathlib import Path

from llmbench.adapter import Adapter, BuildContext
from llmbench.config import model_card
from llmbench.config.model_card import Card, Stage
from llmbench.config.plugins import load_object
from llmbench.errors import ModelError, UsageError, did_you_mean
from llmbench.models.pretrained import files as pretrained_files
from llmbench.training import cache

ADAPTERS = {
    "uniform-bytes": "llmbench.adapters.trivial:UniformBytes",
    "compressor": "llmbench.adapters.trivial:Compressor",
    "oracle": "llmbench.adapters.oracle:Oracle",
    "byte-ngram": "llmbench.adapters.ngram:ByteNgram",
    "network": "llmbench.adapters.network:NetworkAdapter",
    "encoder": "llmbench.adapters.masked_network:EncoderNetwork",
    "seq2seq": "llmbench.adapters.seq2seq_network:Seq2SeqNetwork",
    "huggingface": "llmbench.adapters.huggingface:Pretrained",
}
ENTRY_POINTS = "llmbench.adapters"
OBJECT = "(object)"  # the adapter of a card that stands for an object of this process


def shipped(folder: str) -> Path:
    """The folder `suites` or `baselines`: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parents[1] / folder
    return inside if inside.is_dir() else Path(__file__).parents[2] / folder


def names(folder: str) -> list[str]:
    """Names of the shipped suites or baselines."""
    return sorted(file.stem for file in shipped(folder).glob("*.yaml"))


def suite_path(spec: str) -> Path:
    """A suite by path or by shipped name."""
    path = Path(spec)
    if path.is_file():
        return path
    if spec in names("suites"):
        return shipped("suites") / f"{spec}.yaml"
    if path.is_dir():
        raise UsageError("a folder, not a suite", where=spec, hint="name one of its YAML files")
    if path.parent.name == "suites" and path.stem in names(
        "suites"
    ):  # as in the README, from any folder
        return shipped("suites") / f"{path.stem}.yaml"
    raise UsageError(
        "there is no such suite", where=spec, hint=did_you_mean(path.stem, names("suites"))
    )


def adapters() -> dict[str, str]:
    """Registered adapters and where they live: built in, and from entry points."""
    outside = {point.name: point.value for point in metadata.entry_points(group=ENTRY_POINTS)}
    return {**outside, **ADAPTERS}


def resolve(spec: str) -> Card:
    """The card for a SPEC: a baseline's name, a card's path, file.py:Class, module:Class,
    hf:ID_OR_DIRECTORY, or an entry point's name.
    """
    if spec.startswith("hf:"):
        return _checkpoint(spec.removeprefix("hf:"))
    if spec in names("baselines"):
        return model_card.read(shipped("baselines") / f"{spec}.yaml")
    if spec.endswith((".yaml", ".yml")):
        return model_card.read(Path(spec))
    if spec.endswith(".py"):
        raise UsageError("a model file needs its class", where=spec, hint=f"{spec}:ClassName")
    where, colon, name = spec.rpartition(":")
    if colon and where.endswith(".py"):
        return _own(name, model_card.anchored(spec, Path.cwd()))
    if colon and re.fullmatch(r"[A-Za-z_][\w.]*", where) and name.isidentifier():
        return _own(name, spec)
    if spec in adapters():
        return _own(spec, spec)
    known = [*names("baselines"), *adapters()]
    raise UsageError(
        f"unknown model {spec!r}", hint=did_you_mean(spec, known) or "see `llmbench models`"
    )


def name_card(name: str, model: str | Adapter) -> Card:
    """The card of a SPEC under another name, or of an object of this process."""
    own = _own(name, OBJECT)
    return (
        own if isinstance(model, Adapter) else resolve(model).model_copy(update={"name": own.name})
    )


def _own(name: str, adapter: str) -> Card:
    """The card of a model that has none."""
    return Card.model_validate({"name": plain_name(name), "adapter": adapter})


def plain_name(name: str) -> str:
    """A model's name without characters that a file's name must not have."""
    return re.sub(r"[^A-Za-z0-9._+-]", "-", name).lstrip("._+-") or "model"


def _checkpoint(id: str) -> Card:
    """The card of a checkpoint that has none; a path becomes absolute."""
    if not id:
        raise UsageError(
            "hf: needs a hub id or a directory",
            hint="as in hf:openai-community/gpt2 or hf:./my-checkpoint",
        )
    place = str(Path(id).expanduser().resolve()) if pretrained_files.is_directory(id) else id
    return Card.model_validate(
        {
            "name": pretrained_files.name_of(id),
            "adapter": "huggingface",
            "checkpoint": {"id": place},
        }
    )


def lineage(card: Card) -> list[Stage]:
    """What has to be there, or be trained, before a card's checkpoint: stages from the oldest on,
    the card's own last.
    """
    assert card.checkpoint is not None
    stages = [Stage(card.name, card.checkpoint, card.recipe)]
    while stages[0].recipe is not None and stages[0].checkpoint.id in names("baselines"):
        before = resolve(str(stages[0].checkpoint.id))
        if before.checkpoint is None or any(before.name == stage.name for stage in stages):
            raise UsageError(
                f"cannot fine-tune from {before.name!r}: it is not a checkpoint", where=card.name
            )
        stages.insert(0, Stage(before.name, before.checkpoint, before.recipe))
    if (
        stages[0].recipe is None and len(stages) > 1
    ):  # a baseline that is only a hub id under another name
        stages[1] = Stage(
            stages[1].name,
            stages[1].checkpoint.model_copy(update={"id": stages[0].checkpoint.id}),
            stages[1].recipe,
        )
        stages = stages[1:]
    return stages


def kept_in(card: Card, build_context: BuildContext) -> Path:
    """The folder of the checkpoint that a card's training leaves."""
    assert card.recipe is not None
    if card.network is not None:
        return cache.checkpoint_folder(
            card.network,
            card.vocabulary or cache.usual_vocabulary(card.adapter),
            card.recipe,
            build_context,
            card.adapter,
        )
    return cache.trained_folder(lineage(card), build_context)


def is_outside(card: Card) -> bool:
    """Whether making this model runs code that did not come with llmbench or an installed adapter."""
    parts = [card.adapter, card.network.cls if card.network else ""]
    return any(":" in part and not part.startswith("llmbench.") for part in parts)


def adapter_class(spec: str) -> type[Adapter]:
    """The class behind an adapter's name, module:Class or file.py:Class. UsageError, with
    file:line:column, where it cannot be had.
    """
    where = adapters().get(spec, spec)
    if ":" not in where:
        raise UsageError(f"unknown adapter {spec!r}", hint=did_you_mean(spec, adapters()))
    cls = load_object(where)
    if not (isinstance(cls, type) and issubclass(cls, Adapter)):
        raise UsageError(
            f"{where.rpartition(':')[2]!r} is not an Adapter",
            where=where.rpartition(":")[0],
            hint="subclass llmbench.adapters.token.TokenAdapter",
        )
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        line = inspect.getsourcelines(cls)[1]
        raise UsageError(
            f"{cls.__name__} does not define {', '.join(missing)}",
            where=f"{inspect.getfile(cls)}:{line}:1",
            hint="see docs/adapters.md",
        )
    return cls


def make(card: Card, build_context: BuildContext) -> Adapter:
    """The model that a card describes, ready on the device asked for."""
    parts = {
        key: value
        for key in ("network", "vocabulary", "recipe")
        if (value := getattr(card, key)) is not None
    }
    if card.checkpoint is not None:
        parts["lineage"] = lineage(card)
    adapter = adapter_class(card.adapter).build({**card.arguments, **parts}, build_context)
    if not isinstance(adapter, Adapter):
        raise ModelError(f"{card.adapter}: build gave a {type(adapter).__name__}, not an Adapter")
    return ready(adapter, build_context.device, build_context.dtype)


def ready(adapter: Adapter, device: str = "cpu", dtype: str = "float32") -> Adapter:
    """The adapter on its device and in its number format, in evaluation mode, where it can be
    moved.
    """
    move = getattr(adapter, "to", None)
    if move is not None:
        move(device, dtype)
    return adapter
