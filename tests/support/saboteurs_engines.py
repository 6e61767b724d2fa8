"""Engines that are wrong, as a build is on a processor that it was not tried on."""

from __future__ import annotations

from llmbench.adapters.gguf.gguf import GGUF
from support.fake_engine import FakeEngine
from support.zoo import OnMacsGpu, caught_by


@caught_by("engine-noise")
class LongPassesDiffer(GGUF):
    """passes over 32 tokens or more compute something else than shorter ones"""

    def __init__(self):
        super().__init__(__file__, FakeEngine(wrong_from=32))


@caught_by("elsewhere")
class WrongOnAMacsGpu(OnMacsGpu):
    """the GPU of a Mac (mps) computes logits that are 3 % smaller than the processor's"""

    factor = 0.97
