"""Speed and memory on a board of many runs: what shares a table."""

from __future__ import annotations

from support.hand_record import model, score, speed
from support.many_runs_by_hand import (
    OTHER_MACHINE,
    bits,
    keys,
    quality,
    ranks,
    run,
    said,
    sample,
    values,
)

from llmbench.leaderboard.merge.merge import merge
from llmbench.storage import write_lines


def rates(folder, names, machine=None, session="monday", level=1000.0, **more):
    """A run of speeds, with the samples of its blocks."""
    rows = [model(name, 1, training={"seconds": 12.0}) for name in names]
    scores = []
    for n, name in enumerate(names):
        rate = level * (1 + n)
        found = [rate * (1 + 0.01 * (i % 3 - 1)) for i in range(16)]
        scores += [
            speed(name, "decode_bytes_per_second", rate, 20.0, batch=1, **more),
            quality(name, bits(1.0 + n)),
        ]
        scores += [
            score(
                name,
                "peak_ram",
                (n + 1) << 30,
                task="memory",
                unit="bytes",
                signature="text=0;protocol=memory/1",
            )
        ]
        lines = [
            {
                "id": f"block {i}",
                "session": session,
                "statistics": {"decode_bytes_per_second": [v, 1]},
            }
            for i, v in enumerate(found)
        ]
        write_lines(folder / "samples" / name / "speed.jsonl", lines)
        sample(folder, name, bits(1.0 + n))
    return run(
        folder,
        rows,
        scores,
        machine=machine or {},
        options={"device": "auto" if machine is OTHER_MACHINE else "cpu"},
    )


def test_speed_and_memory_are_in_tables_of_their_own_for_each_machine_and_beside_nothing(tmp_path):
    one, two = (
        rates(tmp_path / "one", ["a", "b"]),
        rates(tmp_path / "two", ["a", "b"], OTHER_MACHINE, level=9000.0),
    )
    board, warnings = merge([one, two])
    machines = [
        "A Processor, 4 cores, 4 threads, no GPU, Linux",
        "Another Processor, 64 cores, 8 threads, 2 × Big GPU, Linux",
    ]
    assert [table.task for table in board.tables] == [
        "likelihood",
        *(f"speed on {machine}" for machine in machines),
        *(f"memory on {machine}" for machine in machines),
    ]
    assert not {"decode_bytes_per_second", "peak_ram", "training_seconds"} & keys(board.tables[0])
    assert [values(table, "decode_bytes_per_second") for table in board.tables[1:3]] == [
        {"b": 2000.0, "a": 1000.0},
        {"b": 18000.0, "a": 9000.0},
    ]
    assert all("training_seconds" in keys(table) for table in board.tables[1:3])
    assert [set(ranks(table).values()) for table in board.tables[1:3]] == [
        {"-"},
        {"-"},
    ]  # as the records have it: nothing was ranked there
    assert [values(table, "peak_ram") for table in board.tables[3:]] == [
        {"a": 1 << 30, "b": 2 << 30}
    ] * 2
    assert {line.machine for line in board.tables[1].lines} == {machines[0]}
    assert warnings == []
    assert [value.partition(": ")[2] for key, value in board.facts if key == "machine"] == [
        "one",
        "two",
    ]
    assert len(board.points) == 2


def test_on_one_machine_what_a_model_costs_stands_beside_what_it_can_do(tmp_path):
    one, two = rates(tmp_path / "one", ["a"]), rates(tmp_path / "two", ["b", "c"])
    board, _ = merge([one, two])
    assert [table.task.partition(" on ")[0] for table in board.tables] == ["likelihood", "speed"]
    assert {"decode_bytes_per_second", "peak_ram", "training_seconds"} <= keys(board.tables[0])


def test_a_gpu_that_was_not_used_makes_no_other_machine(tmp_path):
    gpus = {"gpus": [{"name": "Big GPU"}]}
    one = rates(tmp_path / "one", ["a"])
    two = rates(tmp_path / "two", ["b"], gpus)
    assert (
        len({line.machine for table in merge([one, two])[0].tables for line in table.lines}) == 1
    )  # --device cpu


def test_rates_of_different_sessions_are_not_ranked_against_each_other(tmp_path):
    one, two = rates(tmp_path / "one", ["a"]), rates(tmp_path / "two", ["b"], session="tuesday")
    table = merge([one, two])[0].tables[1]
    assert set(ranks(table).values()) == {"-"}
    assert (
        "Not ranked: no two of them were measured on the same items in one session." in table.notes
    )
    table = merge([two, rates(tmp_path / "three", ["a", "c"])])[0].tables[1]
    assert ranks(table) == {"c": "1", "a": "2", "b": "-"}
    assert (
        "Not ranked, because they were measured in another session (a new --out measures all"
        " models again): b." in table.notes
    )


def test_two_protocols_of_speed_on_one_machine_are_two_tables_and_beside_nothing(tmp_path):
    one = rates(tmp_path / "one", ["a"])
    two = rates(
        tmp_path / "two",
        ["b"],
        signature="text=0123456789abcdef;protocol=speed/1;prompt=16;answer=64;batch=1",
    )
    board, _ = merge([one, two])
    assert board.tables[0].task == "likelihood"
    assert all("prompt=" in table.task for table in board.tables[1:])
    assert "decode_bytes_per_second" not in keys(board.tables[0])
    assert "peak_ram" in keys(board.tables[0])  # which was measured in one way
    assert "prompt differs: " in said(board.tables[1])
