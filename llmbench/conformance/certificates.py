"""What adapters were proven to be, as files: in a run's folder by model, and in the cache by
fingerprint and device. conformance.py earns them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmbench.results.record import Certificate

LEVELS = ("A1", "A2", "A3")
SAMPLED = ("A1", "A2")  # what a run proves by itself
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")
SOURCES = (
    *("conformance/kit.py", "ledger.py", "adapter.py"),
    "inference/packing.py",
    "inference/stateful.py",
    "inference/token_bits.py",
    *(
        "inference/scoring.py",
        "inference/windows.py",
        "inference/generation.py",
        "inference/sampling.py",
        "adapters/token.py",
        "adapters/encoder_decoder.py",
        "adapters/masked.py",
        "inference/blocked_attention.py",
        "models/pretrained/lm_head.py",
    ),
    *(
        "models/pretrained/loading.py",
        "models/tokenizers/byte_offsets.py",
        "models/tokenizers/vocabulary.py",
        "models/tokenizers/tokens.py",
        "models/tokenizers/spelling.py",
        "models/tokenizers/witten_bell.py",
        "conformance/arithmetic_coding.py",
        "models/tokenizers/bpe.py",
        "adapters/bpe_network.py",
        "conformance",
        "adapters",
    ),
)
WEIGHT = {"not tested": 0, "earned": 1, "refused": 2}


@lru_cache
def version() -> str:
    """Of the checks and of what they run through: with other sources or libraries a certificate is
    earned anew.
    """
    digest, package = hashlib.sha256(), Path(__file__).parents[1]
    for name in SOURCES:
        for file in (
            sorted((package / name).glob("*.py")) if not name.endswith(".py") else [package / name]
        ):
            digest.update(file.read_bytes())
    digest.update(" ".join(metadata.version(library) for library in LIBRARIES).encode())
    return digest.hexdigest()[:16]


def of_run(out: Path, model: str) -> Path:
    """Where a run keeps what it proved of a model."""
    return out / "certificates" / f"{model}.json"


def of_weights(cache: Path, fingerprint: str, device: str) -> Path:
    """Where what was proven of these weights on a device, in any run or by `llmbench check`, is
    kept.
    """
    return (
        cache
        / "certificates"
        / f"{hashlib.sha256(f'{fingerprint} {device}'.encode()).hexdigest()}.json"
    )


def read(path: Path, fingerprint: str, device: str) -> dict[str, Any] | None:
    """The certificate in a file; None where there is none, where it is torn, or where it is of
    other weights, another device or other checks.
    """
    try:
        found = Certificate.model_validate_json(path.read_bytes()).model_dump()
    except (OSError, ValidationError):
        return None
    return (
        found
        if (found["version"], found["fingerprint"], found.get("device"))
        == (version(), fingerprint, device)
        else None
    )


def earned(path: Path, fingerprint: str, device: str) -> dict[str, Any] | None:
    """The certificate in a file, where it proves on this device all that a run proves. Without a
    fingerprint nobody knows whose it is.
    """
    found = read(path, fingerprint, device) if fingerprint else None
    if found is None:
        return None
    return (
        found
        if {found["levels"][level]["state"] for level in SAMPLED if level in found["levels"]}
        == {"earned"}
        else None
    )


def merge(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Two certificates of the same weights on the same device as one: what either refused is
    refused, what either earned is earned.
    """
    if one is None or other is None:
        found = one or other
        return dict(found) if found else None
    levels = {
        level: max(
            (one["levels"][level], other["levels"][level]), key=lambda proof: WEIGHT[proof["state"]]
        )
        for level in LEVELS
    }
    return {**one, "levels": levels}
