"""One board from many runs: what shares a table, what does not, and what the board says."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import tracemalloc

import pytest
from support.hand_record import data, model, proven, record, score
from support.hand_runs import ACCURACY, BLEU, RATE, Hand, right
from support.many_runs_by_hand import (
    OTHER_MACHINE,
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
from llmbench.leaderboard import merge as leaderboard_merge
from llmbench.leaderboard.merge import merge
from llmbench.leaderboard.renderers.registry import BUILT_IN, draw
from llmbench.results import samples as items
from llmbench.results import signature as results_signature
from llmbench.results.promote import promote
from llmbench.stats import rank_sets
from llmbench.storage import write_json, write_lines

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
    assert set(ranks(board.tables[0]).values()) == {
        "-"
    }  # the record's own samples are not there, so nothing is proven of the rows together


def test_without_the_samples_of_every_run_nobody_is_ranked_and_the_board_says_so(tmp_path):
    one, two = (
        likelihood_run(tmp_path / "one", {"a": 1.0}),
        likelihood_run(tmp_path / "two", {"b": 2.0}),
    )
    (two / "samples/b/likelihood.jsonl").unlink()
    (table,) = merge([one, two])[0].tables
    assert set(ranks(table).values()) == {"-"}
    assert (
        "Not ranked: the samples of these scores are not beside the record, or are others: two."
        in table.notes
    )


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
    monkeypatch.setattr(leaderboard_merge, "RANKED_AT_MOST", 2)
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
    titles = [
        leaderboard_merge._title("t", leaderboard_merge.Place("bits_per_byte", text), texts)
        for text in texts
    ]
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
    assert results_signature.differing(
        ["text=a;window=half", "text=a;window=half;words=w", "text=a"]
    ) == ["window", "words"]
    assert results_signature.differing(["text=a", "text=a"]) == []


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
    write_json(runs[0] / "run.json", near)
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


def test_one_name_with_two_fingerprints_is_two_rows_that_are_told_apart(tmp_path):
    one = run(tmp_path / "one", [model("a", 1, fingerprint="1" * 64)], [quality("a", bits(1.0))])
    two = run(tmp_path / "two", [model("a", 1, fingerprint="2" * 64)], [quality("a", bits(2.0))])
    (table,) = merge([one, two])[0].tables
    assert list(values(table)) == ["a [11111111]", "a [22222222]"]


def test_one_fingerprint_in_two_precisions_is_two_rows(tmp_path):
    halves = [
        run(tmp_path / dtype, [model("a", 1, dtype=dtype)], [quality("a", bits(1.0))])
        for dtype in ("float32", "bfloat16")
    ]
    board, warnings = merge(halves)
    assert set(values(board.tables[0])) == {"a [float32]", "a [bfloat16]"}
    assert warnings == []


def test_names_that_are_told_apart_are_no_other_models_names(tmp_path):
    alike = "2" * 8
    rows = [model("a", 1, fingerprint=alike + "3" * 56), model("a [22222222]", 1)]
    one = run(tmp_path / "one", rows, [quality("a", bits(1.0)), quality("a [22222222]", bits(1.5))])
    two = run(
        tmp_path / "two", [model("a", 1, fingerprint=alike + "4" * 56)], [quality("a", bits(2.0))]
    )
    assert len(values(merge([one, two])[0].tables[0])) == 3


def test_the_note_on_the_counter_holds_where_its_name_had_to_be_told_apart(tmp_path):
    trained = {"seconds": 1.0}
    for name, print_, levels in (("one", "1", (1.0, 2.0)), ("two", "2", (3.0, 4.0))):
        rows = [
            model("byte-ngram", 0, fingerprint=print_ * 64),
            model("net", 3, training=trained, fingerprint=print_ * 64),
        ]
        found = dict(zip(("byte-ngram", "net"), levels, strict=True))
        for model_name, level in found.items():
            sample(tmp_path / name, model_name, bits(level))
        signature = HALF.replace("0123", name)
        run(
            tmp_path / name,
            rows,
            [quality(n, bits(level), signature=signature) for n, level in found.items()],
            notes=by("byte-ngram", "net"),
        )
    for table in merge([tmp_path / "one", tmp_path / "two"])[0].tables:
        assert "which only counts, is significantly better than net [" in said(table)


def by(better, worse):
    return {"tasks": {"likelihood": {"better_than": {better: [worse], worse: []}}}}


def test_a_column_that_has_another_signature_is_left_out_of_its_line_and_that_is_said(tmp_path):
    for name, counter in (("a", "whitespace"), ("b", "whitespace"), ("c", "letters")):
        words = score(name, "word_perplexity", 30.0, signature=f"{HALF};words={counter}")
        run(tmp_path / name, [model(name, 1)], [quality(name, bits(1.0)), words])
    (table,) = merge([tmp_path / name for name in "abc"])[0].tables
    assert values(table, "word_perplexity") == {"a": 30.0, "b": 30.0, "c": None}
    assert (
        "word_perplexity of c is left out: its signature differs from the others' in words."
        in table.notes
    )


def test_a_refused_certificate_in_any_run_carries_over(tmp_path):
    for name, day, certificate in (
        ("old", 1, proven("normalised: a sum of 1.2")),
        ("new", 2, proven()),
    ):
        rows = [model("a", 1, certificate=certificate), model("b", 1), model("c", 1)]
        found = {"a": 1.0, "b": 2.0, "c": 3.0}
        for n, level in found.items():
            sample(tmp_path / name, n, bits(level))
        scores = [
            quality(n, bits(level), rank=[place, place])
            for place, (n, level) in enumerate(found.items(), 1)
        ]
        run(tmp_path / name, rows, scores, finished=f"2026-01-0{day}T00:00:00+00:00")
    (table,) = merge([tmp_path / "old", tmp_path / "new"])[0].tables
    assert ranks(table) == {"a": "-", "b": "1", "c": "2"}
    assert "a failed certificate A2" in said(table)
    assert ranks(merge([tmp_path / "new"])[0].tables[0]) == {"a": "1", "b": "2", "c": "3"}


def test_failures_of_all_runs_are_there_once_but_for_cells_that_another_run_filled(tmp_path):
    failed = [
        {
            "model": "b",
            "task": "likelihood",
            "reason": "unavailable",
            "message": "no weights",
            "hint": "fetch them",
        },
        {"model": "c", "task": "likelihood", "reason": "crashed", "message": "killed", "hint": ""},
    ]
    one = likelihood_run(tmp_path / "one", {"a": 1.0}, failures=failed)
    two = likelihood_run(tmp_path / "two", {"b": 2.0}, failures=failed[1:])
    board, _ = merge([one, two])
    assert [(row.model, row.task, row.reason) for row in board.failures] == [
        ("c", "likelihood", "crashed")
    ]
    assert (
        "filled",
        "1 cells that could not be measured in one run are here from another",
    ) in board.facts


def test_the_board_names_its_runs_the_newest_first(tmp_path):
    paths = [
        likelihood_run(tmp_path / place / "run", {"a": 1.0}, day=day)
        for day, place in enumerate(("x", "y"), 1)
    ]
    facts = merge([*paths, paths[0]])[0].facts
    assert facts[0] == ("runs", "2")
    assert [value.partition(":")[0] for key, value in facts if key == "run"] == ["y/run", "x/run"]
    many = [likelihood_run(tmp_path / f"r{i}", {"a": 1.0}, day=i + 1) for i in range(20)]
    facts = merge(many)[0].facts
    assert ("older runs", "r7, r6, r5, r4 and 4 more") in facts


def test_a_date_that_is_none_is_the_oldest(tmp_path):
    odd = likelihood_run(tmp_path / "odd", {"a": 1.0}, finished="one day")
    board, _ = merge(
        [odd, likelihood_run(tmp_path / "new", {"a": 1.0}, finished="2026-01-01T00:00:00")]
    )
    assert board.tables[0].lines[0].run == "new"


def test_reviewed_records_are_runs_and_are_ranked_by_the_items_in_them(tmp_path):
    runs = [
        likelihood_run(tmp_path / "one", {"a": 1.0, "b": 1.5}),
        likelihood_run(tmp_path / "two", {"c": 2.0}),
    ]
    wanted = ranks(merge(runs)[0].tables[0])
    records = [promote(items.opened(path), tmp_path / f"{path.name}@machine.json") for path in runs]
    for path in runs:
        shutil.rmtree(path)
    (table,) = merge(records)[0].tables
    assert ranks(table) == wanted == {"a": "1", "b": "2", "c": "3"}
    assert [line.run for line in table.lines] == ["one@machine", "one@machine", "two@machine"]


def test_a_record_with_parts_that_nobody_knows_is_a_run(tmp_path):
    write_json(tmp_path / "later.json", {**data(), "weather": {"lstm": [[1.0, 2]]}})
    board, _ = merge([tmp_path / "later.json"])
    assert board.tables[0].lines[0].run == "later"
    assert ranks(board.tables[0])["lstm"] == "4"


def test_a_record_does_not_choose_which_files_its_items_are_read_from(tmp_path):
    sample(tmp_path / "secret", "a", bits(1.0))
    (tmp_path / "run/samples").mkdir(parents=True)
    assert items.sampled(tmp_path / "run", "../../secret/samples/a", "likelihood") == []
    assert items.sampled(tmp_path / "secret", "a", "likelihood")
    assert items.sampled(tmp_path / "secret", "a\0", "likelihood") == []


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (("nowhere",), "nowhere: cannot read the record: No such file or directory"),
        ((), "Missing argument 'RUN...'"),
        (
            ("one", "--out", "one"),
            "this is a run directory; its own boards would be overwritten (choose another --out)",
        ),
        (("one", "torn.json"), "torn.json: the record is torn"),
    ],
)
def test_what_cannot_be_merged_is_one_line_and_exit_code_2(tmp_path, arguments, want):
    likelihood_run(tmp_path / "one", {"a": 1.0})
    (tmp_path / "torn.json").write_text('{"schema": 1,')
    done = llmbench("leaderboard", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert want in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "one").glob("leaderboard.*"))


COMMANDS = """
import json, sys
from llmbench.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["llmbench", *arguments]
    try:
        main.main()
    except SystemExit as ended:
        print("ended", ended.code, *({"torch", "transformers"} & {*sys.modules}))
"""


def test_the_commands_print_a_format_or_write_the_boards_and_load_no_torch(tmp_path):
    likelihood_run(tmp_path / "one", {"a": 1.0})
    likelihood_run(tmp_path / "two", {"b": 2.0})
    board, _ = merge([tmp_path / "one", tmp_path / "two"])
    both = [["leaderboard", "one", "two", "--format", form] for form in BUILT_IN]
    alone = [["report", "one", "--format", form] for form in BUILT_IN]
    commands = json.dumps(
        [*both, *alone, ["leaderboard", "one", "two", "--out", "both"], ["report", "one"]]
    )
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, commands],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    printed = done.stdout.split("ended 0\n")
    assert printed[:4] == [draw(form, board) for form in BUILT_IN]
    assert len(printed) == 11
    assert all(printed[4:8])
    assert printed[8:] == ["", "", ""]
    written = {"leaderboard.md", "leaderboard.csv", "leaderboard.html"}
    assert {file.name for file in (tmp_path / "both").iterdir()} == written
    assert written <= {file.name for file in (tmp_path / "one").iterdir()}


def test_csv_has_for_each_line_its_run_and_its_machine(tmp_path):
    one, two = (
        likelihood_run(tmp_path / "one", {"a": 1.0}),
        likelihood_run(tmp_path / "two", {"b": 2.0}, machine=OTHER_MACHINE),
    )
    rows = {
        row["model"]: row for row in csv.DictReader(io.StringIO(draw("csv", merge([one, two])[0])))
    }
    assert {name: (row["run"], row["machine"].partition(",")[0]) for name, row in rows.items()} == {
        "a": ("one", "A Processor"),
        "b": ("two", "Another Processor"),
    }
    assert (rows["a"]["metric"], rows["a"]["unit"], rows["a"]["n"]) == (
        "bits_per_byte",
        "bits/byte",
        "20",
    )
    assert float(rows["a"]["value"]) == float(rows["a"]["bits_per_byte"])


def test_memory_grows_with_the_scores_and_not_with_the_samples(tmp_path):
    def peak(folder, items):
        runs = []
        for number in range(2):
            found = bits(1.0 + number, items)
            sample(folder / str(number), f"m{number}", found, output="x" * 50_000)
            runs.append(
                run(folder / str(number), [model(f"m{number}", 1)], [quality(f"m{number}", found)])
            )
        tracemalloc.start()
        board, _ = merge(runs)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "1" in ranks(board.tables[0]).values()
        return most

    merge([likelihood_run(tmp_path / "first", {"a": 1.0})])  # what is loaded once
    few, many = peak(tmp_path / "few", 40), peak(tmp_path / "many", 400)
    assert many < few + 12e6  # more signs are flipped; a file of samples has 20 MB
