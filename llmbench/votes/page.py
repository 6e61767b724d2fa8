"""The page of a poll: one file, which asks a server for its questions or brings them along."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from functools import lru_cache
from importlib.resources import files
from itertools import zip_longest

from llmbench.votes.poll import CRITERIA, PAIRS, REPEAT_DISTANCE, REPEATS, Pair, Poll

MOST_SHARED = 500  # questions in a file: nobody answers more, and it is sent by mail
ASSETS = files("llmbench.votes").joinpath("assets")
SCRIPTS = ("draws", "boxes", "page")
# signs that end a script, begin a comment, or part lines in older browsers
_ESCAPED = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def make_page(poll: Poll, *, rater: str = "", shared: bool = False) -> tuple[str, str]:
    """Return the page and its content security policy.

    rater: whose votes they are; "" if the page is to ask.
    shared: whether the page works without a server, with its questions in it.
    """
    style, script = _read("page.css"), _read_script()
    rules = {
        "default-src": "'none'",
        "style-src": f"'sha256-{_hash(style)}'",
        "script-src": f"'sha256-{_hash(script)}'",
        "connect-src": "'none'" if shared else "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    policy = "; ".join(f"{name} {value}" for name, value in rules.items())
    data: dict[str, object] = {
        "poll": poll.poll_id,
        "task": poll.task,
        "asks": poll.asks,
        "target": poll.target,
        "rater": rater,
        "criteria": CRITERIA,
        "repeats": REPEATS,
        "distance": REPEAT_DISTANCE,
        "shared": shared,
    }
    if shared:
        data |= _pack_questions(poll)
    page = _read("page.html")
    for mark, text in (
        ("POLICY", policy),
        ("STYLE", style),
        ("SCRIPT", script),
        ("DATA", _write_json(data)),  # last: nothing in it is taken for a mark
    ):
        before, after = page.split(f"@{mark}@")
        page = before + text + after
    return page, f"{policy}; frame-ancestors 'none'"


@lru_cache(maxsize=1)
def _read_script() -> str:
    parts = "\n".join(_read(f"{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();'


def _read(name: str) -> str:
    return ASSETS.joinpath(name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _write_json(data: object) -> str:
    """JSON that is harmless inside a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    whole = text.translate(_ESCAPED)
    return whole.encode("utf-8", "backslashreplace").decode()  # half a pair: as JSON escapes it


def _pack_questions(poll: Poll) -> dict[str, object]:
    """Questions and texts, each text once. No name: contestants are numbers, in a random order."""
    rng = random.Random(f"{poll.seed} {poll.task} shared")
    chosen = choose_shared(poll, rng) if poll.asks == PAIRS else []
    answers = list(poll.answers.values()) if poll.asks != PAIRS else []
    rng.shuffle(answers)
    texts: dict[str, int] = {}
    names = list({name: None for found in poll.sets.values() for name in found.answers})
    rng.shuffle(names)

    def place(text: str) -> int:
        return texts.setdefault(text, len(texts))

    questions: list[dict[str, object]] = []
    for pair in chosen:
        both = [poll.show(pair, turned) for turned in (False, True)]
        questions.append(
            {
                "item": both[0].ticket.item,
                "digests": [question.ticket.digest for question in both],
                "prompt": place(both[0].prompt),
                "answers": [place(text) for text in both[0].answers],
                "sides": [names.index(pair.one), names.index(pair.other)],
            }
        )
    for prompt, name in answers[:MOST_SHARED]:
        one = poll.show_answer(prompt, name)
        questions.append(
            {
                "item": one.ticket.item,
                "digests": [one.ticket.digest],
                "prompt": place(one.prompt),
                "answers": [place(one.answers[0])],
                "sides": [],
            }
        )
    return {
        "questions": questions,
        "texts": list(texts),
        "chance": 1 / max(1, poll.count_meetings()) if poll.asks == PAIRS else 1.0,
    }


def choose_shared(poll: Poll, rng: random.Random) -> list[Pair]:
    """Return the pairs of a file: as many of any two contestants, at random prompts."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in poll.pairs.values():
        groups.setdefault((pair.one, pair.other), []).append(pair)
    rows = list(groups.values())
    for row in rows:
        rng.shuffle(row)
    rng.shuffle(rows)
    found = [pair for turn in zip_longest(*rows) for pair in turn if pair is not None]
    return found[:MOST_SHARED]
