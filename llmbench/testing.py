"""For the tests of an adapter: `conformance` gives one test for each rule that every adapter must
hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmbench.adapter import Adapter
from llmbench.conformance.check import Check, Subject
from llmbench.conformance.kit import CHECKS, TIMEOUT, WORDS, Result, named, run, words
from llmbench.errors import UsageError
from llmbench.plan import registry
from llmbench.runner import session

__all__ = ["conformance"]


def conformance(
    model: str | type[Adapter] | Callable[[], Adapter],
    *,
    expected_failures: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: one test for each check of the kit, given to the test function as `check`, which
    it calls.

    `model`: an adapter's class, a function that makes one, or a SPEC as on the command line.
    `expected_failures`: check -> reason; such a check must fail, and it is an error when it passes
    or is skipped. Raises UsageError for a name that there is not.
    """
    import pytest

    expected = dict(expected_failures or {})
    named(list(expected))
    if not all(reason.strip() for reason in expected.values()):
        raise UsageError("an expected failure needs a reason", where="conformance")
    make = _maker(model)
    kept: list[Subject] = []

    def bound(check: Check) -> Callable[[], Result]:
        def call() -> Result:
            if not kept:
                kept.append(Subject(make(), make))
            (result,) = run(kept[0], [check], timeout)
            if check.name in expected:
                if result.state != "failed":
                    pytest.fail(
                        f"{check.name} was expected to fail ({expected[check.name]}) and"
                        f" {WORDS[result.state]}"
                    )
                pytest.xfail(expected[check.name])
            if result.state == "skipped":
                pytest.skip(result.reason)
            if result.bad:
                pytest.fail(words(result), pytrace=False)
            return result

        return call

    return pytest.mark.parametrize(
        "check", [pytest.param(bound(check), id=check.name) for check in CHECKS]
    )


def _maker(model: str | Callable[[], Adapter]) -> Callable[[], Adapter]:
    """What gives the adapter as `run` would have it: on its device, in evaluation mode."""

    def make() -> Adapter:
        return session.load_model(model)[1] if isinstance(model, str) else registry.ready(model())

    return make
