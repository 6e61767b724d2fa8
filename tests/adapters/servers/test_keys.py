"""The API key goes to the server that was named, and into nothing that is shown or kept."""

from __future__ import annotations

import json

import pytest
from support.fake_servers import FakeServer, Traps
from support.run_helpers import llmbench

from llmbench.adapter import Request
from llmbench.adapters.servers.client import Client, read_key
from llmbench.config.server_settings import ServerSettings
from llmbench.errors import LlmbenchError, ModelError, UsageError

KEY = "sk-0123456789abcdef"
SUITE = """\
name: tiny
version: 1
texts: {test: {source: test.txt}}
tasks: [{task: continuation, prompts: ["The "], max_bytes: 20}]
models: [uniform-bytes]
"""


def settings(url, **given):
    return ServerSettings.model_validate({"model": "tiny", "url": url, **given})


def test_the_key_goes_along_as_a_bearer(connect, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with FakeServer(says=("one",)) as server:
        connect(server, key_env="MY_KEY")
    assert {headers.get("Authorization") for headers in server.headers} == {f"Bearer {KEY}"}


def test_without_a_key_none_is_sent(connect):
    with FakeServer(says=("one",)) as server:
        connect(server)
    assert all("Authorization" not in headers for headers in server.headers)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://localhost:8000/v1", KEY),
        ("https://api.example/v1", KEY),
        ("http://api.example/v1", ""),
    ],
)
def test_the_usual_key_is_not_sent_in_the_clear(monkeypatch, url, sent):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert read_key(settings(url)) == sent


def test_a_named_variable_must_hold_a_key(monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(UsageError, match="NO_KEY holds no API key"):
        read_key(settings("http://localhost/v1", key_env="NO_KEY"))
    monkeypatch.setenv("NO_KEY", f"{KEY}\r\nX: y")
    with pytest.raises(UsageError) as error:
        read_key(settings("http://localhost/v1", key_env="NO_KEY"))
    assert KEY not in str(error.value)


def test_a_redirect_is_not_followed(connect, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with FakeServer(says=("one",)) as elsewhere, FakeServer(says=("one",)) as server:
        adapter = connect(server, key_env="MY_KEY")
        server.traps.redirects = f"{elsewhere.url}/completions"
        with pytest.raises(ModelError, match="no redirect is followed"):
            list(adapter.generate([Request("a", max_tokens=2)]))
    assert elsewhere.headers == []


def test_what_a_server_says_is_shown_without_the_key(connect, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with FakeServer(says=("one",)) as server:
        adapter = connect(server, key_env="MY_KEY")
        server.traps = Traps(echoes_key=True, refuses_options=True)
        adapter.connection.dialect.sends_options = True
        server.traps.busy = ["9999"]
        server.traps.refuses_options = False
        with pytest.raises(LlmbenchError) as error:
            list(adapter.generate([Request("a", max_tokens=2)]))
    assert "slow downBearer [key]" in str(error.value)
    assert KEY not in repr(error.value.args)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_holds_the_key_is_refused(connect, monkeypatch, stream):
    monkeypatch.setenv("MY_KEY", KEY)
    with FakeServer(says=("one",)) as server:
        adapter = connect(server, key_env="MY_KEY", stream=stream)
        server.traps.echoes_key = True
        with pytest.raises(ModelError, match="holds the API key"):
            list(adapter.generate([Request("a", max_tokens=9)]))


def test_an_answer_that_bears_the_key_as_its_name_is_refused(connect, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    traps, said = Traps(answers_as=f"a {KEY}"), "holds the API key"
    fake = FakeServer(says=("one",), traps=traps)
    with fake as server, pytest.raises(ModelError, match=said) as error:
        connect(server, key_env="MY_KEY")
    assert KEY not in str(error.value)


def test_a_key_in_pieces_is_found_in_the_whole_answer(connect, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with FakeServer(says=("one",)) as server:
        adapter = connect(server, key_env="MY_KEY")
        server.says = ("it is ", KEY[:7], KEY[7:])
        with pytest.raises(ModelError, match="holds the API key"):
            list(adapter.generate([Request("a", max_tokens=9)]))


def test_no_file_of_a_run_holds_the_key(tmp_path, monkeypatch):
    """Of one that is answered, and of one in which the server throws the key back."""
    monkeypatch.setenv("MY_KEY", KEY)
    (tmp_path / "tiny.yaml").write_text(SUITE)
    (tmp_path / "test.txt").write_text("The tap.")
    with FakeServer(says=("one",)) as good, FakeServer(says=("one",)) as bad:
        bad.traps = Traps(echoes_key=True, refuses_echo=True)
        for name, server in (("good", good), ("bad", bad)):
            spec = f"openai:tiny@{server.url}?key_env=MY_KEY"
            given = ("--model", spec, "--only", "tiny", "--out", name)
            done = llmbench("run", "tiny.yaml", *given, cwd=tmp_path)
            assert KEY not in done.stdout + done.stderr
            assert done.returncode == (name == "bad"), done.stderr
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file for file in files if KEY.encode() in file.read_bytes()] == []
    record = json.loads((tmp_path / "good" / "run.json").read_text())
    assert record["models"][0]["origin"]["weights"] == "not seen, and not hashed"
    (failure,) = json.loads((tmp_path / "bad" / "run.json").read_text())["failures"]
    assert "holds the API key" in failure["message"]


def test_a_client_shows_no_key_when_it_is_printed(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    client = Client(settings("http://localhost:1/v1", key_env="MY_KEY"))
    assert KEY not in repr(client)
