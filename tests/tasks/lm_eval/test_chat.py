"""Prompts in a chat template, and settings of generation, are lm-eval's own to the letter."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import yaml
from support import chats, small_checkpoints
from support.known import Known, quiet

pytest.importorskip("lm_eval")
pytest.importorskip("lm_eval.models.huggingface")
from support.lm_eval_tasks import (
    CHOICE,
    NUMBER,
    ask_lm_eval,
    settle,
    write_task,
    write_tasks,
)

from llmbench.adapters.trivial import UniformBytes
from llmbench.errors import Unsupported, UsageError
from llmbench.plan import suite as suites
from llmbench.tasks.lm_eval.generating import find_disobeyed
from llmbench.tasks.lm_eval.task import LmEval

PREFIXED = {**NUMBER, "gen_prefix": "The letter is", "description": "Letters of {{query}}."}
TWO = {  # candidates that are contexts
    **CHOICE,
    "doc_to_text": "{{gold % 2}}",
    "doc_to_target": "{{' ' + said}}",
    "doc_to_choice": "{{[query + ' or', query + ' and']}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
NAMES = ["my_choice", "my_word", "my_number", "my_prefixed", "my_two"]
SMOLLM2 = Path(
    os.environ.get("LLMBENCH_SMOLLM2", "~/.cache/llmbench/fetched/smollm2-b179c9523d0e6a0f")
).expanduser()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    import datasets

    base = tmp_path_factory.mktemp("chats")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(base / "cache"))
        yield write_tasks(base / "tasks", my_prefixed=PREFIXED, my_two=TWO)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / "chatty"
    chats.save(place, context=400)
    return place


def ask(adapter, place, name, shots=None, limit=None, **how):
    (settings,) = settle(place, name, shots, **how)
    text = settings.load_text(limit, 0, fetch=False)
    return LmEval.from_settings(settings, {settings.text: text}, 0).run(adapter, quiet)


def compare(adapter, folder, place, names, shots=None, **how):
    """Compare prompts, likelihoods, answers and values of every question with lm-eval's."""
    gen = {"gen_kwargs": dict(how["gen_kwargs"])} if "gen_kwargs" in how else {}
    theirs = ask_lm_eval(folder, place, names, shots, **{**how, **gen})["samples"]
    for name in names:
        ours = ask(adapter, place, name, shots, **how)
        by_id = {sample["id"]: sample for sample in ours.samples}
        for sample in theirs[name]:
            own = by_id[str(sample["doc_id"])]
            asked = dict.fromkeys(arguments[0] for arguments in sample["arguments"])
            assert own["input"] == "\n".join(asked)
            replies = [reply[0] for reply in sample["resps"]]
            if "bits" in own:
                nats = [-bits * math.log(2) for bits in own["bits"]]
                assert nats == pytest.approx([reply[0] for reply in replies], rel=1e-5, abs=1e-4)
                assert own["statistics"]["accuracy"][0] == sample["acc"]
            elif "perplexity" in sample:
                bits, _ = own["statistics"]["word_perplexity"]
                assert -bits * math.log(2) == pytest.approx(replies[0][0], rel=1e-5)
            else:
                assert own["output"] == replies[0]
    return ours


CHAT = {"apply_chat_template": True}
SYSTEM = {"system_instruction": "You are a tap."}


def test_prompts_and_values_of_a_chat_are_lm_evals_to_the_letter(folder, place):
    names = ["my_choice", "my_number"]
    compare(small_checkpoints.load(folder), folder, place, names, 2, **CHAT, **SYSTEM)


@pytest.mark.slow  # each asks lm-eval's own evaluator
@pytest.mark.parametrize(
    ("shots", "how"),
    [
        (0, CHAT),
        (3, {**CHAT, **SYSTEM}),
        (3, {**CHAT, "fewshot_as_multiturn": False}),
        (2, {"system_instruction": "You are a tap.\n\n"}),
        (0, {**CHAT, "gen_kwargs": {"max_gen_toks": 5, "until": ["a", "e"]}}),
    ],
)
def test_prompts_and_values_are_lm_evals_to_the_letter(folder, place, shots, how):
    compare(small_checkpoints.load(folder), folder, place, NAMES, shots, **how)


@pytest.mark.slow  # likewise
@pytest.mark.parametrize("template", ["no system", "no BOS"])
def test_other_templates_are_written_out_as_lm_eval_does(tmp_path, place, template):
    own = {"no system": chats.NO_SYSTEM, "no BOS": chats.TEMPLATE.removeprefix("{{ bos_token }}")}
    chats.save(tmp_path / "model", own[template], context=400, marker_is_special=False)
    model = small_checkpoints.load(tmp_path / "model")
    compare(model, tmp_path / "model", place, ["my_choice", "my_prefixed"], 1, **CHAT, **SYSTEM)


@pytest.mark.slow  # a real checkpoint
@pytest.mark.skipif(not SMOLLM2.is_dir(), reason="SmolLM2 is not on this machine")
def test_prompts_and_values_of_smollm2_are_lm_evals(place):
    model = small_checkpoints.load(SMOLLM2)
    names = ["my_choice", "my_prefixed"]
    compare(model, SMOLLM2, place, names, 1, **CHAT, **SYSTEM, gen_kwargs={"max_gen_toks": 8})


def sign(outcome):
    (row, *_) = outcome.scores
    return row["signature"]


def test_the_signature_says_how_prompts_and_answers_are_made(folder, place):
    model = small_checkpoints.load(folder)
    plain = sign(ask(model, place, "my_number", limit=1))
    chat = sign(ask(model, place, "my_number", limit=1, **CHAT))
    template = f"prompt=chat;chat_template={model.describe_chat()}"
    assert "multiturn=true" in chat
    assert template in chat
    assert not any(word in plain for word in ("chat", "multiturn", "gen_kwargs", "system"))
    how = {**CHAT, **SYSTEM, "gen_kwargs": {"max_gen_toks": 2}}
    both = sign(ask(model, place, "my_number", limit=1, **how))
    assert "system_instruction='You are a tap.'" in both
    assert 'gen_kwargs={"max_gen_toks": 2}' in both
    scored = sign(ask(model, place, "my_choice", limit=1, gen_kwargs={"max_gen_toks": 2}))
    assert "gen_kwargs" not in scored  # of a task that generates nothing


def test_settings_of_generation_replace_those_of_the_task(place):
    heard = Known()
    ask(heard, place, "my_number", gen_kwargs={"until": "Q", "max_gen_toks": 3})
    assert {(request.stop, request.max_tokens) for request in heard.asked} == {(("Q",), 3)}
    drawn = Known()
    given = {"do_sample": True, "temperature": 0.5, "top_k": 4, "top_p": 0.9}
    ask(drawn, place, "my_number", gen_kwargs=given)
    (one,) = {(r.stop, r.max_tokens, r.temperature, r.top_k, r.top_p) for r in drawn.asked}
    assert one == (("\n", "Q:"), 12, 0.5, 4, 0.9)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"num_beams": 4}, "num_beams=4, which llmbench does not do (it has until, max_gen_toks"),
        ({"repetition_penalty": 1.2}, "repetition_penalty=1.2, which llmbench does not do"),
        ({"max_gen_toks": 0}, "max_gen_toks=0, which is no number of tokens"),
        ({"temperature": -1}, "temperature=-1, which is no temperature"),
        ({"top_p": 1.5}, "top_p=1.5, which is no share"),
        ({"top_k": 0}, "top_k=0, which is no number of tokens"),
        ({"until": [3]}, "until=[3], which is no text to stop at"),
        ({"do_sample": "yes"}, "do_sample='yes', which is neither true nor false"),
        ({"do_sample": True}, "do_sample=True and no temperature above 0"),
        ({"num_beams": 1, "repetition_penalty": 1.0, "max_new_tokens": 4, "until": "x"}, ""),
        ({"do_sample": False, "temperature": 0.7}, ""),  # greedy, as for lm-eval
    ],
)
def test_what_cannot_be_obeyed_is_refused(given, why):
    found = find_disobeyed(given)
    assert found.startswith(why)
    assert bool(found) == bool(why)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"gen_kwargs": {"num_beams": 4}}, "`gen_kwargs` has num_beams=4"),
        ({"fewshot_as_multiturn": False}, "`fewshot_as_multiturn` is of chats"),
        ({"apply_chat_template": "chatml"}, "apply_chat_template"),
    ],
)
def test_an_entry_that_cannot_be_obeyed_is_one_line_with_its_place(place, entry, said):
    found = {"task": "lm-eval", "include_path": "tasks", "tasks": ["my_number"], **entry}
    suite = {"name": "mine", "version": 1, "tasks": [found], "models": ["uniform-bytes"]}
    file = place.parent / "refused.yaml"
    file.write_text(yaml.safe_dump(suite))
    with pytest.raises(UsageError) as caught:
        suites.read(str(file))
    assert said in str(caught.value)
    assert "refused.yaml:" in caught.value.where


def test_a_task_whose_own_settings_cannot_be_obeyed_is_refused(place):
    own = {**NUMBER, "generation_kwargs": {"until": ["\n"], "num_beams": 10}}
    write_task(place, "my_beams", own)
    (settings,) = settle(place, "my_beams")
    with pytest.raises(UsageError, match="my_beams generates with num_beams=10"):
        settings.load_text(None, 0, fetch=False)
    settings = settle(place, "my_beams", gen_kwargs={"num_beams": 1})[0]
    assert settings.load_text(None, 0, fetch=False).documents


def test_a_model_without_a_template_is_not_asked(place, tmp_path):
    with pytest.raises(Unsupported, match="UniformBytes has no chat template"):
        ask(UniformBytes(), place, "my_choice", **CHAT)
    bare = chats.save(tmp_path / "bare", "", context=400)
    with pytest.raises(Unsupported, match="the checkpoint has no chat template"):
        ask(bare, place, "my_choice", **CHAT)


def test_long_chats_are_cut_and_counted_by_their_tokens(tmp_path, place):
    short = chats.save(tmp_path / "short", context=90)
    ours = compare(short, tmp_path / "short", place, ["my_choice"], 2, **CHAT)
    long = chats.save(tmp_path / "long", context=400)
    assert (ours.scores[0]["cut"], ask(long, place, "my_choice", 2, **CHAT).scores[0]["cut"]) == (
        12,
        0,
    )
