"""Import transformers without the parts that scoring never uses.

transformers imports torch's compiler for a few decorators and one context manager, torch's
distributed tensors for models in parts, optional packages for losses and images, and sympy. Inside
`fast_import` the compiler is a stand-in that loads the real one on first use, patterns for weights
are compiled when used, and the rest looks absent; afterwards everything is as it was. `peak_ram` of
a checkpoint is therefore about 77 MiB less than a plain `from_pretrained` shows.
LLMBENCH_FAST_IMPORT=0 switches all of it off. If a later version lacks a name that this relies on,
the import is only slower.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

SWITCH = "LLMBENCH_FAST_IMPORT"  # environment variable; 0 turns fast imports off
UNUSED = ("scipy", "sklearn", "pandas", "datasets", "cv2", "torchvision", "librosa")
ROUNDING = ("torchao", "bitsandbytes")  # used for checkpoints that were saved in few bits only
COMPILER = "torch._dynamo"
INDEXING = f"{COMPILER}._trace_wrapped_higher_order_op"
PATTERNS = "transformers.core_model_loading"
MARKS = ("allow_in_graph", "assume_constant_result", "disable")  # decorators for the compiler only


@contextmanager
def fast_import(whole: bool = False) -> Iterator[None]:
    """Import transformers and load checkpoints without unused parts inside this block.

    The garbage collector is off inside the block. With `whole`, or LLMBENCH_FAST_IMPORT=0, nothing
    changes.
    """
    if whole or os.environ.get(SWITCH, "").strip() == "0":
        yield
        return
    collecting, distributed = gc.isenabled(), torch.distributed.is_available
    arange = torch.arange
    gc.disable()
    # transformers asks once and keeps the answer
    torch.distributed.is_available = lambda: False
    with torch.device("meta"):  # which lists the functions of torch once, and must find this one
        torch.empty(0)
    torch.arange = _count_for_real(arange)
    stand_ins = _make_stand_ins()
    sys.modules.update(stand_ins)
    restore = _hide_optional_packages()
    restore_patterns = _compile_when_used()
    init = torch.nn.init
    draws: dict[str, Callable[..., Any]] = {
        "normal_": init.normal_,
        "uniform_": init.uniform_,
        "kaiming_uniform_": init.kaiming_uniform_,
    }
    for name, draw in draws.items():
        setattr(init, name, _skip_on_meta(draw))
    try:
        yield
    finally:
        for name, draw in draws.items():
            setattr(init, name, draw)
        restore()
        restore_patterns()
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        torch.distributed.is_available = distributed
        torch.arange = arange
        if collecting:
            gc.enable()


def _skip_on_meta(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Return `draw` that leaves meta tensors alone: they hold no weights, and torch would load
    sympy to draw them.
    """

    def draw_if_real(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return tensor if tensor.is_meta else draw(tensor, *args, **kwargs)

    return draw_if_real


def _count_for_real(arange: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Return `arange` that counts on the CPU where the default device is meta: rotations are
    computed from it while a model is built, and of meta tensors torch asks sympy.
    """

    def count(*args: Any, **kwargs: Any) -> torch.Tensor:
        if "device" not in kwargs and torch.get_default_device().type == "meta":
            kwargs["device"] = "cpu"
        return arange(*args, **kwargs)

    return count


def _hide_optional_packages() -> Callable[[], None]:
    """Hide UNUSED and ROUNDING from transformers; return the function that shows them again."""
    hidden = (*UNUSED, *ROUNDING)
    packages: Any = importlib.import_module("transformers.utils.import_utils")
    try:
        before = packages._is_package_available  # private: may be gone
        # keeps its answer, which must be "no" as long as this block lasts
        packages.is_torch_distributed_available()
    except AttributeError:
        return lambda: None

    def is_available(name: str, return_version: bool = False) -> Any:
        if name in hidden:
            return False, "N/A" if return_version else None
        return before(name, return_version)

    def forget_answers() -> None:
        for name in hidden:
            ask = getattr(packages, f"is_{name}_available", None)
            if ask is not None:
                ask.cache_clear()

    def restore() -> None:
        packages._is_package_available = before
        forget_answers()

    packages._is_package_available = is_available
    forget_answers()
    return restore


class _Pattern:
    """A regular expression that is compiled on first use."""

    def __init__(self, source: str):
        self.source = source

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(re.compile(self.source), name)  # `re` keeps what it compiled


def _compile_when_used() -> Callable[[], None]:
    """Let transformers compile the 1,300 patterns that rename weights of all its models only when
    they are used; return the function that undoes it.
    """
    try:
        module: Any = importlib.import_module(PATTERNS)
        real = module.re
    except (ImportError, AttributeError):  # another version
        return lambda: None
    module.re = SimpleNamespace(**{**vars(re), "compile": _Pattern})

    def restore() -> None:
        module.re = real

    return restore


class _Indexing:
    """Stand-in for TransformGetItemToIndex, which masks of unusual attention patterns use."""

    def __init__(self) -> None:
        self.real = importlib.import_module(INDEXING).TransformGetItemToIndex()

    def __enter__(self) -> Any:
        return self.real.__enter__()

    def __exit__(self, *raised: Any) -> Any:
        return self.real.__exit__(*raised)


class _StandIn(ModuleType):
    """A module with a few names of its own; any other name loads the real module instead."""

    def __init__(self, name: str, own: Mapping[str, object]):
        super().__init__(name)
        vars(self).update(own)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for module in (COMPILER, INDEXING):
            if isinstance(sys.modules.get(module), _StandIn):
                del sys.modules[module]
        return getattr(importlib.import_module(self.__name__), name)


def _mark(fn: Any = None, *args: Any, **kwargs: Any) -> Any:
    return fn if fn is not None else lambda inner: inner


def _make_stand_ins() -> dict[str, ModuleType]:
    """Return the stand-ins by module name; none if the compiler is loaded already."""
    if COMPILER in sys.modules:
        return {}
    return {
        COMPILER: _StandIn(COMPILER, dict.fromkeys(MARKS, _mark)),
        INDEXING: _StandIn(INDEXING, {"TransformGetItemToIndex": _Indexing}),
    }
