"""A model that is in memory as an adapter: a torch module, or a transformers model."""

from __future__ import annotations

import copy
import hashlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self, cast, runtime_checkable

import torch
from torch import Tensor, nn

from llmbench.adapter import Adapter, ModelInfo
from llmbench.adapters.checkpoints.causal import CausalLM
from llmbench.adapters.checkpoints.checkpoint_adapter import CheckpointAdapter
from llmbench.adapters.checkpoints.encoder_decoder import EncoderDecoderLM
from llmbench.adapters.checkpoints.huggingface import MaskedLM
from llmbench.adapters.checkpoints.recurrent import RecurrentLM
from llmbench.adapters.token import TokenAdapter, fingerprint
from llmbench.errors import ModelError, Unsupported, UsageError
from llmbench.models.pretrained.loading import Loaded, describe, fuse
from llmbench.models.tokenizers.byte_offsets import ByteTokenizer
from llmbench.models.tokenizers.tokens import Tokens

Ids = Sequence[int]
Pair = tuple[Callable[[str], Ids], Callable[[Ids], str | bytes]]
PROBE = "The tap dripped, and the kettle said so.\n"
TRIED = 4  # ids in the pass that `wrap` tries


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids and back."""

    def encode(self, text: str, /) -> Ids: ...
    def decode(self, ids: Any, /) -> str | bytes: ...


@runtime_checkable
class ByteLevelTokenizer(Protocol):
    """A tokenizer that gives the bytes of ids, as tiktoken's do."""

    def encode_ordinary(self, text: str, /) -> Ids: ...
    def decode_bytes(self, ids: Any, /) -> bytes: ...


def wrap(
    model: nn.Module,
    tokenizer: Tokenizer | ByteLevelTokenizer | Pair | Literal["bytes"] | Any,
    *,
    name: str | None = None,
    context: int | None = None,
    bos_ids: Sequence[int] | None = None,
    eos_ids: Sequence[int] | None = None,
) -> Adapter:
    """Make an adapter of a model in memory, for `llmbench.run`, `score` and `check_conformance`.

    model: a transformers model (causal, masked or encoder-decoder), or a torch module whose forward
        takes ids (B, T) and returns logits (B, T, V); row t predicts what follows ids[:, :t+1].
    tokenizer: of transformers, tokenizers or tiktoken; any object with `encode(text) -> ids` and
        `decode(ids) -> str or bytes`; a pair (encode, decode); or "bytes", if ids are UTF-8 bytes.
    name: on the board. Default: the checkpoint's or the class's name.
    context: the most ids in one pass, `bos_ids` included. Default: that of a transformers config;
        no limit for a module.
    bos_ids: ids before every text; they are not scored. Default: the tokenizer's BOS, else its EOS.
    eos_ids: ids that end a generated text; the first is scored if the end of a text is.

    The adapter shares the model's tensors, so it sees later training steps; the model's own mode
    (train or eval) is left alone. Wrap again after layers were added or replaced.
    Raises UsageError if ids to begin with are missing or the logits have a wrong shape.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"expected a torch module, got {type(model).__name__}",
            hint="an adapter needs no wrap: pass it as it is",
        )
    tokenizer = _load_fast(tokenizer)
    if _is_transformers_model(model):
        if not _is_transformers_tokenizer(tokenizer):
            raise UsageError(
                f"a transformers model needs its transformers tokenizer, got"
                f" {type(tokenizer).__name__}",
                hint="AutoTokenizer.from_pretrained(...)",
            )
        loaded = describe(_share(model), tokenizer, name or _name_of(model))
        fuse(loaded.model)
        loaded.context = loaded.context if context is None else context
        loaded.bos_ids = loaded.bos_ids if bos_ids is None else tuple(bos_ids)
        loaded.eos_ids = loaded.eos_ids if eos_ids is None else tuple(eos_ids)
        return (WrappedRecurrentLM if loaded.is_recurrent else KINDS[loaded.kind])(loaded)
    return WrappedModule(model, tokenizer, name, context, bos_ids, tuple(eos_ids or ()))


def _is_transformers_model(model: object) -> bool:
    """Whether transformers made it. Without that package loaded nobody can have made one."""
    if "transformers" not in sys.modules:
        return False
    from transformers import PreTrainedModel

    return isinstance(model, PreTrainedModel)


def _is_transformers_tokenizer(tokenizer: object) -> bool:
    if "transformers" not in sys.modules:
        return False
    from transformers import PreTrainedTokenizerBase

    return isinstance(tokenizer, PreTrainedTokenizerBase)


def _load_fast(tokenizer: Any) -> Any:
    """A `tokenizers.Tokenizer` as a transformers tokenizer; anything else as it is."""
    module = sys.modules.get("tokenizers")
    if module is None or not isinstance(tokenizer, module.Tokenizer):
        return tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)  # type: ignore[no-untyped-call]  # theirs


def _share(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode that shares every parameter and buffer with `model`."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    try:
        return copy.deepcopy(model, cast("dict[int, Any]", tensors)).eval()
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"{type(model).__name__} cannot be wrapped: {error}",
            hint="subclass llmbench.TokenAdapter instead",
        ) from error


def _name_of(model: Any) -> str:
    return Path(str(model.config.name_or_path or "")).name or type(model).__name__


def _describe(adapter: Adapter, name: str, module: nn.Module, tokenizer: str) -> str:
    """A wrapped model in one line."""
    size = sum(parameter.numel() for parameter in module.parameters())
    return f"<{type(adapter).__name__} {name!r}: {size:,} parameters, tokenizer {tokenizer}>"


# transformers
# -------------------------------------------------------------------------------------------------


class _InMemory(CheckpointAdapter):
    """A transformers model in memory: its weights are hashed whenever they are asked for."""

    @property
    def info(self) -> ModelInfo:
        facts = [self.loaded.config.to_json_string(), repr(self.loaded.tokenizer)]
        facts += [str(self.loaded.context), str(self.loaded.bos_ids), str(self.loaded.eos_ids)]
        if self.text.backend is not None:
            facts.append(self.text.backend.to_str())
        digest = fingerprint(dict(self.model.state_dict()), "\n".join(facts).encode())
        name = self.loaded.checkpoint.id
        return replace(super().info, name=name, fingerprint=digest, origin=None)

    def __repr__(self) -> str:
        return _describe(self, self.loaded.checkpoint.id, self.model, self.text.alphabet)


class WrappedCausalLM(_InMemory, CausalLM):
    """A decoder in memory."""


class WrappedRecurrentLM(_InMemory, RecurrentLM):
    """A decoder with a state, in memory."""


class WrappedMaskedLM(_InMemory, MaskedLM):
    """An encoder in memory."""


class WrappedEncoderDecoderLM(_InMemory, EncoderDecoderLM):
    """An encoder-decoder in memory; its languages are those that its tokenizer is set to."""

    @property
    def info(self) -> ModelInfo:
        info = super().info
        frames = repr((info.fingerprint, self.source_frame, self.bos_ids, self.eos_ids))
        return replace(info, fingerprint=hashlib.sha256(frames.encode()).hexdigest())


KINDS: dict[str, Callable[[Loaded], CheckpointAdapter]] = {
    "causal": WrappedCausalLM,
    "masked": WrappedMaskedLM,
    "encoder-decoder": WrappedEncoderDecoderLM,
}


# torch
# -------------------------------------------------------------------------------------------------


class WrappedModule(TokenAdapter):
    """A torch module over ids, and what turns text into ids."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        name: str | None,
        context: int | None,
        bos_ids: Sequence[int] | None,
        eos_ids: tuple[int, ...],
    ):
        self.network, self.codec = _share(model), _find_codec(tokenizer)
        self.original = type(model)
        self.name = name or self.original.__name__
        self.family, self.tokenizer = self.original.__name__, self.codec.name
        self.context, self.eos_ids, self.opens = context, eos_ids, self.codec.opens
        self.bos_ids = tuple(self.codec.bos_ids if bos_ids is None else bos_ids)
        self.device = next((str(p.device) for p in self.network.parameters()), "cpu")
        if not self.bos_ids:
            raise UsageError(
                "`bos_ids` is missing: the model needs ids before a text, so that the first token"
                " of a text can be predicted",
                where=self.name,
                hint="bos_ids=(0,), or the ids of a newline: bos_ids=tokenizer.encode('\\n')",
            )
        self._try()

    def __repr__(self) -> str:
        return _describe(self, self.name, self.network, self.tokenizer)

    def _try(self) -> None:
        """One pass over a few ids, so that a wrong shape is told at once."""
        ids = [self.bos_ids[0]] * min(TRIED, self.context or TRIED)
        with torch.inference_mode():
            self.logits(torch.tensor([ids, ids], device=self.device))

    def encode(self, text: str) -> Tokens:
        return self.codec.encode(text)

    def decode(self, ids: Sequence[int]) -> bytes:
        return self.codec.decode(ids)

    def decode_text(self, ids: Sequence[int]) -> bytes:
        whole = self.codec.decode_text
        return super().decode_text(ids) if whole is None else whole(ids)

    def logits(self, ids: Tensor) -> Tensor:
        try:
            logits: Any = self.network(ids)
        except IndexError as error:
            raise ModelError(
                f"the model raised IndexError on {ids.shape[1]} ids up to {int(ids.max())}:"
                f" {error}",
                where=self.name,
                hint="wrap(..., context=N) if it takes at most N ids; else look at the tokenizer",
            ) from error
        if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids.shape:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UsageError(
                f"forward must return logits (B, T, V); for ids {tuple(ids.shape)} it gave {shape}",
                where=self.name,
                hint="wrap a module whose forward returns the logits of every position, alone",
            )
        return logits

    def to(self, device: str, dtype: str = "float32") -> Self:
        """Do nothing: the model stays where it is."""
        return self

    def source(self) -> bytes:
        """The module's code if it can be read, and what the tokenizer does with a text."""
        try:
            code = inspect.getsource(self.original)
        except (OSError, TypeError):
            code = self.original.__qualname__
        try:
            ids = str(self.encode(PROBE).ids.tolist())
        except Unsupported as error:
            ids = error.what
        return repr((code, str(self.network), ids, self.context, self.bos_ids)).encode()


@dataclass(frozen=True)
class Codec:
    """A tokenizer as the bytes of a text see it."""

    name: str
    encode: Callable[[str], Tokens]
    decode: Callable[[Ids], bytes]
    bos_ids: tuple[int, ...] = ()
    opens: bytes = b""
    decode_text: Callable[[Ids], bytes] | None = None


def _find_codec(tokenizer: Any) -> Codec:
    """How this tokenizer is asked. UsageError if there is no way that is known."""
    if isinstance(tokenizer, str) and tokenizer == "bytes":
        return _make_codec("bytes", lambda text: list(text.encode()), _join_bytes)
    if _is_transformers_tokenizer(tokenizer):
        text = ByteTokenizer(tokenizer)
        text.refuses_first_space = True
        marks = [i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None]
        start = tuple(marks[:1])
        whole = text.decode_text
        return Codec(text.alphabet, text.encode, text.decode, start, text.opens, whole)
    kind = type(tokenizer).__name__
    if isinstance(tokenizer, ByteLevelTokenizer):
        return _make_codec(kind, tokenizer.encode_ordinary, tokenizer.decode_bytes)
    if isinstance(tokenizer, Tokenizer):
        return _make_codec(kind, tokenizer.encode, tokenizer.decode)
    if isinstance(tokenizer, tuple) and len(tokenizer) == 2 and all(map(callable, tokenizer)):
        return _make_codec("its own", *tokenizer)
    raise UsageError(
        f"cannot use {kind} as a tokenizer",
        hint="give an object with encode and decode, a pair (encode, decode), or 'bytes'",
    )


def _make_codec(
    name: str, encode: Callable[[str], Ids], decode: Callable[[Ids], str | bytes]
) -> Codec:
    """A codec from plain functions: the bytes of a token are those of its id decoded alone."""

    def decode_bytes(ids: Ids) -> bytes:
        found = decode(list(ids))
        return found.encode() if isinstance(found, str) else bytes(found)

    def encode_tokens(text: str) -> Tokens:
        try:
            ids = [int(id) for id in encode(text)]
        except (KeyError, ValueError) as error:
            raise Unsupported(
                f"the tokenizer cannot encode this text: {type(error).__name__}: {error}",
                hint="it must take any text, for example with an id for each byte",
            ) from error
        pieces = [decode_bytes([id]) for id in ids]
        if sum(map(len, pieces)) != len(text.encode()):
            raise Unsupported(
                "lossy tokenizer: the tokens, decoded one by one, have"
                f" {sum(map(len, pieces))} bytes, the text has {len(text.encode())}",
                hint="give a `decode` that returns bytes",
            )
        return Tokens.of(ids, pieces)

    return Codec(name, encode_tokens, decode_bytes)


def _join_bytes(ids: Ids) -> bytes:
    """The bytes of ids; those from 256 on stand for none."""
    return bytes(id for id in ids if id < 256)
