"""The command that makes a board again."""

from __future__ import annotations

from support.hand_record import record

from llmbench.leaderboard.overview.reproduce import list_commands


def test_the_command_names_what_was_kept_added_and_replaced():
    options = {"only": ["lstm"], "models": ["hf:my model"], "data": ["test"], "limit": 3}
    _, command = list_commands(record(options=options))
    assert " --limit 3 " in command
    assert command.endswith(" --only lstm --model 'hf:my model' --data test=PATH")


def test_records_of_before_say_what_they_know():
    _, command = list_commands(record(options={"limit": None}))
    assert "--only" not in command
    assert "--model" not in command
