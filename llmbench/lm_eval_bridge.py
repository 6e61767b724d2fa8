"""Any llmbench model as a model of lm-evaluation-harness, whose hundreds of tasks it can then be asked (extra `lm-eval`):

    python -m llmbench.lm_eval_bridge --model llmbench --model_args spec=char-ffn --tasks arc_easy

is lm-eval's own command line with one model type more. `spec` is a SPEC as everywhere; `train=PATH` and `valid=PATH` are what it learns from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmbench import single
from llmbench.adapter import Adapter, Passage, Request, Window
from llmbench.errors import Unsupported, UsageError
from llmbench.ledger import Ledger

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ImportError as error:
    raise UsageError("the bridge needs lm-eval", hint="pip install 'llmbench[lm-eval]'") from error

LONGEST = 1 << 20  # bytes of an answer whose length lm-eval does not limit
GREEDY = 64  # contexts continued side by side


@register_model("llmbench")
class Bridge(LM):  # type: ignore[misc]  # lm-eval has no types
    """lm-eval's three questions, answered by an adapter. Log-likelihoods are natural logarithms, summed over the text alone."""

    def __init__(self, spec: str, train: str | None = None, valid: str | None = None, device: str | None = None, seed: int = 0, **ignored: Any):
        """`ignored`: what lm-eval hands to every model (batch_size, max_batch_size): llmbench sizes its batches itself."""
        super().__init__()
        for name in ignored:
            if name not in ("batch_size", "max_batch_size"):
                raise UsageError(f"unknown model argument {name!r}", hint="spec, train, valid, device, seed")
        given = {name: path for name, path in (("train", train), ("valid", valid)) if path}
        self.card, self.adapter = single.load_model(str(spec), given, seed=int(seed), device=_device(device))
        self.start = bool(getattr(self.adapter, "adds_start", True))  # lm-eval gives one only where the tokenizer adds it, or nothing else is given

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval calls its cache by."""
        return self.card.name

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(log p of the continuation after the context, whether greedy generation says it)."""
        pairs = [_pair(*request.args) for request in requests]
        passages = [Passage(text, given=given, id=str(i), start=self.start) for i, (given, text) in enumerate(pairs)]
        ledgers = self._score(passages)
        greedy = self._greedy(pairs, ledgers)
        return [(-ledger.total() * math.log(2), said) for ledger, said in zip(ledgers, greedy, strict=True)]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """log p of each whole text, in rolling windows."""
        return [-ledger.total() * math.log(2) for ledger in self._score([Passage(request.args[0], id=str(i)) for i, request in enumerate(requests)])]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What the model says after each context, up to a stop string."""
        answers = [""] * len(requests)
        with single.model_errors(self.card.name):
            for chunk in self.adapter.generate([_request(*request.args) for request in requests]):
                answers[chunk.row] += chunk.text
        return answers

    def _score(self, passages: Sequence[Passage]) -> list[Ledger]:
        with single.model_errors(self.card.name):
            return list(self.adapter.score(passages, Window("rolling")))

    def _greedy(self, pairs: Sequence[tuple[str, str]], ledgers: Sequence[Ledger]) -> list[bool]:
        """A continuation can only be greedy where none of its symbols is below the mean of all symbols; those contexts are continued."""
        symbols = self._symbols()
        able = [bool(len(ledger.bits)) and float(ledger.bits.max()) <= math.log2(symbols) for ledger in ledgers]
        contexts = {given: 0 for (given, _), can in zip(pairs, able, strict=True) if can}
        for (given, text), can in zip(pairs, able, strict=True):
            if can:
                contexts[given] = max(contexts[given], len(text.encode()))
        said = self._continued(contexts)
        return [can and said.get(given, "").startswith(text) for (given, text), can in zip(pairs, able, strict=True)]

    def _symbols(self) -> float:
        """How many symbols the model chooses from; no bound where it does not show them."""
        try:
            return float(max(2, len(self.adapter.next_distribution("")[0])))
        except Unsupported:
            return math.inf

    def _continued(self, contexts: Mapping[str, int]) -> dict[str, str]:
        """What greedy generation says after each context, so many bytes of it. Nothing for a model that does not speak."""
        if type(self.adapter).generate is Adapter.generate:
            return {}
        said, names = dict.fromkeys(contexts, ""), list(contexts)
        for at in range(0, len(names), GREEDY):
            some = names[at : at + GREEDY]
            with single.model_errors(self.card.name):
                for chunk in self.adapter.generate([Request(name, max_bytes=contexts[name], start=self.start) for name in some]):
                    said[some[chunk.row]] += chunk.text
        return said


def _device(wanted: str | None) -> str:
    """lm-eval asks for its first GPU unless told otherwise, whether there is one or not."""
    import torch

    return str(wanted) if wanted and (not str(wanted).startswith("cuda") or torch.cuda.is_available()) else "cpu"


def _pair(context: str, continuation: str) -> tuple[str, str]:
    """As lm-eval parts them: spaces at the end of the context belong to the continuation."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _request(context: str, settings: Mapping[str, Any]) -> Request:
    stops = settings.get("until") or ()
    stops = (stops,) if isinstance(stops, str) else tuple(stops)
    tokens = settings.get("max_gen_toks")
    drawn = bool(settings.get("do_sample")) or float(settings.get("temperature") or 0.0) > 0
    return Request(
        context,
        max_tokens=int(tokens) if tokens else None,
        max_bytes=None if tokens else LONGEST,
        stop=tuple(stop for stop in stops if stop),
        temperature=float(settings.get("temperature") or 1.0) if drawn else 0.0,
        top_k=settings.get("top_k"),
        top_p=settings.get("top_p"),
    )


def main(arguments: Iterable[str] | None = None) -> None:
    """lm-eval's command line, in a process that knows the model type `llmbench`."""
    import sys

    from lm_eval.__main__ import cli_evaluate

    if arguments is not None:
        sys.argv[1:] = list(arguments)
    cli_evaluate()


if __name__ == "__main__":
    main()
