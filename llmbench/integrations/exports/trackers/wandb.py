"""Weights & Biases, offline: a run for each model, which `wandb sync` can send later."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from llmbench.integrations.exports.target import Export, Source, Tracked
from llmbench.integrations.exports.trackers.apart import write_apart
from llmbench.integrations.exports.trackers.tracked import list_tracked, name_project, show_name


def make(source: Source) -> Export:
    """Return the models as runs: values as the summary, facts and units as the configuration."""
    return Export(tracked=list_tracked(source.opened.record))


def send(export: Export, place: Path, uri: str | None) -> str:
    """Write offline runs below a folder."""
    write_apart(__name__, export, place, drop="WANDB_", settings={})
    return f"to send it: wandb sync {place.resolve()}/wandb/offline-run-*"


def write(runs: Sequence[Tracked], place: Path) -> None:
    """Write the runs by wandb, which adds nothing of the machine, of its user or of the code."""
    import wandb

    settings = wandb.Settings(
        mode="offline",
        root_dir=str(place),
        console="off",
        silent=True,
        host="",
        program="llmbench",
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    for tracked in runs:
        run = wandb.init(
            project=name_project(tracked),
            name=show_name(tracked),
            config={**tracked.config, "units": dict(tracked.units)},
            dir=str(place),
            settings=settings,
            reinit="finish_previous",
        )
        for key, curve in tracked.curves.items():
            for step, value in curve:
                run.log({key: value}, step=step)
        run.summary.update(dict(tracked.values))
        run.finish()
        shutil.rmtree(Path(run.dir).parent / "logs", ignore_errors=True)  # they name folders
