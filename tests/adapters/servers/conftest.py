"""A small model of this process, and the same behind a server."""

from __future__ import annotations

import pytest
from support import small_checkpoints

from llmbench.adapter import BuildContext
from llmbench.adapters.servers.adapter import OpenAIServer
from llmbench.adapters.servers.patience import Patience


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a GPT-2 with a context of 64, and the model in float64."""
    folder = small_checkpoints.gpt2(tmp_path_factory.mktemp("served") / "tiny", context=64)
    return folder, small_checkpoints.load(folder, dtype="float64")


@pytest.fixture
def slept():
    """The seconds that clients of this test would have waited."""
    return []


@pytest.fixture
def connect(slept, request, monkeypatch):
    """Connects to a server; what is made is closed at the end."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    made = []

    def build(server, kept=None, **arguments):
        given = {"model": "tiny", "url": server.url, **arguments}
        patience = Patience(sleep=slept.append)
        adapter = OpenAIServer.build(given, BuildContext(kept_answers=kept), patience)
        made.append(adapter)
        return adapter

    yield build
    for adapter in made:
        adapter.close()
