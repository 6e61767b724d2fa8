"""What is drawn while a run goes on: on a terminal a bar that rests while a clock runs, elsewhere
lines.
"""

from __future__ import annotations

import io
import threading

from rich.console import Console

from llmbench.runner import progress
from llmbench.runner.progress import Pace, _Bars, _bars, _Lines


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def drawing(after=0.0):
    """Threads that draw by themselves, `after` seconds in which one that was told to stop may do
    so.
    """
    for thread in threading.enumerate():
        if after and "refresh" in type(thread).__name__.lower():
            thread.join(after)
    return [
        thread for thread in threading.enumerate() if "refresh" in type(thread).__name__.lower()
    ]


def test_on_a_terminal_nobody_draws_by_itself_while_a_clock_runs():
    console = terminal()
    with _bars(console) as bars:
        watching = _Bars(bars, 4)
        watching.model("lstm", 1, 2)
        assert drawing()
        with watching.pause_drawing("speed"):
            assert not drawing(after=5.0)
            before = len(console.file.getvalue())
            watching.progress("all models", "measuring speed", 0.25, "round 1 of 4")
            assert len(console.file.getvalue()) > before
        assert drawing()
        watching.cell("lstm", "speed", "crashed")
    said = console.file.getvalue()
    assert "round 1 of 4" in said
    assert "lstm speed: crashed" in said


def test_the_bars_come_back_after_a_measurement_that_was_interrupted():
    console = terminal()
    with _bars(console) as bars:
        watching = _Bars(bars, 1)
        try:
            with watching.pause_drawing("speed"):
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert drawing()
        assert watching.still is None


def test_elsewhere_a_line_says_that_models_take_turns():
    console = Console(file=io.StringIO())
    watching = _Lines(console)
    with watching.pause_drawing("speed"):
        watching.progress("all models", "measuring speed", 0.5, "")
    assert console.file.getvalue() == "measuring speed, all models in turn\n"


def test_slow_work_is_said_now_and_then_with_what_is_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    pace, lines = Pace(), []
    for second in range(61):
        now[0] = 100.0 + second
        lines.append(pace.tell("scoring", second / 240, "3 documents"))
    assert [line for line in lines if line] == [
        "scoring 3 documents: 8 %, about 220 s left",
        "scoring 3 documents: 17 %, about 200 s left",
        "scoring 3 documents: 25 %, about 180 s left",
    ]


def test_quick_work_is_not_said():
    console = Console(file=io.StringIO())
    lines = _Lines(console)
    for share in (0.1, 0.5, 1.0):
        lines.progress("lstm", "scoring", share, "")
    assert not console.file.getvalue()
