"""Bits per byte of a model that is being trained, with its interval; the model stays as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from llmbench.adapter import Adapter, Window
from llmbench.adapters.wrap import wrap
from llmbench.errors import UsageError
from llmbench.metrics.facts import BITS_PER_BYTE
from llmbench.metrics.likelihood import intervals
from llmbench.runner import session
from llmbench.runner.screening import screen
from llmbench.tasks.passages import Passages, measure

REPLICAS = ("DistributedDataParallel", "DataParallel")  # each holds the whole model
NAME = BITS_PER_BYTE


@dataclass(frozen=True)
class Bits:
    """Bits per byte of a text. `low`, `high`: the 95 % interval over its `n` documents (of a single
    one its blocks), None if there is none; it covers the text, not the training seed.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def to_metrics(self, prefix: str = "") -> dict[str, float]:
        """Return what a logger is given: `bits_per_byte`, and `..._low` and `..._high`."""
        ends = (("", self.value), ("_low", self.low), ("_high", self.high))
        return {f"{prefix}{NAME}{end}": value for end, value in ends if value is not None}


class Evaluation:
    """A text, and how models in training read it.

        evaluation = llmbench.Evaluation(tokenizer, "held-out.txt")
        for step, batch in enumerate(batches):
            ...
            if step % 500 == 0:
                log(step, evaluation.score(model).to_metrics())

    `score` leaves mode, gradients, device and weights of the model alone, and the states of all
    generators of random numbers; nothing of the training depends on whether it was called. It runs
    in the numbers of the weights, without autocast.
    """

    def __init__(
        self,
        tokenizer: Any,
        file: str | Path | None = None,
        *,
        text: str | None = None,
        fields: Mapping[str, str] | None = None,
        window: Literal["half", "rolling"] | int = "half",
        context: int | None = None,
        bos_ids: Sequence[int] | None = None,
    ):
        """tokenizer, context, bos_ids: as of `llmbench.wrap`. file, text, fields, window: as of
        `llmbench.score`. The text must not be trained on. Raises UsageError if it is wrong.
        """
        self.text = session.load_given(file, text, fields or {})
        self.window = Window(window)
        self._wrapping = {"tokenizer": tokenizer, "context": context, "bos_ids": bos_ids}
        self._known: tuple[object, ...] = ()
        self._adapter: Adapter | None = None

    def score(self, model: nn.Module) -> Bits:
        """Return the bits per byte of a model as it is now.

        model: as of `llmbench.wrap`; a compiled one, or a replica of DataParallel, is unpacked. The
        first time, and when its modules have changed, it is checked that the model does not see
        later tokens: Unsupported if it does. UsageError if its weights are in parts.
        """
        whole = unpack(model)
        with keep_state(), torch.autocast(find_device(whole).type, enabled=False):
            adapter = self._wrap(whole)
            with session.model_errors(type(whole).__name__):
                count = measure(adapter, Passages(self.text.documents), self.window, _ignore)
        found = intervals(count.items, count.totals)[NAME]
        return Bits(found.value, found.low, found.high, found.n)

    def _wrap(self, model: nn.Module) -> Adapter:
        """The adapter of before, unless the model is another one or has other tensors."""
        known = (model, *map(id, model.parameters()), *map(id, model.buffers()))
        if self._adapter is None or known != self._known:
            adapter = wrap(model, **self._wrapping)
            if adapter.is_masked or adapter.reads_source:
                raise UsageError(
                    f"{type(model).__name__} does not predict the next token of a plain text",
                    hint="run a suite on its checkpoints",
                )
            with session.model_errors(type(model).__name__):
                screen(adapter, type(model).__name__)
            self._adapter, self._known = adapter, known
        return self._adapter


@contextmanager
def keep_state() -> Iterator[None]:
    """Leave the generators of random numbers of Python, NumPy and torch, on all devices in use, as
    they were.
    """
    is_used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # theirs
    gpus = list(range(torch.cuda.device_count())) if is_used else []
    python, numbers = random.getstate(), np.random.get_state()
    apple = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        with torch.random.fork_rng(devices=gpus):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
        if apple is not None:
            torch.mps.set_rng_state(apple)


def unpack(model: nn.Module) -> nn.Module:
    """Return the module inside a compiled one or a replica. UsageError if its weights are in parts
    on several devices.
    """
    while True:
        inner = model._modules.get("_orig_mod")
        if inner is None and type(model).__name__ in REPLICAS:
            inner = model._modules.get("module")
        if inner is None:
            break
        model = inner
    for name, weight in model.named_parameters():
        if type(weight.data).__name__ == "DTensor" or not weight.numel():
            raise UsageError(
                f"the weight {name} is in parts on several devices",
                hint="gather the model first, or run a suite on its checkpoints",
            )
    return model


def find_device(model: nn.Module) -> torch.device:
    """Return the device of a model's weights."""
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))


def _ignore(what: str, share: float, remark: str) -> None:
    """Nobody watches."""
