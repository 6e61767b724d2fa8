"""An engine as llama.cpp is asked, in a few lines: each id is predicted by the three before it."""

import re

import numpy as np

from llmbench.adapters.gguf.engine import BATCH, SEQUENCES, STEADY, Facts
from llmbench.errors import OutOfMemory

BOS, END = 256, 257
MARKERS = (b"<bos>", b"<end>")


class FakeEngine:
    """Bytes as tokens. `noise`: how much of a logit depends on the ids in a call; `wrong_from`:
    calls of as many ids as this are computed wrongly.
    """

    def __init__(self, context=256, rows=1, noise=0.0, wrong_from=None, chat_template=""):
        self.chat_template = chat_template
        self.context, self.rows, self.noise, self.wrong_from = context, rows, noise, wrong_from
        self.room = context * rows
        self.facts = Facts(
            architecture="fake",
            scheme="Q4_1",
            parameters=1000,
            weights_bytes=500,
            context=4096,
            symbols=258,
            bos=BOS,
            eos=END,
            ends=(END,),
            adds_bos=False,
            tokenizer="bytes",
            version="0",
        )
        self.held = {}
        self.calls = []  # ids of each

    def tokenize(self, raw, with_markers=False):
        if not with_markers:
            return list(raw)
        parts = re.split(rb"(<bos>|<end>)", raw)
        ids = self.find_markers()
        return [id for part in parts for id in ([ids[part.decode()]] if part in MARKERS else part)]

    def find_markers(self):
        return {"<bos>": BOS, "<end>": END}

    def spell(self, id):
        return bytes([id]) if id < 256 else b"<bos>" if id == BOS else b"<end>"

    def set_threads(self, count):
        self.threads = count

    def forget(self, row=None):
        if row is None:
            self.held = {}
        else:
            self.held.pop(row, None)

    def share(self, row, other):
        self.held[other] = dict(self.held[row])

    def read(self, rows, ids, places, wanted, steady=False):
        count = len(ids)
        assert 0 < count <= BATCH
        for row, id, place in zip(rows, ids, places, strict=True):
            assert row < SEQUENCES
            line = self.held.setdefault(row, {})
            assert place == len(line), "a place that does not follow"
            line[place] = id
        if sum(map(len, self.held.values())) > self.room * 4:
            raise OutOfMemory("no room")
        self.calls.append(list(ids))
        size = max(count, STEADY) if steady else count
        return np.stack(
            [
                self._predict(self.held[row], place, size)
                for row, place, asked in zip(rows, places, wanted, strict=True)
                if asked
            ]
            or [np.empty(0, dtype=np.float32)]
        )

    def _predict(self, line, place, size):
        key = 0
        for back in range(3):
            key = (key * 259 + line.get(place - back, BOS)) % 1_000_003
        if self.wrong_from is not None and size >= self.wrong_from:
            key += 1
        at = np.arange(self.facts.symbols)
        logits = 3.0 * np.sin(key * 0.37 + at * (1 + key % 17))
        if self.noise:
            logits += self.noise * np.random.default_rng([key, size >= 32]).normal(size=len(at))
        return logits.astype(np.float32)

    def close(self):
        self.held = {}
