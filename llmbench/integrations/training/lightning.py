"""Bits per byte at every validation of Lightning, into its own loggers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench.errors import UsageError
from llmbench.integrations.training.evaluation import Evaluation

try:
    from lightning.pytorch.callbacks import Callback
except ImportError as error:
    raise UsageError(
        "the callback needs lightning", hint="pip install 'llmbench[lightning]'"
    ) from error

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class BitsCallback(Callback):  # type: ignore[misc]  # mypy may not see lightning
    """Scores a text at the end of every validation, and logs `bits_per_byte` with its interval.

        Trainer(callbacks=[BitsCallback(tokenizer, "held-out.txt", network="model")])

    `ModelCheckpoint(monitor="bits_per_byte")` sees it. Only the first process scores; the sanity
    check of Lightning does not.
    """

    def __init__(
        self, tokenizer: Any, file: str | Path | None = None, network: str = "model", **how: Any
    ):
        """network: where in the LightningModule the language model is, as in "model" of
        `self.model`. tokenizer, file, how: as of `Evaluation`.
        """
        self.network, self.evaluation = network, Evaluation(tokenizer, file, **how)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the model as it is, and log it."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        try:
            model = pl_module.get_submodule(self.network)
        except AttributeError:
            raise UsageError(
                f"the LightningModule has no module {self.network!r}",
                hint="BitsCallback(..., network=...): where the language model is in it",
            ) from None
        for name, value in self.evaluation.score(model).to_metrics().items():
            pl_module.log(name, value, rank_zero_only=True)
