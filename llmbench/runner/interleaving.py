"""Measuring speed: all models are loaded and parked, and take turns in rounds of random order, so
that what the machine does to one it does to all. One of them is entered twice: it must come out
neither better nor worse than itself.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Literal, overload

from llmbench import storage
from llmbench.config.model_card import Card
from llmbench.errors import Reason
from llmbench.hardware import machine, peaks
from llmbench.results.record import Failure
from llmbench.runner.folder.run_folder import RunFolder
from llmbench.runner.forking.forked import ForkServer, can_be_forked, open_server
from llmbench.runner.messages import (
    BlockEvent,
    CellEvent,
    Event,
    LoadedEvent,
    PeaksJob,
    ReadyEvent,
    SpeedJob,
    job_of,
    log_of,
)
from llmbench.runner.process import Child, make_environment, open_child
from llmbench.runner.progress import Watcher, name_failure
from llmbench.runner.watching.forecast import LOADING
from llmbench.runner.workers.contender import Contender, compare_entries
from llmbench.storage import default_cache
from llmbench.tasks.performance.speed import Speed
from llmbench.tasks.performance.speed_blocks import NumberedBlock

TOGETHER = 2  # workers that load at the same time
HALF = 0.5  # of the free memory that parked workers may hold together
WORKER = "llmbench.runner.workers.speed"


class Rounds:
    """One speed task over all models that lack it."""

    def __init__(self, folder: RunFolder, task: Speed.Settings, watcher: Watcher):
        made = folder.made
        self.folder, self.made, self.task, self.watcher = folder, made, task, watcher
        self.failures: list[Failure] = []
        self.server: ForkServer | None = None
        self.loading = 0.0
        self.session = datetime.now(UTC).isoformat(timespec="seconds")
        self.ceilings = peaks.kept_in(
            made.options.cache or default_cache(),
            made.options.device_kind,
            made.options.threads or machine.cores(),
        )
        self.begun, self.own, self.state = (
            time.perf_counter(),
            time.process_time(),
            machine.load_state(),
        )

    def run(self, cards: Sequence[tuple[Card, dict[str, str]]]) -> list[Failure]:
        """Measure these models. `cards`: with the fingerprints that their finished cells were made
        with.
        """
        contenders = [
            Contender(
                card,
                log_of(self.made, card).with_name(f"{self.task.name}.log"),
                self._job(card, known),
            )
            for card, known in cards
        ]
        for one in contenders:
            one.log.unlink(missing_ok=True)
        try:
            self._measure_ceilings()
            with self._open_server(contenders) as self.server:
                self._measure(contenders)
        finally:
            for one in contenders:
                self._close(one)
        return self.failures

    def _measure(self, contenders: list[Contender]) -> None:
        free = {"resident": machine.free_memory(), "gpu": machine.free_gpu_memory() or 0}
        self._load_all(contenders, free)
        for number, one in enumerate(contenders, 1):
            self.watcher.model(one.name, number, len(contenders))
            self._make_ready(one)
        self._add_second(contenders, free)
        with self.watcher.pause_drawing(self.task.name):
            self._take_turns(contenders)
            self._finish([one for one in contenders if not one.out])

    def _open_server(
        self, contenders: Sequence[Contender]
    ) -> AbstractContextManager[ForkServer | None]:
        """What forks the workers of the models that need torch, if none needs a GPU."""
        models = [self.made.models[one.card.name] for one in contenders]
        on_cpu = self.made.options.device_kind == "cpu"
        modules = [model.list_modules() for model in models if on_cpu and can_be_forked(model)]
        log = self.made.out / "cells" / f"{self.task.name}-server.log"
        return open_server(modules, WORKER, make_environment(self.made.options), log)

    def _job(self, card: Card, known: dict[str, str]) -> SpeedJob:
        return {
            **job_of(self.made, card, [self.task], known),
            "ceilings": str(self.ceilings),
            "facts": None,
        }

    def _measure_ceilings(self) -> None:
        """What the machine can do at most, where nobody has measured it yet."""
        if peaks.read(self.ceilings) is not None:
            return
        self.watcher.model("this machine", 1, 1)
        log = self.made.out / "cells" / "ceilings.log"
        with open_child(log, self.made.options, "llmbench.runner.workers.peaks") as child:
            job: PeaksJob = {
                "device": self.made.options.device_kind,
                "path": str(self.ceilings),
                "threads": self.made.options.threads or machine.cores(),
            }
            child.send(job)
            for event in child.events(self.made.options.timeout):
                if event["event"] == "progress":
                    self.watcher.progress(
                        "this machine", event["what"], event["share"], event["remark"]
                    )

    def _begin(self, *group: Contender) -> None:
        """Write down whose turn it is: a model may kill the whole run."""
        self.folder.turns.begin(*(f"{one.card.name}/{self.task.name}" for one in group))

    # Workers
    # ----------------------------------------------------------------------------------------------

    def _load_all(self, contenders: Sequence[Contender], free: dict[str, int]) -> None:
        """Two at a time, if there is room: importing takes one core, and nothing is timed yet."""
        waiting = list(contenders)
        while waiting:
            self.watcher.progress("all models", LOADING, 0.0, waiting[0].name)
            is_room = (
                machine.free_memory() > HALF * free["resident"] and not self.folder.turns.deaths
            )
            group = waiting[: TOGETHER if is_room else 1]
            self._load(group)
            for one in group:
                self._park(one, contenders, free)
            waiting = waiting[len(group) :]

    def _load(self, group: Sequence[Contender]) -> None:
        """Have workers load; a model that cannot be loaded is out, with its row."""
        begun = time.perf_counter()
        self._begin(*group)
        for one in group:
            server = self.server if can_be_forked(self.made.models[one.card.name]) else None
            one.child = Child(one.log, self.made.options, WORKER, server=server)
            one.child.send({**one.job, "facts": one.facts})
        for one in group:
            event = self._wait(one, "loaded")
            one.held = event["held"] if event is not None else {}
        self.loading += time.perf_counter() - begun

    def _warm(self, one: Contender) -> None:
        """Have a worker that loaded its model warm up, alone."""
        if one.child is not None and not one.out:
            begun = time.perf_counter()
            self._begin(one)
            one.child.send({"do": "prepare"})
            event = self._wait(one, "ready")
            if event is not None:
                one.facts, one.held = event["facts"], event["held"]
            self.loading += time.perf_counter() - begun

    def _make_ready(self, one: Contender) -> None:
        """Warm up, for the first time; a worker that does not stay is loaded for it once more."""
        if one.out:
            return
        if one.child is None:
            self._load([one])
        self._warm(one)
        if not one.parked:
            self._close(one)

    def _load_again(self, one: Contender) -> None:
        if not one.out and one.child is None:
            self._load([one])
            self._warm(one)

    @overload
    def _wait(self, one: Contender, wanted: Literal["loaded"]) -> LoadedEvent | None: ...
    @overload
    def _wait(self, one: Contender, wanted: Literal["ready"]) -> ReadyEvent | None: ...
    @overload
    def _wait(self, one: Contender, wanted: Literal["block"]) -> BlockEvent | None: ...
    @overload
    def _wait(self, one: Contender, wanted: Literal["cell"]) -> CellEvent | None: ...
    def _wait(self, one: Contender, wanted: str) -> Event | None:
        """The next event of this kind; None, and the model is out, where it did not come."""
        assert one.child is not None
        for event in one.child.events(self.made.options.timeout):
            if event["event"] == wanted:
                return event
            if event["event"] == "progress":
                self.watcher.progress(one.name, event["what"], event["share"], event["remark"])
            elif event["event"] == "failed":
                self._lose(one, event["reason"], event["message"], event["hint"])
                return None
            elif event["event"] == "cell":  # done before, and found so only now
                one.out = True
                self._close(one)
                self.watcher.cell(one.card.name, self.task.name, event["outcome"])
                return None
        if not one.child.late:
            one.child.wait()
        child, one.child = one.child, None
        child.kill()
        self._lose(one, *child.explain_end(self.made.options.timeout))
        return None

    def _lose(self, one: Contender, reason: Reason, message: str, hint: str) -> None:
        one.out = True
        self._close(one)
        if not one.again:
            task = self.task.name
            self.failures.append(
                Failure(model=one.card.name, task=task, reason=reason, message=message, hint=hint)
            )
            self.watcher.cell(one.card.name, self.task.name, name_failure(reason, message))

    def _close(self, one: Contender) -> None:
        if one.child is not None:
            one.child.kill()
            one.child = None

    def _park(self, one: Contender, all_of_them: Sequence[Contender], free: dict[str, int]) -> None:
        """Let a worker wait if there is room for it beside the others; otherwise it is loaded again
        for each block.
        """
        held = {
            kind: sum(other.held.get(kind, 0) for other in all_of_them if other.child is not None)
            for kind in free
        }
        if one.child is not None and any(held[kind] > HALF * free[kind] for kind in free):
            self._close(one)
            one.parked = False

    def _add_second(self, contenders: list[Contender], free: dict[str, int]) -> None:
        """The second entry of the model whose answers take the least time of those with a network,
        or of all.
        """
        ready = [one for one in contenders if not one.out and one.facts is not None]
        if not ready:
            return
        first = min(
            ready,
            key=lambda one: (
                not self.made.models[one.card.name].facts.needs_torch,
                one.facts["cold"]["end_to_end_latency"],  # type: ignore[index]  # ready
            ),
        )
        double = Contender(
            first.card,
            first.log.with_name(f"{self.task.name}-again.log"),
            {**first.job, "known": {}},
            again=True,
            parked=first.parked,
        )
        contenders.append(double)
        double.log.unlink(missing_ok=True)
        self._load([double])
        self._park(double, contenders, free)
        self._make_ready(double)

    # Turns
    # ----------------------------------------------------------------------------------------------

    def _take_turns(self, contenders: Sequence[Contender]) -> None:
        order, draw = list(contenders), random.Random(self.made.options.seed)
        blocks = self.task.blocks
        for number in range(blocks):
            draw.shuffle(order)
            for place, one in enumerate(order):
                if not one.out:
                    self._measure_block(one)
                    done = (number * len(order) + place + 1) / (blocks * len(order))
                    self.watcher.progress(
                        "all models",
                        "measuring speed",
                        done,
                        f"round {number + 1} of {blocks}, {one.name}",
                    )

    def _measure_block(self, one: Contender) -> None:
        self._load_again(one)
        if one.child is None:
            return
        self._begin(one)
        one.child.send({"do": "block"})
        event = self._wait(one, "block")
        if event is not None:
            one.blocks.append(event)
            if not one.parked:
                self._close(one)

    def _finish(self, left: Sequence[Contender]) -> None:
        """Have each model's worker write its cell; keep what the second entry showed, and what all
        this took.
        """
        cost = self._cost(left)
        double = next((one for one in left if one.again), None)
        again = compare_entries(double, left) if double is not None else None
        for one in left:
            if one.again:
                continue
            self._load_again(one)
            if one.child is not None and not one.out:
                self._begin(one)
                one.child.send({"do": "finish", "blocks": self._number(one.blocks)})
                if (event := self._wait(one, "cell")) is not None:
                    self.folder.accept_cell(one.card.name, self.task.name, event["digest"])
                    self.watcher.cell(one.card.name, self.task.name, event["outcome"])
        cost["seconds"] = time.perf_counter() - self.begun
        if not cost["blocks"]:
            return
        state = {"before": self.state, "after": machine.load_state()}
        facts = {"session": self.session, "again": again, "cost": cost, "state": state}
        path = self.made.out / "rounds" / f"{self.task.name}.json"
        self.folder.accept(path, storage.write_sealed(path, facts))

    def _number(self, blocks: Sequence[BlockEvent]) -> list[NumberedBlock]:
        """The blocks of a model, which has one in each round, as its task takes them."""
        return [
            {
                "block": number,
                "values": block["values"],
                "events": block["events"],
                "sentinel": block["sentinel"],
                "drifted": block["drifted"],
                "session": self.session,
            }
            for number, block in enumerate(blocks)
        ]

    def _cost(self, left: Sequence[Contender]) -> dict[str, float]:
        """What measuring took, in seconds: timed blocks, blocks run again, loading, and processor
        time of the parent and of parked workers.
        """
        blocks = [block for one in left for block in one.blocks]
        return {
            "timed": sum(block["timed_seconds"] for block in blocks),
            "again": sum(
                block["seconds"] - block["timed_seconds"] for block in blocks if block["tries"] > 1
            ),
            "second_entry": sum(
                block["seconds"] for one in left if one.again for block in one.blocks
            ),
            "loading": self.loading,
            "parent_cpu": time.process_time() - self.own,
            "parked_cpu": sum(block["parked_cpu_seconds"] for block in blocks),
            "blocks": len(blocks),
            "drifted": sum(bool(block["drifted"]) for block in blocks),
        }
