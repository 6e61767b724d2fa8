"""`@conformance` runs the kit in a project's own tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import forks, zoo

from llmbench import TokenAdapter, Tokens, testing
from llmbench.conformance.kit import CHECKS, find_checks
from llmbench.errors import UsageError

ROOT = Path(__file__).parents[2]
NAMES = [check.name for check in CHECKS]

OWN = """\
import sys; sys.path.insert(0, {tests!r})
from support.saboteurs_generation import DeafToStops, Windowed
from llmbench.testing import conformance

@conformance({model}, expected_failures={expected!r})
def test_mine(check):
    check()
"""


def own_tests(tmp_path, model, expected):
    (tmp_path / "test_mine.py").write_text(
        OWN.format(tests=str(ROOT / "tests"), model=model, expected=expected)
    )
    command = ["pytest", "-q", "-p", "no:cacheprovider", "-rsxf", "test_mine.py"]
    return forks.run(command, cwd=tmp_path, env=os.environ, timeout=200)


@pytest.mark.slow
def test_the_kit_runs_in_a_projects_own_tests_and_an_expected_failure_keeps_its_reason(tmp_path):
    done = own_tests(tmp_path, "DeafToStops", {"limits": "it has no ears"})
    assert done.returncode == 0, done.stdout
    assert f"{len(NAMES) - 6} passed, 5 skipped, 1 xfailed" in done.stdout
    assert "it has no ears" in done.stdout


@pytest.mark.slow
def test_a_failure_says_the_rule_what_was_sent_what_came_and_why(tmp_path):
    done = own_tests(tmp_path, "DeafToStops", {})
    assert done.returncode == 1
    assert "limits: length limits and stop strings are respected" in done.stdout
    assert "sent: max_bytes=7" in done.stdout
    assert "likely cause: characters or tokens are counted instead of bytes" in done.stdout


@pytest.mark.slow
def test_an_expected_failure_that_does_not_come_is_one(tmp_path):
    done = own_tests(tmp_path, "Windowed", {"limits": "it has no ears", "pseudo": "it does not"})
    assert done.returncode == 1
    assert "limits was expected to fail (it has no ears) and passed" in done.stdout
    assert "pseudo was expected to fail (it does not) and is skipped" in done.stdout


def test_a_misspelt_check_and_a_failure_without_a_reason_are_errors():
    with pytest.raises(UsageError, match=r"no check 'limit'.*did you mean 'limits'"):
        testing.conformance(zoo.Windowed, expected_failures={"limit": "why"})
    with pytest.raises(UsageError, match="needs a reason"):
        testing.conformance(zoo.Windowed, expected_failures={"limits": " "})
    with pytest.raises(UsageError, match="no check 'til'"):
        find_checks(["til"])


@testing.conformance("uniform-bytes")
def test_a_spec_will_do_for_the_decorator(check):
    check()


class Learns(TokenAdapter):
    """Can only be made by its own `build`, from the text that a run gives it."""

    def __init__(self, said):
        self.said = said

    @classmethod
    def build(cls, arguments, build_context):
        return cls(build_context.require_text("train").documents[0].text)

    def encode(self, text):
        return Tokens.of(list(text.encode()), [bytes([byte]) for byte in text.encode()])

    def decode(self, ids):
        return bytes(ids)

    def logits(self, ids):
        raise NotImplementedError


def test_a_class_is_made_by_its_own_build_as_a_run_makes_it():
    made = testing._subject(Learns).adapter
    assert len(made.said) > 100
