"""How much work a model is: bytes that one pass must read and operations that it must make,
counted, so that the time it takes can be held against what the machine could do (the roofline of
Williams, Waterman & Patterson 2009).

Operations are counted twice while the model runs once, slowly: below, among the operations that
torch dispatches (torch.utils.flop_counter), with attention and recurrent layers taken apart, since
their fused forms count as nothing; and above, from the shapes that the model's own calls have: 2 x
parameters x rows for each product with parameters, and the products of attention. Where the two
differ by more than 2 % nothing is known. Bytes: every storage of parameters once, of embeddings
only the rows that were looked up (unless they are used in a product as well), and the state that is
carried from symbol to symbol.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from llmbench.hardware.device import has_cuda
from llmbench.hardware.peaks import Ceilings

ROOM = 0.02  # between the two counts
RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
CELLS = ("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
DEEP = 4  # levels into a state's parts


@dataclass(frozen=True)
class Work:
    """What one pass takes. `flops` and `expected`: the two counts of operations. `bytes`: read at
    least once, the state included.
    """

    flops: int
    expected: int
    bytes: int
    dtype: str

    @property
    def agrees(self) -> bool:
        return abs(self.flops - self.expected) <= ROOM * max(self.flops, self.expected)

    def seconds(self, ceilings: Ceilings) -> float | None:
        """The least time that this machine could take; None where its peak in this number format is
        not known.
        """
        peak = ceilings.flops.get(self.dtype)
        if not peak:
            return None
        return max(self.bytes / ceilings.bytes_per_second(max(1, self.bytes)), self.flops / peak)


def count(work: Callable[[], object], parameters: Sequence[Tensor], state_bytes: int = 0) -> Work:
    """Run `work` once and count. `parameters`: the model's tensors. `state_bytes`: of the state
    that is read or written.
    """
    above, below = _Calls(), _Dispatched(parameters)
    with (
        _take_apart(),
        torch.no_grad(),
        below,
        above,
    ):  # and not inference_mode, in which torch leaves products whole
        work()
    floats = [tensor.dtype for tensor in parameters if tensor.is_floating_point()]
    dtype = str(max(set(floats), key=floats.count)).removeprefix("torch.") if floats else "float32"
    return Work(below.flops, above.flops, below.bytes + state_bytes, dtype)


@contextmanager
def _take_apart() -> Iterator[None]:
    """Attention, recurrent layers and encoder layers run as the products that they are made of."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # setting a switch back makes some builds speak of hardware that they do not have
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        if has_cuda():
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        yield


class _Calls(TorchFunctionMode):
    """The upper count: from the shapes of the calls that the model makes."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.flops += _operations(getattr(func, "__name__", ""), args, kwargs or {}, result)
        return result


def _operations(name: str, args: Sequence[Any], given: Any, result: Any) -> int:
    """Of one call; 0 for what makes no products."""
    if name == "linear":
        x, weight = args[0], given.get("weight", args[1] if len(args) > 1 else None)
        return 2 * int(x.numel()) * int(weight.shape[0])
    if name in ("matmul", "mm", "bmm", "mv", "dot", "__matmul__", "__rmatmul__"):
        return (
            2 * int(result.numel()) * int((args[1] if name == "__rmatmul__" else args[0]).shape[-1])
        )
    if name == "einsum" and isinstance(args[0], str) and "." not in args[0]:
        tensors = args[1] if isinstance(args[1], list | tuple) else args[1:]
        letters = args[0].replace(" ", "").partition("->")[0].split(",")
        sizes = {
            letter: int(size)
            for word, tensor in zip(letters, tensors, strict=True)
            for letter, size in zip(word, tensor.shape, strict=True)
        }
        return 2 * math.prod(sizes.values()) if len(letters) == 2 else 0
    if name in ("addmm", "baddbmm", "addmm_", "baddbmm_"):
        return 2 * int(result.numel()) * int(args[1].shape[-1])
    if name in ("conv1d", "conv2d"):
        return 2 * int(result.numel()) * int(args[1].numel()) // int(args[1].shape[0])
    if name == "scaled_dot_product_attention":
        q, k, v = args[:3]
        return (
            2
            * int(q.numel())
            // int(q.shape[-1])
            * int(k.shape[-2])
            * int(q.shape[-1] + v.shape[-1])
        )
    if name in RECURRENT or name in CELLS:
        rows = int(args[0].numel()) // int(args[0].shape[-1])
        return (
            2
            * rows
            * sum(int(weight.numel()) for weight in _tensors(args[2:], 2) if weight.ndim == 2)
        )
    if name == "multi_head_attention_forward":  # (T, B, E) query and (S, B, E) key
        (length, batch, width), seen = args[0].shape, int(args[1].shape[0])
        return int(2 * batch * width * (width * (2 * length + 2 * seen) + 2 * length * seen))
    return 0


class _Dispatched(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own, without types
    """The lower count, by torch's own formulas; and the bytes of parameters that the dispatched
    operations read, each storage once.
    """

    def __init__(self, parameters: Sequence[Tensor]):
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.sizes = {
            t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
            for t in parameters
            if t.numel()
        }
        self.seen: dict[int, dict[tuple[int, int], int]] = {}
        self.rows: dict[int, int] = {}
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # nothing is compiled here, and saying so to the compiler would import it: a second and more
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not _is_view(func):
            looked_up = func is torch.ops.aten.embedding.default
            for tensor in _tensors((*args, *(kwargs or {}).values()), 2):
                place = tensor.untyped_storage().data_ptr()
                if place not in self.sizes:
                    continue
                if looked_up and tensor is args[0]:
                    row = (
                        tensor.element_size() * int(tensor.numel()) // max(1, int(tensor.shape[0]))
                    )
                    self.rows[place] = self.rows.get(place, 0) + int(args[1].numel()) * row
                else:
                    part = (int(tensor.storage_offset()), int(tensor.numel()))
                    self.seen.setdefault(place, {})[part] = tensor.element_size() * int(
                        tensor.numel()
                    )
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:  # perhaps made of others
            with self:
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        result = func(*args, **(kwargs or {}))
        if formula is not None:
            self.flops += int(formula(*args, **(kwargs or {}), out_val=result))
        return result

    @property
    def bytes(self) -> int:
        whole = {
            place: min(self.sizes[place], sum(parts.values())) for place, parts in self.seen.items()
        }
        rows = {
            place: min(self.sizes[place], size)
            for place, size in self.rows.items()
            if place not in whole
        }
        return sum(whole.values()) + sum(rows.values())


def _is_view(func: Any) -> bool:
    """Whether an operation only looks at a tensor in another way: what it gives is an alias that it
    does not write to.
    """
    returns = func._schema.returns
    return bool(returns) and all(
        r.alias_info is not None and not r.alias_info.is_write for r in returns
    )


def _tensors(value: Any, depth: int) -> Iterator[Tensor]:
    """Tensors in a structure: lists, mappings and plain objects, `depth` levels deep."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part, depth - 1)
    elif depth and isinstance(value, dict):
        yield from _tensors(list(value.values()), depth)
    elif depth and not isinstance(value, nn.Module | str | bytes | int | float | type):
        try:
            attributes = list(vars(value).values())
        except TypeError:  # an object without attributes
            return
        yield from _tensors(attributes, depth)


def parameters_of(adapter: Any) -> list[Tensor]:
    """The tensors that an object holds itself or in its torch modules."""
    found: dict[int, Tensor] = {}
    for value in vars(adapter).values():
        parts = (
            [*value.parameters(), *value.buffers()]
            if isinstance(value, nn.Module)
            else [value]
            if isinstance(value, Tensor)
            else []
        )
        found |= {id(part): part for part in parts}
    return list(found.values())


def state_bytes(state: Any) -> int:
    """Bytes of the tensors of numbers with a fraction that a state is made of, each storage once;
    ids do not count.
    """
    floats = [tensor for tensor in _tensors(state, DEEP) if tensor.is_floating_point()]
    return sum(
        {t.untyped_storage().data_ptr(): t.numel() * t.element_size() for t in floats}.values()
    )


def kind_of_cache(model: Any, ids: Sequence[int]) -> str | None:
    """What a model carries from symbol to symbol, seen by what its state holds after a short and a
    longer text: `cached` (keys and values of all symbols), `rolling` (those of the last ones, as
    the model says), `recurrent` (a state of fixed size), `window` (the last symbols only),
    `recompute` (the symbols, all read anew).
    """
    short, long = list(ids[: max(1, len(ids) // 2)]), list(ids)
    if len(long) < 4:
        return None
    with torch.inference_mode():
        states = [
            model.prefill(torch.tensor([line], device=model.device))[0] for line in (short, long)
        ]
    floats = [state_bytes(state) for state in states]
    if floats[1]:
        fixed = "rolling" if model.cache_window else "recurrent"
        return "cached" if floats[1] > floats[0] else fixed
    sizes = [sum(int(tensor.numel()) for tensor in _tensors(state, DEEP)) for state in states]
    if not sizes[1]:
        return None
    return "recompute" if sizes[1] > sizes[0] else "window"


def passes(
    model: Any, prompt: Sequence[int], depth: int, batch: int, parameters: Sequence[Tensor]
) -> tuple[Work, Work]:
    """The work of reading `prompt` and of one step after `depth` ids, for `batch` equal rows. Of a
    model that writes an answer apart from its prompt, `depth` is of the answer.
    """

    def rows(ids: Sequence[int]) -> Tensor:
        return torch.tensor([list(ids)] * batch, device=model.device)

    filled = rows((list(prompt) * math.ceil(depth / len(prompt)))[:depth])
    with torch.no_grad():
        state, _ = model.prefill(rows(prompt))
        prefill = count(lambda: model.prefill(rows(prompt)), parameters, state_bytes(state))
        if not model.answer_continues_prompt:
            state, logits = model.prefill(rows(prompt))
            for _ in range(depth):
                state, logits = model.step(state, logits.argmax(-1))
        else:
            state, _ = model.prefill(filled)
        carried = state_bytes(state)
        step = count(lambda: model.step(state, filled[:, -1]), parameters, carried)
    return prefill, step
