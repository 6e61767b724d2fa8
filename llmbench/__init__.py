"""llmbench puts every language model on the same board: quality in bits per byte, text, speed and
memory.

    import llmbench
    result = llmbench.run("quick")                       # a Run; in a notebook it shows its board
    llmbench.score("byte-ngram", "my.txt")["bits_per_byte"]

Importing this package loads no torch; `run` and `score` load what they need when called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmbench.api import Run, run, score

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "run", "score"]


def __getattr__(name: str) -> Any:
    if name in ("Run", "run", "score"):
        from llmbench import api

        return getattr(api, name)
    raise AttributeError(f"module 'llmbench' has no attribute {name!r}")
