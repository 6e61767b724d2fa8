"""A command that must train a model first says so, and how long that takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmbench.plan.resolved_model import resolve_model
from llmbench.runner import session


@pytest.fixture
def context(tmp_path):
    found = session.build_context({}, seed=77)  # nobody ships a network of this seed
    return replace(found, cache=tmp_path)


def test_a_model_that_is_not_trained_says_so_with_steps_and_seconds(context, capsys):
    session._announce_training(resolve_model("lstm"), context)
    assert capsys.readouterr().err == (
        "llmbench: lstm is not trained yet: it is trained now (700 steps, about 74 s on two cores)"
        " and kept for the next time\n"
    )


def test_a_model_that_is_not_trained_here_says_nothing(context, capsys):
    session._announce_training(resolve_model("byte-ngram"), context)
    assert capsys.readouterr().err == ""


def test_a_trained_model_says_nothing(context, capsys):
    lstm = resolve_model("lstm")
    lstm.place_trained(context).folder.mkdir(parents=True)
    session._announce_training(lstm, context)
    assert capsys.readouterr().err == ""


def test_who_does_not_watch_is_not_told(context, capsys, monkeypatch):
    monkeypatch.setattr(session, "make_adapter", lambda model, stuff: None)
    session.load_with_context("lstm", seed=77)
    assert capsys.readouterr().err == ""
    session.load_with_context("lstm", seed=77, progress=lambda what, share, remark: None)
    assert "lstm is not trained yet" in capsys.readouterr().err
