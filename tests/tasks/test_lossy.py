"""Documents that a tokenizer cannot hold are left out as if the text had never had them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from support import honest_tokenizers, small_checkpoints
from support.known import Known, quiet

from llmbench.adapter import Chunk, Passage, Window
from llmbench.data.text import Document, Text
from llmbench.errors import Unsupported
from llmbench.ledger import CODE, END, SPELLING, TOKEN, Ledger
from llmbench.results.signature import Signature
from llmbench.tasks.conditional import Conditional
from llmbench.tasks.last_word import LastWord
from llmbench.tasks.likelihood import Likelihood
from llmbench.tasks.lossy import (
    choose_documents,
    exceeds,
    find_losses,
    run_documents,
    score_rest,
)
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking
from llmbench.tasks.wikitext_lm_eval import WikitextLmEval

ODD = {7: "the\x04 tap", 11: "the cafe\u0301 tap", 19: "the \u2581 tap"}  # one for each tokenizer
HELD_BY_ALL = "the tap, and what it said"


def plain(odd=ODD, count=60):
    """Documents, some of which a tokenizer cannot hold."""
    texts = [odd.get(i, f"the tap and the {i} spoons") for i in range(count)]
    return Text("test", tuple(Document(f"d{i}", text) for i, text in enumerate(texts)))


def without(text, *ids):
    """The same corpus, made by hand without some documents."""
    return Text(text.name, tuple(d for d in text.documents if d.id not in ids))


def ask(task, adapter, lossy="leave-out"):
    """Run a task whose entry in a suite says `lossy`."""
    settings = type(task).Settings(task="asked", lossy=lossy)
    return run_documents(task, settings, adapter, quiet)


def unsigned(rows):
    """Score rows without what says how many documents were left out."""
    found = []
    for row in rows:
        parts = [p for p in Signature.parse(row["signature"]).parts if p.key != "left_out"]
        found.append({**row, "signature": str(Signature(tuple(parts)))})
        found[-1].pop("left_out", None)
    return found


@pytest.mark.parametrize(
    ("name", "id", "why"),
    [
        ("gaps", "d7", "byte 3"),
        ("nfc", "d11", ""),
        ("gemma", "d19", ""),
        ("unigram_bytes", "d19", ""),
    ],
)
def test_the_value_is_that_of_a_corpus_made_without_the_document(name, id, why):
    model, text = honest_tokenizers.adapter(name), plain()
    outcome = ask(Likelihood(text, Window("half")), model)
    assert list(outcome.lossy) == [id]
    assert why in outcome.lossy[id]
    by_hand = Likelihood(without(text, id), Window("half")).run(model, quiet)
    assert unsigned(outcome.scores) == by_hand.scores  # to the last digit
    assert {row["left_out"] for row in outcome.scores} == {1}
    signature = Signature.parse(outcome.scores[0]["signature"]).values()
    assert signature["left_out"] == f"1 of {text.sha256[:16]}"
    assert id not in {row["id"] for row in outcome.samples}


def test_without_the_option_the_whole_text_is_refused():
    with pytest.raises(Unsupported, match="lossy tokenizer: byte 3"):
        ask(Likelihood(plain(), Window("half")), honest_tokenizers.adapter("gaps"), "refuse")


def test_a_model_that_holds_everything_has_the_usual_score_and_signature():
    model, text = honest_tokenizers.adapter("llama3"), plain()
    outcome = ask(Likelihood(text, Window("half")), model)
    assert outcome.lossy == {}
    assert outcome.scores == Likelihood(text, Window("half")).run(model, quiet).scores


def test_too_many_documents_refuse_the_model_and_name_the_first():
    text = plain({i: f"the\x04 tap {i}" for i in range(2, 6)})
    with pytest.raises(
        Unsupported,
        match=r"4 of 60 documents \(\d\.\d % of the bytes\), and at most 5 %.*'d2': byte 3",
    ):
        ask(Likelihood(text, Window("half")), honest_tokenizers.adapter("gaps"))


def test_a_question_whose_candidate_cannot_be_held_is_left_out():
    rows = [Document(f"q{i}", "the tap", f"What {i}? ", ("the tap", "it")) for i in range(60)]
    rows[4] = Document("q4", "the tap", "What 4? ", ("the tap", "it\x04"))
    text, model = Text("test", tuple(rows)), honest_tokenizers.adapter("gaps")
    outcome = ask(MultipleChoice(text, Asking()), model)
    assert list(outcome.lossy) == ["q4"]
    by_hand = MultipleChoice(without(text, "q4"), Asking()).run(model, quiet)
    assert unsigned(outcome.scores) == by_hand.scores


def test_masked_models_keep_all_documents():
    class Masked(Known):
        is_masked = True

        def pseudo_score(self, passages, positions=None, seed=0):
            for p in passages:
                n = len(p.text.encode())
                at = np.arange(n)
                yield Ledger(at, at + 1, np.ones(n), np.full(n, 4, dtype=np.uint8), n, p.id)

    outcome = ask(Likelihood(plain(), Window("half")), Masked())
    assert outcome.lossy is None
    assert len(outcome.samples) == 60


class Priced(Known):
    """Charges each byte by its value, some bytes as spelled; `code`: a text as one."""

    def __init__(self, code=False, infinite=""):
        super().__init__()
        self.code, self.infinite = code, infinite

    def score(self, passages, window=None):
        for p in passages:
            raw = p.text.encode()
            n, at = len(raw), np.arange(len(raw))
            if self.code:
                yield Ledger.build([0], [n], [8.1 * n], [CODE], n, p.id)
                continue
            bits = 0.1 + np.frombuffer(raw, dtype=np.uint8) / 37
            if self.infinite and self.infinite in p.text:
                bits[0] = math.inf
            kind = np.where(at % 5 == 4, SPELLING, TOKEN).astype(np.uint8)
            end = [END] if p.score_eos else []
            yield Ledger.build(
                [*at, *([n] if end else [])],
                [*(at + 1), *([n] if end else [])],
                [*bits, *(0.7 for _ in end)],
                [*kind, *end],
                n,
                p.id,
            )

    def generate(self, requests):
        for row, request in enumerate(requests):
            yield Chunk(row, "spoons." if "1" in request.prompt else "forks", 1, "stop")


def pairs(count=40):
    rows = (Document(f"p{i}", f"{i * i} drops", f"How many in {i} hours?") for i in range(count))
    return Text("test", tuple(rows))


def quiz(count=40):
    rows = []
    for i in range(count):
        choices = ("yes", "no", f"{i} or none") if i % 3 else ("no", "yes")
        rows.append(Document(f"q{i}", choices[i % 2], f"Is {i} odd?", choices))
    return Text("test", tuple(rows))


def truths(count=40):
    rows = (Document(f"t{i}", f"the tap {i}", truth=3.0 + i) for i in range(count))
    return Text("test", tuple(rows))


CASES = {
    "likelihood": (Likelihood, plain, (Window("half"),)),
    "excess": (Likelihood, truths, (Window("half"),)),
    "wikitext": (WikitextLmEval, plain, ()),
    "conditional": (Conditional, pairs, ()),
    "last-word": (LastWord, plain, ()),
    "multiple-choice": (MultipleChoice, quiz, (Asking(),)),
}


@pytest.mark.parametrize("case", CASES)
def test_scores_from_samples_are_those_of_a_corpus_made_by_hand(case):
    cls, make, arguments = CASES[case]
    text = make()
    gone = [text.documents[i].id for i in (0, 7)]
    outcome = ask(cls(text, *arguments), Priced())
    written = [json.loads(json.dumps(row)) for row in outcome.samples]  # as a run stores them
    found = score_rest(cls(text, *arguments), written, gone)
    assert unsigned(found) == cls(without(text, *gone), *arguments).run(Priced(), quiet).scores
    assert {row["left_out"] for row in found} == {2}


def test_infinite_bits_and_a_compressors_code_stay_what_they_are():
    text = plain()
    for model in (Priced(code=True), Priced(infinite="12 spoons")):
        rows = list(ask(Likelihood(text, Window("half")), model).samples)
        stored = json.loads(json.dumps(rows).replace("Infinity", '"inf"'))
        found = score_rest(Likelihood(text, Window("half")), stored, ["d0"])
        by_hand = Likelihood(without(text, "d0"), Window("half")).run(model, quiet)
        assert unsigned(found) == by_hand.scores
    kept = score_rest(Likelihood(text, Window("half")), stored, ["d0", "d12"])
    assert math.isfinite(kept[0]["value"])  # of the only document with infinite bits


@pytest.mark.parametrize(
    ("count", "lost", "expected"), [(20, 1, False), (19, 1, True), (60, 3, False), (60, 4, True)]
)
def test_one_document_of_twenty_may_be_left_out(count, lost, expected):
    text = Text("test", tuple(Document(str(i), "abcd") for i in range(count)))
    assert exceeds(text, [str(i) for i in range(lost)]) is expected


def test_bytes_count_as_well_as_documents():
    rows = [Document(str(i), "abcd") for i in range(99)]
    small = Text("test", (*rows, Document("long", "a" * 20)))  # 20 of 416 bytes
    large = Text("test", (*rows, Document("long", "a" * 21)))  # 21 of 417
    assert not exceeds(small, ["long"])
    assert exceeds(large, ["long"])
    question = Document("q", "yes", "Is it?", ("yes", "no"))
    assert question.size == len("Is it?yesno")


def test_models_are_refused_until_what_all_leave_out_is_little():
    text = Text("test", tuple(Document(str(i), "abcd") for i in range(60)))
    one, two, other = {"0": "?"}, {"1": "?", "2": "?"}, {"3": "?"}
    assert choose_documents(text, {"a": one, "b": two}) == (["0", "1", "2"], [])
    assert choose_documents(text, {"a": one, "b": two, "c": other}) == (["0", "3"], ["b"])
    same = {name: {str(i): "?"} for i, name in enumerate("abcd")}
    assert choose_documents(text, same) == (["0", "1", "2"], ["d"])
    assert choose_documents(text, {"a": two, "b": two}) == (["1", "2"], [])
    assert choose_documents(text, {}) == ([], [])


def test_an_adapter_that_says_nothing_of_losses_holds_everything():
    assert find_losses(Likelihood(plain(), Window("half")), Known()) == {}


@pytest.mark.parametrize("name", ["lower_functions", "letter_functions"])
def test_functions_that_lose_or_refuse_a_text_are_found(name):
    model = honest_tokenizers.adapter(name)
    assert model.find_loss(Passage("THE TAP \u2603"))
    assert model.find_loss(Passage(HELD_BY_ALL)) == ""


def test_a_text_of_one_document_has_its_blocks_as_items_and_is_refused_whole():
    long = Text("test", (Document("whole", "the tap and the spoons. " * 400),))
    model = honest_tokenizers.adapter("gaps")
    outcome = ask(Likelihood(long, Window("half")), model)
    assert outcome.scores == Likelihood(long, Window("half")).run(model, quiet).scores
    odd = Text("test", (Document("whole", "the\x04 tap " * 40),))
    with pytest.raises(Unsupported, match=r"1 of 1 document \(100.0 % of the bytes\)"):
        ask(Likelihood(odd, Window("half")), model)


def test_a_target_that_an_encoder_decoder_cannot_hold_is_left_out(tmp_path):
    model = small_checkpoints.load(small_checkpoints.t5(tmp_path / "t5"))
    rows = [Document(f"p{i}", "the kettle", f"der {i}. Kessel") for i in range(40)]
    rows[3] = Document("p3", "the\n\nkettle", "der Kessel")  # its tokenizer joins white space
    text = Text("test", tuple(rows))
    outcome = ask(Conditional(text), model)
    assert list(outcome.lossy) == ["p3"]
    assert unsigned(outcome.scores) == Conditional(without(text, "p3")).run(model, quiet).scores
