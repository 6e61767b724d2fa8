"""A causal checkpoint's step of one token a row, compiled by torch.

Keys and values lie in buffers with room for tokens to come, and a step sees the part that is
filled. How long that part is, and of several rows how many there are, are symbols of the compiled
code: no length compiles anew. What is compiled is the model's own forward, over modules that share
its weights, with an attention that needs no mask where every place counts.
"""

from __future__ import annotations

import copy
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from llmbench.errors import ModelError, Unsupported
from llmbench.hardware import machine

ATTENTION = "llmbench_step"  # what transformers calls the attention of a step
SPARE = 256  # tokens that a buffer has room for at least, beside those that it holds
HALVES = (torch.bfloat16, torch.float16)
BEYOND = ("sliding_window", "softcap", "s_aux", "position_bias")  # of attention: not compiled
FOLDER = "TORCHINDUCTOR_CACHE_DIR"  # environment variable: where compiled code is kept


def name_compiler() -> str:
    """Return what compiles a step, as a record says it."""
    return f"torch.compile (torch {machine.version('torch')})"


def check_compiler(device: str, where: str) -> None:
    """Raise ModelError or Unsupported if no step can be compiled for this device here."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise Unsupported(
            f"nothing is compiled for the device {device}", where=where, hint="leave out compile"
        )
    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, OSError):
        raise ModelError(
            "compiling needs a C++ compiler, and none was found",
            where=where,
            hint="install g++, or name a compiler in CXX, or leave out compile",
        ) from None


def keep_code(folder: Path) -> None:
    """Keep compiled code in this folder, and take it from there, unless the environment has one."""
    os.environ.setdefault(FOLDER, str(folder))


class Memory:
    """Keys and values of the `length` tokens that B rows have read, in buffers with room for more.

    mask: (B, room) which places count, of rows that begin with padding or stand beside others; None
    of a single row. positions: (B, 1) where the last token of each row stands.

    All of them are made in inference mode: others are tensors of another kind to the compiler.
    """

    @torch.inference_mode()
    def __init__(
        self,
        layers: Sequence[tuple[Tensor, Tensor]],
        mask: Tensor | None = None,
        positions: Tensor | None = None,
    ):
        first = layers[0][0]
        self.rows, self.length = int(first.shape[0]), int(first.shape[2])
        self.keys = [_extend(keys, self.length + SPARE) for keys, _ in layers]
        self.values = [_extend(values, self.length + SPARE) for _, values in layers]
        if positions is None:
            positions = torch.full((self.rows, 1), self.length - 1, device=first.device)
        self.positions = positions[:, -1:]
        self.mask: Tensor | None = None
        if self.rows > 1:
            self.mask = torch.ones(
                (self.rows, self.length + SPARE), dtype=torch.bool, device=first.device
            )
            if mask is not None:
                self.mask[:, : self.length] = mask.bool()

    @torch.inference_mode()
    def make_room(self) -> None:
        """Double the room where there is none for two more tokens."""
        room = int(self.keys[0].shape[2])
        if self.length + 2 > room:
            self.keys = [_extend(keys, 2 * room) for keys in self.keys]
            self.values = [_extend(values, 2 * room) for values in self.values]
            if self.mask is not None:
                more = self.mask.new_ones(self.rows, room)
                self.mask = torch.cat([self.mask, more], dim=1)


def _extend(held: Tensor, room: int) -> Tensor:
    """The same (B, heads, T, width) at the beginning of a buffer for `room` tokens."""
    buffer = held.new_empty((*held.shape[:2], room, held.shape[3]))
    buffer[:, :, : held.shape[2]] = held
    return buffer


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # transformers' own
    """One layer's buffers while a step runs, as transformers sees them: the part that is filled."""

    is_compileable = True
    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, length: int):
        self.keys, self.values, self.length = keys, values, length
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Do nothing: the buffers are there."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
        """Write the keys and values of one token; return those of all tokens so far."""
        end = self.length + 1
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many places are seen, and the first."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Return how many tokens are held before this step."""
        return self.length

    def get_max_length(self) -> int:
        """Return for how many tokens there is room."""
        return int(self.keys.shape[2])


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention of one query a row. Queries that share a key's head stand side by side as rows of
    it, so that no key is copied.
    """
    for name in BEYOND:
        if more.get(name) is not None:
            raise NotImplementedError(f"attention with {name}")
    batch, heads, _, width = query.shape
    groups = heads // key.shape[1]
    grouped = query.reshape(batch, key.shape[1], groups, width)
    found = scaled_dot_product_attention(
        grouped, key, value, attn_mask=attention_mask, scale=scaling
    )
    return found.reshape(batch, heads, 1, -1).transpose(1, 2).contiguous(), None


class _RowLinear(nn.Module):
    """A linear layer for single rows, of weights in 16 bits or fewer: a sum over each row of them.
    The compiler makes one pass of it, in which they are read in few bits and scaled on the way. (Of
    float32 a library's product is faster.)
    """

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.is_rounded = _is_rounded(layer)

    def forward(self, rows: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        weight: Tensor = self.weight.dequantize() if self.is_rounded else self.weight
        found = (rows.unsqueeze(-2) * weight).sum(-1)
        return found if self.bias is None else found + self.bias


def _is_rounded(layer: nn.Linear) -> bool:
    """Whether its weights are a library's own tensors of numbers and scales."""
    return type(layer.weight) is not nn.Parameter


class Step:
    """The compiled step of a causal model of transformers, in evaluation mode. Code is compiled
    when it is needed: for a single row, and for several ones.

    Attributes:
        seconds: what compiling took so far.
        rounds_activations: whether its linear layers round what flows into them.
    """

    def __init__(self, model: nn.Module, where: str, rounds_activations: bool = False):
        self.model, self.where, self.seconds = model, where, 0.0
        self.rounds_activations = rounds_activations
        self.compiled: dict[bool, Callable[..., Tensor]] = {}
        self.sizes = {size for tensor in model.parameters() for size in tensor.shape}
        ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attend)

    def __call__(self, memory: Memory, ids: Tensor) -> Tensor:
        """(B,) ids after those of a memory, which holds them then -> (B, V) logits of the next."""
        memory.make_room()
        with torch.inference_mode():
            memory.positions = memory.positions + 1
            found: Tensor = self.compiled[memory.rows > 1](
                ids[:, None].clone(),
                memory.positions,
                memory.mask,
                memory.keys,
                memory.values,
                memory.length,
            )
        memory.length += 1
        return found

    def is_ready(self, rows: int) -> bool:
        """Whether the code for so many rows is compiled."""
        return (rows > 1) in self.compiled

    def choose_sizes(self, several: bool) -> tuple[int, int]:
        """Return (rows, tokens) of a first call: numbers that no dimension of the model has, since
        the compiler takes equal sizes for the same size.
        """
        taken = {*self.sizes, 2}
        length = next(n for n in range(7, 99) if not {n, n + 1, n + SPARE} & taken)
        return (
            next(n for n in range(3, 99) if n not in {*taken, length}) if several else 1
        ), length

    def compile(self, memory: Memory, ids: Tensor) -> Tensor:
        """The same as a call, the first one with one row or with several. ModelError if the model
        cannot be compiled.
        """
        several = memory.rows > 1
        begun = time.perf_counter()
        try:
            step = _make_step(self.model, not several and not self.rounds_activations)
            self.compiled[several] = torch.compile(step, dynamic=True, fullgraph=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler speaks of its own cache
                return self(memory, ids)
        except Exception as error:  # whatever a model's code makes the compiler raise
            self.compiled.pop(several, None)
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            said = (lines or [type(error).__name__])[0]
            raise ModelError(
                f"its step cannot be compiled: {said[:300]}",
                where=self.where,
                hint="run it without compile",
            ) from error
        finally:
            self.seconds += time.perf_counter() - begun


def share_modules(model: nn.Module, by_rows: bool) -> Any:
    """A copy of a model for its steps, with the same weights. `by_rows`: for single rows."""
    shared: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    own: Any = copy.deepcopy(model, shared)
    for module in list(own.modules()):
        if hasattr(module, "config"):
            module.config._attn_implementation = ATTENTION
        for name, layer in module.named_children() if by_rows else ():
            if type(layer) is nn.Linear and (_is_rounded(layer) or layer.weight.dtype in HALVES):
                setattr(module, name, _RowLinear(layer))
    return own


def _make_step(model: nn.Module, by_rows: bool) -> Callable[..., Tensor]:
    """The function that is compiled."""
    own = share_modules(model, by_rows)

    def step(
        ids: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        length: int,
    ) -> Tensor:
        layers: list[Any] = [
            _Layer(key, value, length) for key, value in zip(keys, values, strict=True)
        ]
        seen = None if mask is None else mask[:, None, None, : length + 1]
        found: Tensor = own(
            input_ids=ids,
            attention_mask=seen,
            position_ids=positions,
            past_key_values=Cache(layers=layers),
            use_cache=True,
        ).logits[:, -1]
        return found

    # the compiler counts what it made of a piece of code: each model has its own
    step.__code__ = step.__code__.replace()
    return step
