"""Times on boards are local and say so; what is no time stays as it is."""

from __future__ import annotations

import time

import pytest

from llmbench.leaderboard.provenance import format_time


@pytest.fixture
def in_berlin(monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_time_is_local_and_names_its_zone(in_berlin):
    assert format_time("2026-01-02T23:14:05+00:00") == "2026-01-03 00:14 CET"
    assert format_time("2026-07-02T03:14:05+00:00") == "2026-07-02 05:14 CEST"


@pytest.mark.parametrize(
    "text", ["one day", "", "2026-01-01T00:00:00", "9999-12-31T23:59:59-23:59"]
)
def test_a_text_without_time_or_zone_stays(in_berlin, text):
    assert format_time(text) == text
