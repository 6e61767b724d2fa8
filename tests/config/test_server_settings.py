"""SPECs and cards of models behind servers: strict, and each with what to do."""

from __future__ import annotations

import pytest

from llmbench.config.server_settings import parse_spec
from llmbench.errors import UsageError
from llmbench.plan import registry

URL = "http://localhost:8000/v1"


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        (f"openai:tiny@{URL}", {"model": "tiny", "url": URL}),
        (f"openai:tiny@{URL}/", {"model": "tiny", "url": URL}),
        ("openai:@cf/a/b@https://h/v1", {"model": "@cf/a/b", "url": "https://h/v1"}),
        (
            f"openai:a/b:c@{URL}?api=chat&concurrency=3&timeout=2.5&stream=false&bos=%0A",
            {
                "model": "a/b:c",
                "url": URL,
                "api": "chat",
                "concurrency": 3,
                "timeout": 2.5,
                "stream": False,
                "bos": "\n",
            },
        ),
        (f"openai:tiny@{URL}?bos=7", {"model": "tiny", "url": URL, "bos": 7}),
    ],
)
def test_a_spec_says_model_server_and_options(spec, want):
    assert parse_spec(spec).to_arguments() == want


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("openai:gpt-4o", "as in openai:MODEL@http://localhost:8000/v1"),
        (f"openai:@{URL}", "needs a model and the address"),
        ("openai:a@http://", "expected http://HOST:PORT/v1"),
        ("openai:a@http://me:word@h/v1", "an address with a password in it would be recorded"),
        ("openai:a@http://h:x/v1", "not an address"),
        (f"openai:a@{URL}#b", "without query, fragment and spaces"),
        (f"openai:a@{URL}?tokeniser=x", "did you mean 'tokenizer'?"),
        (f"openai:a@{URL}?model=x", "unknown option 'model'"),
        (f"openai:a@{URL}?api=", "api: give one value"),
        (f"openai:a@{URL}?api=rpc", "'auto', 'completions' or 'chat'"),
        (f"openai:a@{URL}?concurrency=0", "greater than or equal to 1"),
        (f"openai:a@{URL}?key_env=sk-abc", "key_env"),
    ],
)
def test_a_wrong_spec_is_one_line(spec, said):
    with pytest.raises(UsageError) as error:
        registry.resolve(spec)
    assert said in str(error.value)
    assert "word" not in str(error.value).replace("password", "")


def test_a_spec_becomes_a_card_with_an_absolute_tokenizer(tmp_path, monkeypatch):
    (tmp_path / "tok").mkdir()
    monkeypatch.chdir(tmp_path)
    card = registry.resolve(f"openai:org/tiny@{URL}?tokenizer=tok")
    assert (card.name, card.adapter) == ("org-tiny", "openai")
    assert card.arguments["tokenizer"] == str(tmp_path / "tok")


def test_a_card_is_held_to_the_same_keys_at_their_places(tmp_path):
    card = tmp_path / "served.yaml"
    text = f"name: served\nadapter: openai\narguments:\n  model: tiny\n  url: {URL}\n"
    card.write_text(f"{text}  tokenizer: ./tok\n")
    assert registry.resolve(str(card)).arguments["tokenizer"] == str(tmp_path / "tok")
    for line, said in (
        ("  concurency: 3\n", ":6:3: unknown key 'concurency' (did you mean 'concurrency'?)"),
        ("  timeout: soon\n", ":6:12: timeout: expected a number"),
        ("  served_as: 3\n", ":6:14: served_as: expected a string"),
    ):
        card.write_text(text + line)
        with pytest.raises(UsageError) as error:
            registry.resolve(str(card))
        assert f"served.yaml{said}" in str(error.value)
    card.write_text("name: served\nadapter: openai\narguments: {model: tiny}\n")
    with pytest.raises(UsageError, match="the key 'url' is missing"):
        registry.resolve(str(card))


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("ollama:llama3", "openai:llama3@http://localhost:11434/v1"),
        ("vllm:org/model", "openai:org/model@http://localhost:8000/v1"),
        ("llamacpp:", "openai:MODEL@http://localhost:8080/v1"),
        ("http://h:9/v1", "openai:MODEL@http://h:9/v1"),
    ],
)
def test_other_names_of_servers_say_how_to_write_them(spec, hint):
    with pytest.raises(UsageError) as error:
        registry.resolve(spec)
    assert hint in error.value.hint
