"""For the tests of a project's own adapters, tasks and metrics.

@conformance(MyModel)                 # one pytest test for each rule of an adapter
def test_my_model(check):
    check()

check_conformance(my_model)           # the same without pytest: AssertionError if a rule fails

model = MockAdapter({"1 + 1 =": "2"})  # a model with fixed answers, for tests of tasks
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import numpy as np

from llmbench import limits
from llmbench.adapter import Adapter, Chunk, ModelInfo, Passage, Request, Window
from llmbench.conformance.check import Check, Subject
from llmbench.conformance.kit import CHECKS, WORDS, Result, find_checks, run, words
from llmbench.errors import UsageError
from llmbench.ledger import END, TOKEN, Ledger
from llmbench.runner import session

__all__ = ["MockAdapter", "check_conformance", "conformance"]

Model = str | Adapter | type[Adapter] | Callable[[], Adapter]


def conformance(
    model: Model,
    *,
    expected_failures: Mapping[str, str] | None = None,
    timeout: float = limits.CHECK_SECONDS,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a test function: pytest runs it once for each check, passed to it as `check`.

    model: an adapter, its class, a function that makes one, or a SPEC as on the command line.
    expected_failures: name of a check -> reason. Such a check must fail; the test fails if it
    passes or is skipped.
    timeout: seconds for one check.
    Raises UsageError if `expected_failures` names an unknown check or gives no reason.
    """
    import pytest

    expected = _check_expected(expected_failures)
    subjects: list[Subject] = []

    def bind(check: Check) -> Callable[[], Result]:
        def call() -> Result:
            if not subjects:
                subjects.append(_subject(model))
            (result,) = run(subjects[0], [check], timeout)
            problem = _find_problem(result, expected)
            if problem:
                pytest.fail(problem, pytrace=False)
            if result.name in expected:
                pytest.xfail(expected[result.name])
            if result.state == "skipped":
                pytest.skip(result.reason)
            return result

        return call

    return pytest.mark.parametrize(
        "check", [pytest.param(bind(check), id=check.name) for check in CHECKS]
    )


def check_conformance(
    model: Model,
    *,
    only: Sequence[str] = (),
    expected_failures: Mapping[str, str] | None = None,
    timeout: float = limits.CHECK_SECONDS,
) -> list[Result]:
    """Run the checks on `model` and return their results; needs no pytest.

    only: names of checks (default: all). The other arguments are those of `conformance`.
    Raises AssertionError if a rule is broken: for each such check the rule, what was sent, what
    came, and the likely cause. Raises UsageError for an unknown check.
    """
    expected = _check_expected(expected_failures)
    checks = find_checks(only) if only else CHECKS
    results = list(run(_subject(model), checks, timeout))
    problems = [problem for result in results if (problem := _find_problem(result, expected))]
    if problems:
        raise AssertionError("\n".join(problems))
    return results


def _check_expected(failures: Mapping[str, str] | None) -> dict[str, str]:
    expected = dict(failures or {})
    find_checks(list(expected))
    if not all(reason.strip() for reason in expected.values()):
        raise UsageError("an expected failure needs a reason", where="conformance")
    return expected


def _find_problem(result: Result, expected: Mapping[str, str]) -> str:
    """What is wrong with a result, in lines; "" if it is as it should be."""
    if result.name not in expected:
        return words(result) if result.bad else ""
    if result.state == "failed":
        return ""
    reason = expected[result.name]
    return f"{result.name} was expected to fail ({reason}) and {WORDS[result.state]}"


def _subject(model: Model) -> Subject:
    """The adapter as a run has it (on its device, in evaluation mode), and how to make another."""
    if isinstance(model, Adapter):
        return Subject(model)

    def make() -> Adapter:
        if isinstance(model, str):
            return session.load_model(model)[1]
        if isinstance(model, type) and issubclass(model, Adapter):  # it may learn from a text
            made: Adapter = model.build({}, session.build_context({}))
        else:
            made = cast(Callable[[], Adapter], model)()
        return made.to("cpu")

    return Subject(make(), make)


class MockAdapter(Adapter):
    """A deterministic model for tests of tasks and metrics. It records what it is asked.

    answers: prompt -> answer, or a function of the prompt. Prompts without one get `default`.
    bits_per_byte: what every byte costs; or text -> what each of its bytes costs (others: 8).
    A token is one character. `passages` and `requests` hold what was asked, in order.
    """

    def __init__(
        self,
        answers: Mapping[str, str] | Callable[[str], str] | None = None,
        *,
        bits_per_byte: float | Mapping[str, float] = 8.0,
        default: str = "",
        name: str = "mock",
    ):
        self.answers, self.bits_per_byte = {} if answers is None else answers, bits_per_byte
        self.default, self.name = default, name
        self.passages: list[Passage] = []
        self.requests: list[Request] = []

    @property
    def info(self) -> ModelInfo:
        """A model of bytes; the fingerprint covers the answers, unless they are a function."""
        facts = repr((self.name, self.answers, self.bits_per_byte, self.default))
        return ModelInfo(
            name=self.name,
            family="mock",
            tokenizer="characters",
            parameters=0,
            context=None,
            dtype=None,
            device="cpu",
            fingerprint=hashlib.sha256(facts.encode()).hexdigest(),
        )

    def score(self, passages: Sequence[Passage], window: Window = Window()) -> Iterator[Ledger]:
        """One charge a byte; with `score_eos` one more for the end of the text."""
        self.passages += passages
        for passage in passages:
            size = len(passage.text.encode())
            ends = int(passage.score_eos)
            at = np.arange(size + ends)
            yield Ledger.build(
                at,
                np.minimum(at + 1, size),
                np.full(size + ends, self._cost(passage.text)),
                [TOKEN] * size + [END] * ends,
                size,
                passage.id,
            )

    def _cost(self, text: str) -> float:
        if isinstance(self.bits_per_byte, Mapping):
            return self.bits_per_byte.get(text, 8.0)
        return self.bits_per_byte

    def generate(self, requests: Sequence[Request]) -> Iterator[Chunk]:
        """The answers, one chunk each, within the limits of the requests."""
        self.requests += requests
        for row, request in enumerate(requests):
            whole = self._answer(request)
            text = _cut(whole, request)
            yield Chunk(row, text, len(text), "stop" if text == whole else "length")

    def _answer(self, request: Request) -> str:
        """The answer up to the first stop string; `forced_text` as it is."""
        if request.forced_text is not None:
            return request.forced_text
        prompt = request.prompt
        text = (
            self.answers.get(prompt, self.default)
            if isinstance(self.answers, Mapping)
            else self.answers(prompt)
        )
        found = [text.index(stop) for stop in request.stop if stop in text]
        return text[: min(found, default=len(text))]


def _cut(text: str, request: Request) -> str:
    """The first `max_tokens` characters, in at most `max_bytes`, on a character's border."""
    if request.max_tokens is not None:
        text = text[: request.max_tokens]
    if request.max_bytes is not None:
        text = text.encode()[: request.max_bytes].decode(errors="ignore")
    return text
