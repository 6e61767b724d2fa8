"""Rows and targets -> bits: the head on the rows that are charged and no others, log-softmax in
float32 or better, sums in float64.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.errors import ModelError

LOGITS_BUDGET = 1 << 20  # logits held at once: rows of the head's chunk times the vocabulary
LEAST_ROWS = 128  # of the head's chunk, however large the vocabulary
WIDE = 4096  # entries of a vocabulary from which on a plain head is multiplied the other way round


class Headed(Protocol):
    """What charging needs of a model; TokenAdapter says what each part means."""

    escape: float

    @property
    def lm_head_weight(self) -> Tensor | None: ...
    def head(self, rows: Tensor) -> Tensor: ...


def check_logits(logits: Tensor, ids: Tensor) -> None:
    """Raise ModelError unless logits are (B, T, V) for (B, T) ids."""
    if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids.shape:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"logits are {shape} for ids of shape {tuple(ids.shape)}",
            hint="they must be (B, T, V), row t predicting what follows ids[:, :t+1]",
        )


def charge(
    model: Headed, rows: Tensor, targets: NDArray[np.int64], is_logits: bool
) -> NDArray[np.float64]:
    """(N, D) rows, or (N, V) logits, and (N,) targets -> (N,) bits. With an escape, an unknown
    target costs the escape alone.
    """
    matrix = None if is_logits or model.escape else model.lm_head_weight
    if (
        matrix is not None
        and len(matrix) >= WIDE
        and rows.device.type == "cpu"
        and rows.dtype == torch.float32
    ):
        return _by_columns(matrix, rows, targets)
    out = np.empty(len(targets))
    room: Tensor | None = (
        # where log-softmax writes, kept from chunk to chunk: new memory for each costs more than
        # the arithmetic
        None
    )
    size, at = (LOGITS_BUDGET // rows.shape[-1] if is_logits else 2 * LEAST_ROWS) or 1, 0
    while at < len(targets):
        logits = rows[at : at + size] if is_logits else model.head(rows[at : at + size])
        logits = logits if logits.dtype == torch.float64 else logits.float()
        wanted = targets[at : at + size]
        escaped = wanted >= logits.shape[-1] if model.escape else np.zeros(len(wanted), dtype=bool)
        if not escaped.all() and int(wanted[~escaped].max()) >= logits.shape[-1]:
            raise ModelError(
                f"token id {int(wanted.max())} has no logit: there are {logits.shape[-1]}"
            )
        target = torch.from_numpy(np.where(escaped, 0, wanted)).to(logits.device)
        if room is None or len(room) < len(logits):
            room = torch.empty_like(logits)
        logs = torch._log_softmax(
            logits, 1, False, out=room[: len(logits)]
        )  # the public log_softmax takes no `out`
        bits = logs.gather(1, target[:, None])[:, 0].double().cpu().numpy() / -math.log(2)
        if np.isnan(bits).any():
            raise ModelError(
                "logits hold NaN or +inf", hint="look at the weights, or score in float32"
            )
        bits = np.maximum(bits, 0.0)
        if model.escape:
            bits = np.where(escaped, -math.log2(model.escape), bits - math.log2(1 - model.escape))
        out[at : at + size] = bits
        at += size
        size = max(
            LEAST_ROWS, LOGITS_BUDGET // 4 // logits.shape[-1]
        )  # now that the size of the vocabulary is known
    return out


def _by_columns(matrix: Tensor, rows: Tensor, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """The same for a head that is a (V, D) matrix and nothing else: (V, D) x (D, n) takes a third
    less time than (n, D) x (D, V) where V is large.
    """
    out, size = np.empty(len(targets)), LEAST_ROWS
    if len(targets) and int(targets.max()) >= len(matrix):
        raise ModelError(f"token id {int(targets.max())} has no logit: there are {len(matrix)}")
    logits = torch.empty(len(matrix), min(size, len(targets)))
    for at in range(0, len(targets), size):
        part = rows[at : at + size].T
        logits = (
            logits if logits.shape[1] == part.shape[1] else torch.empty(len(matrix), part.shape[1])
        )
        torch.mm(matrix, part, out=logits)
        chosen = logits.gather(0, torch.from_numpy(targets[at : at + size])[None])[0]
        top = logits.amax(0)
        nats = logits.sub_(top).exp_().sum(0).log_() + top - chosen
        out[at : at + size] = nats.double().numpy() / math.log(2)
    if np.isnan(out).any():
        raise ModelError("logits hold NaN or +inf", hint="look at the weights, or score in float32")
    return np.maximum(out, 0.0)
