"""Certificates as files: in a run's folder by model, and in the cache by fingerprint and device."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Literal, TypedDict, cast

from llmbench import storage
from llmbench.config.source_code import PACKAGE, digest_code, find_imports
from llmbench.results.rows import Certificate

LEVELS = ("A1", "A2", "A3")
SAMPLED = ("A1", "A2")  # what a run proves by itself
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")
# Modules through which no check runs: they are left out of `version`.
NOT_CHECKED = (
    "llmbench.config",
    "llmbench.conformance.certificates",
    "llmbench.data.fields",
    "llmbench.data.hub",
    "llmbench.data.loading",
    "llmbench.errors",
    "llmbench.hardware",
    "llmbench.limits",
    "llmbench.models.pretrained.fast_import",
    "llmbench.results",
    "llmbench.storage",
    "llmbench.training",
)
WEIGHT = {"not tested": 0, "earned": 1, "refused": 2}


Proven = Literal["earned", "refused", "not tested"]


class ProofRow(TypedDict):
    """One level of a certificate, as JSON; see rows.Proof."""

    state: Proven
    why: str
    tried: list[str]
    seconds: float


class CertificateRow(TypedDict):
    """A certificate as JSON; see rows.Certificate. `device`: that the checks ran on; `noise`: of
    the engine, in bits a byte.
    """

    version: str
    fingerprint: str
    device: str
    levels: dict[str, ProofRow]
    noise: float


@lru_cache
def version() -> str:
    """Return a hash (16 hex digits) of the code of the checks and of what they run through.

    With other code or other libraries a certificate has to be earned again.
    """
    code = digest_code(find_code_files())
    libraries = " ".join(metadata.version(library) for library in LIBRARIES)
    return hashlib.sha256(f"{code} {libraries}".encode()).hexdigest()[:16]


def find_code_files() -> list[Path]:
    """Return the files of the checks, of the adapters, and of all that these import."""
    first = [PACKAGE / "conformance" / "kit.py", *(PACKAGE / "adapters").rglob("*.py")]
    return find_imports(first, NOT_CHECKED)


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


def read(
    path: Path, fingerprint: str, device: str, known: Collection[str] | None = None
) -> CertificateRow | None:
    """The certificate in a file; None where there is none, where it is damaged, or where it is of
    other weights, another device or other checks. `known`: digests of the files that are believed;
    without it, all are.
    """
    try:
        if known is not None and storage.digest_file(path) not in known:
            return None
        row = Certificate.model_validate(storage.read_sealed(path)).model_dump()
    except (OSError, ValueError):  # Damaged and ValidationError are ValueErrors
        return None
    if (row["version"], row["fingerprint"], row.get("device")) != (version(), fingerprint, device):
        return None
    return cast(CertificateRow, row)


def load_certificate(
    path: Path, fingerprint: str, device: str, known: Collection[str] | None = None
) -> CertificateRow | None:
    """The certificate in a file, where it proves on this device all that a run proves. Without a
    fingerprint nobody knows whose it is. `known`: as for `read`.
    """
    found = read(path, fingerprint, device, known) if fingerprint else None
    if found is None:
        return None
    return (
        found
        if {found["levels"][level]["state"] for level in SAMPLED if level in found["levels"]}
        == {"earned"}
        else None
    )


def merge(one: CertificateRow | None, other: CertificateRow | None) -> CertificateRow | None:
    """Two certificates of the same weights on the same device as one: what either refused is
    refused, what either earned is earned.
    """
    if one is None or other is None:
        return one if other is None else other
    levels = {
        level: max(
            (one["levels"][level], other["levels"][level]), key=lambda proof: WEIGHT[proof["state"]]
        )
        for level in LEVELS
    }
    return {**one, "levels": levels, "noise": max(one["noise"], other["noise"])}
