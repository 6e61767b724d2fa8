"""An encoder-decoder trained here, on pairs: one byte-level BPE for both sides, a network from models/, a checkpoint in the cache."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmbench.adapter import Materials, ModelInfo, Passage
from llmbench.bpe import Bpe
from llmbench.card import NetworkSpec, VocabularySpec
from llmbench.checkpoints import checkpoint_folder
from llmbench.data import Text
from llmbench.encoder_decoder_adapter import EncoderDecoderAdapter
from llmbench.errors import UsageError
from llmbench.imports import load_object, source_files
from llmbench.kept_networks import keep, kept
from llmbench.ledger import END
from llmbench.models.transformer_seq2seq import TransformerSeq2Seq
from llmbench.pair_lessons import Pairs
from llmbench.snapshots import Snapshots
from llmbench.token_adapter import fingerprint
from llmbench.training import Course, teach
from llmbench.vocabulary import Tokens

SOURCES = ("bpe.py", "pair_lessons.py", "models/attention.py", "encoder_decoder_adapter.py", "adapters/seq2seq.py")
SIZE = 4096  # ids of the BPE, where the card says nothing


class Seq2SeqNetwork(EncoderDecoderAdapter):
    """A network over a byte-level BPE, which spells everything: no piece is unknown."""

    def __init__(self, network: TransformerSeq2Seq, bpe: Bpe, training: Mapping[str, Any] | None = None, source: bytes = b""):
        self.network, self.bpe, self.training, self._source = network.eval(), bpe, training, source
        self.context = self.source_context = network.context
        self.start, self.ends, self.pad = (network.start,), (network.end,), network.end

    @classmethod
    def build(cls, arguments: Mapping[str, Any], materials: Materials) -> Seq2SeqNetwork:
        """From the cache, or trained now on `materials.train`, whose documents are pairs."""
        spec, recipe, vocabulary = arguments["network"], arguments["recipe"], arguments.get("vocabulary") or VocabularySpec(splitter="bpe", size=SIZE)
        train = materials.train
        if train is None or not all(document.given for document in train.documents):
            raise UsageError("this model learns from pairs, and the training text has none", hint="a .jsonl file with the fields `given` and `text`")
        folder = checkpoint_folder(spec, vocabulary, recipe, materials, SOURCES)
        adapter = _load(folder, spec)
        if adapter is None:
            adapter = _train(spec, vocabulary, recipe, materials, folder.with_suffix(".partial"))
            with suppress(OSError):  # a full or read-only disk costs the cache, not the training
                keep(folder, adapter.network, {"bpe": adapter.bpe.to_json(), "training": adapter.training})
        return adapter

    @property
    def info(self) -> ModelInfo:
        tensors = self.network.state_dict()
        unique = {id(p): p for p in self.network.parameters()}.values()
        return ModelInfo(
            name=type(self).__name__,
            family="transformer",
            tokenizer="byte-level BPE",
            parameters=sum(p.numel() for p in unique),
            context=self.context,
            dtype=str(next(iter(unique)).dtype).removeprefix("torch."),
            device=self.device,
            fingerprint=fingerprint(tensors, self._source + self.bpe.to_json().encode()),
            weights_bytes=sum(p.numel() * p.element_size() for p in unique),
            training=self.training,
        )

    def to(self, device: str, dtype: str = "float32") -> Seq2SeqNetwork:
        """Move the network, in evaluation mode."""
        self.network.to(device=device, dtype=getattr(torch, dtype)).eval()
        self.device = device
        return self

    def encode(self, text: str) -> Tokens:
        return self.bpe.encode(text)

    def decode(self, ids: Sequence[int]) -> bytes:
        return self.bpe.decode(ids)

    def encode_source(self, text: str) -> list[int]:
        return [*self.bpe.encode(text).ids.tolist(), self.network.end]

    def pair_logits(self, source: Tensor, attention: Tensor, target: Tensor) -> Tensor:
        logits: Tensor = self.network(source, attention, target)
        return logits

    def begin(self, source: Tensor) -> tuple[Any, Tensor]:
        cache, mask = self.network.encode(source, torch.ones_like(source))
        rows, cache = self.network.decode(torch.full_like(source[:, :1], self.network.start), cache, mask)
        return (cache, mask), self.network.head(rows[:, -1])

    def step(self, state: Any, ids: Tensor) -> tuple[Any, Tensor]:
        cache, mask = state
        rows, cache = self.network.decode(ids[:, None], cache, mask)
        return (cache, mask), self.network.head(rows[:, -1])


def _build(spec: NetworkSpec, symbols: int, seed: int) -> TransformerSeq2Seq:
    torch.manual_seed(seed)
    cls: Any = load_object(spec.cls)
    if not (isinstance(cls, type) and issubclass(cls, TransformerSeq2Seq)):
        raise UsageError(f"{spec.cls.rpartition(':')[2]!r} is not a TransformerSeq2Seq", where=spec.cls)
    try:
        made: TransformerSeq2Seq = cls(symbols, **dict[str, Any](spec.arguments))
        return made
    except TypeError as error:
        raise UsageError(f"cannot make the network: {error}", where=spec.cls) from None


def _train(spec: NetworkSpec, vocabulary: VocabularySpec, recipe: Any, materials: Materials, partial: Path) -> Seq2SeqNetwork:
    """`partial`: the file in which an interrupted training left its state."""
    text, valid = materials.train, materials.valid
    assert text is not None
    if valid is None:
        text, valid = text.hold_out(recipe.hold_out)
    materials.progress("vocabulary", 0.0, "")
    bpe = Bpe.learn((part for document in text.documents for part in (document.given, document.text)), vocabulary.size or SIZE)
    adapter = Seq2SeqNetwork(_build(spec, bpe.symbols, materials.seed), bpe, source=_source(spec))
    adapter.to(materials.device)
    passages, size = _passages(valid, adapter)

    def evaluate() -> float:
        return math.fsum(ledger.total() + ledger.total(END) for ledger in adapter.score(passages)) / size

    pairs = Pairs(adapter.network, [(bpe.encode(d.given).ids.tolist(), bpe.encode(d.text).ids.tolist()) for d in text.documents])
    snapshots = Snapshots(partial)
    log = teach(adapter.network, pairs, Course(recipe, materials.seed, evaluate, materials.progress, snapshots))
    snapshots.discard()
    adapter.training = log.facts()
    return adapter


def _passages(valid: Text, adapter: Seq2SeqNetwork) -> tuple[list[Passage], int]:
    """Pairs of the validation text that fit, to be scored again and again, and the bytes of their targets."""
    room = adapter.network.context - 1
    fits = [d for d in valid.documents if max(len(adapter.bpe.encode(d.given).ids), len(adapter.bpe.encode(d.text).ids)) < room]
    return [Passage(d.text, given=d.given, id=d.id, end=True) for d in fits], max(1, sum(len(d.text.encode()) for d in fits))


def _source(spec: NetworkSpec) -> bytes:
    return b"".join(file.read_bytes() for file in source_files(spec.cls)) + Path(__file__).read_bytes()


def _load(folder: Path, spec: NetworkSpec) -> Seq2SeqNetwork | None:
    """The model in `folder`; None where there is none, or where it is damaged."""
    found = kept(folder)
    if found is None:
        return None
    facts, weights = found
    bpe = Bpe(facts["bpe"])
    network = _build(spec, bpe.symbols, seed=0)
    network.load_state_dict(weights)
    return Seq2SeqNetwork(network, bpe, facts["training"], _source(spec))
