"""Gates over runs made by hand, as tests ask for them."""

from __future__ import annotations

from click.testing import CliRunner

from llmbench.cli.main import cli
from llmbench.results import gate
from llmbench.results.samples import open_results
from support.hand_runs import BITS, RATE, Hand, bits

RATES = tuple(2.0 + 0.01 * (i % 5) for i in range(20))


def shift(by, spread=0.0):
    """The same documents at other rates: all by so much more, and every other one by `spread` more
    or less.
    """
    return bits(*(rate + by + spread * (1 if i % 2 else -1) for i, rate in enumerate(RATES)))


def apply_gate(tmp_path, run, record, **allow):
    """Write both, and hold the run against the record."""
    return gate.gate(
        open_results(run.write()),
        open_results(record.write()),
        {name: gate.parse_allowance(loss) for name, loss in allow.items()},
    )


def make_hands(tmp_path, **changes):
    """A run and a record to hold it against, both still empty."""
    return Hand(tmp_path / "run", **changes.get("run", {})), Hand(
        tmp_path / "record", **changes.get("record", {})
    )


def list_states(found):
    """Model, metric and state of each row."""
    return [(one.row.model_b, one.row.metric, one.state) for one in found.rows]


def add_speeds(hand, factor=1.0, session="s1"):
    """Add a model with a speed and a quality."""
    return hand.add(
        "lstm", RATE, [[factor * (1000 + 10 * i), 1] for i in range(16)], session=session
    ).add("lstm", BITS, shift(0))


def call_gate(*arguments):
    """Call `llmbench gate`; an error is in the result, not raised."""
    return CliRunner().invoke(cli, ["gate", *map(str, arguments)], standalone_mode=False)
