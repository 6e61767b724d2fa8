"""The file of charges: what is written comes back, and only what is asked for is read."""

from __future__ import annotations

import pytest

from llmbench.ledger import END, KINDS, SPELLING, TOKEN, Ledger
from llmbench.results.tables import charges
from llmbench.results.tables.charges import ChargesFile, read_charges, write_charges


def ledger(id, size, step=1):
    ends = [*range(step, size, step), size, size]
    kinds = [i % 2 * SPELLING for i in range(len(ends) - 1)] + [END]
    bits = [0.25 * i for i in range(len(ends))]
    return Ledger.build([0, *ends[:-1]], ends, bits, kinds, size, id)


LEDGERS = [ledger(f"d{i}", 3 + i % 5, 1 + i % 2) for i in range(40)] + [ledger("long \ud83d", 90)]


@pytest.mark.parametrize("piece", [1, 7, 30, 1 << 18])
def test_charges_come_back_however_they_were_written(tmp_path, monkeypatch, piece):
    monkeypatch.setattr("llmbench.ledger.PIECE", piece)
    write_charges(tmp_path / "a.parquet", LEDGERS)
    for made in LEDGERS:
        for begin, end in ((0, 90), (1, 2), (4, 5), (30, 33)):
            expected = [
                (a, b, bits, KINDS[kind])
                for a, b, bits, kind in zip(
                    made.start.tolist(), made.end.tolist(), made.bits, made.kind, strict=True
                )
                if a < end and b >= begin
            ]
            name = made.id.encode("utf-8", "backslashreplace").decode()
            assert read_charges(tmp_path / "a.parquet", name, begin, end) == expected
    assert read_charges(tmp_path / "a.parquet", "nobody", 0, 9) == []


def test_row_groups_without_an_asked_charge_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("llmbench.ledger.PIECE", 10)
    write_charges(tmp_path / "a.parquet", LEDGERS)
    read = []
    find = charges._find_charges
    monkeypatch.setattr(
        charges, "_find_charges", lambda group, *asked: read.append(1) or find(group, *asked)
    )
    assert len(read_charges(tmp_path / "a.parquet", "d0", 0, 3)) == 3
    assert len(read) <= 2
    read.clear()
    assert len(read_charges(tmp_path / "a.parquet", "long \\ud83d", 40, 42)) == 3
    assert len(read) <= 2


def test_a_file_of_charges_has_no_name_until_it_is_copied(tmp_path):
    file = ChargesFile(tmp_path)
    file.add("a", next(ledger("a", 5).check_pieces()))
    assert list(tmp_path.iterdir()) == []
    file.copy_to(tmp_path / "x" / "a.parquet")
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["a.parquet"]
    assert read_charges(tmp_path / "x" / "a.parquet", "a", 0, 1)[0] == (0, 1, 0.0, KINDS[TOKEN])


def test_no_charges_are_a_file_without_rows(tmp_path):
    ChargesFile().copy_to(tmp_path / "a.parquet")
    assert read_charges(tmp_path / "a.parquet", "a", 0, 1) == []
