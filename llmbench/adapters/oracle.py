"""The source itself as a model: it charges a story of storyworld exactly the bits of the choices
that made it, and knows no other text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from llmbench.adapter import Adapter, ModelInfo, Passage, Window
from llmbench.data.storyworld import stories
from llmbench.errors import Unsupported
from llmbench.ledger import TOKEN, Ledger


class Oracle(Adapter):
    """The lower bound that no model can beat on average.

    A whole story is one charge, because its choices are not made letter by letter.
    """

    needs_torch = False

    @property
    def info(self) -> ModelInfo:
        sources = sorted(Path(stories.__file__).parent.glob("*.py"))
        mark = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
        return ModelInfo(
            "storyworld-oracle", "the source itself", "choices", None, None, None, "cpu", mark
        )

    def score(self, passages: Sequence[Passage], window: Window = Window()) -> Iterator[Ledger]:
        for passage in passages:
            try:
                bits = stories.parse(passage.text).bits
            except ValueError:
                raise Unsupported(
                    "the oracle knows the stories of storyworld, and no other text"
                ) from None
            size = len(passage.text.encode())
            kinds = np.array([TOKEN], dtype=np.uint8)
            yield Ledger(np.array([0]), np.array([size]), np.array([bits]), kinds, size, passage.id)
