"""The items of a task for the browser of samples: all of them, the hardest first, or what a page
has room for.
"""

from __future__ import annotations

import pytest
from support.hand_record import model, record, score
from support.wide_record import build_record, write_items

from llmbench.leaderboard.overview import items as leaderboard_items
from llmbench.leaderboard.overview.items import find_items
from llmbench.leaderboard.renderers.page.embed import pack_items
from llmbench.storage import write_lines


def row(id, statistics, **more):
    return {"id": id, "bytes": 1, "input": None, "output": None, "reference": None} | {
        "statistics": statistics,
        **more,
    }


@pytest.fixture
def two_models(tmp_path):
    """A record of two tasks, and its samples."""
    for name, bits in (("a", [4.0, 9.0, 2.0]), ("b", [8.0, 3.0, 2.0])):
        rows = [row(f"d{n}", {"bits_per_byte": [value, 2.0]}) for n, value in enumerate(bits)]
        write_lines(tmp_path / "samples" / name / "likelihood.jsonl", rows)
        answers = [
            row(
                f"q{n}",
                {"accuracy": [float(n == 0 or name == "a"), 1.0]},
                input="Why?",
                output=f"{name} says",
                reference="So.",
            )
            for n in range(2)
        ]
        write_lines(tmp_path / "samples" / name / "questions.jsonl", answers)
    scores = [
        more
        for name in "ab"
        for more in (
            score(name, "bits_per_byte", 2.0),
            score(name, "byte_perplexity", 4.0),
            score(name, "accuracy", 0.5, task="questions", better="higher"),
        )
    ]
    made = record(models=[model(n, 3) for n in "ab"], scores=scores, failures=[], notes={})
    return made, tmp_path


def test_items_come_with_the_hardest_first_and_what_each_model_has_of_each(two_models):
    likelihood, questions = find_items(*two_models)
    assert [(item.id, item.values["bits_per_byte"]) for item in likelihood.items] == [
        ("d0", {"a": 2.0, "b": 4.0}),
        ("d1", {"a": 4.5, "b": 1.5}),
        ("d2", {"a": 1.0, "b": 1.0}),
    ]
    assert [metric.key for metric in likelihood.metrics] == ["bits_per_byte"]  # not what it derives
    assert [item.id for item in questions.items] == ["q1", "q0"]  # b is wrong there
    assert questions.items[0].answers == {"a": "a says", "b": "b says"}
    assert (questions.items[0].prompt, questions.items[0].reference) == ("Why?", "So.")


def test_the_browser_gets_lists_in_the_order_of_the_models(two_models):
    likelihood, questions = pack_items(find_items(*two_models))
    assert likelihood["items"][1] == {"id": "d1", "values": [[4.5, 1.5]]}
    assert questions["items"][0]["answers"] == ["a says", "b says"]
    assert questions["metrics"] == [{"title": "accuracy", "better": "higher"}]


def test_near_ties_name_the_models_that_have_them(two_models):
    made, folder = two_models
    rows = [row("d1", {"bits_per_byte": [1.0, 1.0]}, near=["none", "byte"])]
    write_lines(folder / "samples/b/likelihood.jsonl", rows)
    likelihood, _ = pack_items(find_items(made, folder))
    assert {item["id"]: item.get("near") for item in likelihood["items"]} == {
        "d0": None,
        "d1": ["b"],
        "d2": None,
    }


def test_what_one_model_lacks_is_null(two_models):
    made, folder = two_models
    rows = [row("d1", {"bits_per_byte": [1.0, 1.0]}), row("new", {"bits_per_byte": []})]
    write_lines(folder / "samples/b/likelihood.jsonl", rows)
    likelihood, _ = pack_items(find_items(made, folder))
    values = {item["id"]: item["values"] for item in likelihood["items"]}
    assert values == {"d0": [[2.0, None]], "d1": [[4.5, 1.0]], "d2": [[1.0, None]]}


def test_numbers_and_texts_that_are_none_are_left_out(two_models):
    made, folder = two_models
    odd = [["x", 2.0], [1.0, 0.0], [1.0], None, 7, [10**400, 1.0], ["inf", 1.0]]
    rows = [row(f"d{n}", {"bits_per_byte": value}) for n, value in enumerate(odd)]
    rows += [row("no statistics", 3), {"id": "nothing"}]
    write_lines(folder / "samples/a/likelihood.jsonl", rows)
    found = find_items(made, folder)[0]
    assert found.models == ["b"]
    assert all("a" not in item.values.get("bits_per_byte", {}) for item in found.items)


def test_a_big_run_is_cut_to_the_hardest_items_that_a_page_has_room_for(monkeypatch, tmp_path):
    made, folder = build_record(8, 2), write_items(tmp_path, 8, 2, items=50)
    whole = find_items(made, folder)
    assert [len(task.items) for task in whole] == [50, 50]
    monkeypatch.setattr(leaderboard_items, "MOST_VALUES", 8 * 30)
    cut = find_items(made, folder)
    assert [(len(task.items), task.total) for task in cut] == [(15, 50), (15, 50)]
    assert [item.id for item in cut[0].items] == [item.id for item in whole[0].items[:15]]
    monkeypatch.setattr(leaderboard_items, "MOST_TEXT", 4000)
    assert [len(task.items) for task in find_items(made, folder)][1] < 15


def test_long_texts_are_cut_where_they_matter_least(two_models):
    made, folder = two_models
    rows = [
        row("q0", {"accuracy": [1.0, 1.0]}, input=f"{'x' * 900}END", output="y" * 900),
        row("q1", {"accuracy": [1.0, 1.0]}, input=f"BEGIN{'x' * 900}", output=None),
    ]
    write_lines(folder / "samples/a/questions.jsonl", rows)
    found = {item.id: item for item in find_items(made, folder)[1].items}
    assert found["q0"].prompt.endswith("END")  # what the answer goes on from
    assert found["q1"].prompt.startswith("BEGIN")
    sizes = {len(found["q0"].prompt), len(found["q0"].answers["a"]), len(found["q1"].prompt)}
    assert sizes == {leaderboard_items.LONGEST_TEXT}


def test_a_record_without_its_folder_has_no_items(two_models):
    assert find_items(two_models[0], None) == []
