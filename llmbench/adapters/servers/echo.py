"""Log-probabilities that a server gives the ids of a prompt.

Two ways to ask: `echo` with `logprobs`, which is OpenAI's, and `prompt_logprobs`, which is vLLM's
and names the id of each. A prompt is always ids: of a string the server's own tokenizer decides
what is read, and its first token is never charged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llmbench.adapters.servers.client import Client
from llmbench.adapters.servers.protocol import Dialect, take_choice
from llmbench.errors import ModelError

Way = Literal["echo", "prompt_logprobs"]
NEVER = -9999.0  # what stands for minus infinity, which JSON does not have
ROOM = 1e-4  # nats above 0 that rounding explains


class Unusable(ModelError):
    """What a server answered has not one log-probability for each token. `cause`: why."""

    def __init__(self, cause: str, where: str):
        super().__init__(
            f"the server gives no log-probabilities of a prompt's tokens: {cause}", where=where
        )
        self.cause = cause


class Echo:
    """Asks for the log-probabilities of prompts, in one way."""

    def __init__(self, client: Client, dialect: Dialect, way: Way = "echo"):
        self.client, self.dialect, self.way = client, dialect, way

    def read(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """Return the (T,) nats of T ids, each after those before it; the first is NaN.

        Raises Unusable if the answer is not one number for each.
        """
        body: dict[str, Any] = {
            "model": self.dialect.model,
            "prompt": list(ids),
            self.dialect.limit: 1,
            "temperature": 0.0,
        }
        body |= {"echo": True, "logprobs": 1} if self.way == "echo" else {"prompt_logprobs": 0}
        answer = self.client.ask(self.dialect.path, body)
        self.dialect.check_model(answer)
        return self.parse(answer, ids)

    def parse(self, answer: Mapping[str, Any], ids: Sequence[int]) -> NDArray[np.float64]:
        """Return what an answer says of these ids; see `read`."""
        choice = take_choice(answer, self.client.where)
        values = find_logprobs(choice) if self.way == "echo" else _find_named(choice, ids)
        if values is None:
            raise self._refuse(f"it ignores {self.way!r}, and gives none")
        if len(values) <= 1 < len(ids):
            raise self._refuse(f"it ignores {self.way!r}: only what it writes has one")
        if not len(ids) <= len(values) <= len(ids) + (self.way == "echo"):
            raise self._refuse(f"{len(values)} for a prompt of {len(ids)} tokens: it cuts prompts")
        return self._check(values[: len(ids)])

    def _check(self, values: Sequence[Any]) -> NDArray[np.float64]:
        found = np.full(len(values), math.nan)
        for at, value in enumerate(values[1:], 1):  # nothing predicts the first
            if not is_number(value):
                raise self._refuse(f"token {at} of {len(values)} has none, but {value!r:.40}")
            if value > ROOM:
                raise self._refuse(f"token {at} has {value:.4g} nats, a probability above 1")
            found[at] = -math.inf if value <= NEVER else min(0.0, float(value))
        return found

    def _refuse(self, cause: str) -> Unusable:
        return Unusable(cause, self.client.where)


def is_number(value: Any) -> bool:
    """Whether a value of a server's JSON is a log-probability: a number that a float can be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:
        return False


def find_logprobs(choice: Mapping[str, Any]) -> list[Any] | None:
    """Return the log-probabilities of a choice's tokens; None if there are none."""
    holder = choice.get("logprobs")
    values = holder.get("token_logprobs") if isinstance(holder, Mapping) else None
    return values if isinstance(values, list) else None


def _find_named(choice: Mapping[str, Any], ids: Sequence[int]) -> list[Any] | None:
    """Those of `prompt_logprobs`: for each token a mapping of ids, its own among them."""
    rows = choice.get("prompt_logprobs")
    if not isinstance(rows, list):
        return None
    found: list[Any] = []
    for row, id in zip(rows, ids, strict=False):
        own = row.get(str(id)) if isinstance(row, Mapping) else None
        found.append(own.get("logprob") if isinstance(own, Mapping) else None)
    return found + rows[len(ids) :]
