"""One trainer for every network that is trained here: seeded, a fixed number of steps, the best
state by the validation text.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from llmbench.adapter import Passage, Progress
from llmbench.config.model_card import Recipe
from llmbench.data.splitting import block_edges
from llmbench.data.text import Text
from llmbench.errors import ModelError
from llmbench.models.networks.network import Network, State
from llmbench.training.causal_lm import NextSymbols, TrainingLine
from llmbench.training.muon import Muon
from llmbench.training.resume import Snapshots, TrainingLog, Work
from llmbench.training.rounding import round_weights

SNAPSHOT_EVERY = (
    60.0  # seconds, at least, between two snapshots that are not taken at an evaluation
)
LAST = ("output", "lm_head")  # what the layer that gives the logits is called
LONG = 8192  # bytes of a validation document that is cut into blocks


@dataclass(frozen=True)
class Course:
    """How a training is to go: `evaluate` gives bits per byte of the validation text; `snapshots`
    are what an interrupted one goes on from; `on_loss` is told each step and its loss.
    """

    recipe: Recipe
    seed: int
    evaluate: Callable[[], float]
    progress: Progress = lambda what, share, remark: None
    snapshots: Snapshots | None = None
    on_loss: Callable[[int, float], None] | None = None


class Lessons(Protocol):
    """What a network learns from, and what it is told. `batches`: without end, from the recipe and
    the seed alone. `loss`: in nats a symbol, and the state that the next batch begins with.
    """

    def batches(self, recipe: Recipe, seed: int) -> Iterator[Any]: ...
    def loss(self, batch: Any, state: State) -> tuple[Tensor, State]: ...


def train(network: Network, documents: Sequence[TrainingLine], course: Course) -> TrainingLog:
    """Train a causal network in place on documents of ids: `teach` with what follows each id."""
    return teach(network, NextSymbols(network, documents), course)


def teach(network: nn.Module, lessons: Lessons, course: Course) -> TrainingLog:
    """Train `network` in place and leave it in its best state.

    The state kept is the best of `recipe.evaluations` evenly spaced ones, each rounded to float16
    and judged as it would be kept. With snapshots, an interrupted training resumes at the last
    one, and ends as it would have. Raises ModelError when the loss is no longer a number.
    """
    recipe = course.recipe
    torch.manual_seed(course.seed)
    batches, work = (
        lessons.batches(recipe, course.seed),
        Work(network, _optimizers(network, recipe)),
    )
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in work.optimizers]
    log = TrainingLog(steps=recipe.steps)
    done = course.snapshots.load(work, log) if course.snapshots else 0
    for _ in range(done):
        next(batches)
    due = {round(recipe.steps * (i + 1) / recipe.evaluations) for i in range(recipe.evaluations)}
    network.train()
    begun = kept = time.perf_counter()
    for step in range(done + 1, recipe.steps + 1):
        _set_rates(work.optimizers, rates, _schedule(step - 1, recipe))
        loss, work.state = lessons.loss(next(batches), work.state)
        _learn(network, loss, work.optimizers, recipe.clip)
        if course.on_loss is not None:
            course.on_loss(step, float(loss.detach()) / math.log(2))
        if step % 10 == 0 or step in due:
            value = float(loss.detach()) / math.log(2)
            if not math.isfinite(value):
                raise ModelError(
                    f"the training loss became {value} at step {step}",
                    hint="lower the learning rate",
                )
            elapsed = log.seconds + time.perf_counter() - begun
            course.progress(
                "training",
                step / recipe.steps,
                f"{value:.2f} bits a symbol, {step / elapsed:.1f} steps/s",
            )
        if step in due or (course.snapshots and time.perf_counter() - kept > SNAPSHOT_EVERY):
            log.seconds += time.perf_counter() - begun
            if step in due:
                _evaluate(work, log, step, course)
            if course.snapshots and step < recipe.steps:
                course.snapshots.save(work, log, step)
            begun = kept = time.perf_counter()
    network.load_state_dict(work.best)
    network.eval()
    return log


def valid_passages(valid: Text) -> list[Passage]:
    """A validation text to be scored again and again: a long document in blocks, each from a fresh
    context, so that they run side by side; of pairs what stands after the source.
    """
    passages: list[Passage] = []
    for document in valid.documents:
        if document.context:
            passages.append(Passage(document.text, context=document.context))
            continue
        raw = document.text.encode()
        edges = block_edges(document.text) if len(raw) >= LONG else [0, len(raw)]
        passages += [Passage(raw[a:b].decode()) for a, b in zip(edges, edges[1:], strict=False)]
    return passages


def _evaluate(work: Work, log: TrainingLog, step: int, course: Course) -> None:
    """Add a point to the curve, of the rounded weights, and keep these where it is the lowest."""
    network = work.network
    exact = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    rounded = {name: round_weights(tensor) for name, tensor in exact.items()}
    network.load_state_dict(rounded)
    network.eval()
    log.curve.append((step, course.evaluate()))
    if log.best[0] == step:
        work.best = rounded
    network.train()
    network.load_state_dict(exact)


def _learn(
    network: nn.Module, loss: Tensor, optimizers: Sequence[torch.optim.Optimizer], clip: float
) -> None:
    """One step down."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    nn.utils.clip_grad_norm_(network.parameters(), clip)
    for optimizer in optimizers:
        optimizer.step()


def _schedule(step: int, recipe: Recipe) -> float:
    """Rise over the warm-up, then a straight line down to `final`."""
    warm = max(1, round(recipe.warmup * recipe.steps))
    if step < warm:
        return (step + 1) / warm
    return 1.0 - (1.0 - recipe.final) * (step - warm) / max(1, recipe.steps - warm)


def _set_rates(
    optimizers: Sequence[torch.optim.Optimizer], rates: Sequence[Sequence[float]], share: float
) -> None:
    for optimizer, base in zip(optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * share


def _optimizers(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW for all; where the recipe asks for it, Muon (Jordan et al. 2024) for the matrices of
    linear and recurrent layers but the last.
    """
    matrices: list[nn.Parameter] = []
    if recipe.matrix_learning_rate is not None:
        for name, module in network.named_modules():
            if (
                isinstance(module, nn.Linear | nn.RNNBase) or type(module).__name__ == "Conv1D"
            ) and name.rpartition(".")[2] not in LAST:
                matrices += [p for p in module.parameters(recurse=False) if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            rest,
            lr=recipe.learning_rate,
            betas=(0.9, 0.95),
            weight_decay=0.0 if matrices else recipe.weight_decay,
        )
    ]
    if matrices:
        assert recipe.matrix_learning_rate is not None
        optimizers.append(
            Muon(matrices, lr=recipe.matrix_learning_rate, weight_decay=recipe.weight_decay)
        )
    return optimizers
