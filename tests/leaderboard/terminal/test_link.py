"""Links where a terminal draws them, and an address everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmbench.leaderboard.renderers.terminal.link import draws_links, link_file


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"TERM": "xterm-256color", "VTE_VERSION": "6800"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "4803"}, False),
        ({"TERM": "xterm-256color", "VTE_VERSION": "odd"}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM": "xterm-256color", "WT_SESSION": "1"}, True),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "dumb", "TERM_PROGRAM": "vscode"}, False),
        ({}, False),
    ],
)
def test_a_link_is_drawn_only_by_terminals_known_to_draw_it(settings, expected):
    assert draws_links(True, settings) is expected
    assert draws_links(False, settings) is False


@pytest.mark.parametrize(("forced", "expected"), [("1", True), ("0", False)])
def test_who_knows_better_may_say_so(forced, expected):
    for is_terminal in (True, False):
        settings = {"TERM": "xterm-kitty", "FORCE_HYPERLINK": forced}
        assert draws_links(is_terminal, settings) is expected


def test_the_address_is_that_of_the_file_and_shown_as_it_is():
    path = Path("/tmp/a b/ü#?.html")  # nothing is written
    plain = link_file(path, False)
    assert plain == "file:///tmp/a%20b/%C3%BC%23%3F.html"
    assert link_file(path, True) == f"\x1b]8;;{plain}\x1b\\{plain}\x1b]8;;\x1b\\"


def test_a_file_name_controls_no_terminal():
    drawn = link_file(Path("/x/\x1b]0;evil\x07\n.html"), True)
    assert drawn.count("\x1b") == 4
    assert "\x07" not in drawn
    assert "\n" not in drawn
