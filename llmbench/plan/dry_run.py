"""--dry-run: what each cell would cost, from what its card says a step and a megabyte cost on two
cores.
"""

from __future__ import annotations

from llmbench.config.model_card import Card
from llmbench.plan.plan import Plan
from llmbench.plan.training_state import count_steps

START_UP = 3.0  # seconds: a process, its imports
ATTEMPTS = 8  # processes until a batch is fitted
GENERATION = 2.0  # seconds for a few short continuations


def estimate(made: Plan) -> list[tuple[str, str, str, str, str]]:
    """Rows (model, task, state, seconds, memory), and a total. A model without an estimate says
    "unknown".
    """
    rows, total, unknown = [], 0.0, 0
    for card in made.cards:
        first = True
        for task in made.suite.tasks:
            if made.cell(card.name, task.name) is not None:
                rows.append((card.name, task.name, "done", "0", "-"))
                continue
            if (card.name, task.name) in made.lacks:
                rows.append((card.name, task.name, "unavailable", "0", "-"))
                continue
            state, seconds = "to run", None
            if card.estimate is not None:
                about = task.text
                megabytes = 0.0 if about is None else made.suite.texts[about].bytes / 1e6
                kind = task.process
                seconds = (
                    card.estimate.seconds_per_megabyte * megabytes
                    if megabytes and kind == "shared"
                    else GENERATION
                )
                seconds += task.estimate_seconds()
                if kind != "shared" and not first:
                    seconds += START_UP * (
                        ATTEMPTS if kind == "attempts" else 1
                    )  # in processes of its own
                if first:
                    state, cost = estimate_training(made, card)
                    seconds += START_UP + cost
            first = False
            total += seconds or 0.0
            unknown += seconds is None
            memory = (
                f"{card.estimate.memory_mb:.0f} MB"
                if card.estimate and card.estimate.memory_mb
                else "unknown"
            )
            rows.append(
                (
                    card.name,
                    task.name,
                    state,
                    "unknown" if seconds is None else f"{seconds:.0f}",
                    memory,
                )
            )
    rows += [(name, "all", f"left out: {why}", "0", "-") for name, why in made.absent.items()]
    rows.append(("total", "", f"{unknown} unknown" if unknown else "", f"{total:.0f}", ""))
    return rows


def estimate_training(made: Plan, card: Card) -> tuple[str, float]:
    """Whether the network is trained already, and the seconds its training would take."""
    if card.recipe is None or card.estimate is None:
        return "to run", 0.0
    if card.network is not None and "train" not in made.suite.texts:
        return "to run", 0.0
    steps = count_steps(made, card.name)
    return ("to train", steps * card.estimate.seconds_per_step) if steps else ("trained", 0.0)
