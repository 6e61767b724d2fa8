"""Importing transformers without what scoring never uses: half of the seconds and 75 MB of memory
before a checkpoint is loaded.

transformers imports torch's compiler for a few decorators and one context manager, torch's
distributed tensors for models in parts, and optional packages for losses and images. While it is
imported these look absent, or are stood in for by something that brings the real thing when it is
first used; afterwards all is as it was. Where an attribute that this relies on is gone in a later
version, the import is only slower.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

UNUSED = (
    "scipy",
    "sklearn",
    "pandas",
    "datasets",
    "cv2",
    "torchvision",
    "librosa",
)  # of no use to a language model's scores
COMPILER = "torch._dynamo"
INDEXING = f"{COMPILER}._trace_wrapped_higher_order_op"
DRAWS = ("normal_", "uniform_", "kaiming_uniform_")
ALGEBRA = "sympy"  # on the meta device torch asks of each number whether it is one of sympy's
# brings sympy too; likewise it is asked about plain numbers only
SYMBOLS = "torch.fx.experimental.symbolic_shapes"
PLAIN: dict[str, Callable[..., Any]] = {  # what it answers to these
    **dict.fromkeys(
        ("expect_true", "guard_or_false", "guard_or_true", "statically_known_true"),
        lambda value, *_: bool(value),
    ),
    "guarding_hint_or_throw": lambda value, *_: value,
    "has_guarding_hint": lambda value, *_: True,
    "is_nested_int": lambda value, *_: False,
    "sym_and": lambda *values: all(values),
    "sym_or": lambda *values: any(values),
    "sym_eq": lambda a, b: a == b,  # of shapes too
}
TOGETHER = {SYMBOLS: (SYMBOLS,), ALGEBRA: (ALGEBRA,)}  # stand-ins that are replaced at once
MARKS = (
    "allow_in_graph",
    "assume_constant_result",
    "disable",
)  # decorators that say something to the compiler and change nothing without it


@contextmanager
def light_imports() -> Iterator[None]:
    """In this block transformers and the code of its models are imported, and checkpoints loaded,
    lightly; the garbage collector rests.
    """
    collecting, distributed = gc.isenabled(), torch.distributed.is_available
    gc.disable()
    torch.distributed.is_available = lambda: (
        False
    )  # transformers asks once, and stays with that answer
    stand_ins = _stand_ins()
    sys.modules.update(stand_ins)
    restore = _hide_optional_packages()
    draws = {name: getattr(torch.nn.init, name) for name in DRAWS}
    for name, draw in draws.items():
        setattr(torch.nn.init, name, _nothing_on_meta(draw))
    try:
        yield
    finally:
        for name, draw in draws.items():
            setattr(torch.nn.init, name, draw)
        restore()
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        torch.distributed.is_available = distributed
        if collecting:
            gc.enable()


def _nothing_on_meta(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Layers draw their first weights when they are made; on the meta device there is nothing to
    draw, and torch loads sympy to do it.
    """

    def drawn(tensor: torch.Tensor, *arguments: Any, **given: Any) -> Any:
        return tensor if tensor.is_meta else draw(tensor, *arguments, **given)

    return drawn


def _hide_optional_packages() -> Callable[[], None]:
    """transformers finds none of UNUSED until the function that this gives is called."""
    packages: Any = importlib.import_module("transformers.utils.import_utils")
    before = getattr(packages, "_is_package_available", None)
    getattr(packages, "is_torch_distributed_available", bool)()

    def available(name: str, return_version: bool = False) -> Any:
        return (
            (False, "N/A" if return_version else None)
            if name in UNUSED or before is None
            else before(name, return_version)
        )

    def ask_again() -> None:  # each answer is kept by a function of its own
        for name in UNUSED:
            forget = getattr(getattr(packages, f"is_{name}_available", None), "cache_clear", None)
            if forget is not None:
                forget()

    def restore() -> None:
        if before is not None:
            packages._is_package_available = before
            ask_again()

    if before is not None:
        packages._is_package_available = available
        ask_again()
    return restore


class _Indexing:
    """Stands in for TransformGetItemToIndex, which masks of unusual attention patterns use."""

    def __init__(self) -> None:
        self.real = importlib.import_module(INDEXING).TransformGetItemToIndex()

    def __enter__(self) -> Any:
        return self.real.__enter__()

    def __exit__(self, *raised: Any) -> Any:
        return self.real.__exit__(*raised)


class _OfAlgebra(type):
    """What is one of sympy's, asked without it: nothing, while it is not loaded."""

    def __instancecheck__(cls, value: Any) -> bool:
        loaded = sys.modules.get(f"{ALGEBRA}.core.basic")
        return loaded is not None and isinstance(value, loaded.Basic)


class _Basic(metaclass=_OfAlgebra):
    """Stands in for sympy.Basic."""


class _StandIn(ModuleType):
    """A module that gives a few names itself and is replaced by the real one when it is asked for
    another.
    """

    def __init__(self, name: str, own: dict[str, Any]):
        super().__init__(name)
        vars(self).update(own)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and (self.__name__, name) != (
            ALGEBRA,
            "__path__",
        ):  # which whoever imports a part of it asks for
            raise AttributeError(name)
        for other in TOGETHER.get(self.__name__, (COMPILER, INDEXING)):
            if isinstance(sys.modules.get(other), _StandIn):
                del sys.modules[other]
        return getattr(importlib.import_module(self.__name__), name)


def _mark(fn: Any = None, *arguments: Any, **given: Any) -> Any:
    return fn if fn is not None else lambda inner: inner


def _stand_ins() -> dict[str, ModuleType]:
    """For what is not loaded yet."""
    own: dict[str, dict[str, Any]] = {
        COMPILER: dict.fromkeys(MARKS, _mark),
        INDEXING: {"TransformGetItemToIndex": _Indexing},
        ALGEBRA: {"Basic": _Basic},
        SYMBOLS: {name: _plain_or_real(name, answer) for name, answer in PLAIN.items()},
    }
    return {
        name: _StandIn(name, given)
        for name, given in own.items()
        if name not in sys.modules and (name in TOGETHER or COMPILER not in sys.modules)
    }


def _is_plain(value: Any) -> bool:
    """A number or a shape; beside it there may be a remark."""
    return isinstance(value, bool | int | float | str | None) or (
        isinstance(value, tuple) and all(map(_is_plain, value))
    )


def _plain_or_real(name: str, answer: Callable[[Any], Any]) -> Callable[..., Any]:
    def asked(*values: Any, **given: Any) -> Any:
        if all(map(_is_plain, values)):
            return answer(*values)
        if isinstance(sys.modules.get(SYMBOLS), _StandIn):
            del sys.modules[SYMBOLS]
        return getattr(importlib.import_module(SYMBOLS), name)(*values, **given)

    return asked
