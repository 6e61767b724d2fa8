"""Every language model on the same board: bits per byte, text quality, speed and memory.

    import llmbench
    run = llmbench.run("quick")                          # a Run; a notebook shows its board
    llmbench.score("byte-ngram", "my.txt")["bits_per_byte"]
    llmbench.score(llmbench.wrap(model, tokenizer), text="To be or not to be")

The names in `__all__` and `llmbench.testing` are the public API. Everything else is private by
convention and may change in any release. Names are imported on first use: `import llmbench` loads
no torch, numpy or pydantic.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmbench.adapter import Adapter as Adapter
    from llmbench.adapter import BuildContext as BuildContext
    from llmbench.adapter import Chunk as Chunk
    from llmbench.adapter import ModelInfo as ModelInfo
    from llmbench.adapter import Passage as Passage
    from llmbench.adapter import Request as Request
    from llmbench.adapter import Window as Window
    from llmbench.adapters.encoder_decoder import EncoderDecoderAdapter as EncoderDecoderAdapter
    from llmbench.adapters.masked import MaskedAdapter as MaskedAdapter
    from llmbench.adapters.token import TokenAdapter as TokenAdapter
    from llmbench.adapters.wrap import wrap as wrap
    from llmbench.api import Run as Run
    from llmbench.api import load_run as load_run
    from llmbench.api import load_text as load_text
    from llmbench.api import run as run
    from llmbench.api import score as score
    from llmbench.data.text import Document as Document
    from llmbench.data.text import Text as Text
    from llmbench.errors import LlmbenchError as LlmbenchError
    from llmbench.errors import ModelError as ModelError
    from llmbench.errors import OutOfMemory as OutOfMemory
    from llmbench.errors import Unavailable as Unavailable
    from llmbench.errors import Unsupported as Unsupported
    from llmbench.errors import UsageError as UsageError
    from llmbench.integrations.training.evaluation import Bits as Bits
    from llmbench.integrations.training.evaluation import Evaluation as Evaluation
    from llmbench.leaderboard.board import Board as Board
    from llmbench.ledger import Ledger as Ledger
    from llmbench.metrics.metric import Metric as Metric
    from llmbench.metrics.text import TextMetric as TextMetric
    from llmbench.models.networks.network import Network as Network
    from llmbench.models.tokenizers.tokens import Tokens as Tokens
    from llmbench.models.tokenizers.vocabulary import Vocabulary as Vocabulary
    from llmbench.results.outcome import Outcome as Outcome
    from llmbench.results.samples import Sample as Sample
    from llmbench.tasks.task import Task as Task

__version__ = "0.1.0"
__all__ = [
    "Adapter",
    "Bits",
    "Board",
    "BuildContext",
    "Chunk",
    "Document",
    "EncoderDecoderAdapter",
    "Evaluation",
    "Ledger",
    "LlmbenchError",
    "MaskedAdapter",
    "Metric",
    "ModelError",
    "ModelInfo",
    "Network",
    "OutOfMemory",
    "Outcome",
    "Passage",
    "Request",
    "Run",
    "Sample",
    "Task",
    "Text",
    "TextMetric",
    "TokenAdapter",
    "Tokens",
    "Unavailable",
    "Unsupported",
    "UsageError",
    "Vocabulary",
    "Window",
    "__version__",
    "load_run",
    "load_text",
    "run",
    "score",
    "wrap",
]

_DEFINED_IN = {
    "adapter": "Adapter BuildContext Chunk ModelInfo Passage Request Window",
    "adapters.encoder_decoder": "EncoderDecoderAdapter",
    "adapters.masked": "MaskedAdapter",
    "adapters.token": "TokenAdapter",
    "adapters.wrap": "wrap",
    "api": "Run load_run load_text run score",
    "data.text": "Document Text",
    "errors": "LlmbenchError ModelError OutOfMemory Unavailable Unsupported UsageError",
    "leaderboard.board": "Board",
    "integrations.training.evaluation": "Bits Evaluation",
    "ledger": "Ledger",
    "metrics.metric": "Metric",
    "metrics.text": "TextMetric",
    "models.networks.network": "Network",
    "models.tokenizers.tokens": "Tokens",
    "models.tokenizers.vocabulary": "Vocabulary",
    "results.outcome": "Outcome",
    "results.samples": "Sample",
    "tasks.task": "Task",
}
_MODULES = {
    name: f"{__name__}.{module}" for module, names in _DEFINED_IN.items() for name in names.split()
}


def __getattr__(name: str) -> Any:
    """Import the public `name` from the module that defines it, once."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = vars(importlib.import_module(_MODULES[name]))[name]
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
