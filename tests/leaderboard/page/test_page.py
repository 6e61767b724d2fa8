"""The page in a real browser: it sorts, filters and compares, says nothing to the console, and asks
nobody for anything.
"""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree

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


def head(key, table="table-1"):
    return f"document.querySelector('#{table} th[data-key=\"{key}\"]')"


def click_head(page, key):
    page.value(f"{head(key)}.querySelector('button').click()")
    return page.value(f"{head(key)}.getAttribute('aria-sort')")


BY_RANK = ["byte-ngram", "transformer-decoder", "lstm", "uniform-bytes", "zlib", "mine"]


def test_a_column_sorts_up_then_down_and_then_by_rank_again(page):
    assert names(page) == BY_RANK
    up = ["byte-ngram", "transformer-decoder", "lstm", "zlib", "uniform-bytes", "mine"]
    assert (click_head(page, "bits_per_byte"), names(page)) == ("ascending", up)
    assert (click_head(page, "bits_per_byte"), names(page)) == ("descending", up[::-1])
    assert (click_head(page, "bits_per_byte"), names(page)) == (None, BY_RANK)


def test_models_sort_by_stage(page):
    assert click_head(page, "stage") == "ascending"
    assert names(page)[-3:] == ["mine", "lstm", "transformer-decoder"]
    click_head(page, "stage")
    click_head(page, "stage")


def test_sorting_works_by_keyboard(page):
    page.value(f"{head('model')}.querySelector('button').focus()")
    page.press("Enter", 13, "\r")
    assert names(page) == sorted(BY_RANK)
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
    assert page.value("document.querySelector('#filter output').textContent") == "1 of 7"
    assert filtered(page, stage="0") == ["byte-ngram", "uniform-bytes", "zlib"]
    assert filtered(page, "characters", "own") == []
    assert filtered(page) == BY_RANK


def test_columns_can_be_chosen(page):
    box = (
        "Array.from(document.querySelectorAll('#table-1 .columns label')).find(l =>"
        " l.textContent.trim() === 'context, tokens').firstChild"
    )
    cell = f"document.querySelector('#table-1 tr.line').cells[{head('context')}.cellIndex]"
    assert page.value(f"{head('context')}.hidden")
    page.value(f"{box}.click()")
    assert page.value(f"[{head('context')}.hidden, {cell}.hidden]") == [False, False]
    assert page.value("location.hash") == "#?columns.table-1=context"
    page.value(f"{box}.click()")
    assert page.value("location.hash") in ("", "#")


def test_the_picture_can_show_memory_and_says_what_a_bubble_is(page):
    shown = (
        "['speed', 'memory'].map(axis => getComputedStyle(document.querySelector('.by-' +"
        " axis)).display)"
    )
    assert page.value(shown) == ["block", "none"]
    page.value("document.getElementById('axis-memory').click()")
    assert page.value(shown) == ["none", "block"]
    page.value(
        "document.querySelector('.by-memory .wide [data-model=\"byte-ngram\"].spot').focus()"
    )
    assert page.value("document.getElementById('tip').innerText").split("\n") == [
        "byte-ngram",
        "2.1807 [2.1220, 2.2394] bits/byte",
        "900 bytes/s",
        "90 MiB",
        "no model beats it in both",
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
    page.set_view(width=390, height=800, touch=True)
    assert page.value("document.documentElement.scrollWidth") <= 390
    page.value("document.querySelector('#table-1 .scroll').scrollLeft = 500")
    assert page.value("document.querySelector('#table-1 .scroll').scrollLeft") > 100
    seen = page.value(
        "['#table-1 .scroll', '#table-1 td.model'].map(s => document.querySelector(s)).map(e =>"
        " e.getBoundingClientRect().left)"
    )
    assert seen[1] - seen[0] == pytest.approx(0, abs=1)
    page.set_view()


def test_a_tap_shows_a_tip_and_a_tap_elsewhere_takes_it_away(page):
    page.set_view(width=390, height=800, touch=True)
    page.tap(".by-speed .narrow .spot")
    assert page.value("document.querySelector('#tip b').textContent") in BY_RANK
    page.tap("h1")
    assert page.value("document.getElementById('tip').hidden")
    page.tap("#table-1 th[data-key='bits_per_byte'] button")
    assert "UTF-8 bytes" in page.value("document.getElementById('tip').textContent")
    click_head(page, "bits_per_byte")
    click_head(page, "bits_per_byte")
    page.set_view()


def pick(page, name):
    page.value(f"document.querySelector('#ranks [aria-label=\"Highlight {name}\"]').click()")


def test_a_highlighted_model_stands_out_everywhere(page):
    pick(page, "lstm")
    shown = page.value(
        "Array.from(document.querySelectorAll('.picked'), part => part.dataset.model)"
    )
    assert set(shown) == {"lstm"}
    assert len(shown) > 4
    assert (
        page.value(
            "Array.from(document.querySelectorAll('.curve:not(.picked)'), part =>"
            " getComputedStyle(part).opacity)"
        )
        == ["0.18"] * 2
    )
    pick(page, "lstm")
    assert page.value("document.querySelectorAll('.picked').length") == 0


def copied(page, kind):
    page.value(
        "navigator.clipboard.writeText = async text => { window.copied = text };"
        " document.querySelector('#ranks').closest('.card').querySelector("
        f"'[aria-label=\"Copy the table as {kind}\"]').click()"
    )
    return page.value("window.copied")


def test_a_table_is_copied_as_it_is_shown(page):
    set_to(page, "#filter input", "transformer")
    assert copied(page, "Markdown").split("\n") == [
        "| rank | model | bits/byte | decode, bytes/s | word perplexity | parameters |"
        " peak RAM, MiB |",
        "| --: | :-- | --: | --: | --: | --: | --: |",
        "| 1–3 | transformer-decoder | 2.2101 ± 0.0600 | 90.0 | - | 1.00 M | 80 |",
        "",
    ]
    assert copied(page, "LaTeX").split("\n")[3:6] == [
        "  rank & model & bits/byte & decode, bytes/s & word perplexity & parameters"
        " & peak RAM, MiB \\\\",
        "  \\midrule",
        "  1--3 & transformer-decoder & 2.2101 $\\pm$ 0.0600 & 90.0 & - & 1.00 M & 80 \\\\",
    ]
    assert list(csv.reader(io.StringIO(copied(page, "CSV"))))[1] == [
        *("1–3", "transformer-decoder", "2.2101 ± 0.0600", "90.0", "-", "1.00 M", "80")
    ]
    set_to(page, "#filter input", "")


def test_signs_of_latex_and_formulas_of_spreadsheets_are_only_signs(page):
    page.value(
        "window.cell = document.querySelector('#ranks tr.line td.model a'); window.before ="
        " cell.textContent; cell.textContent = '=1+$x_{2}%&#~^\\\\|a'"
    )
    latex, sheet, marks = (copied(page, kind) for kind in ("LaTeX", "CSV", "Markdown"))
    page.value("cell.textContent = before; 0")
    assert r"=1+\$x\_\{2\}\%\&\#\textasciitilde{}\textasciicircum{}\textbackslash{}|a" in latex
    assert r",'=1+$x_{2}%&#~^\|a," in sheet
    assert r"| =1+\$x\_\{2\}%\&\#\~^\\\|a |" in marks


def test_a_saved_picture_needs_no_page_around_it(page):
    page.value(
        "URL.createObjectURL = blob => { blob.text().then(text => { window.saved = text }); return"
        " '#' }; window.click = HTMLAnchorElement.prototype.click;"
        " HTMLAnchorElement.prototype.click = function () { window.savedName = this.download };"
        " document.querySelector('.by-speed .save button').click()"
    )
    page.wait_for("window.saved")
    assert page.value("savedName") == "llmbench-ranking-1.svg"
    tree = ElementTree.fromstring(page.value("saved"))
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    marks = [e for e in tree.iter() if e.tag.endswith("use")]
    assert len(marks) == 3
    assert all(e.get("fill", "").startswith("rgb(") for e in marks)
    ids = {e.get("id") for e in tree.iter()}
    assert {e.get("href")[1:] for e in marks} <= ids
    page.value("document.querySelectorAll('.by-speed .save button')[1].click(); 0")
    page.wait_for("savedName === 'llmbench-ranking-1.png'")
    page.value("HTMLAnchorElement.prototype.click = window.click; 0")


def go_to(page, address):
    """Change the address as a reader does, and wait until the page has followed."""
    page.value(
        "new Promise(done => { const there = location.hash; addEventListener('hashchange', () =>"
        f" done(0), {{ once: true }}); location.hash = {address!r}; if (location.hash === there)"
        " done(0); })"
    )


def test_the_address_keeps_sorting_filter_and_selection(page, tmp_path):
    click_head(page, "bits_per_byte")
    click_head(page, "bits_per_byte")
    set_to(page, "#filter select", "0")
    pick(page, "byte-ngram")
    page.value("document.querySelector('nav a[href=\"#table-1\"]').click()")
    kept = page.value("location.hash")
    assert kept.startswith("#table-1?")
    go_to(page, "#")
    assert names(page) == BY_RANK
    go_to(page, kept)
    assert names(page) == ["uniform-bytes", "zlib", "byte-ngram"]
    assert page.value("document.querySelector('#ranks .pick[aria-pressed=true]').ariaLabel") == (
        "Highlight byte-ngram"
    )
    go_to(page, "#")
    assert names(page) == BY_RANK


def test_a_link_to_a_row_leads_to_it(page):
    page.value("document.querySelector('#ranks tr[data-model=lstm] a').click()")
    assert page.value("location.hash") == "#table-1-lstm"
    row = "document.getElementById('table-1-lstm')"
    assert page.value(f"{row}.classList.contains('target')")
    assert 0 <= page.value(f"{row}.getBoundingClientRect().top") <= page.value("innerHeight")
    go_to(page, "#")


@pytest.mark.parametrize(
    "fragment",
    [
        "#?pick=%E0%A4%A&models=%",
        "#?sort.table-1=nothing.ascending&sort.ranks=model.sideways&stage=77&axis=x&task=no&order=no",
        "#<script>alert(1)</script>?models=<img src=x onerror=alert(1)>",
        "#nowhere?=&&&=x",
    ],
)
def test_an_address_that_is_nonsense_changes_nothing_and_runs_nothing(page, fragment):
    go_to(page, fragment)
    assert page.complaints == []
    assert page.value("document.querySelectorAll('img').length") == 0
    go_to(page, "#")
    assert names(page) == BY_RANK


def test_it_says_nothing_to_the_console_and_asks_nobody_for_anything(page):
    asked = [address for address in page.requests if not address.startswith("data:")]
    assert [address.partition(":")[0] for address in asked] == ["file"]
    assert page.complaints == []
    page.requests.clear()
    page.value(
        "fetch('https://example.invalid/').catch(() => 0), 0"
    )  # what the page's own policy refuses, should anything ever ask
    page.value("0")
    assert page.requests == []
    assert "Content Security Policy" in page.complaints[0]
    scripts = page.value("Array.from(document.querySelectorAll('script'), s => s.type)")
    assert scripts == ["application/json", ""]


def test_no_script_runs_but_the_pages_own(page):
    page.value(
        "document.body.append(Object.assign(document.createElement('script'),"
        " { text: 'window.ran = 1' }))"
    )
    assert page.value("window.ran") is None
    page.value(
        "document.body.insertAdjacentHTML('beforeend', '<b id=x onclick=\"window.ran = 1\"></b>');"
        " document.getElementById('x').click()"
    )
    assert page.value("window.ran") is None
