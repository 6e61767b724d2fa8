"""Networks that are trained here: made from a card, taught, and kept as files, weights as
safetensors and beside them what else it takes to have the model again.
"""

from __future__ import annotations

import inspect
import json
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import llmbench
from llmbench.adapter import BuildContext, ModelInfo, Splitter
from llmbench.adapters.token import fingerprint
from llmbench.config.model_card import NetworkSpec, Recipe, VocabularySpec
from llmbench.config.plugins import class_place, load_object, source_files
from llmbench.data.text import Text
from llmbench.errors import UsageError
from llmbench.hardware.device import torch_dtype
from llmbench.models.tokenizers.bpe import Bpe
from llmbench.models.tokenizers.tokens import Tokens
from llmbench.storage import place_folder
from llmbench.training.place import Place, place_network
from llmbench.training.resume import Snapshots, TrainingFacts
from llmbench.training.rounding import shrink_weights
from llmbench.training.trainer import Course, Lessons, teach

WEIGHTS, FACTS = "model.safetensors", "config.json"
Net = TypeVar("Net", bound=nn.Module)


class Keepable(Protocol):
    """A model of one network; `facts` is what, besides its weights, it is made from again."""

    @property
    def network(self) -> nn.Module: ...
    def facts(self) -> Mapping[str, object]: ...


Model = TypeVar("Model", bound=Keepable)


def class_of(spec: str, kind: type[Net]) -> type[Net]:
    """The network class named `module:Class` or `file.py:Class`."""
    cls = load_object(spec)
    if not (isinstance(cls, type) and issubclass(cls, kind)):
        where, _, name = spec.rpartition(":")
        is_public = kind.__name__ in llmbench.__all__
        raise UsageError(
            f"{name!r} is not a {kind.__name__}",
            where=class_place(cls) if isinstance(cls, type) else where,
            hint=f"subclass {'llmbench' if is_public else kind.__module__}.{kind.__name__}",
        )
    return cls


def made(spec: NetworkSpec, kind: type[Net], symbols: int, seed: int) -> Net:
    """The network of a card, its weights drawn from the seed."""
    torch.manual_seed(seed)
    cls: Callable[..., Net] = class_of(spec.cls, kind)
    try:
        return cls(symbols, **spec.arguments)
    except TypeError as error:
        raise UsageError(f"cannot make the network: {error}", where=spec.cls) from None


def texts_of(build_context: BuildContext, recipe: Recipe) -> tuple[Text, Text]:
    """(what is learnt from, what tells the best state): the end of the training text where there is
    no validation text.
    """
    train, valid = build_context.require_text("train"), build_context.find_text("valid")
    return (train, valid) if valid is not None else train.hold_out(recipe.hold_out)


def taught(
    network: nn.Module,
    lessons: Lessons,
    evaluate: Callable[[], float],
    recipe: Recipe,
    build_context: BuildContext,
    partial: Path,
) -> TrainingFacts:
    """Teach, and say how it went. `partial`: the file in which an interrupted training left its
    state.
    """
    snapshots = Snapshots(partial)
    log = teach(
        network,
        lessons,
        Course(
            *(recipe, build_context.seed, evaluate, build_context.progress, snapshots),
            on_loss=build_context.on_loss,
        ),
    )
    snapshots.discard()
    return log.facts()


def obtain_model(
    place: Place,
    load: Callable[[Mapping[str, Any], dict[str, Tensor]], Model],
    train: Callable[[Path], Model],
) -> Model:
    """The model that came with llmbench, or is kept in the cache, or, where there is none or it is
    damaged, one that is trained now and kept there.
    """
    place.tell_damage()
    if place.shipped is not None:
        facts, weights = _read(place.shipped.folder)
        training = {**facts["training"], "shipped": place.shipped.describe()}
        return load({**facts, "training": training}, weights)
    if place.is_kept():
        try:
            return load(*_read(place.folder))
        except (ValueError, KeyError, TypeError, RuntimeError):
            pass
    shutil.rmtree(place.folder, ignore_errors=True)
    model = train(place.folder.with_suffix(".partial"))
    try:
        _keep(place.folder, model.network, model.facts())
    except OSError as error:  # a full or read-only disk costs the cache, not the training
        warnings.warn(f"could not keep the trained network: {error}", stacklevel=2)
    return model


def _keep(folder: Path, network: nn.Module, facts: Mapping[str, object]) -> None:
    with place_folder(folder) as beside:
        weights = shrink_weights(network.state_dict())
        save_file({name: part.clone() for name, part in weights.items()}, beside / WEIGHTS)
        (beside / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _read(folder: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """Facts and weights of a kept model."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return facts, load_file(folder / WEIGHTS)


class BpeNetwork(ABC):
    """What models over a byte-level BPE of their own have in common.

    The BPE encodes every byte, so that no piece is unknown. `default_size`: ids of the BPE if the
    card does not say. `needs_pairs`: whether every document to learn from needs a context.
    """

    learns_from_text: ClassVar[bool | None] = True
    required_parts: ClassVar[tuple[str, ...]] = ("network", "recipe")
    default_splitter: ClassVar[Splitter] = "bpe"
    network_class: ClassVar[type[nn.Module]]
    default_size: ClassVar[int]
    needs_pairs: ClassVar[bool] = False
    network: Any
    device: str
    context: int | None

    def __init__(
        self,
        network: nn.Module,
        bpe: Bpe,
        training: Mapping[str, Any] | None = None,
        source: bytes = b"",
    ):
        self.network, self.bpe, self.training, self._source = network.eval(), bpe, training, source

    @classmethod
    def build(cls, arguments: Mapping[str, Any], build_context: BuildContext) -> Self:
        """From the cache, or trained now on `build_context.train`."""
        spec, recipe = arguments["network"], arguments["recipe"]
        vocabulary = arguments.get("vocabulary") or VocabularySpec(splitter=cls.default_splitter)
        size, (text, valid) = (
            _bpe_size(vocabulary, cls.default_size),
            texts_of(build_context, recipe),
        )
        if cls.needs_pairs and not all(
            document.context for part in (text, valid) for document in part.documents
        ):
            raise UsageError(
                "this model learns from pairs, and the training text has none",
                hint="a .jsonl file with the fields `given` and `text`",
            )
        source = b"".join(
            file.read_bytes() for file in (*source_files(spec.cls), Path(inspect.getfile(cls)))
        )

        def load(facts: Mapping[str, Any], weights: dict[str, Tensor]) -> Any:
            bpe = Bpe(facts["bpe"])
            network = made(spec, cls.network_class, bpe.symbols, seed=0)
            network.load_state_dict(weights)
            return cls(network, bpe, facts["training"], source)

        def train(partial: Path) -> Any:
            build_context.progress("vocabulary", 0.0, "")
            bpe = Bpe.learn(cls.strings(text), size)
            adapter = cls(
                made(spec, cls.network_class, bpe.symbols, build_context.seed), bpe, source=source
            )
            adapter.to(build_context.device)
            adapter.training = taught(
                adapter.network,
                adapter.lessons(text),
                adapter.judge(valid),
                recipe,
                build_context,
                partial,
            )
            return adapter

        found: Self = obtain_model(
            place_network(spec, vocabulary, recipe, build_context, Path(inspect.getfile(cls))),
            load,
            train,
        )
        return found

    @classmethod
    @abstractmethod
    def strings(cls, text: Text) -> Iterator[str]:
        """What the BPE is learnt from."""

    @abstractmethod
    def lessons(self, text: Text) -> Lessons:
        """What the network learns from."""

    @abstractmethod
    def judge(self, valid: Text) -> Callable[[], float]:
        """What tells how good the network is now: bits for each byte of the validation text that is
        asked about; less is better.
        """

    @property
    def info(self) -> ModelInfo:
        unique = list({id(p): p for p in self.network.parameters()}.values())
        return ModelInfo(
            name=type(self).__name__,
            family="transformer",
            tokenizer="byte-level BPE",
            parameters=sum(p.numel() for p in unique),
            context=self.context,
            dtype=str(unique[0].dtype).removeprefix("torch."),
            device=self.device,
            fingerprint=fingerprint(
                self.network.state_dict(), self._source + self.bpe.to_json().encode()
            ),
            weights_bytes=sum(p.numel() * p.element_size() for p in unique),
            training=self.training,
        )

    def to(self, device: str, dtype: str = "float32") -> Any:
        """Move the network, in evaluation mode."""
        self.network.to(device=device, dtype=torch_dtype(dtype)).eval()
        self.device = device
        return self

    def encode(self, text: str) -> Tokens:
        return self.bpe.encode(text)

    def facts(self) -> Mapping[str, object]:
        """What, besides its weights, it is made from again."""
        return {"bpe": self.bpe.to_json(), "training": self.training}


def _bpe_size(vocabulary: VocabularySpec, usual: int) -> int:
    """How many ids a card asks for."""
    if vocabulary.splitter != "bpe":
        raise UsageError("this network reads a byte-level BPE", hint="vocabulary: {splitter: bpe}")
    return vocabulary.size or usual
