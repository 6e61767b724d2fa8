"""How lm-eval asks for an answer to be generated: what is obeyed, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping

LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
NEUTRAL = {"num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1.0}
OBEYED = ("until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p")


def find_disobeyed(meant: Mapping[str, object]) -> str:
    """Return the first of these settings that cannot be obeyed, and why; "" if all can be."""
    for key, value in meant.items():
        if why := _judge(key, value):
            return f"{key}={value!r}, {why}"
    is_cold = not meant.get("temperature")
    if meant.get("do_sample") is True and is_cold:
        return "do_sample=True and no temperature above 0, which draws nothing"
    return ""


def _judge(key: str, value: object) -> str:
    """Why one setting cannot be obeyed."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    number = float(value) if is_number else math.nan  # type: ignore[arg-type]  # is a number
    if key in LENGTHS:
        return "" if number >= 1 and number == int(number) else "which is no number of tokens"
    if key == "until":
        stops = value if isinstance(value, list) else [value]
        return "" if all(isinstance(one, str) for one in stops) else "which is no text to stop at"
    if key == "do_sample":
        return "" if isinstance(value, bool) else "which is neither true nor false"
    if key == "temperature":
        return "" if 0 <= number <= 100 else "which is no temperature"
    if key == "top_k":
        return "" if number >= 1 and number == int(number) else "which is no number of tokens"
    if key == "top_p":
        return "" if 0 < number <= 1 else "which is no share"
    if key in NEUTRAL and number == NEUTRAL[key]:
        return ""
    return f"which llmbench does not do (it has {', '.join(OBEYED)})"
