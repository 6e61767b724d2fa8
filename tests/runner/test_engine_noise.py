"""The noise of an engine is part of the interval of bits per byte, and of nothing else."""

from llmbench.results.record import ModelRow, Score
from llmbench.results.rows import Certificate
from llmbench.runner.assemble import add_noise


def bits(**how):
    facts = {"model": "a", "task": "t", "metric": "bits_per_byte", "value": 1.0, "n": 9}
    given = {"low": 0.9, "high": 1.1, "unit": "bits/byte", "better": "lower", "signature": "x"}
    return Score.model_validate({**facts, **given, **how})


def row(noise):
    proof = Certificate(version="1", fingerprint="f", noise=noise)
    return ModelRow(name="a", stage=None, family="", certificate=proof)


def test_noise_widens_the_interval_of_bits_on_both_sides():
    found = add_noise(bits(), row(0.01))
    assert (found.low, found.high, found.noise) == (0.9 - 0.01, 1.1 + 0.01, 0.01)
    assert add_noise(bits(low=0.001), row(0.01)).low == 0


def test_without_noise_or_interval_nothing_is_changed():
    assert add_noise(bits(), row(0.0)) == bits()
    assert add_noise(bits(low=None, high=None), row(0.01)).noise is None
    assert add_noise(bits(metric="accuracy"), row(0.01)).noise is None
