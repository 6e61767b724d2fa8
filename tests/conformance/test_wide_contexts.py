"""Models whose own windows are too large to be tried: their borders are tried in smaller ones."""

from dataclasses import replace

import pytest
import torch
from support import toys

from llmbench.adapter import Window
from llmbench.conformance.check import Subject
from llmbench.conformance.checks.context import NARROW, SLOW
from llmbench.conformance.kit import find_checks, run

WIDE = 1 << 20  # tokens, of 256 symbols


def try_borders(model, **how):
    return run(Subject(model, **how), find_checks(["window-boundaries", "conditioning"]))


def test_borders_of_a_wide_context_are_tried_in_windows_that_are_named():
    borders, conditioning = try_borders(toys.OrderK(3, WIDE))
    for result in (borders, conditioning):
        assert result.state == "passed", result
        assert f"in windows of {NARROW} tokens instead of its {WIDE}" in result.tried
    assert "charges in windows of its own" in borders.tried


@pytest.mark.parametrize("thorough", [True, False])
def test_the_context_of_a_model_is_its_own_again_after_the_check(thorough):
    model = toys.OrderK(3, WIDE)
    try_borders(model, thorough=thorough)
    assert model.context == WIDE


class WrongLater(toys.OrderK):
    """Rows behind the first `right` of a pass are those of another text."""

    right = 64

    def hidden(self, ids):
        rows = super().logits(ids)
        rows[:, self.right :] = rows[:, self.right :].flip(-1)
        return rows

    def head(self, rows):
        return rows


class WrongMuchLater(WrongLater):
    """The same behind the windows that are tried instead of its own."""

    right = 2 * NARROW


@pytest.mark.parametrize("model", [WrongLater, WrongMuchLater])
def test_a_wide_context_hides_no_fault_of_long_rows(model):
    assert torch.equal(
        toys.OrderK.logits(model(3, WIDE), torch.tensor([[256, 65]])),
        model(3, WIDE).hidden(torch.tensor([[256, 65]])),
    )
    borders, _ = try_borders(model(3, WIDE))
    assert borders.state == "failed", borders


class CutsItself(toys.OrderK):
    """What it does with windows is its own affair."""

    def score(self, passages, window=Window()):
        yield from super().score(passages, window)


def test_a_wide_context_of_a_model_with_its_own_windows_is_not_tried():
    borders, _ = try_borders(CutsItself(3, WIDE))
    assert borders.state == "skipped"
    assert "too large to be tried" in borders.reason


class Large(toys.OrderK):
    """An engine that shows no modules, of many parameters."""

    @property
    def info(self):
        return replace(super().info, parameters=100_000_000)


class LargeCutsItself(Large):
    def score(self, passages, window=Window()):
        yield from super().score(passages, window)


@pytest.mark.parametrize(
    ("model", "context", "is_narrow"),
    [
        (Large, SLOW + 1, True),
        (Large, SLOW, False),
        (LargeCutsItself, SLOW + 1, False),
        (toys.OrderK, SLOW + 1, False),
    ],
)
def test_of_a_large_model_narrow_windows_are_tried_if_its_own_take_minutes(
    model, context, is_narrow
):
    borders, _ = try_borders(model(3, context))
    assert borders.state == "passed", borders
    assert (f"in windows of {NARROW} tokens" in borders.tried) is is_narrow


class LargeWrongLater(WrongLater, Large):
    right = 2 * NARROW


def test_narrow_windows_of_a_large_model_hide_no_fault_of_long_rows():
    borders, _ = try_borders(LargeWrongLater(3, SLOW + 1))
    assert borders.state == "failed", borders
