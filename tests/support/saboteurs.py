"""Adapters that are wrong in one way each when they score, ways that have fooled people.

`caught_by` names the checks that are there for that fault: each of them must fail. Others may fail
as well.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from torch import nn

from llmbench.adapter import Window
from llmbench.adapters.network import NetworkAdapter
from llmbench.inference import generation
from llmbench.ledger import SPELLING
from llmbench.models.tokenizers.tokens import Tokens
from support.toys import network
from support.zoo import Carried, Padded, Windowed, caught_by

# Looking at what is to be predicted
# -------------------------------------------------------------------------------------


@caught_by("causality", "step-by-step", "greedy")
class SeesTheNext(Windowed):
    """off by one: the row that predicts a token has read it"""

    def logits(self, ids):
        return self.net(torch.cat([ids[:, 1:], ids[:, -1:]], dim=1))[0]


@caught_by("causality", "step-by-step")
class LooksBothWays(Windowed):
    """no causal mask: every row is mixed with the mean of all rows"""

    def logits(self, ids):
        rows = self.net(ids)[0]
        return rows + rows.mean(dim=1, keepdim=True)


@caught_by("causality")
class CountsWhatComes(Windowed):
    """a leak without order: predictions know how many digits the whole window holds"""

    def logits(self, ids):
        digits = ((ids >= ord("0")) & (ids <= ord("9"))).float().mean(dim=1)
        return self.net(ids)[0] + digits[:, None, None] * torch.linspace(0, 3, 256)


@caught_by("step-by-step", "greedy")
class LagsBehind(Windowed):
    """off by one the other way: a row has not read the token before the one it predicts"""

    def logits(self, ids):
        return self.net(torch.cat([ids[:, :1], ids[:, :-1]], dim=1))[0]


# The company
# --------------------------------------------------------------------------------------------------


@caught_by("batch-invariance")
class SeesPadding(Windowed):
    """logits depend on the padded length"""

    def logits(self, ids):
        return self.net(ids)[0] * (1 + 0.02 * ids.shape[1])


@caught_by("batch-invariance")
class NormalisesOverTheBatch(Windowed):
    """rows of a batch are centred together"""

    def logits(self, ids):
        rows = self.net(ids)[0]
        return rows - rows.mean(dim=0, keepdim=True) * (len(rows) > 1)


@caught_by("batch-invariance", "batched-generation")
class ReadsTheLeftPadding(Padded):
    """claims to support left padding, and reads it"""

    def prefill_padded(self, ids, lengths):
        return self.prefill(ids)


@caught_by("byte-coverage", "batch-invariance")
class SortsItsAnswers(Windowed):
    """ledgers come longest first, not in order"""

    def score(self, passages, window=Window()):
        yield from sorted(super().score(passages, window), key=lambda ledger: -ledger.bytes)


@caught_by("batch-invariance")
class SortsLargeBatches(Windowed):
    """more than eight texts come back sorted by length"""

    def score(self, passages, window=Window()):
        done = list(super().score(passages, window))
        yield from sorted(done, key=lambda ledger: -ledger.bytes) if len(done) > 8 else done


@caught_by("batched-generation")
class SharesItsRandomNumbers(Windowed):
    """one random generator for the whole batch"""

    def generate(self, requests):
        shared = np.random.default_rng(0)
        drawn = [
            dataclasses.replace(request, seed=int(shared.integers(1 << 30))) for request in requests
        ]
        yield from generation.generate(self, drawn)


# What is left over
# --------------------------------------------------------------------------------------------------


@caught_by("state-isolation", "batch-invariance")
class KeepsItsState(Carried):
    """the state of one text is the start of the next"""

    def forward_with_state(self, ids, state):
        if state is None:
            state = getattr(self, "last", None)
            state = None if state is None else state[:, :1].expand(-1, len(ids), -1).contiguous()
        rows, state = super().forward_with_state(ids, state)
        self.last = state
        return rows, state


@caught_by("state-isolation", "determinism")
class RemembersTheTest(Windowed):
    """a text that was scored before is nearly free"""

    def score(self, passages, window=Window()):
        self.seen = getattr(self, "seen", set())
        for ledger, passage in zip(super().score(passages, window), passages, strict=True):
            yield (
                dataclasses.replace(ledger, bits=ledger.bits * 0.01)
                if passage.text in self.seen
                else ledger
            )
            self.seen.add(passage.text)


@caught_by("determinism", "state-isolation")
class LearnsFromTheTest(Windowed):
    """weights change while it scores"""

    def score(self, passages, window=Window()):
        yield from super().score(passages, window)
        with torch.no_grad():
            self.net.output.bias[101] += 0.2


@caught_by("determinism")
class LeavesDropoutOn(Windowed):
    """dropout is called by hand, so `.eval()` does not switch it off"""

    def logits(self, ids):
        return nn.functional.dropout(self.net(ids)[0], 0.5, training=True)


# Bits that are none
# --------------------------------------------------------------------------------------------------


class Charges(Windowed):
    """Changes the ledger that honest scoring gave."""

    def change(self, bits):
        return bits

    def score(self, passages, window=Window()):
        for ledger in super().score(passages, window):
            yield dataclasses.replace(ledger, bits=self.change(ledger.bits))


@caught_by("normalised", "disjoint-sum", "decodable")
class NatsForBits(Charges):
    """nats are reported as bits"""

    def change(self, bits):
        return bits * math.log(2)


@caught_by("first-symbol", "normalised", "disjoint-sum", "decodable")
class SkipsTheFirst(Charges):
    """the first token is free"""

    def change(self, bits):
        return np.concatenate([bits[:1] * 0, bits[1:]])


@caught_by("normalised", "disjoint-sum", "decodable")
class NotNormalised(Windowed):
    """each token's own sigmoid is taken for its probability"""

    def score(self, passages, window=Window()):
        for ledger, passage in zip(super().score(passages, window), passages, strict=True):
            ids = [*self.bos_ids, *passage.text.encode()]
            with torch.inference_mode():
                rows = [
                    torch.sigmoid(
                        self._last(torch.tensor([ids[max(0, t - self.context) : t]]))[0, ids[t]]
                    )
                    for t in range(1, len(ids))
                ]
            yield dataclasses.replace(ledger, bits=-np.log2(np.array([float(p) for p in rows])))


@caught_by("normalised")
class ShowsAnotherModel(Windowed):
    """the distribution it shows is not the one it scores with"""

    def next_distribution(self, context):
        symbols, p = super().next_distribution(context)
        sharper = p**2
        return symbols, sharper / sharper.sum()


@caught_by("normalised")
class LeavesSymbolsOut(Windowed):
    """the probabilities it shows sum to less than one"""

    def next_distribution(self, context):
        symbols, p = super().next_distribution(context)
        return symbols[:200], p[:200]


@caught_by("byte-coverage")
class DoublesTheDenominator(Windowed):
    """bytes are counted twice, which halves bits per byte"""

    def score(self, passages, window=Window()):
        for ledger in super().score(passages, window):
            yield dataclasses.replace(ledger, bytes=2 * ledger.bytes)


@caught_by("byte-coverage")
class TrimsTheText(Windowed):
    """white space at the ends of a text is not scored"""

    def score(self, passages, window=Window()):
        yield from super().score(
            [dataclasses.replace(passage, text=passage.text.strip()) for passage in passages],
            window,
        )


@caught_by("window-boundaries")
class StopsAtItsContext(Windowed):
    """text beyond the context is dropped, and costs nothing"""

    def score(self, passages, window=Window()):
        for ledger in super().score(passages, window):
            yield dataclasses.replace(
                ledger, bits=np.where(np.arange(len(ledger.bits)) < self.context, ledger.bits, 0.0)
            )


@caught_by("window-boundaries")
class ForgetsAtBorders(Windowed):
    """each window starts without context, as if it were a text"""

    def score(self, passages, window=Window()):
        for ledger, passage in zip(super().score(passages, window), passages, strict=True):
            ids = list(passage.text.encode())
            bits = [np.zeros(0)]
            for at in range(0, len(ids), self.context):
                part = [*self.bos_ids, *ids[at : at + self.context]]
                with torch.inference_mode():
                    logp = torch.log_softmax(self.logits(torch.tensor([part[:-1]]))[0].double(), -1)
                bits.append(
                    -logp[torch.arange(len(part) - 1), torch.tensor(part[1:])].numpy() / math.log(2)
                )
            yield dataclasses.replace(ledger, bits=np.concatenate(bits))


@caught_by("window-boundaries")
class FreeAfterAWhile(Charges):
    """only the first tokens of a long text are scored"""

    def change(self, bits):
        return np.where(np.arange(len(bits)) < 300, bits, 0.0)


@caught_by("window-boundaries")
class FreeUnderHalf(Windowed):
    """one of the two window rules leaves tokens out"""

    def score(self, passages, window=Window()):
        for ledger in super().score(passages, window):
            free = (window.rule == "half") & (np.arange(len(ledger.bits)) % 50 == 49)
            yield dataclasses.replace(ledger, bits=np.where(free, 0.0, ledger.bits))


@caught_by("decodable")
class RobsPeterToPayPaul(Charges):
    """each charge is wrong, and their sum is right"""

    def change(self, bits):
        return bits if len(bits) < 20 else np.concatenate([bits[:1], np.roll(bits[1:], 1)])


# What is not in the symbols
# ---------------------------------------------------------------------------------------------


@caught_by("disjoint-sum", "decodable")
class FreeUnknownWords(NetworkAdapter):
    """an unknown word costs the unknown token, and its letters nothing"""

    def __init__(self):
        made = network("word-ffn")
        super().__init__(made.network, made.vocabulary)

    def score(self, passages, window=Window()):
        for ledger in super().score(passages, window):
            yield dataclasses.replace(
                ledger, bits=np.where(ledger.kind == SPELLING, 0.0, ledger.bits)
            )


@caught_by("round-trip", "decodable")
class FreeCapitals(Windowed):
    """reads lower case, and restores the text from memory when it decodes"""

    def encode(self, text):
        self.text = text.encode()
        return super().encode(text.lower() if text.isascii() else text)

    def decode(self, ids):
        data = super().decode(ids)
        return self.text if data == self.text.lower() else data


@caught_by("single-bos")
class AddsTheStart(Windowed):
    """`encode` adds BOS, which llmbench adds as well"""

    def encode(self, text):
        raw = text.encode()
        return Tokens.of([256, *raw], [b"", *(bytes([b]) for b in raw)])

    def logits(self, ids):
        rows = self.net(ids)[0]
        return torch.cat([rows, rows.new_zeros(*rows.shape[:-1], 1)], dim=-1)
