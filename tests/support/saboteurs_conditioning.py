"""Adapters that are wrong in one way each about what they are given before a text, and about where
it ends.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from llmbench.adapter import Passage, Window
from llmbench.ledger import END
from support.zoo import Windowed, caught_by


@caught_by("chain-rule")
class IgnoresWhatIsGiven(Windowed):
    """a text with a context is scored as if it had none"""

    def score(self, passages, window=Window()):
        yield from super().score(
            [dataclasses.replace(passage, context="") for passage in passages], window
        )


@caught_by("chain-rule")
class ChargesWhatIsGiven(Windowed):
    """the context is scored with the text"""

    def score(self, passages, window=Window()):
        yield from super().score(
            [Passage(passage.context + passage.text, id=passage.id) for passage in passages], window
        )


class Ending(Windowed):
    """Byte 0 ends a text."""

    eos_ids = (0,)


@caught_by("conditioning")
class EndsForFree(Ending):
    """the end of a text is not scored, though it was asked for"""

    def score(self, passages, window=Window()):
        for ledger in super().score(passages, window):
            yield dataclasses.replace(ledger, bits=np.where(ledger.kind == END, 0.0, ledger.bits))


@caught_by("conditioning")
class AlwaysStarts(Windowed):
    """BOS is given even if it was switched off"""

    def score(self, passages, window=Window()):
        yield from super().score(
            [dataclasses.replace(passage, add_bos=True) for passage in passages], window
        )


@caught_by("conditioning")
class ReadsTheWrongEnd(Windowed):
    """of a context that is too long it keeps the beginning"""

    def score(self, passages, window=Window()):
        yield from super().score(
            [
                dataclasses.replace(passage, context=passage.context[: self.context])
                for passage in passages
            ],
            window,
        )


@caught_by("conditioning")
class SeesItsNeighbours(Windowed):
    """texts after the same context are packed together, and see one another"""

    def score(self, passages, window=Window()):
        seen: dict[str, str] = {}
        changed = []
        for passage in passages:
            changed.append(
                dataclasses.replace(
                    passage, context=passage.context + seen.get(passage.context, "")
                )
            )
            seen[passage.context] = (
                seen.get(passage.context, "") + passage.text if passage.context else ""
            )
        yield from super().score(changed, window)


@caught_by("decodable")
class RemembersWhatItRead(Windowed):
    """predicts what it has encoded before, and so decodes only what it knows"""

    def encode(self, text):
        tokens = super().encode(text)
        self.read = getattr(self, "read", [])
        self.read.append(tokens.ids.tolist())
        return tokens

    def logits(self, ids):
        rows = self.net(ids)[0]
        for row, line in zip(rows, ids.tolist(), strict=True):
            for t in range(8, len(line)):
                known = next(
                    (
                        text
                        for text in getattr(self, "read", [])
                        if line[0] == 256 and text[:t] == line[1 : t + 1] and len(text) > t
                    ),
                    None,
                )
                if known is not None:
                    row[t, known[t]] += 6.0
        return rows

    def prefill(self, ids):
        return ids, self.logits(ids)[:, -1]

    def step(self, state, ids):
        line = torch.cat([state, ids[:, None]], dim=1)[:, -self.context :]
        return line, self.logits(line)[:, -1]
