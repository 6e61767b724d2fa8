"""The command that merges runs, and which files it reads."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tracemalloc

import pytest
from support.hand_record import data, model
from support.many_runs_by_hand import (
    OTHER_MACHINE,
    bits,
    likelihood_run,
    quality,
    ranks,
    run,
    sample,
)
from support.run_helpers import llmbench

from llmbench.leaderboard.merge.merge import merge
from llmbench.leaderboard.renderers.registry import BUILT_IN, draw
from llmbench.results import samples as items
from llmbench.results.promote import promote
from llmbench.storage import write_sealed


def test_reviewed_records_are_runs_and_are_ranked_by_the_items_in_them(tmp_path):
    runs = [
        likelihood_run(tmp_path / "one", {"a": 1.0, "b": 1.5}),
        likelihood_run(tmp_path / "two", {"c": 2.0}),
    ]
    wanted = ranks(merge(runs)[0].tables[0])
    records = [
        promote(items.open_results(path), tmp_path / f"{path.name}@machine.json") for path in runs
    ]
    for path in runs:
        shutil.rmtree(path)
    (table,) = merge(records)[0].tables
    assert ranks(table) == wanted == {"a": "1", "b": "2", "c": "3"}
    assert [line.run for line in table.lines] == ["one@machine", "one@machine", "two@machine"]


def test_a_record_with_parts_that_nobody_knows_is_a_run(tmp_path):
    write_sealed(tmp_path / "later.json", {**data(), "weather": {"lstm": [[1.0, 2]]}})
    board, _ = merge([tmp_path / "later.json"])
    assert board.tables[0].lines[0].run == "later"
    assert ranks(board.tables[0])["lstm"] == "4"


def test_a_record_does_not_choose_which_files_its_items_are_read_from(tmp_path):
    sample(tmp_path / "secret", "a", bits(1.0))
    (tmp_path / "run/samples").mkdir(parents=True)
    assert items.read_samples(tmp_path / "run", "../../secret/samples/a", "likelihood") == []
    assert items.read_samples(tmp_path / "secret", "a", "likelihood")
    assert items.read_samples(tmp_path / "secret", "a\0", "likelihood") == []


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
        env=dict(os.environ),  # without the COLUMNS that readline may have set behind Python's back
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    printed = done.stdout.split("ended 0\n")
    assert printed[:4] == [draw(form, board) for form in BUILT_IN]
    assert len(printed) == 11
    assert all(printed[4:8])
    assert printed[8] == ""
    assert printed[9].startswith("a is the only model with a result")
    assert printed[10:] == [""]
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
