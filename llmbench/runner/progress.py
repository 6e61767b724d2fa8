"""What is shown on stderr while work goes on: bars on a terminal, a line a cell elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from llmbench.adapter import Progress as Report
from llmbench.errors import Reason, is_inapplicable
from llmbench.runner.watching.forecast import Follower, Forecast, describe_left

if TYPE_CHECKING:  # rich is imported where somebody is watching
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import Progress
    from rich.text import Text

    from llmbench.plan.plan import Plan


BAR = 28  # cells of the run's bar
INAPPLICABLE = "does not apply"
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
    """A line for each cell, for logs; with each model, how long the run still takes."""

    def __init__(self, console: Console, follower: Follower | None = None):
        self.console, self.pace, self.follower = console, Pace(), follower

    def _write(self, line: str) -> None:
        """Print a line; into a file as it is, on a terminal broken between words."""
        whole = not self.console.is_terminal
        self.console.print(line, markup=False, highlight=False, soft_wrap=whole)

    def warn(self, text: str) -> None:
        self._write(f"llmbench: {text}")

    def model(self, name: str, number: int, count: int) -> None:
        left = ""
        if self.follower is not None:
            self.follower.begin(name)
            left = f", {describe_left(self.follower.forecast.estimate_left())}"
        self._write(f"[{number}/{count}] {name}{left}")

    def progress(self, name: str, what: str, share: float, remark: str) -> None:
        if self.follower is not None:
            self.follower.advance(what, share)
        line = self.pace.tell(f"{name}: {what}", share, remark)
        if line:
            self._write(f"    {line}")

    def cell(self, name: str, task: str, outcome: str) -> None:
        self._write(f"    {task}: {outcome}")

    def stop(self) -> None:
        if self.follower is not None:
            self.follower.stop()

    def over(self, name: str) -> None:
        """Nothing is said at the end of a model's turn."""

    @contextmanager
    def pause_drawing(self, task: str) -> Iterator[None]:
        self._write(f"measuring {task}, all models in turn")
        yield


class _Bar(_Lines):
    """One bar for the run, with the time that is left, and beneath it the model at work and what it
    is doing.
    """

    def __init__(self, console: Console, follower: Follower, title: str):
        super().__init__(console, follower)
        self.forecast, self.title, self.said = follower.forecast, title, "starting"
        self.live: Live | None = None

    def __enter__(self) -> _Bar:
        self._draw(alive=True)
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.stop()

    def _draw(self, alive: bool) -> None:
        """Draw from now on, by a thread or (not `alive`) only when told to."""
        from rich.live import Live

        self.__exit__()
        self.live = Live(
            get_renderable=self._compose,
            console=self.console,
            transient=True,
            auto_refresh=alive,
            refresh_per_second=4,
        )
        self.live.start()

    def _compose(self) -> Group:
        """The lines as they are now, none longer than the terminal is wide."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        left, elapsed = self.forecast.estimate_left(), self.forecast.elapsed
        share = elapsed / max(elapsed + left, 1e-9)
        line = Table.grid(padding=(0, 1))
        line.add_row(
            Text(self.title, no_wrap=True),
            ProgressBar(total=1.0, completed=share, width=BAR),
            Text(f"{100 * share:3.0f} %  {describe_left(left)}", no_wrap=True),
        )
        room = max(self.console.width - 3, 1)
        return Group(line, Text(f"  {self.said[:room]}", style="dim", no_wrap=True))

    def model(self, name: str, number: int, count: int) -> None:
        if self.follower is not None:
            self.follower.begin(name)
        self.said = f"{name} ({number} of {count}): loading"

    def progress(self, name: str, what: str, share: float, remark: str) -> None:
        if self.follower is not None:
            self.follower.advance(what, share)
        done = f"{100 * share:.0f} %" if share else ""
        more = ", ".join(filter(None, (done, remark)))
        self.said = f"{name}: {what}{f' ({more})' if more else ''}"
        if self.live is not None and not self.live.auto_refresh:
            self.live.refresh()

    @contextmanager
    def pause_drawing(self, task: str) -> Iterator[None]:
        """A bar that is drawn between two blocks only, and by nobody else: the thread that keeps it
        moving takes part of a core.
        """
        self._draw(alive=False)
        try:
            yield
        finally:
            self._draw(alive=True)

    def cell(self, name: str, task: str, outcome: str) -> None:
        if outcome not in ("done", "done before", INAPPLICABLE):
            super().cell(name, f"{name} {task}", outcome)


class _Beside(_Lines):
    """A line for each cell, with its model; on a terminal beneath them a line for each model that
    is at work.
    """

    def __init__(self, console: Console):
        super().__init__(console)
        self.said: dict[str, str] = {}
        self.live: Live | None = None

    def __enter__(self) -> _Beside:
        if self.console.is_terminal:
            from rich.live import Live

            self.live = Live(get_renderable=self._compose, console=self.console, transient=True)
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.stop()

    def _compose(self) -> Text:
        from rich.text import Text

        room = max(self.console.width - 3, 1)
        lines = [f"  {said}"[:room] for said in list(self.said.values())]
        return Text("\n".join(lines), style="dim", no_wrap=True)

    def model(self, name: str, number: int, count: int) -> None:
        super().model(name, number, count)
        self.said[name] = f"{name}: loading"

    def progress(self, name: str, what: str, share: float, remark: str) -> None:
        self.said[name] = f"{name}: {what} {remark}: {100 * share:.0f} %"
        if not self.console.is_terminal:
            super().progress(name, what, share, remark)

    def cell(self, name: str, task: str, outcome: str) -> None:
        super().cell(name, f"{name} {task}", outcome)

    def over(self, name: str) -> None:
        self.said.pop(name, None)


def _bars(console: Console) -> Progress:
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
    return Progress(SpinnerColumn(), *columns, console=console, transient=True)


@contextmanager
def watcher(made: Plan) -> Iterator[Watcher]:
    """Something that draws a run, and remembers what its pieces took."""
    from rich.console import Console

    from llmbench.runner.watching import durations

    console = Console(stderr=True)
    if made.options.workers > 1 or made.options.engine != "local":
        with _Beside(console) as beside:  # what each takes beside others tells nothing of it alone
            yield beside
        return
    expected = durations.expect(made)
    forecast = Forecast(expected.seconds, groups=expected.groups)
    follower = Follower(forecast, [card.name for card in made.cards])
    try:
        if console.is_terminal:
            with _Bar(console, follower, made.suite.name) as bar:
                yield bar
        else:
            yield _Lines(console, follower)
    finally:
        follower.end()
        durations.keep(made, expected, forecast.spent)


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


def name_failure(reason: Reason, message: str) -> str:
    """Return what a person is told of a failure: nothing is wrong where a task does not apply."""
    return INAPPLICABLE if is_inapplicable(reason, message) else reason


def warn(text: str) -> None:
    """A warning for a person."""
    print(f"llmbench: {text}", file=sys.stderr)


class Watcher(Protocol):
    """What is told about a run as it goes; the command line draws it."""

    def model(self, name: str, number: int, count: int) -> None: ...
    def progress(self, name: str, what: str, share: float, remark: str) -> None: ...
    def cell(self, name: str, task: str, outcome: str) -> None: ...
    def stop(self) -> None: ...  # the run was interrupted
    def over(self, name: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def pause_drawing(self, task: str) -> AbstractContextManager[None]:
        """Until this ends, draw only when `progress` is called: a clock is running."""
        ...


class Silent:
    """Nobody is watching."""

    def model(self, name: str, number: int, count: int) -> None: ...
    def progress(self, name: str, what: str, share: float, remark: str) -> None: ...
    def cell(self, name: str, task: str, outcome: str) -> None: ...
    def stop(self) -> None: ...
    def over(self, name: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def pause_drawing(self, task: str) -> AbstractContextManager[None]:
        return nullcontext()
