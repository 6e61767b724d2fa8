"""The browser of samples: every item of a task, filtered, sorted and opened, in a real browser."""

from __future__ import annotations

import pytest
from support import browser
from support.hand_record import model, record, score
from support.pages import write_page

from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.renderers import html
from llmbench.storage import write_lines

pytestmark = pytest.mark.skipif(
    browser.CHROMIUM is None,
    reason="no Chromium on PATH (chromium, chromium-browser or google-chrome)",
)
HOSTILE = "</script><img src=x onerror=alert(1)><!--<script> \u2028 & "
READ = "Array.from(document.querySelectorAll('.item'), item => item.dataset.id)"


def sample(id, right, output, reference="the cat sat"):
    return {
        "id": id,
        "bytes": 3,
        "input": f"prompt {id} {HOSTILE}",
        "output": output,
        "reference": reference,
        "statistics": {"accuracy": [float(right), 1.0]},
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A task of three questions that two models answered."""
    folder = tmp_path_factory.mktemp("samples")
    answers = {
        "ann": [
            sample("q1", True, "the cat sat"),
            sample("q2", True, "the dog sat"),
            sample("q3", True, HOSTILE),
        ],
        "bob": [
            sample("q1", True, "the cat sat"),
            sample("q2", False, "cat"),
            sample("q3", True, "x"),
        ],
    }
    for name, rows in answers.items():
        write_lines(folder / "samples" / name / "questions.jsonl", rows)
    scores = [score(n, "accuracy", 0.5, task="questions", better="higher") for n in answers]
    board = leaderboard_board.build(
        record(models=[model(n, 3) for n in answers], scores=scores, failures=[], notes={}), folder
    )
    (folder / "board.html").write_text(html.render(board), encoding="utf-8")
    with browser.opened(folder / "board.html", folder / "profile") as opened:
        look(opened)
        yield opened


def look(page):
    """Come to where the browser builds itself."""
    page.value("document.getElementById('browser').scrollIntoView()")
    page.wait_for("document.querySelectorAll('.item').length")


def change(page, field, value):
    find = f"document.querySelectorAll('.controls select, .controls input')[{field}]"
    page.value(f"{find}.value = {value!r}")
    for kind in ("input", "change"):
        page.value(f"{find}.dispatchEvent(new Event('{kind}', {{ bubbles: true }}))")


def open_item(page, id):
    page.value(f"document.querySelector('.item[data-id={id}] summary').click()")
    page.wait_for(f"document.querySelector('.item[data-id={id}] article')")


TASK, ORDER, WORDS = 0, 1, 2


def test_items_come_with_the_hardest_first_and_sort_by_a_model(page):
    assert page.value(READ)[0] == "q2"
    change(page, ORDER, "id")
    assert page.value(READ) == ["q1", "q2", "q3"]
    change(page, ORDER, "wide")
    assert page.value(READ)[0] == "q2"
    change(page, ORDER, "model:bob")
    assert page.value(READ)[0] == "q2"
    assert "order=model%3Abob" in page.value("location.hash")
    change(page, ORDER, "")


def test_words_are_looked_for_in_prompts_and_answers(page):
    change(page, WORDS, "DOG")
    assert page.value(READ) == ["q2"]
    assert page.value("document.querySelector('#samples .note').textContent").startswith("1 of 3 ")
    change(page, WORDS, "")


def test_models_stand_side_by_side_with_what_differs_from_the_reference(page):
    open_item(page, "q2")
    shown = page.value(
        "Array.from(document.querySelectorAll('.item[data-id=q2] article'), a =>"
        " [a.querySelector('h3').textContent, a.querySelector('p').innerHTML])"
    )
    assert shown == [
        ["reference", "the cat sat"],
        ["ann", "the <ins>dog</ins> sat"],
        ["bob", "cat"],
    ]
    rows = page.value(
        "Array.from(document.querySelectorAll('.item[data-id=q2] tbody tr'), r => r.innerText)"
    )
    assert rows == ["ann\t1", "bob\t0"]


def test_what_a_model_says_is_only_text(page):
    open_item(page, "q3")
    said = page.value(
        "document.querySelectorAll('.item[data-id=q3] article')[1].querySelector('p').textContent"
    )
    assert said == HOSTILE.replace("\u2028", "\ufffd2028")
    assert page.value("document.querySelectorAll('#samples img, #samples script').length") == 0
    assert page.complaints == []


def test_the_filter_of_models_holds_here_too(page):
    open_item(page, "q1")
    field = "document.querySelector('#filter input')"
    for value, count in (("bob", 1), ("", 2)):
        page.value(
            f"{field}.value = {value!r};"
            f" {field}.dispatchEvent(new Event('input', {{ bubbles: true }}))"
        )
        names = page.value(
            "document.querySelectorAll('.item[data-id=q1] article:not(.reference)').length"
        )
        assert names == count


def test_every_item_of_a_large_task_can_be_reached_and_the_address_names_it(tmp_path):
    file = write_page(tmp_path, "wide")
    address = "#samples?task=task-3&order=easy"
    with browser.opened(file, tmp_path / "profile", address, width=1280) as page:
        look(page)
        assert page.value("document.querySelector('.controls select').selectedOptions[0].text") == (
            "task-3"
        )
        assert len(page.value(READ)) == 40
        page.value("document.querySelector('#browser > .button').click()")
        first = page.value(READ)
        assert len(first) == 60
        means = page.value(
            "Array.from(document.querySelectorAll('.item .mean'), m => Number(m.textContent))"
        )
        assert means == sorted(means)  # bits: the fewer, the easier
        assert page.complaints == []
