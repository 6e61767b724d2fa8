"""Where trained networks are kept, and under which name. Reads sources, imports none of them: the
runner asks without loading torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmbench.adapter import BuildContext
from llmbench.config.model_card import NetworkSpec, Recipe, Stage, VocabularySpec
from llmbench.config.plugins import source_files
from llmbench.data.loading import load
from llmbench.data.text import Text
from llmbench.hardware import machine
from llmbench.models.pretrained import files as pretrained_files

# What, besides recipe and data, decides the weights: of all that are trained here, of our networks,
# and of transformers' own architectures.
_TRAINING = (
    "training/trainer.py",
    "training/causal_lm.py",
    "training/muon.py",
    "training/resume.py",
    "inference/scoring.py",
    "inference/windows.py",
    "inference/batching.py",
    "inference/stateful.py",
    "inference/token_bits.py",
    "inference/blocked_attention.py",
    "data/text.py",
    "data/splitting.py",
)
TRAINER_SOURCES = (
    *_TRAINING,
    "models/tokenizers/vocabulary.py",
    "models/tokenizers/tokens.py",
    "models/tokenizers/spelling.py",
    "models/tokenizers/witten_bell.py",
    "models/networks/network.py",
    "adapters/bpe_network.py",
)
FINETUNING_SOURCES = (
    "training/finetuning.py",
    *_TRAINING,
    "models/pretrained/lm_head.py",
    "models/tokenizers/byte_offsets.py",
)


_PAIRED = ("models/tokenizers/bpe.py", "models/networks/attention.py")
ADAPTER_SOURCES: dict[str, tuple[str, ...]] = {
    "network": ("adapters/network.py",),
    "encoder": (
        *_PAIRED,
        "training/masked_lm.py",
        "adapters/masked.py",
        "adapters/masked_network.py",
    ),
    "seq2seq": (
        *_PAIRED,
        "training/seq2seq_lm.py",
        "adapters/encoder_decoder.py",
        "adapters/seq2seq_network.py",
    ),
}


def usual_vocabulary(adapter: str) -> VocabularySpec:
    """What a network of this adapter reads, where its card does not say."""
    return VocabularySpec() if adapter == "network" else VocabularySpec(splitter="bpe")


def checkpoint_folder(
    network: NetworkSpec,
    vocabulary: VocabularySpec,
    recipe: Recipe,
    build_context: BuildContext,
    adapter: str = "network",
) -> Path:
    """Where the checkpoint of a trained network is kept: named by a hash of everything that decides
    its weights on one machine.
    """
    assert build_context.train is not None
    package, valid = Path(__file__).parents[1], build_context.valid
    digest = hashlib.sha256()
    facts = [
        network.model_dump(),
        vocabulary.model_dump(),
        recipe.model_dump(),
        build_context.train.sha256,
        valid.sha256 if valid else None,
        build_context.seed,
        build_context.device,
        machine.version("torch"),
    ]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for file in (
        *(package / name for name in (*TRAINER_SOURCES, *ADAPTER_SOURCES.get(adapter, ()))),
        *source_files(network.cls),
    ):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return build_context.cache / "networks" / digest.hexdigest()[:32]


def trained_folder(stages: Sequence[Stage], build_context: BuildContext) -> Path:
    """Where the checkpoint that the last of these stages trains is kept: named by a hash of
    everything that decides its weights on one machine.
    """
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    facts: list[Any] = [
        build_context.seed,
        build_context.device,
        *(machine.version(name) for name in ("torch", "transformers", "tokenizers", "peft")),
    ]
    for stage in stages:
        assert stage.recipe is not None
        facts += [stage.checkpoint.model_dump(), stage.recipe.model_dump()]
        facts += [None if text is None else text.sha256 for text in learnt(stage, build_context)]
    first = stages[0].checkpoint
    if first.id is not None:
        begin = pretrained_files.locate(first.id, first.revision)
        facts.append(begin.commit or pretrained_files.weights_sha256(begin.folder))
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for name in FINETUNING_SOURCES:
        digest.update(hashlib.sha256((package / name).read_bytes()).digest())
    return build_context.cache / "checkpoints" / digest.hexdigest()[:32]


def learnt(stage: Stage, build_context: BuildContext) -> tuple[Text | None, Text | None]:
    """(training text, validation text) of a stage; no validation text where the end of the training
    text is held out.
    """
    if stage.checkpoint.learns == "general":
        train, valid = (
            load(role, "fables", select={"part": "tales", "split": role})
            for role in ("train", "valid")
        )
        return train, valid
    if stage.checkpoint.learns == "domain" and build_context.domain is not None:
        return build_context.domain, build_context.domain_valid
    return build_context.train, build_context.valid


@contextmanager
def placed(folder: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `folder` once all is on the disk; of two processes that
    make the same one, the second's is dropped.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        yield beside
        for file in beside.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        beside.chmod(0o755)
        try:
            beside.rename(folder)
        except OSError:  # somebody else was quicker, with the same key and so the same model
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
