"""Checks of the model as a thing: the same today and tomorrow, here and there, and as it says it
is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np

from llmbench.adapter import Adapter
from llmbench.conformance.check import (
    LOGITS,
    Check,
    Failed,
    Skip,
    Subject,
    first_difference,
    show,
    tokens_of,
)
from llmbench.hardware.device import has_cuda, has_mps

if TYPE_CHECKING:
    from llmbench.adapters.token import TokenAdapter

HEAVY = 2 << 30  # bytes of weights that are not doubled for a check


def determinism(subject: Subject) -> str:
    """Asked twice, a model says the same; it is in evaluation mode; and scoring leaves its weights
    as they were.
    """
    adapter = subject.adapter
    model = subject.tokens
    for name, module in (model.modules if model else {}).items():
        training = next((where for where, part in module.named_modules() if part.training), None)
        if training is not None:
            where = f"{name}.{training}" if training else name
            raise Failed(
                "the model as it is",
                f"{where} is in training mode",
                "call .eval(): dropout and batch norm act otherwise",
            )
    before = adapter.info.fingerprint
    texts = [subject.fresh() for _ in range(3)]
    for text, first, second in zip(
        texts, subject.score(*texts), subject.score(*texts), strict=True
    ):
        if not subject.close(first.bits, second.bits):
            raise Failed(
                f"{show(text)} twice",
                first_difference(first.bits, second.bits),
                "dropout, sampling or a state in the scoring path",
            )
    if adapter.info.fingerprint != before:
        raise Failed(
            "a few texts to score",
            "another fingerprint afterwards",
            "scoring changes the weights, or the fingerprint is not of them",
        )
    return f"{len(texts)} texts twice, weights unchanged"


def elsewhere(subject: Subject) -> str:
    """In another number format, or on the other device, the same bits within tolerance."""
    model = subject.tokens
    if model is None:
        raise Skip("it cannot be moved")

    info = model.info
    if (info.weights_bytes or 0) > HEAVY:
        raise Skip(f"{info.weights_bytes} bytes of weights are too many to hold twice")
    if info.dtype not in ("float32", "float64", "bfloat16", "float16"):
        raise Skip("it has no weights in a number format of torch")
    text = subject.texts[-1]
    want = subject.score(text)[0]
    places = _list_places(info.device, info.dtype)
    for device, dtype in places:
        with _another(subject, model, device, dtype) as other:
            got = Subject(other, seed=subject.seed).score(text)[0]
        loose = {"float32": 1e-3, "float64": 1e-3}.get(dtype, 5e-2) if not subject.half else 5e-2
        if len(want.bits) != len(got.bits) or abs(want.total() - got.total()) > loose * max(
            1.0, want.total()
        ):
            came = f"{got.total():.4f} bits in {dtype} on {device}, {want.total():.4f} as it is"
            raise Failed(show(text), came, "numbers that overflow, or a part that was not moved")
    return ", ".join(f"{dtype} on {device}" for device, dtype in places)


def _list_places(device: str, dtype: str) -> list[tuple[str, str]]:
    """Where else a model is asked: on the processor in another number format; on it in the same one
    if the model is on a GPU, else on each kind of GPU that torch has here. A Mac's GPU has no
    float64.
    """
    places = [("cpu", "float64" if dtype == "float32" else "float32")]
    if device.partition(":")[0] in ("cuda", "mps"):
        return [*places, ("cpu", dtype)]
    if has_cuda():
        places.append(("cuda", dtype))
    if has_mps() and dtype != "float64":
        places.append(("mps", dtype))
    return places


@contextmanager
def _another(subject: Subject, model: TokenAdapter, device: str, dtype: str) -> Iterator[Adapter]:
    """A second model beside the first, on a device and in a number format; the first stays as it
    is.
    """
    other = subject.make() if subject.make is not None else None
    if other is None or other is model:
        other = None
        with suppress(Exception):  # whatever forbids a copy
            other = copy.deepcopy(model)
    second = tokens_of(other) if other is not None else None
    if second is None:
        raise Skip("there is no way to a second one")
    try:
        if second.info.device.partition(":")[0] == "mps":  # it has no float64 to begin with
            second = second.to("cpu", str(second.info.dtype))
        yield second.to(device, dtype)
    finally:
        second.close()


def info(subject: Subject) -> str:
    """Parameters, context and format are as `info` says."""
    said = subject.adapter.info
    if not said.fingerprint:
        raise Failed(
            "info",
            "no fingerprint",
            "without one, cells of different weights could be taken for one another",
        )
    tried = ["fingerprint"]
    model = subject.tokens
    if model is None:
        return "fingerprint (its parts cannot be seen)"
    if model.modules:
        parameters = {
            id(p): p for module in model.modules.values() for p in module.parameters()
        }.values()
        count = sum(p.numel() for p in parameters)
        tried.append("parameters")
        if said.parameters is not None and said.parameters != count:
            raise Failed(
                "info.parameters",
                f"{said.parameters}, where there are {count}",
                "shared weights counted twice, or a part left out",
            )
        floats = {str(p.dtype).removeprefix("torch.") for p in parameters if p.is_floating_point()}
        tried.append("dtype")
        if floats and said.dtype not in floats:
            raise Failed(
                "info.dtype",
                f"{said.dtype}, where the weights are {', '.join(sorted(floats))}",
                "it was moved and `info` was not asked again",
            )
    if said.context is not None:
        tried.append(_reach(subject, model, said.context))
    return ", ".join(tried)


def _reach(subject: Subject, model: TokenAdapter, context: int) -> str:
    """A row of `context` ids is taken, and what is further back does not change a prediction."""
    import torch

    if context < 1 or context * subject.symbols > LOGITS:
        return f"context {context} (not tried)"
    ids = np.resize(np.array(model.encode(subject.texts[-1]).ids), context + 1)
    line = torch.tensor([*model.bos_ids, *ids.tolist()], device=model.device)
    longest = model.context or len(line)
    with torch.inference_mode():
        rows = model.logits(line[None, : min(longest, len(line))])
        if rows.shape[1] != min(longest, len(line)) or not bool(
            torch.isfinite(rows[0, -1].float()).any()
        ):
            raise Failed(
                f"{min(longest, len(line))} ids",
                f"logits of shape {tuple(rows.shape)}",
                "a context that the model does not have",
            )
        if len(line) - 1 >= longest or len(line) <= context:
            return f"context {context}"
        other = line.clone()
        other[: len(line) - context] = line[len(line) - context : 2 * (len(line) - context)]
        one, two = (
            torch.log_softmax(model._last(row[None])[0].float(), -1) for row in (line, other)
        )
    if not torch.allclose(one, two, rtol=1e-3, atol=subject.room(rows)):
        raise Failed(
            f"{len(line)} ids, and others further back than {context}",
            f"another prediction by {float((one - two).abs().max()):.4g} nats",
            "it looks back further than `info.context` says",
        )
    return f"context {context}"


CHECKS = (
    Check(
        "determinism",
        "the same question gets the same answer, in evaluation mode, with unchanged weights",
        determinism,
        bars="A1",
    ),
    Check(
        "elsewhere",
        "bits are the same in another number format or on another device",
        elsewhere,
    ),
    Check("info", "parameters, context and number format are what `info` says", info, bars="A1"),
)
