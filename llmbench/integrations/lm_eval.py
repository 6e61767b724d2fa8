"""Any llmbench model as a model of lm-evaluation-harness, whose hundreds of tasks it can then be
asked (extra `lm-eval`):

    python -m llmbench.integrations.lm_eval --model llmbench --model_args spec=char-ffn --tasks
    arc_easy

is lm-eval's own command line with one model type more. `spec` is a SPEC as everywhere; `train=PATH`
and `valid=PATH` are what it learns from.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmbench.adapter import Passage, Request, Window
from llmbench.errors import Unsupported, UsageError
from llmbench.hardware.device import pick_device
from llmbench.inference.text.answer import stream_answers, trim_answer
from llmbench.ledger import Ledger
from llmbench.runner import session
from llmbench.runner.screening import screen
from llmbench.storage import default_cache

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
    from lm_eval.models.utils import normalize_gen_kwargs
except ImportError as error:
    raise UsageError("the bridge needs lm-eval", hint="pip install 'llmbench[lm-eval]'") from error

logger = logging.getLogger(__name__)
LONGEST = 256  # tokens of an answer whose length a task does not limit: lm-eval's own default


@register_model("llmbench")
class Bridge(LM):  # type: ignore[misc]  # lm-eval has no types
    """lm-eval's three questions, answered by an adapter. Log-likelihoods are natural logarithms,
    summed over the text alone.
    """

    def __init__(
        self,
        spec: str,
        train: str | None = None,
        valid: str | None = None,
        device: str | None = None,
        seed: int = 0,
        **ignored: Any,
    ):
        """`ignored`: what lm-eval hands to every model (batch_size, max_batch_size): llmbench sizes
        its batches itself.
        """
        super().__init__()
        for name in ignored:
            if name not in ("batch_size", "max_batch_size"):
                raise UsageError(
                    f"unknown model argument {name!r}", hint="spec, train, valid, device, seed"
                )
        given = {name: path for name, path in (("train", train), ("valid", valid)) if path}
        self.card, self.adapter = session.load_model(
            str(spec), given, seed=int(seed), device=pick_device(device or "cpu", fallback=True)
        )
        with session.model_errors(self.card.name):
            screen(self.adapter, self.card.name, cache=default_cache())
        self.seed = int(seed)
        self.start = (
            self.adapter.adds_bos
        )  # lm-eval gives one only where the tokenizer adds it, or nothing else is given

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval calls its cache by."""
        return self.card.name

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """(log p of the continuation after the context, whether greedy generation says it)."""
        pairs = [_pair(*request.args) for request in requests]
        passages = [
            Passage(text, context=given, id=str(i), add_bos=self.start)
            for i, (given, text) in enumerate(pairs)
        ]
        self._warn_of_prompts([passage.context for passage in passages])
        ledgers = self._score(passages)
        greedy = self._greedy(passages, ledgers)
        return [
            (-ledger.total() * math.log(2), said)
            for ledger, said in zip(ledgers, greedy, strict=True)
        ]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """log p of each whole text, in rolling windows."""
        return [
            -ledger.total() * math.log(2)
            for ledger in self._score(
                [Passage(request.args[0], id=str(i)) for i, request in enumerate(requests)]
            )
        ]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What the model says after each context, up to a stop string."""
        answers = [""] * len(requests)
        with session.model_errors(self.card.name):
            asked = [
                _request(request.args[0], request.args[1], self.seed * 1_000_003 + i)
                for i, request in enumerate(requests)
            ]  # repeats are drawn anew
            self._warn_of_prompts([request.prompt for request in asked])
            for chunk in stream_answers(self.adapter, asked):
                answers[chunk.row] += chunk.text
        return [trim_answer(text, request) for text, request in zip(answers, asked, strict=True)]

    def _warn_of_prompts(self, prompts: Iterable[str]) -> None:
        """Say how many prompts are not read as they stand, which no table of lm-eval does."""
        with session.model_errors(self.card.name):
            different = list(dict.fromkeys(prompt for prompt in prompts if prompt))
            losses = list(filter(None, map(self.adapter.find_prompt_loss, different)))
        if losses:
            logger.warning(
                "the tokenizer of %s cannot hold %d of %d prompts, which are read as it reads them;"
                " the first: %s",
                self.card.name,
                len(losses),
                len(different),
                losses[0],
            )

    def _score(self, passages: Sequence[Passage]) -> list[Ledger]:
        with session.model_errors(self.card.name):
            return list(self.adapter.score(passages, Window("rolling")))

    def _greedy(self, passages: Sequence[Passage], ledgers: Sequence[Ledger]) -> list[bool]:
        """A continuation can only be greedy where none of its symbols is below the mean of all
        symbols; those are looked at.
        """
        most = math.log2(self._symbols())
        able = [bool(len(ledger.bits)) and float(ledger.bits.max()) <= most for ledger in ledgers]
        with session.model_errors(self.card.name):
            return [
                can and self._says(passage) for passage, can in zip(passages, able, strict=True)
            ]

    def _says(self, passage: Passage) -> bool:
        """Whether each symbol of the text is the likeliest; of a model whose symbols are not seen,
        whether it says just this text.
        """
        found = likeliest(self.adapter, passage)
        if found is not None:
            return found
        if not self.adapter.can_generate:
            return False
        request = Request(
            passage.context, max_bytes=max(1, len(passage.text.encode())), add_bos=passage.add_bos
        )
        said = "".join(chunk.text for chunk in stream_answers(self.adapter, [request]))
        return trim_answer(said, request) == passage.text

    def _symbols(self) -> float:
        """How many symbols the model chooses from; no bound where it does not show them."""
        try:
            return float(max(2, len(self.adapter.next_distribution("")[0])))
        except Unsupported:
            return math.inf


def likeliest(adapter: Any, passage: Passage) -> bool | None:
    """Whether every symbol of the text is the likeliest, by one plain pass; None where an adapter's
    symbols cannot be seen.
    """
    import torch

    from llmbench.adapters.token import TokenAdapter

    if not isinstance(adapter, TokenAdapter):
        return None
    whole, size = adapter.encode(passage.context + passage.text), len(passage.context.encode())
    split = whole.find_border(size)
    given, text = whole.ids[:split].tolist(), whole.ids[split:].tolist()
    line = [*(adapter.bos_ids if passage.add_bos or not given else ()), *given, *text]
    context = adapter.context or len(line)
    seen = line[max(0, len(line) - 1 - context) : -1]
    if not text or len(text) > len(seen):
        return False
    with torch.inference_mode():
        rows = adapter.logits(torch.tensor([seen], device=adapter.device))[0, -len(text) :].clone()
        if adapter.unknown is not None:
            rows[:, adapter.unknown] = -torch.inf  # it is never said
    return bool(rows.argmax(-1).tolist() == text)


def _pair(context: str, continuation: str) -> tuple[str, str]:
    """As lm-eval parts them: spaces at the end of the context belong to the continuation."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _request(context: str, settings: Mapping[str, Any], seed: int) -> Request:
    """As lm-eval means it: greedy unless sampling is asked for, 256 tokens unless another number
    is.
    """
    meant = normalize_gen_kwargs(dict(settings), default_max_gen_toks=LONGEST)
    return Request(
        context,
        max_tokens=int(meant["max_gen_toks"]),
        stop=tuple(stop for stop in meant["until"] if stop),
        temperature=float(meant["temperature"]) if meant["do_sample"] else 0.0,
        top_k=meant.get("top_k"),
        top_p=meant.get("top_p"),
        seed=seed,
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
