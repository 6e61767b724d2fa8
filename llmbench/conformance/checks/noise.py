"""Checks of engines that round activations: how much of a number is noise."""

from __future__ import annotations

from llmbench.conformance.check import Check, Failed, Skip, Subject
from llmbench.conformance.noise import Measured

MOST = 0.02  # bits a byte


def engine_noise(subject: Subject) -> str:
    """Reading a text in pieces of other sizes changes its bits by little."""
    noise = subject.noise
    if noise is None:
        raise Skip("its engine does not round activations")
    bits = ", ".join(f"{size}: {bits:.4f}" for size, bits in noise.bits.items())
    if noise.per_byte > MOST:
        raise Failed(
            f"texts in pieces of {', '.join(map(str, noise.bits))} tokens",
            f"{noise.per_byte:.4f} bits a byte between them ({bits}), where {MOST} may be noise",
            f"long passes differ from short ones, from {noise.border} tokens at once on: a fault"
            " of the engine, or of its build for this processor",
        )
    return Measured(
        f"{noise.per_byte:.4f} bits a byte between pieces of {', '.join(map(str, noise.bits))}"
        " tokens",
        noise.per_byte,
    )


CHECKS = (
    Check(
        "engine-noise",
        "an engine that rounds activations gives nearly the same bits however many tokens it reads"
        " at once",
        engine_noise,
        bars="A1",
    ),
)
