"""Comparisons of runs made by hand, as tests ask for them."""

from __future__ import annotations

from click.testing import CliRunner

from llmbench.cli.main import cli
from llmbench.results.compare import compare
from llmbench.results.matching import within
from llmbench.results.samples import open_results

RATES = (2.0, 2.1, 1.9, 2.4, 2.2, 2.0, 1.8, 2.3, 2.1, 2.5)
BETTER = tuple(rate - 0.1 - 0.01 * i for i, rate in enumerate(RATES))


def compare_models(hand, a="a", b="b", **how):
    """Write the run, and compare two of its models."""
    return compare((a, b), within(open_results(hand.write()), a, b), **how)


def find_row(found, metric):
    """The only row of a metric."""
    (one,) = [row for row in found.rows if row.metric == metric]
    return one


def print_comparison(*arguments):
    """The output of `llmbench compare`; its errors are raised."""
    done = CliRunner().invoke(cli, ["compare", *map(str, arguments)], standalone_mode=False)
    if done.exception:
        raise done.exception
    assert done.return_value == 0
    return done.output
