"""One board from many runs: what shares a table, what does not, and what the board says."""

from __future__ import annotations

import json

import pytest
from support.hand_record import model, record, speed
from support.hand_runs import ACCURACY, BLEU, RATE, Hand, right
from support.many_runs_by_hand import (
    bits,
    likelihood_run,
    quality,
    ranks,
    run,
    said,
    sample,
    values,
)
from support.run_helpers import llmbench

from llmbench.errors import UsageError
from llmbench.leaderboard.merge import groups
from llmbench.leaderboard.merge import ranks as ranks_of_runs
from llmbench.leaderboard.merge.merge import merge
from llmbench.leaderboard.plots import BY_NUMBERS
from llmbench.leaderboard.renderers import markdown
from llmbench.results import signature as results_signature
from llmbench.stats import rank_sets
from llmbench.storage import write_lines, write_sealed

HALF = "text=0123456789abcdef;protocol=likelihood/1;window=half;limit=none"
ROLLING = HALF.replace("half", "rolling")


def test_models_of_two_runs_share_a_table_and_are_ranked_by_their_items(tmp_path):
    levels = {"good": 1.0, "fair": 1.5, "fair too": 1.5001, "poor": 2.0}
    one = likelihood_run(tmp_path / "one", {"good": 1.0, "fair too": 1.5001})
    two = likelihood_run(tmp_path / "two", {"fair": 1.5, "poor": 2.0}, day=2)
    board, warnings = merge([one, two])
    (table,) = board.tables
    assert warnings == []
    assert values(table) == pytest.approx(
        {name: sum(bits(level)) / 20_000 for name, level in levels.items()}
    )
    wanted = rank_sets({name: bits(level) for name, level in levels.items()}, [1000] * 20).rank
    assert ranks(table) == {
        name: str(best) if best == worst else f"{best}-{worst}"
        for name, (best, worst) in wanted.items()
    }
    assert ranks(table)["good"] == "1"
    assert {line.model: line.run for line in table.lines} == {
        "good": "one",
        "fair too": "one",
        "fair": "two",
        "poor": "two",
    }
    assert "Differences below about" in said(table)


def test_a_table_of_one_run_alone_keeps_the_ranks_that_the_run_proved(tmp_path):
    path = record().write(tmp_path / "alone").parent
    board, _ = merge(
        [
            path,
            likelihood_run(
                tmp_path / "other",
                {"a": 1.0, "b": 2.0},
                suite={"name": "s", "version": 1, "sha256": "0"},
            ),
        ]
    )
    assert ranks(merge([path])[0].tables[0]) == {
        "byte-ngram": "1-2",
        "zlib": "-",
        "uniform-bytes": "5",
        "lstm": "4",
        "transformer-decoder": "1-3",
        "mine": "-",
    }
    assert "The byte n-gram, which only counts, is significantly better than lstm." in said(
        merge([path])[0].tables[0]
    )
    # the record's own samples are not there, so nothing is proven of its rows beside the others
    together = {name: rank for name, rank in ranks(board.tables[0]).items() if rank != "-"}
    assert together == {"a": "1", "b": "2"}


def test_without_the_samples_of_every_run_nobody_is_ranked_and_the_board_says_so(tmp_path):
    one, two = (
        likelihood_run(tmp_path / "one", {"a": 1.0}),
        likelihood_run(tmp_path / "two", {"b": 2.0}),
    )
    (two / "samples/b/likelihood.jsonl").unlink()
    (table,) = merge([one, two])[0].tables
    assert set(ranks(table).values()) == {"-"}
    assert (
        "Not tested here, and so not ranked: the samples of these scores are not beside the record,"
        " or are others: two." in table.notes
    )


def test_a_model_without_samples_costs_the_others_no_rank_and_is_named(tmp_path):
    folders = [
        likelihood_run(tmp_path / name, {model: level})
        for name, model, level in (
            ("one", "a", 1.0),
            ("two", "b", 2.0),
            ("three", "c", 3.0),
            ("four", "d", 2.5),
        )
    ]
    (folders[1] / "samples/b/likelihood.jsonl").unlink()
    sample(folders[3], "d", bits(2.4))
    (table,) = merge(folders)[0].tables
    assert ranks(table) == {"a": "1", "c": "2", "b": "-", "d": "-"}
    assert [note for note in table.notes if note.startswith("Not tested here")] == [
        "Not tested here, and so without a rank: b of two; the samples are not beside the record.",
        "Not tested here, and so without a rank: d of four; the samples are not those of the"
        " score.",
    ]


@pytest.mark.parametrize(
    "wrong", ["other values", "fewer items", "nonsense", "one that is no number"]
)
def test_samples_that_are_not_those_of_the_score_rank_nobody(tmp_path, wrong):
    one, two = (
        likelihood_run(tmp_path / "one", {"a": 1.0}),
        likelihood_run(tmp_path / "two", {"b": 2.0}),
    )
    if wrong == "nonsense":
        (two / "samples/b/likelihood.jsonl").write_text(
            '{"id": "doc 0", "statistics": {"bits_per_byte": 3}}\n[]\n'
        )
    else:
        found = {
            "other values": bits(1.9),
            "fewer items": bits(2.0)[:19],
            "one that is no number": [*bits(2.0)[:19], "inf"],
        }[wrong]
        sample(two, "b", found)
    (table,) = merge([one, two])[0].tables
    assert set(ranks(table).values()) == {"-"}
    assert "or are others: two" in said(table)


@pytest.mark.parametrize(
    ("kind", "rows", "others"),
    [
        (ACCURACY, right("110" * 7), right("011" * 6 + "111")),
        (
            BLEU,
            [[9, 10, *[4, 3, 2, 1], *[9, 8, 7, 6]]] * 20,
            [[9, 10, *[1, 3, 2, 1], *[9, 8, 7, 6]]] * 20,
        ),
        (BLEU, [[9, 10, *[4, 3, 2, 1], *[9, 8, 7, 6]]] * 20, [[9, 10]] * 20),
        (RATE, [[1000.0 + i, 1] for i in range(16)], [[900.0 + i, 1] for i in range(16)]),
    ],
)
def test_samples_of_another_run_rank_nobody_by_whatever_metric(tmp_path, kind, rows, others):
    one = Hand(tmp_path / "one").add("a", kind, rows, session="s").write()
    two = Hand(tmp_path / "two").add("b", kind, rows, session="s").write()
    assert ranks(merge([one, two])[0].tables[0]) == {"a": "1-2", "b": "1-2"}
    task, metric, *_ = kind
    write_lines(
        two / "samples" / "b" / f"{task}.jsonl",
        [
            {"id": f"d{i}", "session": "s", "statistics": {metric: row}}
            for i, row in enumerate(others)
        ],
    )
    table = merge([one, two])[0].tables[0]
    assert set(ranks(table).values()) == {"-"}
    assert "or are others: two" in said(table)


def test_more_models_than_can_be_tested_in_pairs_are_not_ranked(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks_of_runs, "RANKED_AT_MOST", 2)
    runs = [likelihood_run(tmp_path / name, {name: 1.0 + n}) for n, name in enumerate("abc")]
    (table,) = merge(runs)[0].tables
    assert "Not ranked: every pair is tested, and 3 models are more than 2." in table.notes
    assert set(ranks(merge(runs[:2])[0].tables[0]).values()) == {"1", "2"}


def test_two_signatures_are_two_tables_whose_titles_tell_them_apart(tmp_path):
    one = run(tmp_path / "one", [model("a", 1)], [quality("a", bits(1.0), signature=HALF)])
    two = run(
        tmp_path / "two",
        [model("b", 1)],
        [quality("b", bits(2.0), signature=ROLLING)],
        finished="2026-01-05T00:00:00+00:00",
    )
    board, _ = merge([one, two])
    assert [(table.task, table.signature, list(values(table))) for table in board.tables] == [
        ("likelihood (window=rolling)", ROLLING, ["b"]),
        ("likelihood (window=half)", HALF, ["a"]),
    ]
    for table in board.tables:
        assert (
            "Apart from other tables of likelihood: window differs: rolling (in two) against half"
            " (in one)." in table.notes
        )


def test_texts_are_told_apart_by_the_beginning_of_their_hash_and_in_full_where_that_is_the_same():
    texts = [f"text={'a' * 8}{i}{'b' * 7};protocol=likelihood/1" for i in range(2)]
    assert results_signature.short_value(texts[0], "text") == "aaaaaaaa…"
    titles = [groups._title("t", groups.TableKey("bits_per_byte", text), texts) for text in texts]
    assert titles == [f"t (text=aaaaaaaa{i}bbbbbbb)" for i in range(2)]


def test_what_a_signature_is_made_of():
    assert results_signature.Signature.parse(
        "text=a;protocol=p/1;nrefs:1|case:mixed;x;limit=none"
    ).values() == {
        "text": "a",
        "protocol": "p/1",
        "nrefs": "1",
        "case": "mixed",
        "metric": "x",
        "limit": "none",
    }
    assert results_signature.find_differences(
        ["text=a;window=half", "text=a;window=half;words=w", "text=a"]
    ) == ["window", "words"]
    assert results_signature.find_differences(["text=a", "text=a"]) == []


def test_strict_refuses_different_signatures_and_says_which_part_differs(tmp_path):
    one = run(tmp_path / "one", [model("a", 1)], [quality("a", bits(1.0), signature=HALF)])
    two = run(tmp_path / "two", [model("b", 1)], [quality("b", bits(2.0), signature=ROLLING)])
    done = llmbench("leaderboard", "one", "two", "--strict", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        done.stderr
        == "llmbench: likelihood: not comparable: window differs: half (in one) against rolling (in"
        " two) (without --strict they are tables apart)\n"
    )
    assert merge([one, one / "run.json"], strict=True)[0].tables
    with pytest.raises(UsageError, match="window differs"):
        merge([one, two], strict=True)


def test_the_same_score_in_several_runs_is_one_row(tmp_path):
    runs = [likelihood_run(tmp_path / str(day), {"a": 1.0, "b": 2.0}, day=day) for day in (1, 2, 3)]
    near = json.loads((runs[0] / "run.json").read_text())
    near["scores"][0]["value"] *= 1 + 1e-7  # another machine adds in another order
    write_sealed(runs[0] / "run.json", near)
    board, warnings = merge(runs)
    assert warnings == []
    assert [(line.model, line.run) for line in board.tables[0].lines] == [("a", "3"), ("b", "3")]
    assert "something is off" not in said(board.tables[0])


def test_another_value_with_the_same_weights_and_signature_is_a_warning_and_the_newest_is_shown(
    tmp_path,
):
    rows = [model("a", 1)]
    old = run(
        tmp_path / "old", rows, [quality("a", [2000.0] * 4)], finished="2026-01-01T00:00:00+00:00"
    )
    new = run(
        tmp_path / "new", rows, [quality("a", [2100.0] * 4)], finished="2026-01-02T00:00:00+02:00"
    )
    board, warnings = merge([new, old])
    assert values(board.tables[0]) == {"a": 2.1}
    assert warnings == [
        "likelihood: a: bits_per_byte is 2.1 in new and 2 in old, 4.76% apart, with the same"
        " weights and signature: something is off. The newer is shown."
    ]
    assert warnings[0].partition(": ")[2] in board.tables[0].notes
    done = llmbench("leaderboard", "old", "new", "--format", "csv", cwd=tmp_path)
    assert done.stderr == f"warning: {warnings[0]}\n"
    assert done.returncode == 0


def test_the_front_of_many_runs_rests_on_the_tests_of_their_samples(tmp_path):
    rates = {"a": 100.0, "b": 90.0, "c": 50.0}
    for name, levels in {"one": {"a": 1.0, "b": 1.0002}, "two": {"c": 2.0}}.items():
        likelihood_run(tmp_path / name, levels)
        rows = [model(own, 1, fingerprint=f"{own:x<64}"[:64]) for own in levels]
        scores = [quality(own, bits(level)) for own, level in levels.items()]
        scores += [speed(own, "decode_bytes_per_second", rates[own]) for own in levels]
        run(tmp_path / name, rows, scores)
    board, _ = merge([tmp_path / "one", tmp_path / "two"])
    assert {point.model for point in board.points if point.front} == {"a", "b"}
    assert f"Pareto-optimal ({BY_NUMBERS}): " in markdown.render(board)
