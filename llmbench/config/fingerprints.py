"""What a fingerprint tells: of which weights it is, and whose code computes with them."""

from __future__ import annotations

import hashlib

from llmbench.config.source_code import digest_class

UNHASHED = "server:"  # what the fingerprint of a model begins with whose weights nobody here sees


def identifies_weights(fingerprint: str) -> bool:
    """Whether a fingerprint is of weights, so that what is proven of it holds elsewhere, too."""
    return bool(fingerprint) and not fingerprint.startswith(UNHASHED)


def sign_class(fingerprint: str, cls: type) -> str:
    """Return a fingerprint of the same weights and of the code of a class: what was proven of one
    class says nothing of another that overrides its methods.
    """
    if not identifies_weights(fingerprint):
        return fingerprint
    return hashlib.sha256(f"{fingerprint} {digest_class(cls)}".encode()).hexdigest()
