"""The lock of a run's folder, and which of its files are believed.

A model's code can write whatever its user can. So a file is believed if it was there when the run
began, or if a worker says that it wrote it, and then only for the model of that worker. This holds
while the run is at work; afterwards the digests in the record do.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from llmbench import storage, system
from llmbench.config.fingerprints import identifies_weights
from llmbench.conformance import certificates
from llmbench.conformance.certificates import CertificateRow
from llmbench.conformance.unfinished import OF_RUN, is_open
from llmbench.errors import UsageError
from llmbench.plan.plan import Plan
from llmbench.results.cell import CellRow, read_cell, read_head
from llmbench.results.record import Failure
from llmbench.runner.folder import shards
from llmbench.runner.folder.answers import Answers
from llmbench.runner.folder.turns import Turns
from llmbench.storage import default_cache

# files that need a writer
BELIEVED = ("cells/*/*.json", "certificates/*.json", "rounds/*.json", shards.FILES)


class RunFolder:
    """The folder of the run of a plan, from its beginning to its record."""

    def __init__(self, made: Plan, lock: TextIO):
        """`lock`: the open file .lock in the folder, by which it is known again."""
        self.made, self.out, self._lock = made, made.out, lock
        self.cache = made.options.cache or default_cache()
        self._known = {
            file.relative_to(self.out).as_posix(): storage.digest_file(file)
            for file in _find_files(self.out, BELIEVED)
        }
        kept = _find_files(self.cache, ("certificates/*.json", f"{OF_RUN}/*.json"))
        self._certificates = {storage.digest_file(file) for file in kept}
        self._certificates |= set(self._known.values())
        self._certified: dict[str, set[str]] = {}
        self._finished: set[tuple[str, str]] = set()
        self.answers = Answers(self.out)
        self.new_cells = 0  # that this run has filled
        self.turns = Turns(self.out, self._describe_open, self._is_there)

    def check_there(self) -> None:
        """Raise UsageError if the folder was removed or replaced."""
        if not self._is_there():
            raise UsageError(
                "the folder was removed or replaced while the run was at work; what it had measured"
                " is lost",
                where=str(self.out),
                hint="run again, and leave the folder alone until it ends",
            )

    def _is_there(self) -> bool:
        """Whether the folder still holds the very lock that this run has."""
        try:
            return os.path.samestat((self.out / ".lock").stat(), os.fstat(self._lock.fileno()))
        except OSError:
            return False

    # Files
    # ----------------------------------------------------------------------------------------------

    def accept(self, path: Path, digest: str) -> None:
        """Believe a file of this folder that the run itself has written."""
        self._known[path.relative_to(self.out).as_posix()] = digest

    def accept_cell(self, model: str, task: str, digest: str) -> None:
        """Believe the cell that a worker of this model has written; "" if it was there before."""
        if digest:
            self.accept(self.made.cell_path(model, task), digest)
            self.new_cells += 1
            self._finished.add((model, task))
        self._clear_shelf(model, task)

    def _clear_shelf(self, model: str, task: str) -> None:
        shelf = shards.find_shelf(self.out, model, task)
        shutil.rmtree(shelf, ignore_errors=True)
        for folder in (shelf.parent, shelf.parent.parent):
            with suppress(OSError):  # others are in it, or it is not there
                folder.rmdir()

    def clear_shards(self) -> None:
        """Remove the shards of finished cells, also of workers that were late."""
        for shelf in self.out.glob("shards/*/*"):
            if self.cell(shelf.parent.name, shelf.name) is not None:
                self._clear_shelf(shelf.parent.name, shelf.name)

    def accept_shard(self, model: str, task: str, name: str, digest: str) -> None:
        """Believe the shard of an unfinished cell that a worker of this model has written."""
        self.accept(shards.find_shelf(self.out, model, task) / Path(name).name, digest)

    def known_shards(self, model: str) -> list[str]:
        """The digests of a model's shards that are believed."""
        return [
            digest for name, digest in self._known.items() if name.startswith(f"shards/{model}/")
        ]

    def accept_certificate(self, model: str, digest: str, cached: str = "") -> None:
        """Believe the certificate that a worker of this model has written in this folder, and the
        one in the cache, for this model alone.
        """
        self.accept(certificates.of_run(self.out, model), digest)
        self._certified.setdefault(model, set()).update({digest, cached} - {""})

    def cell(self, model: str, task: str) -> CellRow | None:
        """The finished cell, if it is believed, whole, and of this very question."""
        found = self.read_cell(model, task)
        if found is None or found["key"] != self.made.keys.get((model, task)):
            return None
        self._finished.add((model, task))
        return found

    def read_cell(self, model: str, task: str) -> CellRow | None:
        """A cell of this or another question, if it is believed and whole."""
        path = self.made.cell_path(model, task)
        digest = self._known.get(path.relative_to(self.out).as_posix())
        return None if digest is None else read_cell(path, digest)

    def read_head(self, model: str, task: str) -> CellRow | None:
        """A cell as `read_cell` gives it, though what belongs to it may be damaged."""
        path = self.made.cell_path(model, task)
        digest = self._known.get(path.relative_to(self.out).as_posix())
        return None if digest is None else read_head(path, digest)

    def has_cell(self, model: str, task: str) -> bool:
        """Whether there was a file of a cell, whole or not, when it was last believed."""
        path = self.made.cell_path(model, task)
        return path.relative_to(self.out).as_posix() in self._known

    def list_models(self) -> list[str]:
        """The models that have files of cells, by name."""
        names = (Path(name).parts for name in sorted(self._known))
        return list(dict.fromkeys(parts[1] for parts in names if parts[0] == "cells"))

    def read_rounds(self, task: str) -> Mapping[str, object]:
        """What the rounds of a task left, if it is believed; else nothing."""
        path = self.out / "rounds" / f"{task}.json"
        with suppress(OSError, ValueError):
            if storage.digest_file(path) == self._known.get(path.relative_to(self.out).as_posix()):
                return storage.read_sealed(path)
        return {}

    def known_certificates(self, model: str) -> list[str]:
        """The digests of the certificates, and unfinished proofs, that may be of this model."""
        return sorted(self._certificates | self._certified.get(model, set()))

    def certificate(
        self, model: str, fingerprint: str, device: str, in_cache: bool
    ) -> CertificateRow | None:
        """What this folder, and with `in_cache` the cache too, proves of a model's weights."""
        known = self.known_certificates(model)
        places = [certificates.of_run(self.out, model)]
        if in_cache and identifies_weights(fingerprint):
            places.append(certificates.of_weights(self.cache, fingerprint, device))
        found = None
        for place in places:
            row = certificates.read(place, fingerprint, device, known)
            found = certificates.merge(found, row)
        return found

    def is_proof_open(self, model: str) -> bool:
        """Whether a model has cells, and its proof never ended or may end otherwise."""
        for task in self.made.suite.tasks:
            cell = self.cell(model, task.name) if task.process == "shared" else None
            if cell is not None and (fingerprint := str(cell["model"]["fingerprint"])):
                is_there = certificates.of_run(self.out, model).is_file()
                return not is_there or is_open(
                    self.cache, fingerprint, str(cell["model"]["device"])
                )
        return False

    def remove_unknown(self) -> list[str]:
        """Remove files that no writer of theirs wrote; return their paths in the folder."""
        removed = self.answers.remove_unknown()
        for file in _find_files(self.out, BELIEVED):
            name = file.relative_to(self.out).as_posix()
            with suppress(OSError):
                if storage.digest_file(file) != self._known.get(name):
                    file.unlink()
                    removed.append(name)
        return removed

    def lost_cells(self) -> list[tuple[str, str]]:
        """(model, task) of cells that were finished, and cannot be read any more."""
        return [(m, t) for m, t in sorted(self._finished) if self.cell(m, t) is None]

    def leave_out(self, turn: str) -> list[Failure]:
        """Rows for the open cells of a turn that is left out."""
        count = self.turns.deaths[turn]
        return [
            Failure(
                model=turn.partition("/")[0],
                task=task,
                reason="crashed",
                message=f"the run itself was killed {count} times while this model was at work",
                hint=f"to try it again, remove {self.turns.path}",
            )
            for task in self._find_open(turn)
        ]

    def _describe_open(self, turn: str) -> list[str]:
        """The open cells of a turn, and how many of their shards are there."""
        model = turn.partition("/")[0]
        count = len(list(self.out.glob(shards.FILES.replace("*", glob.escape(model), 1))))
        return self._find_open(turn) + ([f"{count} shards"] if count else [])

    def _find_open(self, turn: str) -> list[str]:
        model, _, only = turn.partition("/")
        return [
            task.name
            for task in self.made.suite.tasks
            if (task.name == only if only else task.process != "interleaved")
            and (model, task.name) not in self.made.lacks
            and self.cell(model, task.name) is None
        ]


@contextmanager
def open_folder(made: Plan) -> Iterator[RunFolder]:
    """The folder, for one run at a time. UsageError if another is at work."""
    made.out.mkdir(parents=True, exist_ok=True)
    with (made.out / ".lock").open("w") as handle:
        try:
            system.lock(handle)
        except OSError:
            raise UsageError(
                "another run is at work in this folder",
                where=str(made.out),
                hint="wait for it, or choose another --out",
            ) from None
        folder = RunFolder(made, handle)
        try:
            yield folder
        finally:
            folder.turns.end()


def _find_files(root: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted(file for pattern in patterns for file in root.glob(pattern) if file.is_file())
