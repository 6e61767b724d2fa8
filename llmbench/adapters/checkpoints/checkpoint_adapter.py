"""What adapters of transformers' checkpoints share: the model and its tokenizer over bytes."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from llmbench import limits
from llmbench.adapter import Adapter, ModelInfo
from llmbench.config.source_code import digest_code
from llmbench.errors import UsageError
from llmbench.models.pretrained import files as pretrained_files
from llmbench.models.pretrained.fetching import FACTS
from llmbench.models.pretrained.loading import Loaded
from llmbench.models.pretrained.quantization import count_bytes, find_library_version
from llmbench.models.pretrained.special_ids import count_rows
from llmbench.models.tokenizers.byte_offsets import ByteTokenizer
from llmbench.models.tokenizers.tokens import Tokens
from llmbench.storage import open_regular

PROBE = 12  # ids in a probe


class CheckpointAdapter(Adapter):
    """A loaded checkpoint of any kind: its tokenizer over bytes, and what the board says of it."""

    required_parts: ClassVar[tuple[str, ...]] = ("checkpoint",)
    loaded: Loaded
    text: ByteTokenizer
    context: Any  # each kind sets it
    training: Mapping[str, Any] | None = None

    def __init__(self, loaded: Loaded):
        self.loaded, self.model = loaded, loaded.model
        self.text = ByteTokenizer(loaded.tokenizer)
        self.device = loaded.device
        self._check_vocabulary()

    def _check_vocabulary(self) -> None:
        """The tokenizer's ids are the embedding's rows, but for rows that only pad the matrix, and
        for tokens that were added to the tokenizer alone (an image's, a padding's).
        """
        self.rows = count_rows(self.model)
        size = self.text.size
        while size > self.rows and size - 1 in self.text.added:
            size -= 1
        if size > self.rows or self.text.size < 0.9 * self.rows:
            raise UsageError(
                f"vocabulary and embedding disagree: the tokenizer has {self.text.size} ids, the"
                f" model {self.rows}",
                where=self.loaded.checkpoint.id,
                hint="the tokenizer's files are not those of this model",
            )

    def _mark_unknown(self, tokens: Tokens) -> Tokens:
        """Tokens that the model has no embedding for are a loss."""
        if len(tokens.ids) and (last := int(tokens.ids.max())) >= self.rows:
            token = self.loaded.tokenizer.convert_ids_to_tokens(last)
            loss = f"the token {token!r} has the id {last}, and the model has {self.rows} ids"
            return replace(tokens, loss=loss)
        return tokens

    @property
    def info(self) -> ModelInfo:
        unique = {id(p): p for p in self.model.parameters()}.values()
        checkpoint = self.loaded.checkpoint
        identity = [
            self.loaded.weights_sha256,
            self.loaded.tokenizer_sha256,
            self.loaded.dtype,
            digest_code([Path(__file__), Path(inspect.getfile(type(self)))]),
        ]
        quantization = self.loaded.quantization
        if quantization is not None:
            code = digest_code([Path(inspect.getfile(find_library_version))])
            identity += [quantization, find_library_version(quantization), code]
        if self.loaded.chosen_bos:
            identity.append(f"bos {self.loaded.bos_ids}")
        name = pretrained_files.name_of(checkpoint.id)
        origin = {
            # of a directory its name alone: people publish records
            "id": name if pretrained_files.is_directory(checkpoint.id) else checkpoint.id,
            "commit": checkpoint.commit,
            "weights_sha256": self.loaded.weights_sha256,
            **({"bos": list(self.loaded.bos_ids)} if self.loaded.chosen_bos else {}),
            **_find_conversion(checkpoint.folder),
        }
        return ModelInfo(
            name=name,
            family=str(self.loaded.config.model_type),
            tokenizer=self.text.kind,
            parameters=sum(p.numel() for p in unique),
            context=self.context,
            dtype=self.loaded.dtype,
            device=self.device,
            fingerprint=hashlib.sha256("\n".join(identity).encode()).hexdigest(),
            weights_bytes=count_bytes(self.model.parameters()),
            quantization=quantization,
            training=self.training,
            origin={**origin, "trust_remote_code": self.loaded.trusted, **self._spread},
        )

    @property
    def _spread(self) -> dict[str, object]:
        """Bytes of the weights on each device, where these are several."""
        return {"devices": dict(self.loaded.devices)} if self.loaded.is_spread else {}

    def to(self, device: str, dtype: str = "float32") -> Self:
        """Do nothing: `build` loaded it on its device and in its number format."""
        return self

    def encode(self, text: str) -> Tokens:
        return self._mark_unknown(self.text.encode(text))

    def encode_all(self, texts: Sequence[str]) -> list[Tokens]:
        return [self._mark_unknown(tokens) for tokens in self.text.encode_all(texts)]

    def decode(self, ids: Sequence[int]) -> bytes:
        return self.text.decode(ids)

    def decode_text(self, ids: Sequence[int]) -> bytes:
        return self.text.decode_text(ids)

    def close(self) -> None:
        self.loaded = self.model = None  # type: ignore[assignment]  # nobody asks a closed model

    def _probe_ids(self, rows: int = 1) -> Tensor:
        """(rows, PROBE) ids of ordinary tokens."""
        count = int(self.model.get_input_embeddings().weight.shape[0])
        ids = torch.randint(
            0, min(count, self.text.size), (rows, PROBE), generator=torch.Generator().manual_seed(0)
        )
        return ids.to(self.device)


def _find_conversion(folder: Path) -> dict[str, str]:
    """The sha256 of the file that `llmbench fetch` converted into this folder, if it did."""
    try:
        with open_regular(folder / FACTS) as file:
            facts = json.loads(file.read(limits.YAML_BYTES))
    except (OSError, ValueError):
        return {}
    sha256 = facts.get("sha256") if isinstance(facts, dict) else None
    return {"converted_from": sha256} if isinstance(sha256, str) else {}
