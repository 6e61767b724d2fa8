"""Many short strings in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ERRORS = "surrogatepass"  # half a surrogate pair is kept as it is
Frame = bytes | bytearray | memoryview


class Strings(Sequence[str]):
    """Strings as UTF-8, one behind the other, and where each ends: 8 bytes more than their text. A
    slice shares the memory of the whole, and nothing can be added to it.
    """

    def __init__(self, strings: Iterable[str] = ()):
        self._held: Frame = bytearray()
        self._begin = 0  # of the first one
        self._ends = array("q")
        self.extend(strings)

    def append(self, string: str) -> None:
        """Add one at the end."""
        self.extend((string,))

    def extend(self, strings: Iterable[str]) -> None:
        """Add these at the end."""
        held, ends, at = self._held, self._ends, self.end
        if not isinstance(held, bytearray) or at != len(held):
            raise TypeError("strings cannot be added to a slice, nor to what was received")
        raws = [string.encode("utf-8", ERRORS) for string in strings]
        held += b"".join(raws)
        ends.extend(accumulate(map(len, raws), initial=at))
        del ends[-len(raws) - 1]  # where the first one begins

    @property
    def end(self) -> int:
        """Where the last one ends in the memory."""
        return self._ends[-1] if self._ends else self._begin

    @property
    def size(self) -> int:
        """Bytes of all."""
        return self.end - self._begin

    def raw(self, at: int) -> memoryview:
        """The bytes of string number `at`, from 0. To be let go of before another is added."""
        begin = self._ends[at - 1] if at else self._begin
        return memoryview(self._held)[begin : self._ends[at]]

    def find_ends(self) -> NDArray[np.int64]:
        """Where each string ends, from the beginning of the first."""
        import numpy as np

        return np.asarray(self._ends, dtype=np.int64) - self._begin

    def raws(self) -> Iterator[memoryview]:
        """The bytes of each string."""
        held, begin = memoryview(self._held), self._begin
        for end in self._ends:
            yield held[begin:end]
            begin = end

    def frames(self) -> tuple[Frame, Frame]:
        """All bytes, and where each string ends in them; see `from_frames`."""
        ends = self._ends
        if self._begin:
            ends = array("q", (end - self._begin for end in ends))
        return memoryview(self._held)[self._begin : self.end], memoryview(ends).cast("B")

    @classmethod
    def from_frames(cls, held: Frame, ends: Frame) -> Strings:
        """The strings of `frames`."""
        made = cls()
        made._held = held
        made._ends.frombytes(ends)
        return made

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Strings: ...
    def __getitem__(self, at: int | slice) -> str | Strings:
        if isinstance(at, slice):
            first, last, step = at.indices(len(self))
            if step != 1:
                return Strings(self[i] for i in range(first, last, step))
            made = Strings()
            made._held = self._held
            made._begin = self._ends[first - 1] if first else self._begin
            made._ends = self._ends[first:last]
            return made
        if not -len(self) <= at < len(self):
            raise IndexError(f"there is no string {at} of {len(self)}")
        return str(self.raw(at % len(self)), "utf-8", ERRORS)
