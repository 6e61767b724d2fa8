"""Which two answers are shown, on which side, and what a reply means."""

from collections import Counter

import pytest
from support.polls import MODELS, make_record, make_run, write_answers, write_texts

from llmbench.errors import UsageError
from llmbench.results.record import Notes
from llmbench.votes import ballots, opening
from llmbench.votes.poll import RATINGS, Changed, Reply

NOW = "2026-01-31T12:00:00Z"


def answer(poll, rater="ada", verdict="left", count=1):
    """Let a rater answer so many questions; return them with their ballots."""
    found = []
    for _ in range(count):
        question = poll.ask(rater, NOW)
        if question is None:
            break
        name = f"{rater}-{len(poll.read_lines()):08d}"
        reply = Reply(identity=name, ticket=question.ticket, verdict=verdict, seconds=2.0)
        new = poll.resolve(reply, rater, NOW)
        ballots.append(poll.folder, new)
        found.append((question, new[0]))
    return found


def test_each_pair_is_asked_about_once_but_for_hidden_repeats(tmp_path):
    poll = opening.open_poll(make_run(tmp_path))
    found = answer(poll, count=200)
    fresh = [vote for _, vote in found if vote.repeat_of is None]
    assert len({(vote.prompt, frozenset((vote.left, vote.right))) for vote in fresh}) == 8 * 3
    assert len(fresh) == 8 * 3
    assert poll.ask("ada", NOW) is None
    assert poll.ask("bob", NOW) is not None


def test_about_one_in_ten_is_a_repeat_of_a_vote_some_time_ago(tmp_path):
    poll = opening.open_poll(make_run(tmp_path, write_texts(40)))
    votes = [vote for _, vote in answer(poll, count=80)]
    repeats = [at for at, vote in enumerate(votes) if vote.repeat_of]
    assert 2 <= len(repeats) <= 18
    place = {vote.identity: at for at, vote in enumerate(votes)}
    for at in repeats:
        first = votes[place[votes[at].repeat_of]]
        assert at - place[first.identity] > 5
        assert {first.left, first.right} == {votes[at].left, votes[at].right}
        assert first.prompt == votes[at].prompt
        assert first.repeat_of is None
    assert len({votes[at].repeat_of for at in repeats}) == len(repeats)


def test_sides_are_balanced_and_not_in_an_order(tmp_path):
    poll = opening.open_poll(make_run(tmp_path, write_texts(30)))
    votes = [vote for _, vote in answer(poll, count=60)]
    left = Counter(vote.left for vote in votes)
    both = left + Counter(vote.right for vote in votes)
    assert all(abs(left[name] - both[name] / 2) <= 5 for name in MODELS)
    assert len({vote.left for vote in votes[:10]}) > 1


def test_the_same_seed_and_votes_lead_to_the_same_question(tmp_path):
    run = make_run(tmp_path)
    first = opening.open_poll(run).ask("ada", NOW)
    assert opening.open_poll(run).ask("ada", NOW) == first
    others = [opening.open_poll(run, seed=seed).ask("ada", NOW) for seed in range(5)]
    assert len({question.ticket for question in others}) > 1


def test_a_question_tells_neither_names_nor_ids(tmp_path):
    poll = opening.open_poll(make_run(tmp_path))
    question = poll.ask("ada", NOW)
    told = repr(question.ticket)
    assert not any(name in told for name in (*MODELS, "greedy"))


def test_identical_answers_are_ties_that_nobody_sees(tmp_path):
    texts = write_texts(4)
    texts["bumblebee"] = list(texts["aardvark"])
    poll = opening.open_poll(make_run(tmp_path, texts))
    found = answer(poll, count=50)
    assert all(question.answers[0] != question.answers[1] for question, _ in found)
    hidden = [vote for vote in ballots.read_votes(tmp_path) if not vote.shown]
    assert {vote.prompt for vote in hidden} == {f"{number} greedy" for number in range(4)}
    assert {frozenset((vote.left, vote.right)) for vote in hidden} == {
        frozenset(("aardvark", "bumblebee"))
    }
    assert {vote.verdict for vote in hidden} == {"tie"}
    assert poll.count("ada") == (len(found), 2.0 * len(found))


def test_a_reply_on_changed_answers_is_refused(tmp_path):
    run = make_run(tmp_path)
    question = opening.open_poll(run).ask("ada", NOW)
    write_answers(run, {name: ["other"] * 8 for name in MODELS})
    reply = Reply(identity="ada-00000001", ticket=question.ticket, verdict="left")
    with pytest.raises(Changed, match="have changed since they were shown"):
        opening.open_poll(run).resolve(reply, "ada", NOW)


def test_undo_takes_back_the_last_vote_and_shows_it_again(tmp_path):
    poll = opening.open_poll(make_run(tmp_path))
    (first, kept), (second, _) = answer(poll, count=2)
    assert poll.undo("undo-00000001", "ada", NOW) == second
    assert poll.undo("undo-00000001", "ada", NOW) == second  # the same undo, sent again
    assert ballots.read_votes(tmp_path) == [kept]
    assert poll.undo("undo-00000002", "ada", NOW) == first
    assert poll.undo("undo-00000003", "ada", NOW) is None
    assert poll.count("ada") == (0, 0.0)


def test_undo_leaves_the_votes_of_others(tmp_path):
    poll = opening.open_poll(make_run(tmp_path))
    answer(poll, "ada")
    answer(poll, "bob")
    poll.undo("undo-00000001", "ada", NOW)
    assert [vote.rater for vote in ballots.read_votes(tmp_path)] == ["bob"]


def test_a_poll_on_fewer_models_neither_shows_nor_takes_back_votes_on_others(tmp_path):
    folder = make_run(tmp_path)
    before = answer(opening.open_poll(folder), count=30)
    fewer = opening.open_poll(folder, only=["aardvark", "bumblebee"])
    own = [vote for _, vote in before if {vote.left, vote.right} == {"aardvark", "bumblebee"}]
    assert fewer.count("ada")[0] == len(own) > 1
    while (question := fewer.ask("ada", NOW)) is not None:
        assert question.ticket.item in fewer.pairs
        reply = Reply(
            identity=f"again-{fewer.count('ada')[0]:08}", ticket=question.ticket, verdict="tie"
        )
        ballots.append(folder, fewer.resolve(reply, "ada", NOW))
    standing = {vote.identity for vote in fewer.list_asked("ada")}
    others = {vote.identity for vote in fewer.list_standing("ada")} - standing
    for number in range(len(standing) + 3):
        fewer.undo(f"take-back-{number}", "ada", NOW)
    assert {vote.identity for vote in fewer.list_standing("ada")} == others
    assert fewer.undo("take-back-more", "ada", NOW) is None


def test_votes_on_changed_answers_are_asked_for_again_and_are_no_repeats(tmp_path):
    folder = make_run(tmp_path)
    first = answer(opening.open_poll(folder), count=20)
    make_run(tmp_path, {name: [" new " + name] * 8 for name in MODELS})
    poll = opening.open_poll(folder)
    assert poll.count("ada")[0] == 0
    question = poll.ask("ada", NOW)
    assert question.ticket.repeat_of is None
    assert len(first) == 20


def test_the_human_text_is_a_contestant_if_asked_for(tmp_path):
    run = make_run(tmp_path)
    assert "reference" not in opening.open_poll(run).sets["0 greedy"].answers
    poll = opening.open_poll(run, human=True, only=["bumblebee"])
    (_, vote), *_ = answer(poll)
    assert {vote.left, vote.right} == {"bumblebee", "reference"}


def test_ratings_are_asked_of_the_answers_that_fewest_have_rated(tmp_path):
    poll = opening.open_poll(make_run(tmp_path, write_texts(2)), asks=RATINGS)
    for rater in ("ada", "bob"):
        for number in range(6):
            ticket = poll.ask(rater, NOW).ticket
            said = {"fluency": 4, "sense": 2, "follows": 1}
            reply = Reply(identity=f"{rater}-{number:08d}", ticket=ticket, ratings=said)
            ballots.append(tmp_path, poll.resolve(reply, rater, NOW))
        assert poll.ask(rater, NOW) is None
    found = ballots.read_ratings(tmp_path)
    counts = Counter((one.prompt, one.model, one.criterion) for one in found)
    assert len(counts) == 2 * 3 * 3
    assert set(counts.values()) == {2}
    assert poll.undo("undo-00000001", "bob", NOW).ticket == ticket
    assert len(ballots.read_ratings(tmp_path)) == len(found) - 3


def test_a_prompt_that_a_model_was_asked_otherwise_pairs_it_with_nobody(tmp_path):
    run = make_run(tmp_path)
    file = run / "samples" / "caracal" / "continuation.jsonl"
    file.write_text(file.read_text().replace("prompt 3:", "prompt three:"))
    assert set(opening.open_poll(run).sets["3 greedy"].answers) == {"aardvark", "bumblebee"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"task": "continuatoin"}, "has no task 'continuatoin' .did you mean 'continuation'"),
        ({"only": ["aardvarks"]}, "no model 'aardvarks' has the task 'continuation'"),
        ({"only": ["aardvark"]}, "has not two answers to one prompt"),
    ],
)
def test_what_cannot_be_asked_about_is_refused(tmp_path, asked, message):
    with pytest.raises(UsageError, match=message):
        opening.open_poll(make_run(tmp_path), **asked)


def test_a_model_that_is_called_as_the_human_text_is_refused(tmp_path):
    texts = {"aardvark": ["a"], "reference": ["b"]}
    with pytest.raises(UsageError, match="a model is called 'reference'"):
        opening.open_poll(make_run(tmp_path, texts))


def test_a_task_without_a_metric_can_be_voted_on(tmp_path):
    write_answers(tmp_path, write_texts())
    cells = Notes(cells={name: ["continuation"] for name in MODELS})
    bare = make_record(MODELS).model_copy(update={"scores": [], "notes": cells})
    bare.write(tmp_path)
    assert opening.open_poll(tmp_path).task == "continuation"
