"""The page in a real browser: it sorts, filters and compares, says nothing to the console, and asks
nobody for anything.
"""

from __future__ import annotations

import pytest
from support import browser
from support.hand_record import data, passage, record, samples, speed

from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.renderers import html

pytestmark = pytest.mark.skipif(
    browser.CHROMIUM is None,
    reason="no Chromium on PATH (chromium, chromium-browser or google-chrome)",
)
HOSTILE = "</script><script>alert(1)</script>\u202e"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """One page for all tests, which leave it as they found it."""
    folder = tmp_path_factory.mktemp("page")
    whole = data()
    rates = [
        speed("byte-ngram", "decode_bytes_per_second", 900.0),
        speed("transformer-decoder", "decode_bytes_per_second", 90.0),
    ]
    held = [
        speed(name, "peak_ram", size, task="memory")
        for name, size in (("byte-ngram", 90 << 20), ("transformer-decoder", 80 << 20))
    ]
    whole["failures"].append(
        {"model": HOSTILE, "task": "t", "reason": "error", "message": HOSTILE, "hint": HOSTILE}
    )
    board = leaderboard_board.build(
        record(scores=[*whole["scores"], *rates, *held], failures=whole["failures"]),
        passage(samples(folder)),
    )
    (folder / "board.html").write_text(html.render(board), encoding="utf-8")
    with browser.opened(folder / "board.html", folder / "profile") as opened:
        yield opened


def names(page, table=1):
    return page.value(
        f"Array.from(document.querySelectorAll('#table-{table} tr.line:not([hidden]) td.model'), c"
        " => c.textContent)"
    )


def click_head(page, title):
    find = (
        "Array.from(document.querySelectorAll('#table-1 thead button')).find(b => b.textContent"
        f" === '{title}')"
    )
    page.value(f"{find}.click()")
    return page.value(f"{find}.closest('th').getAttribute('aria-sort')")


BY_STAGE = ["byte-ngram", "zlib", "uniform-bytes", "lstm", "transformer-decoder", "mine"]


def test_a_column_sorts_up_then_down_and_then_by_stage_again(page):
    up = ["byte-ngram", "transformer-decoder", "lstm", "zlib", "uniform-bytes", "mine"]
    assert (click_head(page, "bits/byte"), names(page)) == ("ascending", up)
    assert (click_head(page, "bits/byte"), names(page)) == ("descending", up[::-1])
    assert (click_head(page, "bits/byte"), names(page)) == (None, BY_STAGE)
    assert page.value("document.querySelectorAll('#table-1 tr.stage').length") == 4


def test_sorting_works_by_keyboard(page):
    page.value(
        "Array.from(document.querySelectorAll('#table-1 thead button')).find(b => b.textContent ==="
        " 'model').focus()"
    )
    for kind in ("keyDown", "keyUp"):
        page.ask(
            "Input.dispatchKeyEvent",
            type=kind,
            key="Enter",
            code="Enter",
            windowsVirtualKeyCode=13,
            text="\r" if kind == "keyDown" else "",
        )
    assert names(page) == sorted(BY_STAGE)
    assert [click_head(page, "model"), click_head(page, "model")] == ["descending", None]


def set_to(page, field, value, number=0):
    """A field as a user leaves it."""
    page.value(f"document.querySelectorAll('{field}')[{number}].value = '{value}'")
    page.value(
        "for (const kind of ['input', 'change'])"
        f" document.querySelectorAll('{field}')[{number}].dispatchEvent(new Event(kind, {{ bubbles:"
        " true }))"
    )


def filtered(page, words="", stage=""):
    set_to(page, "#filter input", words)
    set_to(page, "#filter select", stage)
    return names(page)


def test_the_filter_keeps_the_models_that_fit_in_every_part_of_the_page(page):
    assert filtered(page, "LST") == ["lstm"]
    shown = page.value(
        "Array.from(document.querySelectorAll('[data-model]:not([hidden])'), part =>"
        " part.dataset.model)"
    )
    assert set(shown) == {"lstm"}
    assert page.value("document.querySelectorAll('#table-1 tr.stage:not([hidden])').length") == 1
    assert page.value("document.querySelector('#filter output').textContent") == "1 of 7"
    assert filtered(page, stage="0") == ["byte-ngram", "zlib", "uniform-bytes"]
    assert filtered(page, "characters", "own") == []
    assert filtered(page) == BY_STAGE


def test_columns_can_be_chosen(page):
    head = (
        "Array.from(document.querySelectorAll('#table-1 thead th')).find(h => h.textContent ==="
        " 'context, tokens')"
    )
    box = (
        "Array.from(document.querySelectorAll('#table-1 .columns label')).find(l =>"
        " l.textContent.trim() === 'context, tokens').firstChild"
    )
    assert page.value(f"{head}.hidden")
    page.value(f"{box}.click()")
    assert not page.value(f"{head}.hidden")
    assert (
        page.value(f"document.querySelector('#table-1 tr.line').cells[{head}.cellIndex].hidden")
        is False
    )
    page.value(f"{box}.click()")


def test_the_picture_can_show_memory_and_says_what_a_bubble_is(page):
    shown = (
        "['speed', 'memory'].map(axis => getComputedStyle(document.querySelector('.by-' +"
        " axis)).display)"
    )
    assert page.value(shown) == ["block", "none"]
    page.value("document.getElementById('axis-memory').click()")
    assert page.value(shown) == ["none", "block"]
    page.value("document.querySelector('.by-memory .mark-symbol path').focus()")
    assert page.value("document.getElementById('tip').innerText").split("\n") == [
        "byte-ngram",
        "2.1807 bits/byte",
        "900 bytes/s",
        "90 MiB",
        "Pareto-optimal",
    ]
    page.value("document.activeElement.blur(); document.getElementById('axis-speed').click()")
    assert page.value("document.getElementById('tip').hidden")


def test_a_place_of_a_text_tells_what_every_model_paid_there(page):
    page.value(
        "document.querySelector('table.bits td i').dispatchEvent(new PointerEvent('pointerover', {"
        " bubbles: true }))"
    )
    assert page.value(
        "Array.from(document.querySelectorAll('#tip tr'), row => row.innerText.split('\\t').map(t"
        " => t.trim()))"
    ) == [["byte-ngram", "“T” 4.00 bits"], ["lstm", "“Tap” 6.00 bits, 2.00 a byte"]]
    page.value("document.querySelector('table.bits').parentElement.focus()")
    for _ in range(2):
        page.ask(
            "Input.dispatchKeyEvent",
            type="keyDown",
            key="ArrowRight",
            code="ArrowRight",
            windowsVirtualKeyCode=39,
        )
    assert page.value("document.querySelector('#tip td:last-child').textContent") == "“a” 0.50 bits"
    page.ask(
        "Input.dispatchKeyEvent",
        type="keyDown",
        key="Escape",
        code="Escape",
        windowsVirtualKeyCode=27,
    )
    assert page.value("document.getElementById('tip').hidden")


def test_the_difference_of_two_models_is_drawn_place_by_place(page):
    set_to(page, ".compare select", "byte-ngram")
    set_to(page, ".compare select", "lstm", number=1)
    spans = page.value(
        "Array.from(document.querySelectorAll('tr.difference i'), span => [span.textContent,"
        " span.className, span.title])"
    )
    assert spans[:3] == [
        ["T", "z3", "+2.00 bits a byte"],
        ["a", "a2", "−1.50 bits a byte"],
        ["p", "a1", "−0.75 bits a byte"],
    ]
    assert "".join(text for text, _, _ in spans) == "Tap,↵é tap."
    set_to(page, ".compare select", "")
    assert page.value("document.querySelectorAll('tr.difference').length") == 0


def test_a_phone_scrolls_tables_inside_their_box_beside_the_models_names(page):
    page.ask(
        "Emulation.setDeviceMetricsOverride",
        width=390,
        height=800,
        deviceScaleFactor=1,
        mobile=True,
    )
    assert page.value("document.documentElement.scrollWidth") <= 390
    page.value("document.querySelector('#table-1 .scroll').scrollLeft = 500")
    assert page.value("document.querySelector('#table-1 .scroll').scrollLeft") > 100
    seen = page.value(
        "[document.querySelector('#table-1 .scroll'), document.querySelector('td.model')].map(e =>"
        " e.getBoundingClientRect().left)"
    )
    assert seen[1] - seen[0] == pytest.approx(0, abs=1)
    page.ask("Emulation.clearDeviceMetricsOverride")


def test_it_says_nothing_to_the_console_and_asks_nobody_for_anything(page):
    assert [address.partition(":")[0] for address in page.requests] == ["file"]
    assert page.complaints == []
    page.value(
        "fetch('https://example.invalid/').catch(() => 0), 0"
    )  # what the page's own policy refuses, should anything ever ask
    page.value("0")
    assert len(page.requests) == 1
    assert "Content Security Policy" in page.complaints[0]
    assert page.value("document.querySelectorAll('script').length") == 1
