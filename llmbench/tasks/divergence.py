"""How far a model's predictions are from those of the one that it was made from: what rounding to 4
bits changed, or fine-tuning, beyond the bits of one text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from llmbench.adapter import Adapter, Progress, Window
from llmbench.config.model_card import Ids
from llmbench.data.text import Text
from llmbench.errors import Unsupported
from llmbench.metrics.facts import AGREEMENT, DIVERGENCE, FACTS
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.stats import Interval, ratio_interval
from llmbench.tasks.passages import Passages
from llmbench.tasks.prompts import check_plain
from llmbench.tasks.task import Task

if TYPE_CHECKING:
    from llmbench.inference.divergence import Item
    from llmbench.inference.token_model import TokenModel


class Divergence(Task):
    """Every model reads the text beside its parent, which is loaded for this task alone: the same
    ids in the same windows, those of the shorter context. Items are documents; of a single one,
    blocks. The parent's own divergence is 0, and is not computed.
    """

    class Settings(Task.Settings):
        """The divergence of each model's predictions from those of its parent."""

        model_keys: ClassVar[tuple[str, ...]] = ("parent",)

        text: str = "test"
        parent: str = Field(description="SPEC of the model that the others were made from")
        window: Literal["half", "rolling"] | Ids = "half"

        def check(self, text: Text) -> None:
            check_plain(text)

    protocol = "divergence/1"

    def __init__(self, text: Text, parent: str, window: Window):
        self.text, self.parent, self.window = text, parent, window

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        return cls(texts[settings.text], settings.parent, Window(settings.window))

    @property
    def signature(self) -> Signature:
        return super().signature.extend(window=self.window)

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        model = find_token_model(adapter)
        parent = self.load_model(self.parent)
        try:
            return self._compare(adapter, model, parent, progress)
        finally:
            parent.close()

    def _compare(
        self, adapter: Adapter, model: TokenModel, parent: Adapter, progress: Progress
    ) -> Outcome:
        from llmbench.inference.divergence import agree, diverge, find_context, split_into_items

        passages, compared = Passages(self.text.documents), []
        parents = find_token_model(parent, self.parent)
        is_parent = adapter.info.fingerprint == parent.info.fingerprint
        found = (
            agree(model, passages) if is_parent else diverge(model, parents, passages, self.window)
        )
        for one in found:
            compared.append(one)
            progress("comparing", len(compared) / len(passages), self.parent)
        signature = self.signature.extend(parent=parent.info.fingerprint[:16])
        context = find_context(model, parents)
        if context is not None and any(len(one.line.ids) > context for one in compared):
            signature = signature.extend(context=context)
        items = [item for item in split_into_items(compared) if item.tokens]
        return Outcome(_score(items, signature), [_write_sample(item) for item in items])


def find_token_model(adapter: Adapter, where: str = "") -> TokenModel:
    """Return what shows the logits of every token. Raises Unsupported if nothing does."""
    model = None if adapter.reads_source or adapter.is_masked else adapter.token_model
    if model is None:
        raise Unsupported(
            "only models that show the logits of their tokens can be compared so",
            where=where,
            hint="`llmbench compare` compares bits per byte",
        )
    return model


def _score(items: Sequence[Item], signature: Signature) -> list[ScoreRow]:
    rows: list[ScoreRow] = []
    tokens = [item.tokens for item in items]
    for name, sums in (
        (DIVERGENCE, [item.nats for item in items]),
        (AGREEMENT, [item.agreed for item in items]),
    ):
        found: Interval = ratio_interval(sums, tokens)
        rows.append(FACTS[name].row(found.value, found.n, str(signature), found.low, found.high))
    return rows


def _write_sample(item: Item) -> SampleRow:
    return {
        "id": item.id,
        "bytes": item.bytes,
        "input": None,
        "output": None,
        "reference": None,
        "statistics": {
            DIVERGENCE: [item.nats, item.tokens],
            AGREEMENT: [item.agreed, item.tokens],
        },
    }
