"""The bits of candidates, and which is chosen, are those of lm-eval's own model of a checkpoint."""

from __future__ import annotations

import json
import math

import pytest
from conftest import SHARED, real
from support import small_checkpoints
from support.known import quiet, text
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from llmbench.data import loading
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking

instance = pytest.importorskip("lm_eval.api.instance")
huggingface = pytest.importorskip("lm_eval.models.huggingface")

QUESTIONS = text(
    ("the kettle", "Who said nothing?", ("the kettle", "the tap", "Tuesday")),
    ("a tap", "What came on Tuesday?", ("a tap", "an unbelievable kettle", "7 o'clock")),
)
JOINS = (("{given}", " "), ("{given} ", ""), ("{given}\nAnswer:", " "), ("{given}\n", ""))


def with_bos(place):
    """A SentencePiece-like tokenizer that adds its BOS itself, as LLaMA's."""
    folder = small_checkpoints.llama(place)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.save_pretrained(folder)
    return folder


def bits_of(model, questions, template, join):
    """Bits of each candidate by lm-eval, question by question."""
    asked = [
        instance.Instance(
            "loglikelihood", {}, (template.replace("{given}", q.context), join + choice), number
        )
        for q in questions.documents
        for number, choice in enumerate(q.choices)
    ]
    nats = iter(model.loglikelihood(asked, disable_tqdm=True))
    return [[-next(nats)[0] / math.log(2) for _ in q.choices] for q in questions.documents]


@pytest.fixture(scope="module", params=["gpt2", "llama", "llama with BOS"])
def folder(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("choices") / "model"
    if request.param == "llama with BOS":
        return with_bos(place)
    return small_checkpoints.MAKERS[request.param](place)


@pytest.mark.parametrize(("bos", "added"), [("auto", None), ("always", True)])
def test_each_candidate_costs_what_lm_eval_says(folder, bos, added):
    theirs = huggingface.HFLM(
        pretrained=str(folder), dtype="float32", device="cpu", add_bos_token=added
    )
    ours = small_checkpoints.load(folder)
    for template, join in JOINS:
        outcome = MultipleChoice(QUESTIONS, Asking(template, join), bos).run(ours, quiet)
        want = bits_of(theirs, QUESTIONS, template, join)
        for sample, bits in zip(outcome.samples, want, strict=True):
            assert sample["bits"] == pytest.approx(bits, rel=1e-5)


def test_a_real_checkpoint_chooses_as_lm_eval_wherever_the_space_stands():
    cases = SHARED.parent / "cases"
    if not cases.is_dir():
        pytest.skip(f"no cases here: {cases}")
    place = real("stories260K-hf")
    questions = loading.load("test", cases / "space.jsonl")
    ours = small_checkpoints.load(place)
    theirs = huggingface.HFLM(pretrained=str(place), dtype="float32", device="cpu")
    want = bits_of(theirs, questions, "{given} ", "")
    for template, join in (("{given}", " "), ("{given} ", "")):
        outcome = MultipleChoice(questions, Asking(template, join)).run(ours, quiet)
        bits = [sample["bits"] for sample in outcome.samples]
        assert bits == [pytest.approx(row, rel=1e-4) for row in want]
        assert outcome.scores[0]["value"] == pytest.approx(0.8427, abs=5e-5)
    rows = [json.loads(line) for line in (cases / "space.jsonl").read_text().splitlines()]
    right = sum(row.index(min(row)) == q["gold"] for row, q in zip(want, rows, strict=True))
    assert right == 75
