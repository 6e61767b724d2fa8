"""What a task gives for one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    from llmbench.ledger import Ledger
    from llmbench.results.tables.charges import ChargesFile


# keys that are no names
_OfBytes = TypedDict("_OfBytes", {"output:byte": NotRequired[str], "tied:byte": NotRequired[bool]})


class Parts(TypedDict):
    """What a document adds to sums that its statistics lack; see ledger.Totals."""

    words: int
    tokens: int
    unknown: int
    token_bits: float
    spelling_bits: float
    charged: str  # as in the score
    straddled: int  # passages whose first token covers the end of their context, too


class SampleRow(_OfBytes):
    """What a task keeps of one item.

    bytes: of the text that was scored or written.
    lost: what the model's tokenizer does not hold of the input, if anything.
    statistics: of each metric [numerator, denominator], or the columns that its total needs; [] if
        it has none for this item.
    The other keys are of generated text, of multiple choice, of blocks of measuring, and of tasks
    that leave out documents.
    """

    id: str
    bytes: int
    input: str | None
    output: str | None
    reference: str | None
    statistics: dict[str, list[float]]
    lost: NotRequired[str]
    decoding: NotRequired[str]
    bits: NotRequired[Sequence[float]]
    unconditional: NotRequired[Sequence[float]]
    extracted: NotRequired[dict[str, str]]  # parts of the output that were scored, by name
    chosen: NotRequired[int]
    gold: NotRequired[int]
    tied: NotRequired[bool]
    near: NotRequired[Sequence[str]]  # norms by which the two best candidates are nearly equal
    sentinel: NotRequired[Sequence[float]]
    drifted: NotRequired[bool]
    session: NotRequired[str]
    parts: NotRequired[Parts]


@dataclass(frozen=True)
class Outcome:
    """Scores (the record's rows, without model and task), samples (one mapping an item), ledgers
    where bits were charged, events where something was timed. `lossy`: where such documents are
    left out, the ids of those that the model cannot hold, and what it loses of each. `charges`: a
    file of the charges, in place of ledgers.
    """

    scores: Sequence[Mapping[str, Any]]
    samples: Sequence[Mapping[str, Any]]
    ledgers: Sequence[Ledger] = field(default=())
    events: Sequence[Mapping[str, Any]] = field(default=())
    lossy: Mapping[str, str] | None = None
    charges: ChargesFile | None = None
