"""A token model taken apart after it was timed: what it carries, where the time of an answer goes,
and what share of the machine it used.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from llmbench.adapter import Adapter, Request
from llmbench.hardware import flops
from llmbench.hardware.peaks import Ceilings
from llmbench.inference import sampling
from llmbench.stats import Interval

PART_SECONDS, PART_RUNS = 0.05, 30  # of each part: so long, or so often
STEPS = 32  # symbols that are written after the prompt is read, at most


@dataclass
class Dissection:
    """`shares`: phase -> share of the limit. `parts`: seconds of each part of an answer. `absent`:
    why there are no shares.
    """

    cache: str | None = None
    parts: dict[str, float] = field(default_factory=dict)
    shares: dict[str, Interval] = field(default_factory=dict)
    absent: str = ""


def dissect(
    adapter: Adapter,
    prompt: str,
    answer: str,
    batch: int,
    measured: Mapping[str, Interval],
    ceilings: Ceilings | None,
) -> Dissection:
    """Everything about the model, at the depth that the middle of the answer has. `measured`: what
    speed.py's task found, by its names.
    """
    found = Dissection()
    model: Any = adapter.token_model
    if model is None:
        found.absent = "the adapter shows no passes of its own: it is not a token model"
        return found
    ids = [*model.bos_ids, *model.encode(prompt).ids.tolist()]
    context = model.context or len(ids) + len(answer)
    ids = ids[-context:]
    apart = not model.answer_continues_prompt  # the answer is written into a line of its own
    encode = model.encode_answer if apart else model.encode
    half = len(encode(answer).ids) // 2
    depth = max(1, min(context - 1, half if apart else len(ids) + half))
    try:
        found.cache = flops.kind_of_cache(model, ids)
        found.parts = _parts(model, prompt, answer, ids)
        parameters = flops.parameters_of(adapter)
        if not any(parameter.is_floating_point() for parameter in parameters):
            found.absent = "not a torch model: it has no floating-point parameters"
        elif ceilings is None:
            found.absent = "this machine's ceilings are not known: llmbench doctor measures them"
        else:
            found.absent = _shares(
                found.shares, model, ids, depth, batch, parameters, measured, ceilings
            )
    except Exception as error:  # whatever the model raises: its times stay valid
        found.absent = (
            f"it could not be counted: {' '.join(str(error).split())[:200] or type(error).__name__}"
        )
    return found


def _shares(
    shares: dict[str, Interval],
    model: Any,
    ids: Sequence[int],
    depth: int,
    batch: int,
    parameters: Sequence[torch.Tensor],
    measured: Mapping[str, Interval],
    ceilings: Ceilings,
) -> str:
    """Fill in the shares; give why some are missing."""
    why = ""
    for phase, work, seconds in _works(model, ids, depth, batch, parameters, measured):
        least = work.seconds(ceilings)
        if not work.agrees:
            why = (
                f"unknown: two counts of its operations differ by more than {flops.ROOM:.0%}"
                f" ({work.flops:,} and {work.expected:,} in {phase})"
            )
        elif least is None:
            why = f"this machine's peak in {work.dtype} is not known"
        elif seconds is not None:
            low, high = (
                None if end is None else least / end for end in (seconds.high, seconds.low)
            )
            shares[phase] = Interval(least / seconds.value, low, high, seconds.n)
    return why


def _works(
    model: Any,
    ids: Sequence[int],
    depth: int,
    batch: int,
    parameters: Sequence[torch.Tensor],
    measured: Mapping[str, Interval],
) -> Iterator[tuple[str, flops.Work, Interval | None]]:
    """(phase, its work, its measured seconds), the largest last, so that what has no memory for it
    keeps the others.
    """
    prefill, step = flops.passes(model, ids, depth, 1, parameters)
    yield "prefill", prefill, measured.get("time_to_first_token")
    yield "decode", step, measured.get("time_per_output_token")
    rate = measured.get(f"decode_tokens_per_second@{batch}")
    if batch > 1 and rate is not None and rate.low and rate.high:
        many = flops.passes(model, ids, depth, batch, parameters)[1]
        yield (
            "decode, best batch",
            many,
            Interval(batch / rate.value, batch / rate.high, batch / rate.low, rate.n),
        )


def _parts(model: Any, prompt: str, answer: str, ids: Sequence[int]) -> dict[str, float]:
    """Seconds of each part of an answer: reading the prompt into ids, the bare passes, drawing a
    symbol, writing one as text.
    """
    context = model.context or len(ids) + STEPS
    line = torch.tensor(
        [list(ids[-max(1, context - STEPS) :])], device=model.device
    )  # so that some steps have room behind it
    with torch.inference_mode():
        state, logits = model.prefill(line)
        row = logits[0].cpu().double().numpy()
        drawn = Request(prompt, max_tokens=1, temperature=0.8)
        symbols = (model.encode(answer).ids.tolist() or list(ids[-1:]))[
            : max(1, min(STEPS, context - line.shape[1]))
        ]
        rng = np.random.default_rng(0)
        parts: dict[str, Callable[[], object]] = {
            "tokenise": lambda: model.encode(prompt),
            "prefill": lambda: model.prefill(line)[1].cpu(),
            "sample": lambda: sampling.sample(row, drawn, rng),
            "detokenise": lambda: model.decode(symbols[:1]),
        }
        found = {name: _seconds(work) for name, work in parts.items()}
        found["step"] = _steps(model, state, symbols)
        own = model.library_generate
        if own is not None:
            count = max(2, len(symbols))  # from the difference, which has no prefill in it
            found["library generate, each token"] = (
                _seconds(lambda: own(line, count)) - _seconds(lambda: own(line, 1))
            ) / (count - 1)
    return found


def _steps(model: Any, state: Any, symbols: Sequence[int]) -> float:
    """Seconds of one bare step: the median over an answer's symbols."""
    took = []
    for symbol in symbols:
        ids = torch.tensor([symbol], device=model.device)
        begun = time.perf_counter()
        state, logits = model.step(state, ids)
        logits.cpu()
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def _seconds(work: Callable[[], object]) -> float:
    """The median of runs that fill PART_SECONDS."""
    work()
    took: list[float] = []
    while len(took) < 3 or (sum(took) < PART_SECONDS and len(took) < PART_RUNS):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return statistics.median(took)
