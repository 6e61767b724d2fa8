"""--dry-run: what each cell would cost, from what its card says a step and a megabyte cost on two cores."""

from __future__ import annotations

from llmbench.adapter import Materials, default_cache
from llmbench.card import Card, VocabularySpec
from llmbench.checkpoints import checkpoint_folder
from llmbench.plan import Plan
from llmbench.suite import LikelihoodSpec

START_UP = 3.0  # seconds: a process, its imports
GENERATION = 2.0  # seconds for a few short continuations


def estimate(made: Plan) -> list[tuple[str, str, str, str, str]]:
    """Rows (model, task, state, seconds, memory), and a total. A model without an estimate says "unknown"."""
    rows, total, unknown = [], 0.0, 0
    for card in made.cards:
        first = True
        for task in made.suite.tasks:
            if made.cell(card.name, task.name) is not None:
                rows.append((card.name, task.name, "done", "0", "-"))
                continue
            state, seconds = "to run", None
            if card.estimate is not None:
                megabytes = made.suite.texts[task.text].bytes / 1e6 if isinstance(task, LikelihoodSpec) else 0.0
                seconds = card.estimate.seconds_per_megabyte * megabytes if megabytes else GENERATION
                if first:
                    state, cost = _training(made, card)
                    seconds += START_UP + cost
            first = False
            total += seconds or 0.0
            unknown += seconds is None
            memory = f"{card.estimate.memory_mb:.0f} MB" if card.estimate and card.estimate.memory_mb else "unknown"
            rows.append((card.name, task.name, state, "unknown" if seconds is None else f"{seconds:.0f}", memory))
    rows.append(("total", "", f"{unknown} unknown" if unknown else "", f"{total:.0f}", ""))
    return rows


def _training(made: Plan, card: Card) -> tuple[str, float]:
    """Whether the network is trained already, and the seconds its training would take."""
    if card.network is None or card.recipe is None or card.estimate is None or "train" not in made.suite.texts:
        return "to run", 0.0
    texts = made.suite.texts
    materials = Materials(train=texts["train"], valid=texts.get("valid"), seed=made.options.seed, cache=made.options.cache or default_cache())
    if checkpoint_folder(card.network, card.vocabulary or VocabularySpec(), card.recipe, materials).is_dir():
        return "trained", 0.0
    return "to train", card.recipe.steps * card.estimate.seconds_per_step
