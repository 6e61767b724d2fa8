"""Files of votes that came back are added once, and wrong ones are refused whole."""

import json
import shutil

import pytest
from support.polls import MODELS, make_record, make_run, write_answers, write_texts

from llmbench.errors import UsageError
from llmbench.results.record import Notes
from llmbench.votes import ballots, opening
from llmbench.votes.kinds import Undo
from llmbench.votes.poll import RATINGS
from llmbench.votes.returned import Imported, import_file

TIME = "2026-01-31T12:00:00.000Z"


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def give(run, count=3, asks="pairs", **changes):
    """What a shared page gives after so many votes."""
    poll = opening.open_poll(run, asks=asks)
    replies = []
    for number, item in enumerate(list(poll.pairs)[:count]):
        question = poll.show(poll.pairs[item], turned=bool(number % 2), chance=0.125)
        ticket = question.ticket.model_dump()
        replies.append({"identity": f"reply-{number:06d}", "ticket": ticket, "time": TIME})
        replies[-1] |= {"verdict": "left", "seconds": 3}
    if asks == RATINGS:
        ticket = poll.show_answer("0 greedy", "bumblebee").ticket.model_dump()
        replies = [{"identity": "reply-000000", "ticket": ticket, "time": TIME}]
        replies[0]["ratings"] = {"sense": 2, "fluency": 5}
    return {
        "llmbench": "votes/1",
        "poll": poll.poll_id,
        "task": "continuation",
        "rater": "\u202eada \U0001f99c",
        "replies": replies,
        **changes,
    }


def write(run, data):
    file = run.parent / "back.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return file


def test_votes_of_a_shared_page_are_those_of_the_models_shown(run):
    found = import_file(run, write(run, give(run)))
    votes = ballots.read_votes(run)
    assert (found.new, found.known, found.changed, len(votes)) == (3, 0, 0, 3)
    assert [(vote.left, vote.right) for vote in votes] == [
        ("aardvark", "bumblebee"),
        ("caracal", "aardvark"),
        ("bumblebee", "caracal"),
    ]
    assert {(vote.rater, vote.chance, vote.seconds) for vote in votes} == {
        ("\u202eada \U0001f99c", 0.125, 3)
    }


def test_ratings_of_a_shared_page_are_imported(run):
    import_file(run, write(run, give(run, asks=RATINGS)))
    found = {one.criterion: (one.model, one.value) for one in ballots.read_ratings(run)}
    assert found == {"sense": ("bumblebee", 2), "fluency": ("bumblebee", 5)}


def test_votes_on_changed_answers_are_refused_and_the_others_added(run):
    file = write(run, give(run))
    texts = write_texts()
    texts["caracal"] = ["changed"] * 8
    write_answers(run, texts)
    found = import_file(run, file)
    assert (found.new, found.changed) == (1, 2)
    assert [vote.right for vote in ballots.read_votes(run)] == ["bumblebee"]


def test_votes_of_another_copy_of_the_run_are_added_once(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    import_file(copy, write(run, give(run)))
    ballots.append(copy, [Undo("undo-1", TIME, "\u202eada \U0001f99c", "reply-000001")])
    assert import_file(run, copy / "votes.jsonl").new == 4
    assert import_file(run, copy / "votes.jsonl").new == 0
    assert [vote.identity for vote in ballots.read_votes(run)] == ["reply-000000", "reply-000002"]


def change_reply(data, **changes):
    data["replies"][1] |= changes
    return data


def repeat(data, identity):
    data["replies"][1]["ticket"]["repeat_of"] = identity
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: "{\n oh", r"back.json:2:2: not a file of votes"),
        (lambda d: "[1]", "not a file of votes"),
        (lambda d: {**d, "llmbench": "votes/2"}, "llmbench: Input should be 'votes/1'"),
        (lambda d: {**d, "poll": "0" * 24}, "on another run, or on another task"),
        (lambda d: {**d, "task": "likelihood"}, "on another run, or on another task"),
        (lambda d: {**d, "rater": ""}, "rater: String should have at least 1 character"),
        (lambda d: {**d, "colour": "red"}, "colour: Extra inputs are not permitted"),
        (lambda d: change_reply(d, verdict="maybe"), "replies.1.verdict"),
        (lambda d: change_reply(d, verdict=None), "replies.1: a reply needs a verdict or ratings"),
        (lambda d: change_reply(d, time=None), "replies.1: a reply needs 'time'"),
        (lambda d: change_reply(d, time="noon"), "replies.1: 'time' must be an ISO time"),
        (lambda d: change_reply(d, identity="../../../x"), "replies.1.identity"),
        (lambda d: change_reply(d, seconds=float("inf")), "replies.1.seconds"),
        (
            lambda d: repeat(d, "reply-000009"),
            "replies.1.ticket.repeat_of: .* names no vote",
        ),
        (lambda d: repeat(d, "reply-000000"), "replies.1.ticket.repeat_of: .* on another pair"),
    ],
)
def test_a_wrong_file_is_refused_whole(run, change, message):
    with pytest.raises(UsageError, match=message):
        import_file(run, write(run, change(give(run))))
    assert not (run / "votes.jsonl").exists()


def test_a_file_that_was_edited_after_it_was_added_is_refused(run):
    import_file(run, write(run, give(run)))
    before = (run / "votes.jsonl").read_bytes()
    edited = write(run, change_reply(give(run), verdict="right"))
    with pytest.raises(UsageError, match=r"back.json: the ballot 'reply-000001' is there already"):
        import_file(run, edited)
    assert (run / "votes.jsonl").read_bytes() == before


def test_votes_on_a_task_without_a_metric_are_imported(tmp_path):
    write_answers(tmp_path / "run", write_texts())
    cells = Notes(cells={name: ["continuation"] for name in MODELS})
    bare = make_record(MODELS).model_copy(update={"scores": [], "notes": cells})
    bare.write(tmp_path / "run")
    assert import_file(tmp_path / "run", write(tmp_path / "run", give(tmp_path / "run"))).new == 3


def test_a_line_that_is_cut_off_is_left_out_and_told(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    import_file(copy, write(run, give(run)))
    file = copy / "votes.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert import_file(run, file) == Imported(2, 0, 0, is_cut=True)
    assert import_file(run, file) == Imported(0, 2, 0, is_cut=True)


def test_votes_of_another_run_are_refused_each(run, tmp_path):
    other = make_run(tmp_path / "other", {name: ["else"] * 8 for name in write_texts()})
    import_file(run, write(run, give(run)))
    assert import_file(other, run / "votes.jsonl") == Imported(0, 0, 3)


def test_a_file_that_is_none_is_refused(run, tmp_path):
    with pytest.raises(UsageError, match="cannot read the votes: No such file"):
        import_file(run, tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not a file of votes: 'utf-8' codec can't decode"):
        import_file(run, tmp_path / "bytes.json")
