"""Logits and target ids -> bits: log-softmax in float32 or better, sums in float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.errors import ModelError
from llmbench.inference.cpu_kernels import onednn_product
from llmbench.inference.token_model import TokenModel

LOGITS_BUDGET = 1 << 20  # logits held at once: rows of a chunk times the vocabulary
LEAST_ROWS = 128  # rows of a chunk, however large the vocabulary
WIDE = 4096  # entries of a vocabulary from which on a plain head is multiplied transposed


def check_logits(logits: Tensor, ids: Tensor) -> None:
    """Raise ModelError unless logits are (B, T, V) for (B, T) ids."""
    if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids.shape:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"logits are {shape} for ids of shape {tuple(ids.shape)}",
            hint="they must be (B, T, V), row t predicting what follows ids[:, :t+1]",
        )


def token_bits(
    logits: Tensor, targets: Tensor | NDArray[np.int64], buffer: Tensor | None = None
) -> NDArray[np.float64]:
    """Return the (N,) bits of (N,) target ids under (N, V) logits: -log2 softmax(logits)[target].

    Args:
        logits: of any float type; computed in float32, or in float64 if they are that.
        targets: each below V.
        buffer: (M, V) with M >= N, of the computed type, for log-softmax to write to. Keep it
            from chunk to chunk: allocating costs more than the arithmetic.

    Raises:
        ModelError: the logits hold NaN or +inf.
    """
    logits = widen(logits)
    index = torch.as_tensor(targets, dtype=torch.long).to(logits.device)[:, None]
    if buffer is None:
        total = torch.logsumexp(logits, 1)
        total = torch.where(torch.isposinf(total), torch.nan, total)  # as log-softmax has it
        nats = total - logits.gather(1, index)[:, 0]
    else:  # the public log_softmax takes no `out`
        logs = torch._log_softmax(logits, 1, False, out=buffer[: len(logits)])
        nats = -logs.gather(1, index)[:, 0]
    return _to_bits(nats)


def widen(logits: Tensor) -> Tensor:
    """Return the logits in float32, or as they are if they are float64."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _to_bits(nats: Tensor) -> NDArray[np.float64]:
    bits = nats.cpu().double().numpy() / math.log(2)  # a Mac's GPU has no float64
    if np.isnan(bits).any():
        raise ModelError("logits hold NaN or +inf", hint="look at the weights, or score in float32")
    return np.asarray(np.maximum(bits, 0.0), dtype=np.float64)


def charge(
    model: TokenModel, rows: Tensor, targets: NDArray[np.int64], is_logits: bool
) -> NDArray[np.float64]:
    """Return the (N,) bits of (N,) targets, given (N, D) rows for the model's head, chunk by chunk.

    Args:
        is_logits: the rows are (N, V) logits already.

    Raises:
        ModelError: a target has no logit and the model no escape, or the logits are not finite.
            With an escape, an unknown target costs the escape alone.
    """
    matrix = None if is_logits or model.escape else model.lm_head_weight
    if (
        matrix is not None
        and len(matrix) >= WIDE
        and rows.device.type == "cpu"
        and rows.dtype == torch.float32
    ):
        return _charge_transposed(matrix, rows, targets)
    out = np.empty(len(targets))
    buffer: Tensor | None = None
    size, at = (LOGITS_BUDGET // rows.shape[-1] if is_logits else 2 * LEAST_ROWS) or 1, 0
    while at < len(targets):
        chunk = rows[at : at + size]
        logits = widen(chunk if is_logits else model.head(chunk))
        wanted = targets[at : at + size]
        escaped = wanted >= logits.shape[-1] if model.escape else np.zeros(len(wanted), dtype=bool)
        if not escaped.all() and int(wanted[~escaped].max()) >= logits.shape[-1]:
            raise ModelError(
                f"token id {int(wanted.max())} has no logit: there are {logits.shape[-1]}"
            )
        if buffer is None or len(buffer) < len(logits):
            buffer = torch.empty_like(logits)
        bits = token_bits(logits, np.where(escaped, 0, wanted), buffer)
        if model.escape:
            bits = np.where(escaped, -math.log2(model.escape), bits - math.log2(1 - model.escape))
        out[at : at + size] = bits
        at += size
        # now that the size of the vocabulary is known
        size = max(LEAST_ROWS, LOGITS_BUDGET // 4 // logits.shape[-1])
    return out


def _charge_transposed(
    matrix: Tensor, rows: Tensor, targets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the bits for a head that is a (V, D) matrix and nothing else.

    (V, D) x (D, n) takes a third less time than (n, D) x (D, V) if V is large.
    """
    out, size = np.empty(len(targets)), LEAST_ROWS
    if len(targets) and int(targets.max()) >= len(matrix):
        raise ModelError(f"token id {int(targets.max())} has no logit: there are {len(matrix)}")
    multiply = onednn_product()
    logits = torch.empty(len(matrix), min(size, len(targets)))
    for at in range(0, len(targets), size):
        part = rows[at : at + size]
        if multiply is not None:
            logits = multiply(matrix, part, None)
        else:
            if logits.shape[1] != len(part):
                logits = torch.empty(len(matrix), len(part))
            torch.mm(matrix, part.T, out=logits)
        chosen = logits.gather(0, torch.from_numpy(targets[at : at + size])[None])[0]
        top = logits.amax(0)
        out[at : at + size] = _to_bits(logits.sub_(top).exp_().sum(0).log_() + top - chosen)
    return out
