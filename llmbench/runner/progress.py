"""What is shown on stderr while work goes on: bars on a terminal, a line a cell elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from llmbench.adapter import Progress as Report

if TYPE_CHECKING:  # rich is imported where somebody is watching
    from rich.console import Console
    from rich.progress import Progress

    from llmbench.plan.plan import Plan

    pass


QUIET = 20.0  # seconds of one piece of work after which a log is told how far it is


class Pace:
    """How far slow work is, said at most every QUIET seconds, with an estimate of what is left."""

    def __init__(self) -> None:
        self.what, self.begun, self.said = "", 0.0, 0.0

    def tell(self, what: str, share: float, remark: str) -> str:
        """The line to write now, "" if there is none."""
        now = time.monotonic()
        if what != self.what:
            self.what, self.begun, self.said = what, now, now
        if now - self.said < QUIET:
            return ""
        self.said = now
        left = (now - self.begun) * (1 - share) / share if share > 0 else None
        estimate = "" if left is None else f", about {left:.0f} s left"
        return f"{what} {remark}: {100 * share:.0f} %{estimate}"


class _Lines:
    """A line for each cell, for logs."""

    def __init__(self, console: Console):
        self.console, self.pace = console, Pace()

    def warn(self, text: str) -> None:
        self.console.print(f"llmbench: {text}", markup=False, highlight=False, soft_wrap=True)

    def model(self, name: str, number: int, count: int) -> None:
        self.console.print(f"[{number}/{count}] {name}", markup=False, highlight=False)

    def progress(self, name: str, what: str, share: float, remark: str) -> None:
        line = self.pace.tell(f"{name}: {what}", share, remark)
        if line:
            self.console.print(f"    {line}", markup=False, highlight=False)

    def cell(self, name: str, task: str, outcome: str) -> None:
        self.console.print(f"    {task}: {outcome}", markup=False, highlight=False)

    @contextmanager
    def pause_drawing(self, task: str) -> Iterator[None]:
        self.console.print(f"measuring {task}, all models in turn", markup=False, highlight=False)
        yield


class _Bars(_Lines):
    """A bar for the run and one for what the model at work is doing."""

    def __init__(self, bars: Progress, cells: int):
        super().__init__(bars.console)
        self.bars = bars
        self.all = bars.add_task("cells", total=cells)
        self.now = bars.add_task("", total=1.0, visible=False)
        self.still: Progress | None = None

    def model(self, name: str, number: int, count: int) -> None:
        from rich.markup import escape

        self.bars.reset(self.now, total=1.0, description=f"{escape(name)}: loading", visible=True)

    def progress(self, name: str, what: str, share: float, remark: str) -> None:
        from rich.markup import escape

        said = f"{escape(name)}: {what}" + (f" ({escape(remark)})" if remark else "")
        self.bars.update(self.now, completed=share, description=said)
        if self.still is not None:
            self.still.update(self.turns, completed=share, description=said)
            self.still.refresh()

    @contextmanager
    def pause_drawing(self, task: str) -> Iterator[None]:
        """A bar that is drawn between two blocks only, and by nobody else: the thread that keeps
        the others moving takes part of a core.
        """
        self.bars.stop()
        try:
            with _bars(self.console, alive=False) as still:
                self.turns = still.add_task(f"measuring {task}", total=1.0)
                self.still = still
                yield
        finally:
            self.still = None
            self.bars.start()

    def cell(self, name: str, task: str, outcome: str) -> None:
        self.bars.advance(self.all)
        if outcome not in ("done", "done before"):
            super().cell(name, f"{name} {task}", outcome)


def _bars(console: Console, alive: bool = True) -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(SpinnerColumn(), *columns, console=console, transient=True, auto_refresh=alive)


@contextmanager
def watcher(made: Plan) -> Iterator[Watcher]:
    """Something that draws a run."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    with _bars(console) as bars:
        yield _Bars(bars, len(made.cards) * len(made.suite.tasks))


@contextmanager
def spinner() -> Iterator[Report]:
    """A report function for one model's work in this process."""
    if not sys.stderr.isatty():
        pace = Pace()

        def tell(what: str, share: float, remark: str) -> None:
            line = pace.tell(what, share, remark)
            if line:
                print(f"llmbench: {line}", file=sys.stderr, flush=True)

        yield tell
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    with _bars(console) as bars:
        line = bars.add_task("", total=1.0)
        yield lambda what, share, remark: bars.update(
            line, completed=share, description=escape(f"{what} {remark}")
        )


def warn(text: str) -> None:
    """A warning for a person."""
    print(f"llmbench: {text}", file=sys.stderr)


class Watcher(Protocol):
    """What is told about a run as it goes; the command line draws it."""

    def model(self, name: str, number: int, count: int) -> None: ...
    def progress(self, name: str, what: str, share: float, remark: str) -> None: ...
    def cell(self, name: str, task: str, outcome: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def pause_drawing(self, task: str) -> AbstractContextManager[None]:
        """Until this ends, draw only when `progress` is called: a clock is running."""
        ...


class Silent:
    """Nobody is watching."""

    def model(self, name: str, number: int, count: int) -> None: ...
    def progress(self, name: str, what: str, share: float, remark: str) -> None: ...
    def cell(self, name: str, task: str, outcome: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def pause_drawing(self, task: str) -> AbstractContextManager[None]:
        return nullcontext()
