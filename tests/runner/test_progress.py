"""What is drawn while a run goes on: on a terminal one bar that rests while a clock runs, elsewhere
lines.
"""

from __future__ import annotations

import io
import threading

from rich.console import Console

from llmbench.runner import progress
from llmbench.runner.progress import Pace, _Bar, _Lines
from llmbench.runner.watching.forecast import Follower, Forecast


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def draw(console, expected=None):
    forecast = Forecast(expected or {("lstm", "measure"): 60.0, ("rnn", "measure"): 40.0})
    return _Bar(console, Follower(forecast, ["lstm", "rnn"]), "quick")


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


def test_a_bar_says_how_long_the_run_takes_and_beneath_what_is_done():
    console = terminal()
    with draw(console) as watching:
        watching.model("lstm", 1, 2)
        watching.progress("lstm", "training", 0.25, "100 of 400 steps")
        watching.live.refresh()
    said = console.file.getvalue()
    assert "quick" in said
    assert "about 1 min 40 s left" in said
    assert "lstm: training (25 %, 100 of 400 steps)" in said


def test_no_line_is_longer_than_the_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    with draw(console) as watching:
        watching.progress("lstm", "scoring", 0.25, "a remark of the worker " * 20)
        lines = console.render_lines(watching._compose(), pad=False)
    assert len(lines) == 2
    assert all(sum(segment.cell_length for segment in line) <= 60 for line in lines)


def test_on_a_terminal_nobody_draws_by_itself_while_a_clock_runs():
    console = terminal()
    with draw(console) as watching:
        watching.model("lstm", 1, 2)
        assert drawing()
        with watching.pause_drawing("speed"):
            assert not drawing(after=5.0)
            before = len(console.file.getvalue())
            watching.progress("all models", "measuring speed", 0.25, "round 1 of 4")
            assert len(console.file.getvalue()) > before
        assert drawing()
        watching.cell("lstm", "speed", "crashed")
    assert not drawing(after=5.0)
    said = console.file.getvalue()
    assert "round 1 of 4" in said
    assert "lstm speed: crashed" in said


def test_what_cannot_apply_is_no_line_in_a_terminal():
    console = terminal()
    with draw(console) as watching:
        for outcome in ("done", "done before", "does not apply"):
            watching.cell("zlib", "speed", outcome)
    assert "zlib" not in console.file.getvalue()


def test_the_bar_comes_back_after_a_measurement_that_was_interrupted():
    with draw(terminal()) as watching:
        try:
            with watching.pause_drawing("speed"):
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert drawing()
        assert watching.live.auto_refresh


def test_elsewhere_a_line_says_that_models_take_turns():
    console = Console(file=io.StringIO())
    watching = _Lines(console)
    with watching.pause_drawing("speed"):
        watching.progress("all models", "measuring speed", 0.5, "")
    assert console.file.getvalue() == "measuring speed, all models in turn\n"


def test_elsewhere_each_model_comes_with_the_time_that_is_left():
    console = Console(file=io.StringIO())
    forecast = Forecast({("lstm", "measure"): 60.0, ("rnn", "measure"): 40.0})
    watching = _Lines(console, Follower(forecast, ["lstm", "rnn"]))
    watching.model("lstm", 1, 2)
    watching.model("rnn", 2, 2)
    assert console.file.getvalue().splitlines()[0] == "[1/2] lstm, about 1 min 40 s left"
    assert console.file.getvalue().splitlines()[1].startswith("[2/2] rnn, ")


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


def test_a_line_of_a_log_is_never_broken():
    console = Console(file=io.StringIO(), width=40)
    _Lines(console).cell("lstm", "likelihood", "a reason " * 20)
    assert len(console.file.getvalue().splitlines()) == 1
