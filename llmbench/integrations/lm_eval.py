"""Any llmbench model as a model of lm-evaluation-harness, whose hundreds of tasks it can then be
asked (extra `lm-eval`):

    python -m llmbench.integrations.lm_eval --model llmbench --model_args spec=char-ffn --tasks
    arc_easy

is lm-eval's own command line with one model type more. `spec` is a SPEC as everywhere; `train=PATH`
and `valid=PATH` are what it learns from.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from llmbench.adapter import Passage, Window
from llmbench.errors import UsageError
from llmbench.hardware.device import pick_device
from llmbench.inference.text.answer import stream_answers, trim_answer
from llmbench.ledger import Ledger
from llmbench.runner import session
from llmbench.runner.screening import screen
from llmbench.storage import default_cache
from llmbench.tasks.lm_eval.asking import REPEAT, find_greedy, make_passage, make_request, to_nats
from llmbench.tasks.lm_eval.questions import Ask

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ImportError as error:
    raise UsageError("the bridge needs lm-eval", hint="pip install 'llmbench[lm-eval]'") from error

logger = logging.getLogger(__name__)


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

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval calls its cache by."""
        return self.card.name

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """(log p of the continuation after the context, whether greedy generation says it)."""
        passages = self._make_passages("loglikelihood", requests)
        self._warn_of_prompts([passage.context for passage in passages])
        ledgers = self._score(passages)
        greedy = [False] * len(passages)
        if self.adapter.token_model is not None or self.adapter.can_generate:
            with session.model_errors(self.card.name):
                greedy = find_greedy(self.adapter, passages)
        return [(to_nats(ledger), said) for ledger, said in zip(ledgers, greedy, strict=True)]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """log p of each whole text, in rolling windows."""
        passages = self._make_passages("loglikelihood_rolling", requests)
        return [to_nats(ledger) for ledger in self._score(passages)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What the model says after each context, up to a stop string."""
        answers = [""] * len(requests)
        with session.model_errors(self.card.name):
            asked = [
                make_request(
                    Ask("generate_until", *request.args), self.adapter, self.seed * REPEAT + i
                )[0]
                for i, request in enumerate(requests)
            ]  # repeats are drawn anew
            self._warn_of_prompts([request.prompt for request in asked])
            for chunk in stream_answers(self.adapter, asked):
                answers[chunk.row] += chunk.text
        return [trim_answer(text, request) for text, request in zip(answers, asked, strict=True)]

    def _make_passages(self, kind: str, requests: Sequence[Any]) -> list[Passage]:
        return [
            make_passage(Ask(kind, *request.args), self.adapter, str(i))
            for i, request in enumerate(requests)
        ]

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


def main(arguments: Iterable[str] | None = None) -> None:
    """lm-eval's command line, in a process that knows the model type `llmbench`."""
    import sys

    from lm_eval.__main__ import cli_evaluate

    if arguments is not None:
        sys.argv[1:] = list(arguments)
    cli_evaluate()


if __name__ == "__main__":
    main()
