"""The page in a real browser, in every width, colour and state that a reader may meet: it fits, is
silent on the console, and asks nobody for anything.

LLMBENCH_PICTURES=DIR keeps what was seen, as PNG and PDF, to be looked at.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import browser
from support.pages import BOARDS, write_page

pytestmark = pytest.mark.skipif(
    browser.CHROMIUM is None,
    reason="no Chromium on PATH (chromium, chromium-browser or google-chrome)",
)
MOST_BYTES = 3_000_000
WIDTHS = (320, *(pytest.param(width, marks=pytest.mark.slow) for width in (390, 768, 1024)), 1440)


@pytest.fixture(scope="module", params=BOARDS)
def board(request, tmp_path_factory):
    """A board's name, its page as a file, and the page in a browser that stays open."""
    folder = tmp_path_factory.mktemp(request.param)
    file = write_page(folder, request.param)
    with browser.opened(file, folder / "profile") as page:
        yield request.param, file, page


def show(page, file, **view):
    """The page anew, so that its script sees the view; True once it is drawn."""
    page.set_view(**view)
    page.load(file)
    return page


def keep(page, name, whole=False):
    if folder := os.environ.get("LLMBENCH_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(page.picture(whole))


def check_silence(page):
    assert page.complaints == []
    assert {address.partition(":")[0] for address in page.requests} == {"file"}


@pytest.mark.parametrize(
    "dark", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["light", "dark"]
)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_scrolls_sideways(board, width, dark):
    name, file, page = board
    show(page, file, width=width, height=900, dark=dark, touch=width < 500)
    assert page.value("document.documentElement.scrollWidth") <= width
    wide = page.value(
        "Array.from(document.querySelectorAll('body *')).filter(e => e.checkVisibility() &&"
        " !e.closest('.scroll, nav, pre, .unseen, .skip, .strip, .defined') &&"
        f" e.getBoundingClientRect().right > {width} + 1).map(e => e.outerHTML.slice(0, 120))"
    )
    assert wide == []
    keep(page, f"{name}-{width}{'-dark' if dark else ''}")
    check_silence(page)


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_a_name_is_broken_between_its_words_only(board, width):
    _, file, page = board
    show(page, file, width=width, height=900, touch=width < 500)
    broken = page.value(
        """Array.from(document.querySelectorAll('main td.model')).flatMap(cell => {
          const text = Array.from(cell.querySelectorAll('*'), e => e.firstChild)
            .concat(...cell.childNodes)
            .find(e => e && e.nodeType === 3 && e.data.includes('transformer-'));
          if (!text || !cell.checkVisibility()) return [];
          const range = document.createRange(), at = text.data.indexOf('transformer-');
          range.setStart(text, at);
          range.setEnd(text, at + 'transformer'.length);
          const lines = new Set(Array.from(range.getClientRects(), box => Math.round(box.top)));
          return lines.size > 1 ? [cell.closest('section')?.id] : [];
        })"""
    )
    assert broken == []


def test_the_first_screen_has_verdict_ranking_picture_and_the_way_to_make_it_again(board):
    name, file, page = board
    show(page, file, width=1440, height=900)
    seen = page.value(
        "['h1', '.verdict', '#ranks tbody tr', '#front svg', '#again h2'].map(s =>"
        " document.querySelector(s)).map(e => e && e.checkVisibility() &&"
        " e.getBoundingClientRect().top < 900)"
    )
    if name in ("small", "interrupted", "merged"):  # too few speeds, or of several machines
        seen = seen[:3]
    assert seen == [True] * len(seen)
    if name == "interrupted":
        state = page.value("document.querySelector('.state').textContent")
        assert state.startswith("Interrupted: 4 of 6 models; not reached: ")
    check_silence(page)


def test_it_can_be_read_without_a_script(board):
    name, file, page = board
    show(page, file, width=1440, height=900, script=False)
    keep(page, f"{name}-no-script")
    with browser_evaluating(page):
        hidden = page.value("document.querySelectorAll('main [hidden]').length")
        assert hidden == 0
        assert page.value("document.querySelector('#ranks tbody tr').checkVisibility()")
        assert page.value("document.querySelectorAll('thead button').length") == 0
    check_silence(page)


class browser_evaluating:
    """Questions to a page whose own scripts are off need them on for a moment."""

    def __init__(self, page):
        self.page = page

    def __enter__(self):
        self.page.ask("Emulation.setScriptExecutionDisabled", value=False)

    def __exit__(self, *_):
        pass


def test_paper_shows_what_the_screen_shows(board):
    name, file, page = board
    show(page, file, width=1100, height=800, dark=True)
    paper = page.paper()
    assert paper.startswith(b"%PDF")
    assert 1 <= paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page/") <= 60
    if folder := os.environ.get("LLMBENCH_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.pdf").write_bytes(paper)
    page.set_view(width=1100, height=800, dark=True, printed=True)
    shown = page.value(
        "[getComputedStyle(document.body).backgroundColor, ...['.bar-top', '.tools',"
        " '#ranks'].map(s => document.querySelector(s).checkVisibility())]"
    )
    assert shown == ["rgb(255, 255, 255)", False, False, True]
    cut_off = page.value(
        "Array.from(document.querySelectorAll('.scroll')).filter(e => e.checkVisibility() &&"
        " getComputedStyle(e).overflowX !== 'visible').length"
    )
    assert cut_off == 0
    astray = page.value(
        "Array.from(document.querySelectorAll('td.model > .mark, td.model > .pick')).filter(e =>"
        " e.checkVisibility()).filter(e => { const mark = e.getBoundingClientRect(), cell ="
        " e.parentElement.getBoundingClientRect(); return mark.left < cell.left || mark.right >"
        " cell.right || mark.top < cell.top || mark.bottom > cell.bottom; }).length"
    )
    assert astray == 0
    check_silence(page)


def test_paper_shows_what_is_folded_but_for_long_lists_and_says_where_these_are(board):
    name, file, page = board
    if name not in ("example", "small"):
        pytest.skip("one board with all parts is enough")
    show(page, file, width=1100, height=800, dark=False)
    page.set_view(width=1100, height=800, dark=False, printed=True)
    folded = page.value(
        "Array.from(document.querySelectorAll('details:not([open])')).filter(e =>"
        " e.checkVisibility() &&"
        " e.lastElementChild !== e.firstElementChild && !e.lastElementChild.checkVisibility("
        "{contentVisibilityAuto: true})).map(e => [e.className.split(' ')[0], getComputedStyle("
        "e.querySelector('summary'), '::after').content])"
    )
    assert folded
    assert {kind for kind, _ in folded} <= {"long", "passage", "saying"}
    assert {said for kind, said in folded if kind == "long"} == {'" (on screen, and in run.json)"'}


def test_the_page_stays_under_three_megabytes(board):
    _, file, _ = board
    assert file.stat().st_size < MOST_BYTES


def test_heads_stay_in_sight(board):
    _, file, page = board
    show(page, file, width=1440, height=900)
    page.value("document.querySelector('#table-1 .scroll').style.maxHeight = '120px'")
    tops = page.value(
        "(box => { box.scrollTop = 60; return [box, box.querySelector('th')].map(e =>"
        " e.getBoundingClientRect().top); })(document.querySelector('#table-1 .scroll'))"
    )
    assert tops[1] == pytest.approx(tops[0], abs=1)
