"""The base of a server's log-probabilities. To another base than e they agree with themselves just
as well, so what a server writes and reads cannot tell it; sums of probabilities can.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmbench.adapters.servers.echo import is_number

ASKED = (20, 5, 1)  # likeliest tokens: vLLM's default limit, OpenAI's, and what all give
LEAST = 5  # of a row whose sum says something
ROOM = 0.02  # above 1, which rounding to 16 bits explains


def find_likeliest(choice: Mapping[str, Any]) -> list[list[float]]:
    """Return, for each written token, the log-probabilities of the likeliest ones in its place, as
    far as an answer's `top_logprobs` give them.
    """
    holder = choice.get("logprobs")
    rows = holder.get("top_logprobs") if isinstance(holder, Mapping) else None
    return [
        [float(value) for value in row.values() if is_number(value)]
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping)
    ]


def judge_base(rows: Sequence[Sequence[float]]) -> tuple[str, str]:
    """Return (cause, what the record says of the base). `cause` is "" unless another base than e is
    likely, or possible.

    The likeliest tokens' probabilities sum to 1 at most. Numbers to a base above e, taken for
    natural ones, sum to more. Natural ones, taken for binary ones, sum to more in some row; if they
    do not, they may be binary.
    """
    known = [row for row in rows if len(row) >= LEAST]
    if not known:
        return "", "taken for e: the server does not give the likeliest tokens"
    natural = max(_sum_up(row, math.e) for row in known)
    binary = max(_sum_up(row, 2.0) for row in known)
    if natural > 1 + ROOM:
        said = f"the likeliest tokens' probabilities sum to {natural:.3g}"
        return f"{said}: its logarithms are to another base than e, such as 10", ""
    if binary <= 1 + ROOM:
        said = f"the likeliest tokens' probabilities sum to {natural:.3g} at most"
        return f"it could not be verified: {said}, and its logarithms may be to base 2", ""
    shown = f"the likeliest {len(known[0])} tokens' probabilities sum to {natural:.3f} at most"
    return "", f"e: {shown}, and to {binary:.3f} if they were to base 2"


def _sum_up(row: Sequence[float], base: float) -> float:
    return math.fsum(base ** min(0.0, value) for value in row)
