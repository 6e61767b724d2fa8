"""An encoder trained here to fill gaps, over a byte-level BPE: pseudo-bits, in a table apart from the bits of models that only look back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapter import Materials, ModelInfo
from llmbench.bpe import Bpe
from llmbench.card import NetworkSpec, VocabularySpec
from llmbench.checkpoints import checkpoint_folder
from llmbench.errors import UsageError
from llmbench.gap_lessons import Gaps
from llmbench.imports import load_object, source_files
from llmbench.kept_networks import keep, kept
from llmbench.masked_adapter import MaskedAdapter
from llmbench.models.transformer_encoder import TransformerEncoder
from llmbench.snapshots import Snapshots
from llmbench.token_adapter import fingerprint
from llmbench.training import Course, teach, valid_passages
from llmbench.vocabulary import Tokens

SOURCES = ("bpe.py", "gap_lessons.py", "masked_adapter.py", "models/attention.py", "adapters/encoder.py")
SIZE = 2048  # ids of the BPE, where the card says nothing
ASKED = 400  # gaps of the validation text that tell which state is the best


class EncoderNetwork(MaskedAdapter):
    """A network over a byte-level BPE, which spells everything."""

    def __init__(self, network: TransformerEncoder, bpe: Bpe, training: Mapping[str, Any] | None = None, source: bytes = b""):
        self.network, self.bpe, self.training, self._source = network.eval(), bpe, training, source
        self.context, self.mask = network.context, network.mask
        self.before = self.after = (network.edge,)

    @classmethod
    def build(cls, arguments: Mapping[str, Any], materials: Materials) -> EncoderNetwork:
        """From the cache, or trained now on `materials.train`."""
        spec, recipe = arguments["network"], arguments["recipe"]
        vocabulary = arguments.get("vocabulary") or VocabularySpec(splitter="bpe", size=SIZE)
        if materials.train is None:
            raise UsageError("this model is trained by llmbench and needs a training text", hint="give one with --data train=PATH")
        folder = checkpoint_folder(spec, vocabulary, recipe, materials, SOURCES)
        adapter = _load(folder, spec)
        if adapter is None:
            adapter = _train(spec, vocabulary, recipe, materials, folder.with_suffix(".partial"))
            with suppress(OSError):  # a full or read-only disk costs the cache, not the training
                keep(folder, adapter.network, {"bpe": adapter.bpe.to_json(), "training": adapter.training})
        return adapter

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
            fingerprint=fingerprint(self.network.state_dict(), self._source + self.bpe.to_json().encode()),
            weights_bytes=sum(p.numel() * p.element_size() for p in unique),
            training=self.training,
        )

    def to(self, device: str, dtype: str = "float32") -> EncoderNetwork:
        """Move the network, in evaluation mode."""
        self.network.to(device=device, dtype=getattr(torch, dtype)).eval()
        self.device = device
        return self

    def encode(self, text: str) -> Tokens:
        return self.bpe.encode(text)

    def words(self, text: str) -> NDArray[np.int64]:
        return self.bpe.words(text)

    def predict(self, ids: Tensor, attention: Tensor, rows: Tensor) -> Tensor:
        return self.network.head(self.network.hidden(ids, attention).flatten(0, 1)[rows])


def _build(spec: NetworkSpec, symbols: int, seed: int) -> TransformerEncoder:
    torch.manual_seed(seed)
    cls: Any = load_object(spec.cls)
    if not (isinstance(cls, type) and issubclass(cls, TransformerEncoder)):
        raise UsageError(f"{spec.cls.rpartition(':')[2]!r} is not a TransformerEncoder", where=spec.cls)
    try:
        made: TransformerEncoder = cls(symbols, **dict[str, Any](spec.arguments))
        return made
    except TypeError as error:
        raise UsageError(f"cannot make the network: {error}", where=spec.cls) from None


def _train(spec: NetworkSpec, vocabulary: VocabularySpec, recipe: Any, materials: Materials, partial: Path) -> EncoderNetwork:
    """`partial`: the file in which an interrupted training left its state."""
    text, valid = materials.train, materials.valid
    assert text is not None
    if valid is None:
        text, valid = text.hold_out(recipe.hold_out)
    materials.progress("vocabulary", 0.0, "")
    bpe = Bpe.learn((document.text for document in text.documents), vocabulary.size or SIZE)
    adapter = EncoderNetwork(_build(spec, bpe.symbols, materials.seed), bpe, source=_source(spec))
    adapter.to(materials.device)
    passages = valid_passages(valid)

    def evaluate() -> float:
        ledgers = [ledger for ledger in adapter.pseudo_score(passages, ASKED, seed=0) if len(ledger.bits)]
        return math.fsum(ledger.bits.sum() for ledger in ledgers) / max(1, sum(int((ledger.end - ledger.start).sum()) for ledger in ledgers))

    lessons = Gaps(adapter.network, [bpe.encode(document.text).ids for document in text.documents])
    snapshots = Snapshots(partial)
    log = teach(adapter.network, lessons, Course(recipe, materials.seed, evaluate, materials.progress, snapshots))
    snapshots.discard()
    adapter.training = log.facts()
    return adapter


def _source(spec: NetworkSpec) -> bytes:
    return b"".join(file.read_bytes() for file in source_files(spec.cls)) + Path(__file__).read_bytes()


def _load(folder: Path, spec: NetworkSpec) -> EncoderNetwork | None:
    """The model in `folder`; None where there is none, or where it is damaged."""
    found = kept(folder)
    if found is None:
        return None
    facts, weights = found
    bpe = Bpe(facts["bpe"])
    network = _build(spec, bpe.symbols, seed=0)
    network.load_state_dict(weights)
    return EncoderNetwork(network, bpe, facts["training"], _source(spec))
