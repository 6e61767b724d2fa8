"""The page of a poll in a real browser: keys and touches count, what a model wrote stays text, and
nobody but this machine is asked for anything.
"""

import json
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager

import pytest
from leaderboard.page.test_accessibility import AXE, RULES, needs_axe
from support import browser
from support.polls import FORK, HOSTILE, make_run, run_server, write_texts

from llmbench.votes import ballots, opening
from llmbench.votes.page import make_page
from llmbench.votes.poll import RATINGS
from llmbench.votes.returned import import_file
from llmbench.votes.server import PollServer

pytestmark = pytest.mark.skipif(
    browser.CHROMIUM is None,
    reason="no Chromium on PATH (chromium, chromium-browser or google-chrome)",
)
KEYS = {"left": "1", "right": "2", "good": "3", "bad": "4", "tie": "0"}
VERDICTS = list(KEYS)


@contextmanager
def serve(folder, token="secret", port=0, **settings):
    with PollServer(opening.open_poll(folder, **settings), port, token, "ada") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def wait_until_ready(page, counted):
    """Until a question is there that may be answered, or the end."""
    page.wait_for(
        f"document.getElementById('count').textContent.startsWith('{counted} of') &&"
        f" (!document.getElementById('end').hidden ||"
        f" document.getElementById('ask').dataset.question === '{counted}')"
    )
    page.value("new Promise(done => setTimeout(done, 260))")  # as a double click is no second vote


def press(page, key):
    page.press(key, ord(key.upper()), key)


def vote_by_key(page, number):
    wait_until_ready(page, number)
    press(page, KEYS[VERDICTS[number % 5]])


def vote_by_touch(page, number):
    wait_until_ready(page, number)
    page.tap(f"[data-verdict={VERDICTS[number % 5]}]")


def write_shared(folder, name="votes.html", **settings):
    poll = opening.open_poll(folder, **settings)
    file = folder / name
    file.write_text(make_page(poll, shared=True, rater="ada")[0], encoding="utf-8")
    return file


def ask_each(page):
    """What is asked for, without what the page itself is."""
    return [address for address in page.requests if not address.startswith(("data:", "blob:"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "vote", "width"),
    [
        (50, vote_by_key, 1280),
        (50, vote_by_touch, 390),
    ],
)
def test_votes_count_whatever_happens_to_the_page(tmp_path, count, vote, width):
    """A reload, the back button and a second tab between them, and an undo."""
    run = make_run(tmp_path, write_texts(20))
    view = {"width": width, "height": 844, "touch": vote is vote_by_touch}
    with (
        serve(run, target=count) as server,
        browser.opened(server.address, tmp_path / "profile", **view) as page,
    ):
        for number in range(count):
            vote(page, number)
            wait_until_ready(page, number + 1)
            if number == count // 4:
                page.reload()
                wait_until_ready(page, number + 1)
            elif number == count // 2:
                page.visit("about:blank")
                page.go_back()
                wait_until_ready(page, number + 1)
            elif number == count // 2 + 1:
                left = page.switch(**view)
                page.visit(server.address)
                wait_until_ready(page, number + 1)
                assert not page.complaints
                page.switch(left, **view)
        assert page.value("document.getElementById('end').hidden") is False
        page.value("document.getElementById('more').click()")
        wait_until_ready(page, count)
        press(page, "u")
        wait_until_ready(page, count - 1)
        press(page, "1")
        wait_until_ready(page, count)
        assert page.complaints == []
        assert {address.startswith(server.address) for address in ask_each(page)} == {True}
    votes = ballots.read_votes(run)
    assert len(votes) == count
    assert Counter(vote.verdict for vote in votes[:-1]) == Counter(
        VERDICTS[number % 5] for number in range(count - 1)
    )
    assert {vote.rater for vote in votes} == {"ada"}
    assert all(0.2 < vote.seconds < 60 for vote in votes)


@contextmanager
def serve_apart(folder, port=0):
    """The port of a server in a process of its own, which is killed in the end."""
    ours, its = FORK.Pipe()
    child = FORK.Process(target=run_server, args=(folder, its, port), daemon=True)
    child.start()
    try:
        yield ours.recv()
    finally:
        child.kill()
        child.join()


@pytest.mark.slow
def test_a_vote_that_the_server_did_not_answer_is_not_counted_until_it_does(tmp_path):
    run = make_run(tmp_path)
    with ExitStack() as stack:
        with serve_apart(run) as port:
            address = f"http://127.0.0.1:{port}/secret/"
            page = stack.enter_context(browser.opened(address, tmp_path / "profile"))
            wait_until_ready(page, 0)
        press(page, "1")
        page.wait_for("!document.getElementById('problem').hidden")
        assert page.value("document.getElementById('count').textContent") == "0 of 50"
        assert not (run / "votes.jsonl").exists()
        with serve_apart(run, port):
            page.value("document.getElementById('again').click()")
            wait_until_ready(page, 1)
            assert len(ballots.read_votes(run)) == 1
            assert page.value("document.getElementById('problem').hidden")


@pytest.mark.slow
def test_a_file_works_without_a_server_and_its_votes_are_imported(tmp_path):
    count = 50
    texts = write_texts(20)
    texts["bumblebee"][3] = texts["aardvark"][3]
    run = make_run(tmp_path, texts)
    file = write_shared(run, target=count)
    with browser.opened(file, tmp_path / "profile") as page:
        for number in range(count):
            vote_by_key(page, number)
            if number == count // 2:
                wait_until_ready(page, number + 1)
                page.reload()
        wait_until_ready(page, count)
        given = page.value("document.getElementById('copy').value")
        link = "document.getElementById('download').href"
        fetched = page.value(f"fetch({link}).then(r => r.text()).catch(() => 'none')")
        assert fetched == "none"  # not even by itself: the policy lets it ask nobody
        page.complaints.clear()
        assert page.value("document.getElementById('download').download") == "votes-ada.json"
        assert {address.split("?")[0] for address in ask_each(page)} <= {file.as_uri()}
    back = tmp_path / "back.json"
    back.write_text(given, encoding="utf-8")
    found = import_file(run, back)
    assert found.changed == found.known == 0
    shown = [vote for vote in ballots.read_votes(run) if vote.shown]
    assert [vote.verdict for vote in shown] == [VERDICTS[n % 5] for n in range(count)]
    assert import_file(run, back).known == found.new
    assert len(ballots.read_votes(run)) == found.new
    assert 0.2 < sum(vote.left < vote.right for vote in shown) / count < 0.8


@pytest.mark.slow
def test_two_tabs_of_a_file_lose_no_vote(tmp_path):
    run = make_run(tmp_path, write_texts(20))
    file = write_shared(run)
    with browser.opened(file, tmp_path / "profile") as page:
        wait_until_ready(page, 0)
        first = page.switch()
        page.load(file)
        wait_until_ready(page, 0)
        press(page, "1")
        wait_until_ready(page, 1)
        second = page.switch(first)
        wait_until_ready(page, 1)  # the other tab answered the same question: it shows the next
        press(page, "2")
        wait_until_ready(page, 2)
        page.switch(second)
        page.value("document.getElementById('finish').click()")
        given = json.loads(page.value("document.getElementById('copy').value"))
    assert [reply["verdict"] for reply in given["replies"]] == ["left", "right"]
    assert len({reply["ticket"]["item"] for reply in given["replies"]}) == 2


def test_what_a_model_wrote_is_shown_as_text_and_votes_on_it_are_imported(tmp_path):
    """In a file, on a phone, with a reload in the middle."""
    run = make_run(tmp_path, {"aardvark": HOSTILE, "bumblebee": [*HOSTILE[1:], HOSTILE[0]]})
    file = write_shared(run)
    seen = set()
    with browser.opened(file, tmp_path / "profile", width=390, height=844, touch=True) as page:
        for number in range(len(HOSTILE)):
            wait_until_ready(page, number)
            for side in (0, 1):
                seen.add(page.value(f"document.getElementById('answer-{side}').textContent"))
            assert page.value("document.title") == "llmbench: blind votes"
            assert page.value("document.documentElement.scrollWidth <= window.innerWidth")
            assert page.value(  # the buttons are where they always are
                "document.getElementById('verdicts').getBoundingClientRect().bottom"
                " <= window.innerHeight + 1"
            )
            press(page, KEYS[VERDICTS[number % 5]])
            if number == 2:
                wait_until_ready(page, 3)
                page.reload()
        wait_until_ready(page, len(HOSTILE))
        given = page.value("document.getElementById('copy').value")
        assert page.complaints == []
    back = tmp_path / "back.json"
    back.write_text(given, encoding="utf-8")
    assert (import_file(run, back).new, import_file(run, back).known) == (6, 6)
    verdicts = [vote.verdict for vote in ballots.read_votes(run)]
    assert verdicts == [VERDICTS[number % 5] for number in range(6)]
    assert {text.replace("\ud800", "\ufffd") for text in HOSTILE} <= {
        text.replace("\ud800", "\ufffd") for text in seen
    }


@pytest.mark.slow
def test_a_file_neither_counts_nor_gives_the_votes_of_another_file(tmp_path):
    run = make_run(tmp_path, write_texts(20))
    one = write_shared(run, only=("aardvark", "bumblebee"))
    other = write_shared(run, "other.html", only=("bumblebee", "caracal"))
    with browser.opened(one, tmp_path / "profile") as page:
        for number in range(3):
            vote_by_key(page, number)
        wait_until_ready(page, 3)
        page.load(other)
        wait_until_ready(page, 0)
        press(page, "1")
        wait_until_ready(page, 1)
        page.value("document.getElementById('finish').click()")
        given = json.loads(page.value("document.getElementById('copy').value"))
        page.load(one)
        wait_until_ready(page, 3)
        assert page.complaints == []
    poll = opening.open_poll(run, only=("bumblebee", "caracal"))
    assert [reply["ticket"]["item"] in poll.pairs for reply in given["replies"]] == [True]


@pytest.mark.slow
def test_ratings_are_given_by_keys(tmp_path):
    run = make_run(tmp_path)
    with (
        serve(run, asks=RATINGS) as server,
        browser.opened(server.address, tmp_path / "profile") as page,
    ):
        wait_until_ready(page, 0)
        for key in "415":
            press(page, key)
        page.press("Enter", 13, "\r")
        wait_until_ready(page, 1)
        assert page.complaints == []
    found = {one.criterion: one.value for one in ballots.read_ratings(run)}
    assert found == {"fluency": 4, "sense": 1, "follows": 5}


@pytest.mark.slow
def test_a_double_click_is_one_vote(tmp_path):
    run = make_run(tmp_path)
    with serve(run) as server, browser.opened(server.address, tmp_path / "profile") as page:
        wait_until_ready(page, 0)
        page.value(
            "for (let i = 0; i < 3; i++) document.querySelector('[data-verdict=tie]').click()"
        )
        wait_until_ready(page, 1)
    assert len(ballots.read_votes(run)) == 1


@needs_axe
@pytest.mark.slow
@pytest.mark.parametrize("asks", ["pairs", RATINGS])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_violation(tmp_path, asks, dark):
    run = make_run(tmp_path, {"aardvark": ["long " * 2000] * 9, "bumblebee": ["b"] * 9})
    file = write_shared(run, asks=asks)
    file.write_text(file.read_text(encoding="utf-8").replace('"rater":"ada"', '"rater":""'))
    with browser.opened(file, tmp_path / "profile", width=390, height=844, dark=dark) as page:
        page.ask("Page.setBypassCSP", enabled=True)
        page.load(file)
        page.value(AXE.read_text(encoding="utf-8"))
        found = [check(page)]
        page.value("document.querySelector('#enter button').click()")
        wait_until_ready(page, 0)
        found.append(check(page))
        page.press("1", 49, "1")
        if asks == RATINGS:
            page.press("1", 49, "1")
            page.press("1", 49, "1")
            found.append(check(page))
            page.press("Enter", 13, "\r")
        wait_until_ready(page, 1)
        page.value("document.getElementById('finish').click()")
        found.append(check(page))
    assert [one for one in found if one] == []


def check(page):
    return page.value(
        f"axe.run({{ runOnly: {json.dumps(RULES)} }}).then(r => r.violations.map(v => [v.id,"
        " v.nodes.length, v.nodes[0].html.slice(0, 200), v.nodes[0].failureSummary]))"
    )
