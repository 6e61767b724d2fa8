"""What a run still has to train, seen before it runs."""

from __future__ import annotations

from llmbench.adapter import BuildContext
from llmbench.plan.plan import Plan
from llmbench.storage import default_cache


def make_context(made: Plan, name: str) -> BuildContext:
    """What the model `name` is made of, as far as the plan knows it."""
    texts, options = made.suite.texts, made.options
    return BuildContext(
        train=texts.get("train"),
        valid=texts.get("valid"),
        domain=texts.get("domain"),
        domain_valid=texts.get("domain_valid"),
        seed=options.seed,
        device=options.device_kind if made.models[name].facts.needs_torch else "cpu",
        cache=options.cache or default_cache(),
        retrain_since=options.retrain_since,
    )


def count_steps(made: Plan, name: str) -> int:
    """How many training steps the model `name` needs before it can be asked anything."""
    model = made.models[name]
    if model.card.recipe is None or (
        model.card.network is not None and "train" not in made.suite.texts
    ):
        return 0
    return model.count_steps(make_context(made, name))


def find_damage(made: Plan, name: str) -> str:
    """Why the weights of `name` that came with llmbench are not used; "" if nothing is wrong."""
    model = made.models[name]
    if model.card.recipe is None or (
        model.card.network is not None and "train" not in made.suite.texts
    ):
        return ""
    return model.place_trained(make_context(made, name)).damage


def list_damage(made: Plan) -> list[str]:
    """Why weights that came with llmbench are not used, each reason once: a damaged manifest is one
    for all models.
    """
    return [said for said in dict.fromkeys(find_damage(made, name) for name in made.models) if said]
