"""Progress is reported before the first ledger is there."""

from __future__ import annotations

import pytest
from support import zoo

from llmbench.adapter import Passage, Window
from llmbench.data.text import Document, Text
from llmbench.inference import scoring
from llmbench.inference.pass_progress import watch_passes
from llmbench.runner.session import _score

TEXT = "The kettle said nothing. " * 200


@pytest.mark.parametrize("make", [zoo.Windowed, zoo.Carried])
def test_shares_of_one_long_document_rise_to_one(make):
    told = []
    with watch_passes(told.append):
        list(scoring.score(make(), [Passage(TEXT)], budget=256))
    assert len(told) > 5
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_nobody_is_told_outside():
    told = []
    with watch_passes(told.append):
        pass
    list(scoring.score(zoo.Windowed(), [Passage(TEXT)]))
    assert not told


def test_score_tells_its_progress():
    told = []
    loaded = Text("text", (Document("text", TEXT),))
    _score("m", zoo.Windowed(), loaded, "text", Window("half"), lambda *row: told.append(row))
    assert len(told) > 2
    assert told[-1] == ("scoring", 1.0, "1 document")
