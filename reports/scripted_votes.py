"""Votes by a script, for the example board: no person has read these answers.

    python reports/scripted_votes.py RUN [--votes 120]

Three raters, `script 1` to `script 3`, find that answer better of whose words more are in the tales
that networks are trained on; within two hundredths it is a tie, and one vote in six is thrown by dice.
The votes go through the same poll as those of people, into RUN/votes.jsonl; the dice are seeded.
"""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path

from llmbench.data.loading import load
from llmbench.votes import ballots
from llmbench.votes.kinds import Verdict
from llmbench.votes.opening import open_poll
from llmbench.votes.poll import Question, Reply

RATERS = ("script 1", "script 2", "script 3")
TIME = "2026-01-01T00:00:00Z"
TIE, DICE = 0.02, 1 / 6
WORD = re.compile(r"[a-z]+")


def judge(question: Question, known: set[str], rng: random.Random) -> Verdict:
    """Return what a script says of two answers."""
    if rng.random() < DICE:
        return rng.choice(("left", "right", "tie"))
    left, right = (share_known(answer, known) for answer in question.answers)
    if abs(left - right) < TIE:
        return "good" if min(left, right) > 0.9 else "bad"
    return "left" if left > right else "right"


def share_known(answer: str, known: set[str]) -> float:
    """Return the share of an answer's words that are known; 0 without any word."""
    words = WORD.findall(answer.lower())
    return sum(word in known for word in words) / len(words) if words else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--votes", type=int, default=120, help="of each rater")
    given = parser.parse_args()
    tales = load("train", "fables", select={"part": "tales", "split": "train"})
    known = {word for tale in tales.documents for word in WORD.findall(tale.text.lower())}
    poll = open_poll(given.run)
    for number, rater in enumerate(RATERS):
        rng = random.Random(number)
        for _ in range(given.votes):
            question = poll.ask(rater, TIME)
            if question is None:
                break
            identity = f"script-{number}-{rng.getrandbits(64):016x}"
            reply = Reply(
                identity=identity,
                ticket=question.ticket,
                verdict=judge(question, known, rng),
                seconds=0.0,
            )
            ballots.append(poll.folder, poll.resolve(reply, rater, TIME))


if __name__ == "__main__":
    main()
