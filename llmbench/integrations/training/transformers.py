"""Bits per byte at every evaluation of transformers' Trainer, into its own loggers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from llmbench.errors import UsageError
from llmbench.integrations.training.evaluation import Evaluation

if TYPE_CHECKING:
    from torch import nn
    from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments

PREFIX = "eval_"


class BitsCallback(TrainerCallback):
    """Scores a text at every evaluation, and logs `eval_bits_per_byte` with its interval.

        trainer = Trainer(model, args, ..., processing_class=tokenizer)
        trainer.add_callback(BitsCallback(trainer, "held-out.txt"))

    The values go to every logger of the trainer, into its history, and into the metrics of the
    evaluation, so that `metric_for_best_model="bits_per_byte"` chooses by them (with
    `greater_is_better=False`). Only the first process scores.
    """

    def __init__(
        self, trainer: Trainer, file: str | Path | None = None, tokenizer: Any = None, **how: Any
    ):
        """tokenizer: by default the trainer's `processing_class`. file, how: as of `Evaluation`."""
        tokenizer = tokenizer if tokenizer is not None else trainer.processing_class
        if tokenizer is None:
            raise UsageError(
                "the trainer has no tokenizer", hint="Trainer(..., processing_class=tokenizer)"
            )
        self.trainer, self.evaluation = trainer, Evaluation(tokenizer, file, **how)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        metrics: dict[str, float] | None = None,
        **more: Any,
    ) -> None:
        """Score the model as it is, and log it."""
        if model is None or not state.is_world_process_zero:
            return
        found = self.evaluation.score(model).to_metrics(PREFIX)
        if metrics is not None:
            metrics.update(found)
        self.trainer.log(dict(found))
