"""The targets of exports by name, without anything that makes them: a command line lists them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from llmbench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from llmbench.integrations.exports.target import Maker


@dataclass(frozen=True)
class Target:
    """A place to export to. `is_tracker`: whether it has a run for each model, which the package
    of its name writes. `takes_uri`: whether it can send to an address. `is_live`: whether it shows
    runs as they go.
    """

    name: str
    help: str
    is_tracker: bool = False
    takes_uri: bool = False
    is_live: bool = False

    def check(self, uri: str | None = None, needs_package: bool = True) -> None:
        """Raise UsageError if its package is missing, or if it takes no address."""
        from importlib.util import find_spec

        if uri is not None and not self.takes_uri:
            raise UsageError(f"{self.name} writes files and takes no address", where=uri)
        if needs_package and self.is_tracker and find_spec(self.name) is None:
            raise UsageError(
                f"the export {self.name} needs the package {self.name}",
                hint=f"pip install 'llmbench[{self.name}]'",
            )

    def load(self) -> Maker:
        """Import the target's module."""
        folder = f"{__package__}.trackers" if self.is_tracker else __package__
        return cast("Maker", import_module(f"{folder}.{self.name.replace('-', '_')}"))


TARGETS = {
    target.name: target
    for target in (
        Target("json-schema", "the JSON schema of the record"),
        Target("latex", "a table for each task, with booktabs, intervals and ranks"),
        Target("parquet", "all scores and all samples, as two Parquet files"),
        Target("arrow", "the same, as two Arrow (Feather) files"),
        Target("model-index", "results in a model card's front matter, a file for each model"),
        Target("hf-eval-results", ".eval_results of the Hub; needs --dataset"),
        Target("lm-eval-json", "results_*.json as lm-evaluation-harness writes them"),
        Target("every-eval-ever", "Every Eval Ever, schema 0.3, with the intervals"),
        Target("tensorboard", "scores and curves of training, for TensorBoard", True, is_live=True),
        Target("mlflow", "a local file store, or the server of --uri", True, True, is_live=True),
        Target("wandb", "offline runs of Weights & Biases", is_tracker=True),
        Target("trackio", "a local project of Trackio", is_tracker=True),
    )
}


def find_target(name: str) -> Target:
    """Return the target of this name. UsageError if there is none."""
    if name not in TARGETS:
        raise UsageError(f"unknown target {name!r}", hint=did_you_mean(name, TARGETS))
    return TARGETS[name]
