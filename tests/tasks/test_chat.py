"""Tasks that ask through a chat template: the same numbers as by hand, columns of their own."""

from __future__ import annotations

import json
import math

import pytest
import torch
from support import chats, small_checkpoints
from support.fake_servers import FakeServer, Traps

import llmbench
from llmbench import Passage, Request, Unsupported, UsageError
from llmbench.adapter import BuildContext
from llmbench.adapters.servers.adapter import OpenAIServer
from llmbench.results.signature import Signature
from llmbench.tasks.continuation import Continuation
from llmbench.testing import MockAdapter

SUITE = """\
name: talk
version: 1
texts:
  questions: {source: questions.jsonl}
tasks:
  - {task: answer, name: base, text: questions}
  - {task: answer, name: chat, text: questions, chat: true}
  - {task: answer, name: chat-system, text: questions, chat: You are a tap.}
  - {task: multiple-choice, name: choice, text: questions, chat: true}
  - {task: conditional, name: bits, text: questions, chat: true}
  - {task: last-word, name: word, text: questions, chat: Write the next word.}
  - {task: continuation, name: said, text: null, prompts: [The kettle], chat: true}
"""
QUESTIONS = [
    {"given": "What said the kettle?", "text": "nothing", "choices": ["nothing", "a tap"]},
    {"given": "Who dripped?", "text": "the tap", "choices": ["the tap", "the kettle"]},
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with the suite and a checkpoint in `model`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.yaml").write_text(SUITE)
    rows = [json.dumps({**row, "id": f"q{i}", "gold": 0}) for i, row in enumerate(QUESTIONS)]
    (tmp_path / "questions.jsonl").write_text("\n".join(rows))
    return tmp_path


def load(place, **given):
    return chats.save(place / "model", **given)


def nats_of(model, before, answer):
    """Nats of the ids of an answer after ids, by one plain pass."""
    ids = torch.tensor([[*before, *answer]])
    with torch.inference_mode():
        logs = model.model(ids).logits[0].double().log_softmax(-1)
    at = range(len(before) - 1, len(before) + len(answer) - 1)
    return -sum(float(logs[i, ids[0, i + 1]]) for i in at)


def test_base_and_chat_stand_side_by_side_with_signatures_of_their_own(place):
    model = load(place)
    run = llmbench.run("talk.yaml", {"mine": model}, only=["mine"])
    assert run.record.failures == []
    signed = {score.task: Signature.parse(score.signature).values() for score in run.record.scores}
    digest = model.describe_chat()
    assert "prompt" not in signed["base"]
    for task in ("chat", "chat-system", "choice", "bits", "word"):
        assert (signed[task]["prompt"], signed[task]["chat_template"]) == ("chat", digest)
    assert signed["chat-system"]["system"] == "'You are a tap.'"
    samples = {task: run.samples(task, "mine") for task in ("base", "chat", "choice")}
    assert samples["chat"][0].said["output"] != samples["base"][0].said["output"]
    for sample, row in zip(samples["choice"], QUESTIONS, strict=True):
        before = chats.apply_template(place / "model", row["given"])
        costs = [nats_of(model, before, model.encode(c).ids.tolist()) for c in row["choices"]]
        assert sample.said["output"] == row["choices"][costs.index(min(costs))]


def test_continuations_are_asked_as_messages():
    class Chatty(MockAdapter):
        def describe_chat(self):
            return "mine"

    settings = Continuation.Settings(
        task="continuation", text=None, prompts=["The kettle"], chat="Hum."
    )
    model = Chatty(default="a tap")
    Continuation.from_settings(settings, {}, 0).run(model, lambda *said: None)
    assert [(r.prompt, r.chat) for r in model.requests] == [("The kettle", "Hum.")]


def test_an_answer_is_that_of_plain_passes_and_ends_with_its_turn(place):
    model = load(place)
    before = chats.apply_template(place / "model", "The tap", "It hums.")
    whole = chats.say_greedy(model.model, before, {1}, 12)
    model.__dict__["chat_eos_ids"] = (whole[7],)  # as if that ended a turn
    short = whole[: whole.index(whole[7])]
    request = Request("The tap", max_tokens=12, chat="It hums.")
    (answer,) = small_checkpoints.said(model, [request])
    assert answer == model.decode(short).decode(errors="replace")


def test_bits_after_a_message_are_those_of_plain_passes_with_the_end_of_the_turn(place):
    model = load(place)
    passages = [Passage("nothing", "What?", chat=""), Passage("a tap", "Who?", chat="Hum.")]
    passages += [Passage("nothing", "What?", score_eos=True, chat="")]
    for passage, ledger in zip(passages, model.score(passages), strict=True):
        before = chats.apply_template(place / "model", passage.context, passage.chat)
        ids = model.encode(passage.text).ids.tolist()
        ids += model.chat_eos_ids if passage.score_eos else ()
        nats = nats_of(model, before, ids)
        bits = float(ledger.bits.sum())
        assert bits == pytest.approx(nats / math.log(2), rel=1e-5)


def test_another_template_has_another_signature(place):
    first = load(place).sign_prompts("")
    other = load(place, template=chats.TEMPLATE.replace("trim", "upper")).sign_prompts("")
    assert first["chat_template"] != other["chat_template"]
    assert load(place).sign_prompts(None) == {}


def test_a_model_without_a_template_is_unsupported_in_these_tasks_alone(place):
    run = llmbench.run("talk.yaml", {"mine": load(place, template="")}, only=["mine"])
    found = {row.task: (row.reason, row.message) for row in run.record.failures}
    tasks = ("chat", "chat-system", "choice", "bits", "word", "said")
    assert found.keys() == set(tasks)
    assert all(
        reason == "unsupported" and "no chat template" in said for reason, said in found.values()
    )
    assert {score.task for score in run.record.scores} == {"base"}


def test_a_server_is_sent_the_system_message_and_its_template_is_its_own():
    with FakeServer(says=("Hi",), traps=Traps(only_chat=True)) as server:
        settings = {"model": "tiny", "url": server.url, "api": "chat"}
        model = OpenAIServer.build(settings, BuildContext())
        assert model.sign_prompts("") == {"prompt": "chat", "chat_template": "the server's"}
        list(model.generate([Request("Who?", max_tokens=5, chat="You are a tap.")]))
        assert server.asked[-1]["messages"] == [
            {"role": "system", "content": "You are a tap."},
            {"role": "user", "content": "Who?"},
        ]


def test_a_server_of_completions_applies_no_template():
    with FakeServer(says=("Hi",)) as server:
        settings = {"model": "tiny", "url": server.url, "api": "completions"}
        model = OpenAIServer.build(settings, BuildContext())
        with pytest.raises(Unsupported, match="applies no chat template"):
            model.sign_prompts("")


def test_a_last_word_is_asked_for_as_an_answer_to_the_text_before_it(place):
    model = load(place)
    run = llmbench.run("talk.yaml", {"mine": model}, only=["mine"])
    (found,) = [s for s in run.record.scores if (s.task, s.metric) == ("word", "word_perplexity")]
    bits = []
    for sample, row in zip(run.samples("word", "mine"), QUESTIONS, strict=True):
        before = chats.apply_template(place / "model", row["given"], "Write the next word.")
        word = row["text"]  # without the space that a text to be continued has before it
        bits.append(nats_of(model, before, model.encode(word).ids.tolist()) / math.log(2))
        answer = Request(row["given"], max_bytes=len(word) + 4, chat="Write the next word.")
        (said,) = small_checkpoints.said(model, [answer])
        assert sample.said["output"] == said
        assert sample.said["reference"] == word
    assert found.value == pytest.approx(2 ** (sum(bits) / len(bits)), rel=1e-5)


@pytest.mark.parametrize("name", ["choice", "word"])
def test_a_chat_that_leaves_documents_out_is_refused(place, name):
    suite = SUITE.replace(f"name: {name},", f"name: {name}, lossy: leave-out,")
    (place / "talk.yaml").write_text(suite)
    with pytest.raises(UsageError, match="`chat` cannot be combined with `lossy: leave-out`"):
        llmbench.run("talk.yaml", ["uniform-bytes"])
