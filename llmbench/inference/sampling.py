"""Draw the next token from logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmbench.adapter import Request


def sample(logits: NDArray[np.float64], request: Request, rng: np.random.Generator) -> int:
    """One id from (V,) logits: greedy at temperature 0, else by temperature, then top-k, then top-p
    (Holtzman et al. 2020).
    """
    if request.temperature == 0:
        return int(logits.argmax())
    scaled = (logits - logits.max()) / request.temperature
    order = (-scaled).argsort(kind="stable")
    p = np.exp(scaled[order])
    if request.top_k is not None:
        p[request.top_k :] = 0.0
    p /= p.sum()
    if request.top_p is not None:  # the fewest symbols that together reach top_p
        p[p.cumsum().searchsorted(request.top_p) + 1 :] = 0.0
    total = p.cumsum()
    return int(order[total.searchsorted(rng.random() * total[-1], side="right")])
