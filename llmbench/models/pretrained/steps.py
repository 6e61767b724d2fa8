"""Checkpoints of one training run: which steps they are of, and `hf:DIR/checkpoint-*`."""

from __future__ import annotations

import re
from pathlib import Path

from llmbench.errors import UsageError

STEP = re.compile(r"(?:.*[^A-Za-z0-9])?(?:checkpoint|ckpt|step|iter)s?[-_=]?(\d{1,15})")
PREFIX = "hf:"


def find_step(name: str) -> int | None:
    """Return the training step that a checkpoint's directory is named after, as `checkpoint-500`
    by transformers' Trainer; None if it is named otherwise.
    """
    found = STEP.fullmatch(name)
    return int(found[1]) if found else None


def is_pattern(spec: str) -> bool:
    """Return whether a SPEC stands for all checkpoints of a training run."""
    return spec.startswith(PREFIX) and "*" in Path(spec.partition("?")[0]).name


def expand(spec: str) -> list[tuple[str, str]]:
    """Return (name on boards, SPEC) of each checkpoint that a pattern names, by step.

    The name is that of the training run's directory and of the checkpoint's. UsageError if the
    pattern names none, or directories without a step, or two of the same step.
    """
    place, mark, query = spec.removeprefix(PREFIX).partition("?")
    pattern = Path(place).expanduser()
    if "*" in str(pattern.parent):
        raise UsageError("only the last part of a pattern may have a *", where=spec)
    folders = [f for f in pattern.parent.glob(pattern.name) if (f / "config.json").is_file()]
    if not folders:
        raise UsageError(
            "there is no checkpoint of this pattern",
            where=spec,
            hint="directories with a config.json, as transformers' Trainer saves them",
        )
    steps: dict[int, Path] = {}
    for folder in sorted(folders):
        step = find_step(folder.name)
        if step is None or step in steps:
            what = "no step in its name" if step is None else f"the step of {steps[step].name}"
            raise UsageError(
                f"the checkpoint {folder.name} has {what}",
                where=spec,
                hint="name directories checkpoint-STEP, or give each with --model",
            )
        steps[step] = folder
    run = pattern.parent.resolve().name
    return [
        (f"{run}-{folder.name}", f"{PREFIX}{folder.resolve()}{mark}{query}")
        for _, folder in sorted(steps.items())
    ]
