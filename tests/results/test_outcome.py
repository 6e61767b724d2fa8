"""The typed rows of scores, and the record's score that holds them."""

from __future__ import annotations

from typing import NotRequired, get_origin, get_type_hints

from llmbench.metrics.metric import DefinitionRow, ScoreRow
from llmbench.results.record import Score
from llmbench.results.rows import Definition


def test_a_score_row_has_the_keys_of_the_records_score():
    of_the_board = {"model", "task", "rank", "noise"}  # what assembling a record adds
    assert ScoreRow.__annotations__.keys() == Score.model_fields.keys() - of_the_board


def test_the_keys_that_a_score_row_may_lack_have_defaults_in_the_record():
    required = {name for name, field in Score.model_fields.items() if field.is_required()}
    hints = get_type_hints(ScoreRow, include_extras=True)
    always = {name for name, kind in hints.items() if get_origin(kind) is not NotRequired}
    assert required - {"model", "task"} == always - {"low", "high"}


def test_a_definition_row_has_the_keys_of_the_records_definition():
    assert DefinitionRow.__annotations__.keys() == Definition.model_fields.keys()
