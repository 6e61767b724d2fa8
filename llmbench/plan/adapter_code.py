"""What the code of models' classes says of itself, before anything is run."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Sequence

from pydantic import TypeAdapter

from llmbench import limits
from llmbench.adapter import AdapterFacts
from llmbench.errors import UsageError
from llmbench.plan import registry
from llmbench.plan.resolved_model import ResolvedModel

_FACTS = TypeAdapter(AdapterFacts)


def is_shipped(model: ResolvedModel) -> bool:
    """Whether adapter and arguments are those of a shipped card, or differ only in values."""
    card = model.card
    if "checkpoint" in model.facts.required_parts:
        return True  # it takes no code from its card
    for name in registry.names("baselines"):
        base = registry.resolve(name)
        if (
            registry.find_adapter(base.adapter) == model.adapter
            and base.arguments == card.arguments
        ):
            if card.network is None or base.network is None:
                return card.network is base.network
            if (
                base.network.cls == card.network.cls
                and card.network.arguments.keys() <= base.network.arguments.keys()
            ):
                return True
    return False


def import_code(models: Sequence[ResolvedModel]) -> dict[str, AdapterFacts]:
    """Import the models' code in a short child process; return the facts of each adapter's class.

    So what is wrong with the code is said before anything runs, and this process stays light.
    """
    if not models:
        return {}
    job = json.dumps({"models": [model.to_json() for model in models]})
    command = [sys.executable, "-P", "-m", "llmbench.runner.worker", "--check"]
    token = secrets.token_hex(16)  # marks what the worker itself says, as in runner/process.py
    try:
        done = subprocess.run(
            command,
            input=f"{token}\n{job}\n",
            capture_output=True,
            text=True,
            timeout=limits.IMPORT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"importing the model files took longer than {limits.IMPORT_SECONDS:g} s",
            where=", ".join(model.name for model in models),
        ) from None
    lines = [line.partition(token)[2] for line in done.stdout.split("\n") if token in line]
    events = [json.loads(line) for line in lines]
    for event in events:
        if event["event"] == "wrong":
            where = event["where"] or event["model"]
            raise UsageError(event["what"], where=where, hint=event["hint"])
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(
            f"importing the model files ended the process (exit code {done.returncode}): {last}",
            where=models[0].name,
        )
    return {event["model"]: _FACTS.validate_python(event["facts"]) for event in events}
