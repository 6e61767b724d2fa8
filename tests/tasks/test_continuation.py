"""Prompts cut from a text, answered greedily and by chance, and what is made of the answers."""

from __future__ import annotations

import pytest
from support import toys
from support.hand_record import data, score
from support.known import Known, quiet
from support.run_helpers import folder, llmbench, run_json

from llmbench.adapter import Chunk
from llmbench.config.strict_yaml import check
from llmbench.data.loading import load
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.renderers.registry import draw
from llmbench.metrics.registry import create_metric
from llmbench.results.record import Record
from llmbench.results.record import load as load_record
from llmbench.tasks.answers.text_prompts import Prompt, cut_prompts
from llmbench.tasks.continuation import Continuation, Decoding

LINE = "The tap dripped; the kettle c\N{LATIN SMALL LETTER O WITH DIAERESIS}unted. "
STORIES = Text("test", tuple(Document(str(i), f"Story {i}. " + LINE * 20) for i in range(5)))


def spec(**given):
    return check(Continuation.Settings, {"task": "continuation", **given}, {}, "suite.yaml")


def test_prompts_are_whole_words_of_the_text_and_the_human_goes_on_where_they_end():
    prompts = cut_prompts(STORIES, 12, 40, 60, seed=3)
    assert len(prompts) == 12
    wholes = [document.text for document in STORIES.documents]
    for prompt in prompts:
        assert any(prompt.text + prompt.human in whole for whole in wholes)
        assert 20 <= len(prompt.text.encode()) <= 40
        assert prompt.text == prompt.text.strip()
        assert prompt.human[0] == " "
        assert 56 <= len(prompt.human.encode()) <= 60
    assert cut_prompts(STORIES, 12, 40, 60, seed=3) == prompts
    assert cut_prompts(STORIES, 12, 40, 60, seed=4) != prompts


def test_documents_have_their_turns_and_short_ones_none():
    with_short = Text("test", (*STORIES.documents[:3], Document("short", "Too short.")))
    begun = [prompt.text + prompt.human for prompt in cut_prompts(with_short, 6, 100, 500, seed=0)]
    owners = [next(d.id for d in with_short.documents if whole in d.text) for whole in begun]
    assert "short" not in owners
    with pytest.raises(UsageError, match="no document of the text 'test' has 5,000 bytes"):
        cut_prompts(STORIES, 3, 1000, 4000, seed=0)


def test_a_text_without_a_space_is_cut_between_characters():
    solid = Text("test", (Document("a", "\N{LATIN SMALL LETTER O WITH DIAERESIS}" * 400),))
    for prompt in cut_prompts(solid, 5, 21, 31, seed=1):
        assert prompt.text.strip("\N{LATIN SMALL LETTER O WITH DIAERESIS}") == ""
        assert len(prompt.text.encode()) in (20, 21, 22)


def test_every_prompt_is_asked_once_greedily_and_once_for_each_seed():
    model = Known({"The tap": " dripped"})
    task = Continuation(
        [Prompt("The tap"), Prompt("The jug")],
        Decoding(50, (0.0, 1.0), seeds=2),
        [create_metric("answer_bytes")],
        seed=7,
    )
    outcome = task.run(model, quiet)
    assert [(r.prompt, r.temperature, r.seed, r.max_bytes) for r in model.asked] == [
        ("The tap", 0.0, 7, 50),
        ("The tap", 1.0, 7, 50),
        ("The tap", 1.0, 1007, 50),
        ("The jug", 0.0, 8, 50),
        ("The jug", 1.0, 8, 50),
        ("The jug", 1.0, 1008, 50),
    ]
    assert [sample["id"] for sample in outcome.samples] == [
        "0 greedy",
        "0 sampled 1",
        "0 sampled 2",
        "1 greedy",
        "1 sampled 1",
        "1 sampled 2",
    ]
    rows = {row["variant"]: row for row in outcome.scores}
    assert (rows[":greedy"]["value"], rows[":greedy"]["n"], rows[":greedy"]["empty"]) == (4.0, 2, 1)
    assert (rows[""]["value"], rows[""]["n"], rows[""]["empty"]) == (4.0, 2, 2)
    assert outcome.samples[0]["statistics"] == {"answer_bytes:greedy": [8.0, 1.0]}
    assert outcome.samples[1]["statistics"] == {"answer_bytes": [16.0, 2.0]}


def test_one_way_of_answering_alone_has_the_metrics_plain_names():
    for temperature in (0.0, 0.8):
        outcome = Continuation(
            [Prompt("a")], Decoding(50, (temperature,)), [create_metric("answer_bytes")]
        ).run(Known({"a": "bc"}), quiet)
        assert outcome.samples[0]["id"] == "0"
        assert outcome.samples[0]["statistics"] == {"answer_bytes": [2.0, 1.0]}
        assert outcome.scores[0]["variant"] == ""


def test_what_the_human_wrote_stands_beside_each_metric():
    prompts = [
        Prompt("The tap", " dripped and dripped again and dripped and dripped again"),
        Prompt("A jug", " a b c d e f g"),
    ]
    outcome = Continuation(
        prompts,
        Decoding(60, (1.0,)),
        [create_metric("repetition_4"), create_metric("answer_bytes")],
    ).run(Known(), quiet)
    (row,) = [row for row in outcome.scores if row["metric"] == "answer_bytes"]
    assert row["human"] == sum(len(prompt.human) for prompt in prompts) / 2
    assert not [
        row for row in outcome.scores if row["metric"] == "repetition_4"
    ]  # nothing was said that could repeat


def test_empty_blank_and_broken_answers_and_prompts_beyond_the_context_are_counted():
    class Short(toys.Uniform):
        context = 4

        def generate(self, requests):
            for row, request in enumerate(requests):
                yield Chunk(
                    row,
                    {"one": "", "two": " \n", "a long prompt": "\N{REPLACEMENT CHARACTER}"}[
                        request.prompt
                    ],
                    1,
                    "stop",
                )

    prompts = [Prompt("one"), Prompt("two"), Prompt("a long prompt")]
    (row,) = (
        Continuation(prompts, Decoding(10, (0.0,)), [create_metric("answer_bytes")])
        .run(Short(4), quiet)
        .scores
    )
    assert (row["empty"], row["broken"], row["cut"]) == (2, 1, 1)


def test_bytes_of_a_byte_model_that_are_no_utf8_are_shown_as_such_and_counted():
    class Bad(toys.Uniform):
        def logits(self, ids):
            logits = super().logits(ids)
            logits[..., 0xFF] = 99.0  # a byte of no UTF-8 text
            return logits

    outcome = Continuation(
        [Prompt("a")],
        Decoding(3, (0.0,)),
        [create_metric("answer_bytes"), create_metric("repetition_4")],
    ).run(Bad(), quiet)
    assert "\N{REPLACEMENT CHARACTER}" in outcome.samples[0]["output"]
    assert outcome.scores[0]["broken"] == 1


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "neither `prompts` nor a `text`"),
        ({"prompts": ["a"], "temperature": [0.5, 1]}, "greedy answers and sampled ones"),
        ({"prompts": ["a"], "temperature": []}, "greedy answers and sampled ones"),
        ({"prompts": ["a"], "temperature": -1}, "must be at least 0"),
        ({"prompts": ["a"], "seeds": 0}, "must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, what):
    with pytest.raises(UsageError, match=what):
        spec(**given)


def test_a_metric_that_needs_a_reference_is_refused_for_given_prompts():
    with pytest.raises(
        UsageError, match="bleu compares with a reference, and `prompts` that are given have none"
    ):
        spec(prompts=["a"], metrics=["bleu"])


def test_prompts_of_a_text_are_judged_by_all_metrics_and_given_ones_by_none():
    train, held = (
        load(name, "fables", select={"part": "tales", "split": name}) for name in ("train", "test")
    )
    task = Continuation.from_settings(spec(text="test", count=3), {"train": train, "test": held}, 0)
    names = [scorer.metric.name for scorer in task.scorers]
    assert names == [
        "distinct_2",
        "repetition_4",
        "answer_bytes",
        "longest_copy_bytes",
        "long_copy_share",
        "ngram_distance",
    ]
    assert Continuation.from_settings(spec(prompts=["a"]), {"train": train}, 0).scorers == []
    assert (
        task.signature
        != Continuation.from_settings(
            spec(text="test", count=3), {"train": train, "test": held}, 1
        ).signature
    )


@pytest.mark.slow
def test_a_run_shows_answers_beside_what_humans_wrote(tmp_path):
    place = folder(tmp_path)
    suite = (place / "tiny.yaml").read_text()
    asked = (
        "{task: continuation, text: test, count: 10, prompt_bytes: 12, max_bytes: 30, temperature:"
        " [0, 1]}"
    )
    (place / "tiny.yaml").write_text(
        suite.replace('{task: continuation, prompts: ["The "], max_bytes: 20}', asked)
    )
    done = llmbench("run", "tiny.yaml", "--only", "byte-ngram", "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    found = {
        (row["metric"], row["variant"]): row
        for row in run_json(place / "out")["scores"]
        if row["task"] == "continuation"
    }
    assert {
        ("answer_bytes", ""),
        ("answer_bytes", ":greedy"),
        ("longest_copy_bytes", ""),
    } <= found.keys()
    board = leaderboard_board.build(load_record(place / "out"), place / "out")
    (table,) = [table for table in board.tables if table.task == "continuation"]
    (line,) = table.lines
    assert line.cells["answer_bytes:greedy"].value == found["answer_bytes", ":greedy"]["value"]
    assert any(
        "Human text of the same length:" in note and "longest_copy_bytes" in note
        for note in table.notes
    )
    said = (place / "out/leaderboard.md").read_text()
    assert "answer, bytes, greedy" in said


def test_of_several_answers_to_a_prompt_the_prompt_is_the_item():
    prompts = [
        Prompt(f"Prompt {i}", f" human {i} and more words than four of them") for i in range(9)
    ]
    said = {
        prompt.text: " one two three four five one two three four" if i % 3 else ""
        for i, prompt in enumerate(prompts)
    }
    scorers = [create_metric("repetition_4"), create_metric("answer_bytes")]
    one = Continuation(prompts, Decoding(60, (1.0,)), scorers).run(Known(said), quiet)
    five = Continuation(prompts, Decoding(60, (0.0, 1.0), seeds=5), scorers).run(Known(said), quiet)
    sampled = {row["metric"]: row for row in five.scores if not row["variant"]}
    for row in one.scores:  # the same five times over says nothing more
        again = sampled[row["metric"]]
        assert (again["value"], again["n"]) == (pytest.approx(row["value"]), row["n"])
        assert (again["low"], again["high"]) == (
            pytest.approx(row["low"]),
            pytest.approx(row["high"]),
        )
    first, *others = [sample for sample in five.samples if sample["id"].startswith("1 sampled")]
    assert first["statistics"]["answer_bytes"] == [5 * 43.0, 5.0]
    assert [sample["statistics"] for sample in others] == [{}] * 4


def test_shares_and_distances_of_several_answers_are_put_together():
    train, held = (
        load(name, "fables", select={"part": "tales", "split": name}) for name in ("train", "test")
    )
    copies, distance = (
        create_metric("long_copy_share", train=train),
        create_metric("ngram_distance", held_out=held),
    )
    copied = copies.measure(train.documents[0].text[:100])
    assert copies.combine([copied, copies.measure("new"), copied]) == [2.0, 3.0]
    found = copies.value([[2.0, 3.0]] * 5 + [[0.0, 3.0]] * 5)
    assert found.value == pytest.approx(1 / 3)
    assert found.low < 1 / 3 < found.high
    assert distance.combine([distance.measure("abc"), [], distance.measure("de fg")]) == [
        float(ord(c)) for c in "abcde fg"
    ]
    assert distance.combine([[]]) == []


def test_other_prompts_have_another_signature():
    signatures = {
        Continuation.from_settings(spec(prompts=prompts, metrics=["answer_bytes"]), {}, 0).signature
        for prompts in (["a"], ["b"], ["a", "b"])
    }
    assert len(signatures) == 3
    held = load("test", "fables", select={"part": "tales", "split": "test"})
    both = {
        Continuation.from_settings(
            spec(prompts=prompts, text="test", metrics=[]), {"test": held}, 0
        ).signature
        for prompts in ([], ["a"])
    }
    assert len(both) == 2


@pytest.mark.parametrize(
    ("task", "what"),
    [
        ('{task: continuation, prompts: ["a"], metrics: [bleu]}', "bleu compares with a reference"),
        (
            '{task: continuation, prompts: ["a"], metrics: [ngram_distance]}',
            "ngram_distance compares with the text",
        ),
        (
            "{task: continuation, text: test, max_bytes: 90000}",
            "no document of the text 'test' has 90,100 bytes",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_runs(tmp_path, task, what):
    place = folder(tmp_path)
    suite = (place / "tiny.yaml").read_text()
    (place / "tiny.yaml").write_text(
        suite.replace('{task: continuation, prompts: ["The "], max_bytes: 20}', task)
    )
    done = llmbench("run", "tiny.yaml", "--only", "byte-ngram", "--out", "out", cwd=place)
    assert done.returncode == 2
    assert what in done.stderr
    assert "tiny.yaml:9:" in done.stderr


def test_metrics_that_no_column_is_for_have_one_of_their_own(tmp_path):
    written = data()
    more = {
        "task": "said",
        "unit": "",
        "better": None,
        "empty": 0,
        "broken": 0,
        "cut": 0,
        "decoding": "greedy",
    }
    written["scores"] += [
        score("lstm", "evaluate:mine", 0.25, **more),
        score("lstm", "rougeL", 0.5, **{**more, "unit": "share", "variant": ":greedy"}),
    ]
    board = leaderboard_board.build(Record.model_validate(written))
    (table,) = [table for table in board.tables if table.task == "said"]
    assert [
        column.key for column in table.columns if column.key in ("evaluate:mine", "rougeL:greedy")
    ] == ["evaluate:mine", "rougeL:greedy"]
    assert (
        table.lines[0].cells["evaluate:mine"].text,
        table.lines[0].cells["rougeL:greedy"].text,
    ) == ("0.250", "50.0 %")
    for form in ("table", "md", "csv", "html"):
        assert "evaluate:mine" in draw(form, board).replace("\\", "")
