"""A tracker's library in a process of its own: it prints, starts services and reads settings from
the environment, such as keys and addresses, of which it gets none there.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from llmbench.errors import UsageError
from llmbench.integrations.exports.target import Export, Tracked

SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY")
CODE = "import sys; from llmbench.integrations.exports.trackers.apart import write; write(sys.argv)"


def write_apart(
    module: str, export: Export, place: Path, drop: str, settings: Mapping[str, str]
) -> None:
    """Call `module.write(tracked, place)` in a child, without the variables that begin with `drop`
    and with these `settings`. Raises UsageError with the last line of what went wrong.
    """
    place.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(drop) and k not in SECRETS}
    roots = os.pathsep.join([path for path in sys.path if path])
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, module, str(place.resolve())],
        input=json.dumps([asdict(tracked) for tracked in export.tracked]),
        env={**kept, **settings, "PYTHONPATH": roots, "HF_HUB_OFFLINE": "1"},
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UsageError(lines[-1] if lines else "it said nothing", where=module.rpartition(".")[2])


def write(arguments: Sequence[str]) -> None:
    """Write what stdin holds, in the child."""
    _, module, place = arguments
    tracked = [Tracked(**row) for row in json.load(sys.stdin)]
    importlib.import_module(module).write(tracked, Path(place))
