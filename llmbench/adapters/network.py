"""Networks trained here: a vocabulary learnt from the training text, a network from models/ (or anybody's), a checkpoint in a cache.

The cache's key is recipe + source of network and trainer + training bytes + seed, so a checkpoint is never stale. Checkpoints are
safetensors and JSON, written beside their place and renamed, so that a killed training leaves nothing half-done.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmbench.adapter import Materials, ModelInfo, Window
from llmbench.card import NetworkSpec, VocabularySpec
from llmbench.checkpoints import checkpoint_folder, placed
from llmbench.errors import UsageError
from llmbench.imports import load_object, source_files
from llmbench.models.network import Network, State
from llmbench.snapshots import Snapshots
from llmbench.token_adapter import TokenAdapter, Tokens
from llmbench.training import Course, train, valid_passages
from llmbench.vocabulary import Vocabulary


class NetworkAdapter(TokenAdapter):
    """A network over a closed vocabulary."""

    def __init__(self, network: Network, vocabulary: Vocabulary, training: Mapping[str, Any] | None = None, source: bytes = b""):
        self.network, self.vocabulary, self.training, self._source = network.eval(), vocabulary, training, source
        self.context = network.context
        self.start = (vocabulary.start,)
        self.unknown, self.escape = vocabulary.unknown, vocabulary.escape
        self.tokenizer = vocabulary.splitter

    @classmethod
    def build(cls, arguments: Mapping[str, Any], materials: Materials) -> NetworkAdapter:
        """From the cache, or trained now. `arguments`: network (NetworkSpec), vocabulary (VocabularySpec), recipe (Recipe), as in a card."""
        network, recipe = arguments["network"], arguments["recipe"]
        vocabulary = arguments.get("vocabulary") or VocabularySpec()
        if materials.train is None:
            raise UsageError("this model is trained by llmbench and needs a training text", hint="give one with --data train=PATH")
        folder = checkpoint_folder(network, vocabulary, recipe, materials)
        adapter = _load(folder, network)
        if adapter is None:
            adapter = _train(arguments, materials, folder.with_suffix(".partial"))
            try:
                _save(adapter, folder)
            except OSError as error:  # a full or read-only disk costs the cache, not the training
                warnings.warn(f"could not keep the trained network: {error}", stacklevel=2)
        return adapter

    @property
    def info(self) -> ModelInfo:
        return replace(super().info, context=self.network.context or self.network.reach, training=self.training)

    def source(self) -> bytes:
        return self._source + json.dumps(self.vocabulary.to_json(), sort_keys=True).encode()

    def encode(self, text: str) -> Tokens:
        return self.vocabulary.encode(text)

    def decode(self, ids: Sequence[int]) -> bytes:
        return self.vocabulary.decode(ids)

    def logits(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.network(ids)
        return logits

    def hidden(self, ids: Tensor) -> Tensor:
        return self.network.hidden(ids)[0]

    def head(self, rows: Tensor) -> Tensor:
        return self.network.head(rows)

    def carry(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        return self.network.hidden(ids, state)

    def prefill(self, ids: Tensor) -> tuple[State, Tensor]:
        rows, state = self.network.hidden(ids)
        return state, self.network.head(rows[:, -1])

    def step(self, state: State, ids: Tensor) -> tuple[State, Tensor]:
        rows, state = self.network.hidden(ids[:, None], state)
        return state, self.network.head(rows[:, -1])


def network_class(spec: str) -> type[Network]:
    """The class named `module:Class` or `file.py:Class`."""
    cls = load_object(spec)
    if not (isinstance(cls, type) and issubclass(cls, Network)):
        raise UsageError(
            f"{spec.rpartition(':')[2]!r} is not a Network", where=spec.rpartition(":")[0], hint="subclass llmbench.models.network.Network"
        )
    return cls


def _source(spec: NetworkSpec) -> bytes:
    return b"".join(file.read_bytes() for file in source_files(spec.cls))


def _build(spec: NetworkSpec, vocabulary: Vocabulary, seed: int) -> Network:
    torch.manual_seed(seed)
    try:
        return network_class(spec.cls)(vocabulary.symbols, **spec.arguments)
    except TypeError as error:
        raise UsageError(f"cannot make the network: {error}", where=spec.cls) from None


def _train(arguments: Mapping[str, Any], materials: Materials, partial: Path) -> NetworkAdapter:
    """`partial`: the file in which an interrupted training left its state."""
    spec, recipe, vocabulary_spec = arguments["network"], arguments["recipe"], arguments.get("vocabulary") or VocabularySpec()
    assert materials.train is not None
    text, valid = materials.train, materials.valid
    if valid is None:
        text, valid = text.hold_out(recipe.hold_out)
    materials.progress("vocabulary", 0.0, "")
    if vocabulary_spec.splitter == "bpe":
        raise UsageError("this network reads characters or words", hint="vocabulary: {splitter: characters}")
    vocabulary = Vocabulary.learn((document.text for document in text.documents), vocabulary_spec.splitter, vocabulary_spec.size)
    adapter = NetworkAdapter(_build(spec, vocabulary, materials.seed), vocabulary, source=_source(spec))
    adapter.to(materials.device)
    passages = valid_passages(valid)

    def evaluate() -> float:
        return sum(ledger.total() for ledger in adapter.score(passages, Window("half"))) / max(1, valid.bytes)

    snapshots = Snapshots(partial)
    documents = [vocabulary.encode(document.text).ids for document in text.documents]
    log = train(adapter.network, documents, Course(recipe, materials.seed, evaluate, materials.progress, snapshots))
    snapshots.discard()
    adapter.training = log.facts()
    return adapter


def _save(adapter: NetworkAdapter, folder: Path) -> None:
    with placed(folder) as beside:
        weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in adapter.network.state_dict().items()}
        save_file(weights, beside / "model.safetensors")
        facts = {
            "vocabulary": adapter.vocabulary.to_json(),
            "training": adapter.training,
            "weights_sha256": hashlib.sha256((beside / "model.safetensors").read_bytes()).hexdigest(),
        }
        (beside / "config.json").write_text(json.dumps(facts), encoding="utf-8")


def _load(folder: Path, spec: NetworkSpec) -> NetworkAdapter | None:
    """The checkpoint in `folder`; None where there is none, or where it is damaged (it is then removed, to be made again)."""
    if not folder.is_dir():
        return None
    try:
        facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = folder / "model.safetensors"
        if hashlib.sha256(weights.read_bytes()).hexdigest() != facts["weights_sha256"]:
            raise ValueError("the weights are not those that were written")
        vocabulary = Vocabulary.from_json(facts["vocabulary"])
        network = _build(spec, vocabulary, seed=0)
        network.load_state_dict(load_file(weights))
    except OSError:
        return None
    except (ValueError, KeyError, RuntimeError, SafetensorError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return NetworkAdapter(network, vocabulary, facts["training"], _source(spec))
