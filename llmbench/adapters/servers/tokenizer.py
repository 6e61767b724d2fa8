"""The tokenizer of a model behind a server: its ids, their bytes, and which of them begin and end a
text.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmbench.errors import ModelError, Unsupported
from llmbench.models.pretrained import files as pretrained_files
from llmbench.models.pretrained.special_ids import HOW, resolve_bos
from llmbench.models.tokenizers.byte_offsets import ByteTokenizer

FILES = (*pretrained_files.TOKENIZERS, "merges.txt", "tokenizer_config.json")


@dataclass(frozen=True)
class ServerTokenizer:
    """text: the tokenizer over bytes. adds_bos: whether it puts BOS before a text by itself."""

    text: ByteTokenizer
    bos_ids: tuple[int, ...]
    eos_ids: tuple[int, ...]
    adds_bos: bool
    sha256: str


def load_tokenizer(id: str, bos: str | int | None) -> ServerTokenizer:
    """Load the tokenizer in a directory or in the Hub's cache; no weights and no code of its own.

    Raises UsageError or Unavailable if it is not there, Unsupported if it has no start symbol.
    """
    folder = pretrained_files.locate(id).folder
    auto = importlib.import_module("transformers.models.auto.tokenization_auto")
    try:
        tokenizer = auto.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever transformers raises for files that are none
        said = " ".join(str(error).split())[:300]
        raise ModelError(f"transformers cannot load the tokenizer: {said}", where=id) from None
    text = ByteTokenizer(tokenizer)
    text.refuses_first_space = True
    begins, ends = _find_special_ids(folder, tokenizer)
    bos_ids = begins if bos is None else resolve_bos(bos, tokenizer, id)
    if not bos_ids:
        raise Unsupported(
            "the tokenizer has no start symbol (neither BOS nor EOS), so nothing predicts the first"
            " token of a text",
            where=id,
            hint=HOW.replace("hf:ID?bos=TOKEN", "openai:MODEL@URL?bos=TOKEN"),
        )
    own = tokenizer("a")["input_ids"]
    return ServerTokenizer(
        text, bos_ids, ends, tuple(own[: len(bos_ids)]) == bos_ids, _digest(folder)
    )


def _find_special_ids(folder: Path, tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(bos_ids, eos_ids) as of a checkpoint in this process: the tokenizer's, then those of its
    configs.
    """
    config, generation = _read(folder, "config.json"), _read(folder, "generation_config.json")
    ends = [
        *_ids(tokenizer.eos_token_id),
        *_ids(generation.get("eos_token_id")),
        *_ids(config.get("eos_token_id")),
    ]
    begins = [*_ids(tokenizer.bos_token_id), *_ids(config.get("bos_token_id")), *ends]
    return tuple(begins[:1]), tuple(dict.fromkeys(ends))


def _read(folder: Path, name: str) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        data = json.loads((folder / name).read_bytes())
        if isinstance(data, dict):
            return data
    return {}


def _ids(value: Any) -> Iterable[int]:
    values = value if isinstance(value, list | tuple) else [value]
    return [int(id) for id in values if isinstance(id, int)]


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in FILES:
        if (folder / name).is_file():
            digest.update(name.encode() + hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()
