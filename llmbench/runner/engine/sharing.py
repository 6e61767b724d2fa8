"""A model whose trained weights are brought from a cache that machines share, and put there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmbench.adapter import Adapter, BuildContext
from llmbench.plan.resolved_model import ResolvedModel, make_adapter
from llmbench.storage import Damaged
from llmbench.training.place import Place
from llmbench.training.shared_cache import SharedCache, describe_error

Say = Callable[[str], object]


def make_shared(
    model: ResolvedModel, build_context: BuildContext, url: str, say: Say = lambda line: None
) -> Adapter:
    """Make a model whose training was perhaps done elsewhere, and share it if it was not.

    Args:
        model: what is made.
        build_context: what it is made of; its cache is this machine's own.
        url: of the shared cache.
        say: told in one line what could not be brought or put there. Then the model is trained
            here, or its weights stay here.
    """
    cache, refused = SharedCache(url), set[str]()
    for place in list_places(model, build_context):
        if place.shipped is not None or place.is_kept():
            break
        try:
            if cache.pull(place.folder, place.since):
                break
        except Damaged as error:
            refused.add(place.folder.name)
            say(f"the shared cache has damaged weights, and the model is trained: {error}")
        except Exception as error:  # each kind of store raises its own
            say(f"the shared cache cannot be read: {describe_error(error)}")
    adapter = make_adapter(model, build_context)
    for place in list_places(model, build_context):
        if place.shipped is not None or not place.is_kept():
            continue
        try:
            anew = place.folder.name in refused or place.since is not None
            cache.push(place.folder, anew)
        except Exception as error:
            say(f"the shared cache cannot be written: {describe_error(error)}")
    return adapter


def list_places(model: ResolvedModel, build_context: BuildContext) -> Iterator[Place]:
    """Yield where what a model's training gives is, or will be: the last stage first, which needs
    none before it once it is there.
    """
    card = model.card
    if card.recipe is None:
        return
    if card.network is not None:
        if build_context.train is not None:
            yield model.place_trained(build_context)
        return
    for count in range(len(model.stages), 0, -1):
        if model.stages[count - 1].recipe is None:
            return
        yield model.place_trained(build_context, count)
