"""One trainer for every network that is trained here: seeded, a fixed number of steps, the best state by the validation text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from llmbench.adapter import Passage, Progress
from llmbench.config.model_card import Recipe
from llmbench.data.splitting import block_edges
from llmbench.data.text import Document, Text
from llmbench.errors import ModelError, UsageError
from llmbench.models.networks.network import Network, State
from llmbench.models.tokenizers.tokens import Tokens
from llmbench.muon import Muon
from llmbench.snapshots import Snapshots, TrainingLog, Work

SNAPSHOT_EVERY = 60.0  # seconds, at least, between two snapshots that are not taken at an evaluation
LAST = ("output", "lm_head")  # what the layer that gives the logits is called
LONG = 8192  # bytes of a validation document that is cut into blocks
IGNORE = -100  # cross_entropy's own mark for rows that do not count
Batch = tuple[Tensor, Tensor, Tensor | None]  # (B, T) ids, (B, T) targets, and what the network is to start from


@dataclass(frozen=True)
class Course:
    """How a training is to go: `evaluate` gives bits per byte of the validation text; `snapshots` are what an interrupted one goes on from."""

    recipe: Recipe
    seed: int
    evaluate: Callable[[], float]
    progress: Progress = lambda what, share, remark: None
    snapshots: Snapshots | None = None


class Lessons(Protocol):
    """What a network learns from, and what it is told. `batches`: without end, from the recipe and the seed alone. `loss`: in nats a symbol, and
    the state that the next batch begins with.
    """

    def batches(self, recipe: Recipe, seed: int) -> Iterator[Any]: ...
    def loss(self, batch: Any, state: State) -> tuple[Tensor, State]: ...


@dataclass(frozen=True)
class Line:
    """A document as ids, of which those from `first` on are to be learnt: of a pair the target, after its source."""

    ids: NDArray[np.int64]
    first: int = 0


def line(tokens: Tokens, document: Document) -> Line:
    """The line of a document whose `whole` is these tokens."""
    return Line(tokens.ids, int(np.searchsorted(tokens.end, len(document.given.encode()), side="right")) if document.given else 0)


def train(network: Network, documents: Sequence[Line], course: Course) -> TrainingLog:
    """Train a causal network in place on documents of ids: `teach` with what follows each id."""
    return teach(network, NextSymbols(network, documents), course)


def teach(network: nn.Module, lessons: Lessons, course: Course) -> TrainingLog:
    """Train `network` in place and leave it in its best state.

    The state kept is the best of `recipe.evaluations` evenly spaced ones. With snapshots, a training that was interrupted goes on where the last
    one was taken, and ends as it would have. Raises ModelError when the loss is no longer a number.
    """
    recipe = course.recipe
    torch.manual_seed(course.seed)
    batches, work = lessons.batches(recipe, course.seed), Work(network, _optimizers(network, recipe))
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
        if step % 10 == 0 or step in due:
            value = float(loss.detach()) / math.log(2)
            if not math.isfinite(value):
                raise ModelError(f"the training loss became {value} at step {step}", hint="lower the learning rate")
            elapsed = log.seconds + time.perf_counter() - begun
            course.progress("training", step / recipe.steps, f"{value:.2f} bits a symbol, {step / elapsed:.1f} steps/s")
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
    """A validation text to be scored again and again: a long document in blocks, each from a fresh context, so that they run side by side; of pairs
    what stands after the source.
    """
    passages: list[Passage] = []
    for document in valid.documents:
        if document.given:
            passages.append(Passage(document.text, given=document.given))
            continue
        raw = document.text.encode()
        edges = block_edges(document.text) if len(raw) >= LONG else [0, len(raw)]
        passages += [Passage(raw[a:b].decode()) for a, b in zip(edges, edges[1:], strict=False)]
    return passages


def _evaluate(work: Work, log: TrainingLog, step: int, course: Course) -> None:
    """Add a point to the curve, and keep the weights where it is the lowest."""
    work.network.eval()
    log.curve.append((step, course.evaluate()))
    if log.best[0] == step:
        work.best = {name: tensor.detach().clone() for name, tensor in work.network.state_dict().items()}
    work.network.train()


class NextSymbols:
    """Lessons of a causal network: the next id after each."""

    def __init__(self, network: Network, documents: Sequence[Line]):
        self.network, self.documents = network, documents

    def batches(self, recipe: Recipe, seed: int) -> Iterator[Batch]:
        return _batches(self.network, self.documents, recipe, seed)

    def loss(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        network = self.network
        device = next(network.parameters()).device
        ids, targets, begin = (None if part is None else part.to(device) for part in batch)
        assert ids is not None
        assert targets is not None
        if network.carries:
            state = _reset(state, begin)
        rows, state = network.hidden(ids, state if network.carries else begin)
        charged = (targets != IGNORE).flatten()
        if not charged.any():  # sources alone, of which nothing is to be learnt
            return rows.sum() * 0.0, _detach(state) if network.carries else None
        loss = F.cross_entropy(network.head(rows.flatten(0, 1)[charged]), targets.flatten()[charged])
        return loss, _detach(state) if network.carries else None


def _learn(network: nn.Module, loss: Tensor, optimizers: Sequence[torch.optim.Optimizer], clip: float) -> None:
    """One step down."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    nn.utils.clip_grad_norm_(network.parameters(), clip)
    for optimizer in optimizers:
        optimizer.step()


def _detach(state: State) -> State:
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def _reset(state: State, fresh: Tensor | None) -> State:
    """Zero the state, (layers, B, width) each, of the rows that begin a new document."""
    if state is None or fresh is None:
        return state
    keep = (~fresh).to(torch.float32)[None, :, None]
    return tuple(part * keep for part in state) if isinstance(state, tuple) else state * keep


def _schedule(step: int, recipe: Recipe) -> float:
    """Rise over the warm-up, then a straight line down to `final`."""
    warm = max(1, round(recipe.warmup * recipe.steps))
    if step < warm:
        return (step + 1) / warm
    return 1.0 - (1.0 - recipe.final) * (step - warm) / max(1, recipe.steps - warm)


def _set_rates(optimizers: Sequence[torch.optim.Optimizer], rates: Sequence[Sequence[float]], share: float) -> None:
    for optimizer, base in zip(optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * share


def _optimizers(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW for all; where the recipe asks for it, Muon (Jordan et al. 2024) for the matrices of linear and recurrent layers but the last."""
    matrices: list[nn.Parameter] = []
    if recipe.matrix_learning_rate is not None:
        for name, module in network.named_modules():
            if (isinstance(module, nn.Linear | nn.RNNBase) or type(module).__name__ == "Conv1D") and name.rpartition(".")[2] not in LAST:
                matrices += [p for p in module.parameters(recurse=False) if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.0 if matrices else recipe.weight_decay)
    ]
    if matrices:
        assert recipe.matrix_learning_rate is not None
        optimizers.append(Muon(matrices, lr=recipe.matrix_learning_rate, weight_decay=recipe.weight_decay))
    return optimizers


def _batches(network: Network, documents: Sequence[Line], recipe: Recipe, seed: int) -> Iterator[Batch]:
    rng = np.random.default_rng(seed)
    some = [document for document in documents if len(document.ids) > document.first]
    if not some:
        raise UsageError("there is nothing to train on", hint="the training text is empty")
    if network.carries:
        return lanes(some, network.start, recipe.batch, recipe.length, rng)
    length = recipe.length if network.context is None else min(recipe.length, network.context)
    return random_windows(some, network.start, recipe.batch, length, network.reach, rng)


def random_windows(documents: Sequence[Line], start: int, batch: int, length: int, reach: int | None, rng: np.random.Generator) -> Iterator[Batch]:
    """Windows inside documents, drawn so that each symbol to be learnt has the same chance. A network of limited reach is also given the reach-1 ids
    before.
    """
    before = (reach or 1) - 1
    pad = np.full(before + 1, start, dtype=np.int64)
    line = np.concatenate([part for document in documents for part in (pad, document.ids)])
    sizes, given = (np.array(numbers) for numbers in zip(*((len(document.ids), document.first) for document in documents), strict=True))
    firsts = np.cumsum(np.concatenate(([0], sizes[:-1] + before + 1)))  # where each document's padding starts in the line
    learnt = sizes - given
    share = np.cumsum(learnt)
    span = np.arange(before + length + 1)
    while True:
        target = rng.integers(0, share[-1], size=batch)
        which = np.searchsorted(share, target, side="right")
        inside = given[which] + target - (share[which] - learnt[which])  # the charged symbol's place in its document
        begin = np.clip(inside - rng.integers(0, length, size=batch), 0, np.maximum(0, sizes[which] - length))
        at = firsts[which] + begin
        places = np.minimum(at[:, None] + span, len(line) - 1)
        window = torch.from_numpy(line[places])
        targets = window[:, before + 1 :].clone()
        spots = begin[:, None] + np.arange(length)
        targets[torch.from_numpy((spots >= sizes[which][:, None]) | (spots < given[which][:, None]))] = IGNORE  # beyond a short document, or given
        yield window[:, before:-1], targets, window[:, :before] if reach else None


def lanes(documents: Sequence[Line], start: int, batch: int, length: int, rng: np.random.Generator) -> Iterator[Batch]:
    """`batch` lanes of text side by side for networks that carry a state: a lane goes through a document in order, then takes another, drawn
    without repeat until all were seen. The third part says which lanes begin one. Documents longer than a lane's share are cut.
    """
    most = max(length, math.ceil(sum(len(document.ids) for document in documents) / batch))
    pieces = []  # (2, n) each: ids, and what is to be learnt after them
    for document in documents:
        wanted = np.where(np.arange(len(document.ids)) < document.first, IGNORE, document.ids)
        both = np.stack([np.concatenate(([start], document.ids[:-1])), wanted])
        cuts = max(1, math.ceil(len(document.ids) / most))
        edges = [len(document.ids) * i // cuts for i in range(cuts + 1)]
        pieces += [both[:, a:b] for a, b in zip(edges, edges[1:], strict=False)]
    waiting: list[int] = []
    current: list[NDArray[np.int64]] = [np.empty((2, 0), dtype=np.int64)] * batch
    while True:
        ids = np.full((batch, length), start, dtype=np.int64)
        targets = np.full((batch, length), IGNORE, dtype=np.int64)
        fresh = np.zeros(batch, dtype=bool)
        for row in range(batch):
            if not current[row].shape[1]:
                if not waiting:
                    waiting = list(rng.permutation(len(pieces)))
                current[row], fresh[row] = pieces[waiting.pop()], True
            size = min(length, current[row].shape[1])
            ids[row, :size], targets[row, :size] = current[row][:, :size]
            current[row] = current[row][:, size:]
        yield torch.from_numpy(ids), torch.from_numpy(targets), torch.from_numpy(fresh)
