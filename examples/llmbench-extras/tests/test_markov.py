"""The whole kit, on a chain that has learnt from a few lines."""

from llmbench_extras.markov import Markov

from llmbench.testing import conformance

LINES = [
    b"The tap dripped, and the kettle said so. ",
    b"It rained on Tuesday; nobody had asked it to.\n",
] * 5


@conformance(lambda: Markov(LINES))
def test_markov(check):
    check()
