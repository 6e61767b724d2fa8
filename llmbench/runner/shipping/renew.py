"""`llmbench train --shipped`: train the baselines whose weights come with llmbench, and write them
where the package keeps them, or see whether they would be the same.
"""

from __future__ import annotations

import math
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from llmbench import storage
from llmbench.adapter import Adapter, Progress, Window
from llmbench.data.text import Text
from llmbench.errors import UsageError, did_you_mean
from llmbench.hardware import machine
from llmbench.plan.resolved_model import make_adapter
from llmbench.runner.shipping.targets import FIRST_STEPS, Target, list_targets
from llmbench.tasks.passages import Passages, measure
from llmbench.training import shipped
from llmbench.training.place import Place
from llmbench.training.shipped import Machine, Manifest, ShippedRow

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")
SAME_BITS = 0.02  # bits per byte: what another processor's rounding may change of a trained network
COMMAND = "llmbench train --shipped"


@dataclass(frozen=True)
class Report:
    """What became of a target: `said` in one line, and whether it is as it should be."""

    target: Target
    said: str
    is_right: bool = True


def renew(
    names: Sequence[str], progress: Progress, folder: Path = shipped.FOLDER
) -> Iterator[Report]:
    """Train what is missing or stale, or what is named, and write it; remove what nothing needs.

    The manifest is written after each network, so that an interrupted renewal goes on.
    """
    targets, manifest = list_targets(), _read(folder)
    chosen = _choose(targets, names)
    kept = {key: row for key, row in manifest["networks"].items() if key in _keys(targets)}
    with _open_cache() as cache:
        for target in targets:
            if target not in chosen and _is_whole(kept.get(target.key), folder):
                kept[target.key]["suites"] = list(target.suites)
                yield Report(target, "kept: its weights are those of its recipe")
                continue
            row = _write(target, cache, progress, folder)
            kept[target.key] = row
            _write_manifest({"networks": kept}, folder)
            yield Report(target, f"trained in {row['seconds']:.1f} s: {row['valid']:.4f} bits/byte")
    _write_manifest({"networks": kept}, folder)
    needed = {row["folder"] for row in kept.values()}
    for place in folder.iterdir():
        if place.is_dir() and place.name not in needed:
            shutil.rmtree(place)


def verify(
    names: Sequence[str], progress: Progress, folder: Path = shipped.FOLDER
) -> Iterator[Report]:
    """Train the targets, or those that are named, again; say whether the same weights came out."""
    targets, manifest = list_targets(), _read(folder)
    with _open_cache() as cache:
        for target in _choose(targets, names) or targets:
            row = manifest["networks"].get(target.key)
            if row is None:
                yield Report(target, f"there are no weights of its recipe: run `{COMMAND}`", False)
                continue
            torch.set_num_threads(row["machine"]["threads"])
            trained = _train(target, cache, progress)
            yield _compare(target, row, trained, folder)


@dataclass(frozen=True)
class _Trained:
    """A target that was trained now."""

    adapter: Adapter
    place: Place
    losses: list[float]

    @property
    def valid(self) -> float:
        """Bits per byte of the validation text."""
        training = self.adapter.info.training or {}
        return min(float(bits) for step, bits in training["curve"] if step)


def _train(target: Target, cache: Path, progress: Progress) -> _Trained:
    losses: list[float] = []

    def watch(step: int, loss: float) -> None:
        if step == 1:  # of the last of its stages, after those that had to be trained before it
            losses.clear()
        if step <= FIRST_STEPS:
            losses.append(loss)

    def report(what: str, share: float, remark: str) -> None:
        progress(f"{target.name}: {what}", share, remark)

    # what an earlier target left in `cache` is as new as this renewal
    build_context = replace(
        target.build_context,
        cache=cache,
        retrain_since=cache.stat().st_ctime - 1,
        progress=report,
        on_loss=watch,
    )
    adapter = make_adapter(target.model, build_context)
    return _Trained(adapter, target.model.place_trained(build_context), losses)


def _write(target: Target, cache: Path, progress: Progress, folder: Path) -> ShippedRow:
    """Train a target and write its files; return its row of the manifest."""
    trained = _train(target, cache, progress)
    place = folder / f"{target.model.name}-{target.key[:8]}"
    shutil.rmtree(place, ignore_errors=True)
    ignored = shutil.ignore_patterns(storage.SEAL)
    shutil.copytree(trained.place.folder, place, ignore=ignored)
    training = trained.adapter.info.training or {}
    return {
        "model": target.model.name,
        "suites": list(target.suites),
        "facts": target.facts,
        "folder": place.name,
        "files": {
            file.relative_to(place).as_posix(): storage.digest_file(file)
            for file in sorted(place.rglob("*"))
            if file.is_file()
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _describe_machine(),
        "seconds": training["seconds"],
        "steps": training["steps"],
        "valid": trained.valid,
        "test": {role: _score(trained.adapter, text) for role, text in target.tests.items()},
        "first_losses": trained.losses,
    }


def _compare(target: Target, row: ShippedRow, trained: _Trained, folder: Path) -> Report:
    """Whether the weights in the package are those that were trained now."""
    damage = shipped.Shipped(folder / row["folder"], row).find_damage()
    if damage:
        return Report(target, damage, False)
    ours, theirs = (_weights(at) for at in (trained.place.folder, folder / row["folder"]))
    if ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours):
        return Report(target, "the same weights, to the bit")
    same = {name: value for name, value in row["machine"].items() if name != "system"}
    here = {name: value for name, value in _describe_machine().items() if name != "system"}
    reason = "on the same machine" if same == here else f"there: {same}, here: {here}"
    off = abs(trained.valid - row["valid"])
    said = (
        f"other weights; {trained.valid:.4f} bits/byte of the validation text instead of"
        f" {row['valid']:.4f} ({'within' if off <= SAME_BITS else 'beyond'} {SAME_BITS}; {reason})"
    )
    return Report(target, said, off <= SAME_BITS)


def _weights(folder: Path) -> dict[str, Tensor]:
    return {
        name: tensor
        for file in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def _score(adapter: Adapter, text: Text) -> float:
    """Bits per byte of a text."""
    totals = measure(adapter, Passages(text.documents), Window("half"), _ignore).totals
    bits = totals.bits / totals.bytes
    return round(bits, 6) if math.isfinite(bits) else bits


def _describe_machine() -> Machine:
    return {
        "processor": machine.describe_processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "libraries": {name: machine.version(name) or "" for name in LIBRARIES},
    }


def _choose(targets: Sequence[Target], names: Sequence[str]) -> list[Target]:
    """The targets of these models. UsageError for a name that none has."""
    known = {target.model.name for target in targets}
    for name in names:
        if name not in known:
            raise UsageError(
                f"no weights of {name!r} come with llmbench", hint=did_you_mean(name, known)
            )
    return [target for target in targets if target.model.name in names]


def _keys(targets: Sequence[Target]) -> set[str]:
    return {target.key for target in targets}


def _is_whole(row: ShippedRow | None, folder: Path) -> bool:
    return row is not None and not shipped.Shipped(folder / row["folder"], row).find_damage()


def _read(folder: Path) -> Manifest:
    """The manifest; an empty one if it is damaged, so that all is trained."""
    try:
        return shipped.read_manifest(folder)
    except storage.Damaged:
        return {"networks": {}}


def _write_manifest(manifest: Manifest, folder: Path) -> None:
    rows = sorted(manifest["networks"].items(), key=lambda pair: pair[1]["folder"])
    try:
        storage.write_json(folder / shipped.MANIFEST, {"networks": dict(rows)})
    except OSError as error:
        raise UsageError(
            f"cannot write: {error.strerror}",
            where=str(folder),
            hint="run this in a checkout of llmbench that you may change",
        ) from None


@contextmanager
def _open_cache() -> Iterator[Path]:
    """An empty cache for the time of a renewal."""
    with tempfile.TemporaryDirectory(prefix="llmbench-") as place:
        yield Path(place)


def _ignore(what: str, share: float, remark: str) -> None:
    """Nobody watches."""
