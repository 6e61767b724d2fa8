"""The items of a task as columns, for what is computed over all of them."""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench.data.strings import Strings
from llmbench.results.tables.arrow import UNREADABLE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmbench.results.paired_tests import Rows

SAID = (
    "input",
    "output",
    *(f"output:{norm}" for norm in ("byte", "char", "token", "pmi")),
    "reference",
)  # of a sample; a choice by another measure than bits has a name of its own


@dataclass
class Column:
    """The statistics of a metric, item by item: the numbers of all, one after the other, and where
    those of each item end; none where the metric has none for it.
    """

    values: array[float] = field(default_factory=lambda: array("d"))
    ends: array[int] = field(default_factory=lambda: array("q"))

    def add(self, at: int, values: Iterable[float]) -> None:
        """Add the statistics of item number `at`; those between have none."""
        self.fill(at)
        self.values.extend(values)
        self.ends.append(len(self.values))

    def fill(self, count: int) -> None:
        """Let it be of `count` items: the last ones have none."""
        self.ends.extend([len(self.values)] * (count - len(self.ends)))


class ItemTable:
    """Items in the order in which they were asked. `keys`: their ids, which differ; `sessions`: of
    blocks, in which session of measuring each was taken; `columns`: metric -> its statistics.
    `lines`, `places`: the file that says more of each item, and where its line begins.
    """

    def __init__(self, lines: Path | None = None) -> None:
        self.keys, self.sessions = Strings(), Strings()
        self.columns: dict[str, Column] = {}
        self.lines, self.places = lines, array("q")

    def add(
        self, key: str, statistics: Mapping[str, Iterable[float]], session: str, place: int = 0
    ) -> None:
        """Add an item at the end."""
        at = len(self.keys)
        self.keys.append(key)
        self.sessions.append(session)
        self.places.append(place)
        for name, values in statistics.items():
            self.columns.setdefault(name, Column()).add(at, values)

    def add_column(self, metric: str, rows: Mapping[str, Sequence[float]]) -> None:
        """Add the statistics of a metric, by the ids of the items that have some."""
        column = self.columns[metric] = Column()
        for at, key in enumerate(self.keys):
            if key in rows:
                column.add(at, rows[key])

    def __len__(self) -> int:
        return len(self.keys)

    def find_rows(self, metric: str, least: int = 1) -> tuple[NDArray[np.int64], Rows]:
        """The numbers of the items that have at least so many statistics of a metric, and these: a
        matrix, or lists where their lengths differ.
        """
        import numpy as np

        column = self.columns.get(metric, Column())
        column.fill(len(self))
        ends = np.asarray(column.ends, dtype=np.int64)
        begins = np.concatenate([ends[:0], [0], ends])[: len(ends)].astype(np.int64)
        sizes = ends - begins
        chosen = np.flatnonzero(sizes >= least)
        values = np.asarray(column.values, dtype=np.float64)
        widths = np.unique(sizes[chosen])
        if len(widths) > 1:
            return chosen, [values[begins[i] : ends[i]].tolist() for i in chosen]
        width = int(widths[0]) if len(widths) else 0
        if width * len(chosen) != len(values):  # some items have fewer
            values = np.concatenate(
                [values[:0], *(values[begins[i] : ends[i]] for i in chosen.tolist())]
            )
        return chosen, values.reshape(len(chosen), width)

    def leave_out(self, keys: Collection[str]) -> ItemTable:
        """The items with other keys than these."""
        if not keys:
            return self
        rest = ItemTable(self.lines)
        found = {name: self._number_rows(name) for name in self.columns}
        for at, key in enumerate(self.keys):
            if key not in keys:
                statistics = {name: rows.get(at, ()) for name, rows in found.items()}
                rest.add(key, statistics, self.sessions[at], self.places[at])
        return rest

    def _number_rows(self, metric: str) -> dict[int, Sequence[float]]:
        numbers, rows = self.find_rows(metric)
        return {int(number): row for number, row in zip(numbers, rows, strict=True)}

    def read_said(self, at: int) -> dict[str, str]:
        """What was said of item number `at`: of SAID, what there is; {} if it cannot be read."""
        if self.lines is None:
            return {}
        try:
            with self.lines.open("rb") as file:
                file.seek(self.places[at])
                row = json.loads(file.readline())
            return {name: row[name] for name in SAID if isinstance(row.get(name), str)}
        except UNREADABLE:
            return {}
