"""What an unfinished proof has found, so that the next one of the same weights goes on from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench import storage
from llmbench.config.fingerprints import identifies_weights
from llmbench.conformance import certificates

if TYPE_CHECKING:
    from llmbench.conformance.kit import Result

OF_CHECK, OF_RUN = "unfinished-checks", "unfinished-proofs"  # folders in the cache


def is_open(cache: Path, fingerprint: str, device: str) -> bool:
    """Whether a run's proof of these weights was interrupted, or ran out of time on a busy
    machine or with a slow model: it may end otherwise if it goes on.
    """
    place = certificates.of_weights(cache, fingerprint, device)
    try:
        return bool(storage.read_sealed(cache / OF_RUN / place.name)["open"])
    except (OSError, ValueError, KeyError):
        return False


class Unfinished:
    """The file of a proof that is not finished.

    folder: OF_CHECK or OF_RUN. seed: of the checks. Without a fingerprint of weights nothing is
    kept, since nobody knows whose it is.
    """

    def __init__(self, cache: Path, folder: str, fingerprint: str, device: str, seed: int = 0):
        place = certificates.of_weights(cache, fingerprint, device)
        self.path = cache / folder / place.name if identifies_weights(fingerprint) else None
        self._whose = [fingerprint, device, seed]

    def read(self, known: Collection[str] | None = None) -> dict[str, Result]:
        """What is known, by the names of the checks. `known`: digests of the files that are
        believed; without it, all are.
        """
        from llmbench.conformance.kit import Result

        if self.path is None:
            return {}
        try:
            if known is not None and storage.digest_file(self.path) not in known:
                return {}
            kept = storage.read_sealed(self.path)
            rows = [Result(**row) for row in kept["results"]]
        except (OSError, ValueError, TypeError, KeyError):  # none, or a damaged one
            return {}
        return {row.name: row for row in rows} if kept["key"] == self._key() else {}

    def write(self, results: Sequence[Result], is_open: bool = True) -> None:
        """Keep the results that are answers. A full disk costs the next proof some time."""
        if self.path is None:
            return
        rows = [asdict(result) for result in results if result.is_answer]
        kept: Mapping[str, object] = {"key": self._key(), "results": rows, "open": is_open}
        with suppress(OSError):
            storage.write_sealed(self.path, kept)

    def end(self, results: Sequence[Result]) -> None:
        """Forget what was kept, unless a check ran out of time."""
        from llmbench.conformance.kit import GOES_ON

        late = [result for result in results if result.state == "timeout"]
        if late:
            self.write(results, is_open=any(result.cause in GOES_ON for result in late))
        else:
            self.remove()

    def remove(self) -> None:
        """Forget what was kept."""
        if self.path is not None:
            with suppress(OSError):  # none, or a cache that cannot be written
                self.path.unlink()

    def _key(self) -> list[object]:
        return [certificates.version(), *self._whose]
