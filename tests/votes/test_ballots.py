"""votes.jsonl: written whole or not at all, each vote once, and only on the answers shown."""

import json
from dataclasses import replace

import pytest
from support.polls import FORK

from llmbench import storage
from llmbench.errors import UsageError
from llmbench.votes import answers, ballots, parsing
from llmbench.votes.kinds import Rating, Undo, Vote

WROTE = {
    "cat": ["the cat sat.", "a b"],
    "dog": ["the dog sat.", "‮ b‬ א"],
}


@pytest.fixture
def folder(tmp_path):
    """A folder with the samples of two models that answered two prompts."""
    write_samples(tmp_path, WROTE)
    return tmp_path


def write_samples(folder, wrote):
    for model, texts in wrote.items():
        rows = [
            {
                "id": f"{number} greedy",
                "input": f"prompt {number}",
                "output": text,
                "reference": f"human {number}",
                "statistics": {},
            }
            for number, text in enumerate(texts)
        ]
        storage.write_lines(folder / "samples" / model / "continuation.jsonl", rows)


def make_vote(number=0, left="cat", right="dog", verdict="left", **facts):
    texts = {
        **{model: said[number] for model, said in WROTE.items()},
        "reference": f"human {number}",
    }
    return Vote(
        facts.pop("identity", f"v{number}{left}"),
        "2026-01-31T12:00:00Z",
        "ada",
        "continuation",
        f"{number} greedy",
        left,
        right,
        verdict,
        answers.digest_texts(f"prompt {number}", texts[left], texts[right]),
        **facts,
    )


def test_votes_are_read_as_they_were_written(folder):
    votes = [
        make_vote(),
        make_vote(0, "dog", "cat", "tie", repeat_of="v0cat", chance=0.25, seconds=1.5),
        make_vote(1, "cat", "reference", "bad", shown=False),
    ]
    assert ballots.append(folder, votes) == 3
    assert ballots.read_votes(folder) == votes
    lines = (folder / "votes.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "kind": "vote",
        "identity": "v0cat",
        "time": "2026-01-31T12:00:00Z",
        "rater": "ada",
        "task": "continuation",
        "prompt": "0 greedy",
        "left": "cat",
        "right": "dog",
        "verdict": "left",
        "digest": votes[0].digest,
    }


def test_a_rating_and_what_was_taken_back_share_the_file(folder):
    vote, other = make_vote(), make_vote(1)
    rating = Rating(
        *("r1", "2026-01-31T12:00:00Z", "ada", "continuation", "0 greedy", "cat", "sense", 4),
        answers.digest_texts("prompt 0", "the cat sat."),
    )
    undo = Undo("u1", "2026-01-31T12:00:01Z", "ada", vote.identity)
    ballots.append(folder, [vote, rating, undo, other])
    assert ballots.read_ballots(folder) == ballots.Ballots([other], [rating], 0)


def test_a_vote_on_changed_answers_does_not_count(folder):
    ballots.append(folder, [make_vote(0), make_vote(1)])
    write_samples(folder, {**WROTE, "dog": ["the dog SAT.", WROTE["dog"][1]]})
    found = ballots.read_ballots(folder)
    assert [vote.prompt for vote in found.votes] == ["1 greedy"]
    assert found.stale == 1


def test_a_vote_whose_sides_were_turned_does_not_count(folder):
    vote = make_vote()
    ballots.append(folder, [replace(vote, left=vote.right, right=vote.left)])
    assert ballots.read_ballots(folder).stale == 1


def test_a_vote_counts_once_however_often_it_comes(folder):
    vote = make_vote()
    assert ballots.append(folder, [vote, replace(vote, time="2026-01-31T12:00:09Z")]) == 1
    assert ballots.append(folder, [replace(vote, seconds=4.0)]) == 0
    assert ballots.read_votes(folder) == [vote]


def test_another_vote_of_the_same_identity_is_refused_and_nothing_written(folder):
    ballots.append(folder, [make_vote()])
    before = (folder / "votes.jsonl").read_bytes()
    with pytest.raises(UsageError, match="two different ballots have the identity 'v0cat'"):
        ballots.append(folder, [make_vote(1), make_vote(verdict="right")])
    assert (folder / "votes.jsonl").read_bytes() == before


def test_a_line_that_a_crash_cut_off_makes_room_for_the_next(folder):
    file = folder / "votes.jsonl"
    ballots.append(folder, [make_vote(0)])
    whole = file.read_bytes()
    line = parsing.write_line(make_vote(1)).encode()
    for cut in (1, len(line) // 2, len(line) - 2):
        file.write_bytes(whole + line[:cut])
        assert ballots.read_votes(folder) == [make_vote(0)]
        ballots.append(folder, [make_vote(1)])
        assert file.read_bytes() == whole + line
    file.write_bytes(whole + line[:-1])  # only its line end is missing
    ballots.append(folder, [make_vote(1, "dog", "reference")])
    assert len(ballots.read_votes(folder)) == 3


def write_many(folder, name):
    first = ballots.read_votes(folder)[0]
    for number in range(25):
        ballots.append(folder, [replace(first, identity=f"{name}{number}", rater=name)])


def test_two_raters_at_once_lose_nothing(folder):
    ballots.append(folder, [make_vote()])
    writers = [FORK.Process(target=write_many, args=(folder, name)) for name in ("ada", "bob")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    names = {vote.identity for vote in ballots.read_lines(folder / ballots.FILE)}
    assert names == {"v0cat", *(f"{name}{n}" for name in ("ada", "bob") for n in range(25))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "maybe"}, "'verdict' must be left, right, good, bad, tie"),
        ({"verdict": ["left"]}, "'verdict' must be left, right, good, bad, tie"),
        ({"chance": 0}, "'chance' must be from 1e-06 to 1"),
        ({"chance": True}, "'chance' must be float"),
        ({"seconds": -1}, "'seconds' must be 0 or more"),
        ({"time": "yesterday"}, "'time' must be an ISO time with its zone"),
        ({"time": "2026-01-31T12:00:00"}, "'time' must be an ISO time with its zone"),
        ({"right": "cat"}, "both sides are the same contestant"),
        ({"rater": None}, "'rater' must be str"),
        ({"kind": "opinion"}, '"kind" must be one of vote, rating, undo'),
        ({"colour": "red"}, "unknown key 'colour' in a vote"),
        ({"identity": ""}, "'identity' is empty"),
        ({"rater": "x" * 1001}, "'rater' is longer than 1000 characters"),
        ({"rater": "\ud800"}, "rater is not UTF-8"),
        ({"repeat_of": "v1cat"}, "'repeat_of' names no vote that stands before it: 'v1cat'"),
        ({"repeat_of": "v0cat"}, "'repeat_of' names no vote that stands before it: 'v0cat'"),
    ],
)
def test_a_wrong_line_is_refused_with_its_place(folder, change, message):
    line = {**json.loads(parsing.write_line(make_vote())), **change}
    (folder / "votes.jsonl").write_text("\n" + json.dumps(line) + "\n")
    with pytest.raises(UsageError, match=message) as caught:
        ballots.read_votes(folder)
    key = "right" if change == {"right": "cat"} else next(iter(change))
    column = 1 + json.dumps(line).index(f'"{key}"')
    assert str(caught.value).startswith(f"{folder / 'votes.jsonl'}:2:{column}: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rater": "bob"}, "a vote of another rater, or on another pair: 'v0cat'"),
        ({"right": "reference"}, "a vote of another rater, or on another pair: 'v0cat'"),
        ({"repeat_of": "again"}, "a vote that is a repeat itself: 'again'"),
    ],
)
def test_a_repeat_of_another_question_is_refused_and_nothing_written(folder, change, message):
    again = make_vote(left="dog", right="cat", identity="again", repeat_of="v0cat")
    ballots.append(folder, [make_vote(), again])
    before = (folder / "votes.jsonl").read_bytes()
    wrong = replace(make_vote(identity="wrong", repeat_of="v0cat"), **change)
    with pytest.raises(UsageError, match=message):
        ballots.append(folder, [wrong])
    assert (folder / "votes.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"kind": "vote", oh', r"votes.jsonl:1:18: not JSON"),
        (b'{"kind": "\xff"}', r"votes.jsonl:1:11: not UTF-8"),
        (b"[" * 9000 + b"\n", r"votes.jsonl:1:1: not JSON"),
        (b'{"kind": "undo", "kind": "vote"}', "a key stands twice in one object"),
    ],
)
def test_a_line_that_is_no_object_is_refused_with_its_column(folder, line, message):
    (folder / "votes.jsonl").write_bytes(line + b"\n")
    with pytest.raises(UsageError, match=message):
        ballots.read_votes(folder)


def test_a_vote_that_lacks_a_field_is_refused(folder):
    line = json.loads(parsing.write_line(make_vote()))
    del line["digest"]
    (folder / "votes.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(UsageError, match="a vote needs 'digest'"):
        ballots.read_votes(folder)


def test_a_folder_without_votes_has_none(folder):
    assert ballots.read_ballots(folder) == ballots.Ballots()


def test_no_name_in_a_vote_leads_out_of_the_folder(folder):
    (folder / "votes.jsonl").write_text(
        parsing.write_line(replace(make_vote(), left="../cat", task="../../etc/passwd"))
    )
    assert ballots.read_ballots(folder).stale == 1


def test_only_its_rater_takes_back_a_vote(folder):
    votes = [make_vote(number) for number in range(2)]
    taken = Undo("undo-1", votes[0].time, votes[0].rater, votes[0].identity)
    foreign = Undo("undo-2", votes[1].time, "mallory", votes[1].identity)
    ballots.append(folder, [*votes, taken, foreign])
    assert [vote.identity for vote in ballots.read_votes(folder)] == [votes[1].identity]


def test_a_pair_that_a_rater_is_asked_about_on_two_pages_counts_once(folder):
    first = make_vote()
    again = make_vote(left="dog", right="cat", verdict="right", identity="from-the-phone")
    hidden = make_vote(identity="hidden", repeat_of=first.identity)
    bob = replace(make_vote(identity="bobs"), rater="bob")
    ballots.append(folder, [first, again, hidden, bob])
    found = ballots.read_ballots(folder)
    assert [vote.identity for vote in found.votes] == [first.identity, "hidden", "bobs"]
    assert found.doubled == 1


def test_a_chance_that_no_poll_gives_is_refused(folder):
    with pytest.raises(UsageError, match="'chance' must be from 1e-06 to 1"):
        parsing.check(make_vote(chance=1e-12), lambda key: "file")
