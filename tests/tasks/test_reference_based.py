"""Translation, answers, choices and last words: by models whose every word is known, empty, broken
and too long ones included.
"""

from __future__ import annotations

import json

import pytest
from support.known import Known, quiet, text
from support.run_helpers import folder

from llmbench.adapter import Chunk, Request
from llmbench.data import loading
from llmbench.errors import ModelError, UsageError
from llmbench.inference.text.answer import stream_answers
from llmbench.ledger import END, Ledger
from llmbench.plan.plan import Options, plan
from llmbench.tasks.conditional import Conditional
from llmbench.tasks.last_word import LastWord
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.performance.timeline import listen
from llmbench.tasks.prompts import Asking
from llmbench.tasks.reference_based import SIDE_BY_SIDE, Answer, Translation, generate_texts


def values(outcome):
    return {row["metric"]: row["value"] for row in outcome.scores}


def test_answers_are_matched_without_case_articles_and_punctuation_and_empty_ones_are_counted():
    asked = text(
        ("the hallway", "Where is John?"),
        ("Paris", "Where is Mary?"),
        ("a red box", "What?"),
        ("yes", "Is it?"),
    )
    model = Known(
        {"Where is John?": " Hallway.", "Where is Mary?": "", "What?": "box", "Is it?": "  \n"}
    )
    outcome = Answer(asked, Asking(), ["\n"], 60).run(model, quiet)
    assert values(outcome) == {"exact_match": 0.25, "f1": pytest.approx((1 + 0 + 2 / 3 + 0) / 4)}
    assert {row["empty"] for row in outcome.scores} == {2}
    assert [sample["output"] for sample in outcome.samples] == ["Hallway.", "", "box", ""]
    assert outcome.samples[0]["statistics"]["exact_match"] == [1.0, 1.0]
    assert (model.asked[0].stop, model.asked[0].max_bytes, model.asked[0].temperature) == (
        ("\n",),
        60,
        0.0,
    )


def test_broken_bytes_are_counted_and_crash_nothing():
    outcome = Answer(text(("yes", "Is it?")), Asking(), ["\n"], 60).run(
        Known({"Is it?": "y\N{REPLACEMENT CHARACTER}s"}), quiet
    )
    assert {row["broken"] for row in outcome.scores} == {1}
    assert values(outcome)["exact_match"] == 0


class Misplaces(Known):
    """Says the answer to each request under the row of another."""

    def __init__(self, by):
        super().__init__({}, {})
        self.by = by

    def generate(self, requests):
        for row in range(len(requests)):
            yield Chunk(row + self.by, "yes", 1, "stop")


@pytest.mark.parametrize(("by", "row"), [(-1, -1), (2, 2), (1, 2)])
@pytest.mark.parametrize(
    "consume",
    [
        lambda model, requests: generate_texts(model, requests, quiet),
        listen,
        lambda model, requests: [*stream_answers(model, requests)],
    ],
)
def test_a_chunk_for_no_request_is_a_model_error(consume, by, row):
    requests = [Request("Is it?", max_bytes=9), Request("Was it?", max_bytes=9)]
    with pytest.raises(ModelError) as caught:
        consume(Misplaces(by), requests)
    assert f"Misplaces: `generate` yielded row {row} of 2 requests" in str(caught.value)
    assert "yield the index of the request" in str(caught.value)


def test_rows_are_counted_anew_in_each_call():
    requests = [Request(str(i), max_bytes=10) for i in range(SIDE_BY_SIDE + 2)]
    says = {str(i): f"answer {i}" for i in range(len(requests))}
    assert generate_texts(Known(says), requests, quiet) == [*says.values()]

    class CountsOn(Known):
        def generate(self, requests):
            for chunk in super().generate(requests):
                yield Chunk(int(requests[chunk.row].prompt), "", 1, "stop")

    with pytest.raises(ModelError, match=f"row {SIDE_BY_SIDE} of 2 requests"):
        generate_texts(CountsOn(), requests, quiet)


def test_a_translation_is_scored_as_sacrebleu_scores_it():
    import sacrebleu

    references = ["A dog runs on the beach.", "Two men are cooking.", "A cat."]
    pairs = text(*((references[i % 3], f"Satz {i}") for i in range(9)))
    said = ["A dog runs at the beach.", "Two men cook.", ""] * 3
    model = Known(
        {document.context: answer for document, answer in zip(pairs.documents, said, strict=True)}
    )
    outcome = Translation(pairs, Asking(), ["\n"], 300).run(model, quiet)
    references = [references * 3]
    assert values(outcome) == pytest.approx(
        {
            "bleu": sacrebleu.corpus_bleu(said, references).score,
            "chrf": sacrebleu.corpus_chrf(said, references).score,
            "ter": sacrebleu.corpus_ter(said, references).score,
        }
    )
    for row in outcome.scores:
        assert row["low"] <= row["value"] <= row["high"]
        assert "|tok:" in row["signature"] or "|nc:" in row["signature"]


def test_examples_never_hold_the_question_and_are_the_same_each_time():
    examples = text(*((f"answer {i}", f"question {i}") for i in range(6)), name="train")
    asking = Asking("Q: {given}\nA:", " ", "\n\n", 3, examples, seed=1)
    for document in examples.documents:
        prompt = asking.prompt(document)
        assert prompt.count("Q:") == 4
        assert prompt.endswith(f"Q: {document.context}\nA:")
        assert prompt.count(document.context) == 1
        assert prompt == asking.prompt(document)
    assert len({asking.prompt(document).split("\n\n")[0] for document in examples.documents}) > 1
    signed = asking.sign(examples)
    for between, shots in (("\n\n", 2), ("\n", 3)):
        other = Asking("Q: {given}\nA:", " ", between, shots, examples, seed=1)
        assert signed != other.sign(examples)
    assert Asking(between="\n").sign(examples) == Asking().sign(
        examples
    )  # nothing stands between examples where there are none


QUESTIONS = text(
    ("blue", "Sky?", ("red", "blue")),
    ("a very long answer", "Which?", ("no", "a very long answer")),
    ("same", "Tie?", ("same", "also")),
)


def test_the_choice_is_what_costs_the_fewest_bits_or_the_fewest_a_byte():
    costs = {("Sky?", " blue"): 1.0, ("Which?", " no"): 2.0, ("Which?", " a very long answer"): 1.0}
    outcome = MultipleChoice(QUESTIONS, Asking(join=" ")).run(Known(costs=costs), quiet)
    by = {row["norm"]: row for row in outcome.scores}
    assert by["none"]["value"] == pytest.approx(
        2 / 3
    )  # of the long answer all bits are more than those of "no"
    assert by["byte"]["value"] == pytest.approx(1.0)
    assert by["byte"]["tied"] == 1  # the bytes that were scored divide: 8 bits a byte are a tie
    assert by["none"]["chance"] == pytest.approx(0.5)
    assert by["none"]["tied"] == 1
    assert by["none"]["signature"] != by["byte"]["signature"]
    assert [sample["output"] for sample in outcome.samples] == ["blue", "no", "same"]
    assert [sample["output:byte"] for sample in outcome.samples] == [
        "blue",
        "a very long answer",
        "same",
    ]
    assert outcome.samples[0]["bits"] == [4 * 8.0, 5 * 1.0]


def test_a_candidates_length_decides_nothing_at_equal_bits_a_byte():
    asked = text(
        ("a\nb", "Q?", ("a\nb", "c")), (" a", "Q?", (" a", " b")), ("é", "Q?", ("x", "long", "é"))
    )
    outcome = MultipleChoice(asked, Asking(join=" ")).run(Known(), quiet)
    by = {row["norm"]: row for row in outcome.scores}
    assert (by["byte"]["tied"], by["none"]["tied"]) == (3, 1)
    assert [sample["output:byte"] for sample in outcome.samples] == ["a\nb", " a", "x"]


def test_a_space_that_ends_a_template_goes_over_to_the_candidate():
    costs = {("Sky?", " blue"): 1.0}
    for asking in (Asking("{given}", " "), Asking("{given} ", "")):
        outcome = MultipleChoice(QUESTIONS, asking).run(Known(costs=costs), quiet)
        assert outcome.samples[0]["bits"] == [4 * 8.0, 5 * 1.0]
        assert outcome.samples[0]["input"] == "Sky?"


def test_a_prompt_to_write_after_ends_without_spaces_and_keeps_line_ends():
    asked = text(("Paris", "Where?"))
    for template, prompt in (("Q: {given} ", "Q: Where?"), ("Q: {given}\n ", "Q: Where?\n")):
        model = Known({prompt: " Paris"})
        outcome = Answer(asked, Asking(template), ["."], 60).run(model, quiet)
        assert [request.prompt for request in model.asked] == [prompt]
        assert outcome.samples[0]["input"] == prompt
        assert values(outcome)["exact_match"] == 1.0


@pytest.mark.parametrize("adds", [True, False])
def test_the_start_symbol_is_the_tokenizers_affair_unless_the_suite_says(adds):
    class Noting(Known):
        adds_bos = adds

        def score(self, passages, window=None):
            self.seen = {passage.add_bos for passage in passages}
            return super().score(passages, window)

    for bos, want in (("auto", adds), ("always", True), ("never", False)):
        for task in (MultipleChoice(QUESTIONS, Asking(), bos), LastWord(text(("a b",)), bos)):
            model = Noting()
            outcome = task.run(model, quiet)
            assert model.seen == {want}
            assert {request.add_bos for request in model.asked} <= {want}
            assert f"bos={bos}" in outcome.scores[0]["signature"]


def rows_of(tmp_path, rows, **fields):
    place = tmp_path / "rows.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return loading.load("test", place, fields=fields)


SQUAD = {"context": "Anna lives in Rome.", "question": "Where?"}


def test_a_template_shows_other_fields_of_a_row_and_they_are_signed(tmp_path):
    rows = [{**SQUAD, "text": "Rome"}, {**SQUAD, "context": "Bob.", "text": "Bonn"}]
    asked = rows_of(tmp_path, rows, given="question")
    asking = Asking("Context: {context}\nQ: {given} {{given}}\nA:")
    prompts = [asking.prompt(document) for document in asked.documents]
    assert prompts[0] == "Context: Anna lives in Rome.\nQ: Where? {given}\nA:"
    assert prompts[1].startswith("Context: Bob.")
    other = rows_of(tmp_path, [rows[0], {**rows[1], "context": "Bo."}], given="question")
    assert asked.sha256 == other.sha256
    assert asking.sign(asked) != asking.sign(other)
    assert Asking().sign(asked) == Asking().sign(other)


@pytest.mark.parametrize("name", ["my-field", "Ü", "my field", " given ", "given!r", "0", ""])
def test_any_name_between_braces_is_filled_and_between_double_ones_stays(tmp_path, name):
    asked = rows_of(tmp_path, [{name: "that", "given": "Where?", "text": "Rome"}])
    template = f"{{given}} {{{name}}} {{{{{name}}}}}\n{{ {{given}}\n}}"
    prompt = Asking(template).prompt(asked.documents[0])
    assert prompt == f"Where? that {{{name}}}\n{{ Where?\n}}"


@pytest.mark.parametrize(
    "name",
    ["contxt", "text", "answers", "my-field", "Ü", "my field", " given ", "given!r", "0", ""],
)
def test_a_field_that_no_row_shows_is_refused_with_its_line(tmp_path, name):
    place = folder(tmp_path)
    (place / "rows.jsonl").write_text(json.dumps({**SQUAD, "text": "Rome"}), encoding="utf-8")
    (place / "suite.yaml").write_text(
        "name: s\nversion: 1\ntexts:\n"
        "  test: {source: rows.jsonl, fields: {given: question}}\ntasks:\n"
        f'  - {{task: answer, template: "{{{name}}} {{given}}"}}\nmodels: []\n',
        encoding="utf-8",
    )
    with pytest.raises(UsageError, match=f"no field `{name}` with a string") as caught:
        plan(str(place / "suite.yaml"), Options(out=place / "out"))
    assert "suite.yaml:6:" in str(caught.value.where)
    with pytest.raises(ValueError, match=r"no \{given\}"):
        Answer.Settings(task="answer", template="{{given}}")


def test_an_empty_answer_is_an_answer(tmp_path):
    rows = [
        {"id": "a", "given": "Who?", "text": "Anna"},
        {"id": "b", "given": "When?", "text": ""},
        {"id": "c", "given": "Where?", "text": ""},
        {"id": "d", "given": "Why?", "text": "Because"},
        {"id": "e", "given": "What?", "text": " "},
    ]
    says = {"Who?": "Anna", "When?": "", "Where?": "in 1999", "Why?": "Because", "What?": ""}
    outcome = Answer(rows_of(tmp_path, rows), Asking(), ["\n"], 60).run(Known(says), quiet)
    assert values(outcome)["exact_match"] == 0.8
    assert {row["n"] for row in outcome.scores} == {5}


def test_of_several_references_the_best_counts(tmp_path):
    rows = [
        {**SQUAD, "answers": {"text": ["Rome", "in Rome"], "answer_start": [14, 11]}},
        {**SQUAD, "question": "When?", "answers": {"text": []}},
    ]
    asked = rows_of(tmp_path, rows, given="question", text="answers.text")
    assert [document.references for document in asked.documents] == [("Rome", "in Rome"), ("",)]
    outcome = Answer(asked, Asking(), ["\n"], 60).run(Known({"Where?": "in Rome"}), quiet)
    assert values(outcome) == {"exact_match": 1.0, "f1": 1.0}
    assert "references=best of 2" in outcome.scores[0]["signature"]
    assert outcome.samples[0]["reference"] == "Rome | in Rome"
    one = rows_of(
        tmp_path, [{**SQUAD, "answers": {"text": ["Rome"]}}], given="question", text="answers.text"
    )
    assert one.sha256 != rows_of(tmp_path, rows[:1], given="question", text="answers.text").sha256
    outcome = Answer(one, Asking(), ["\n"], 60).run(Known({"Where?": "in Rome"}), quiet)
    assert values(outcome)["exact_match"] == 0.0
    assert "references" not in outcome.scores[0]["signature"]


def test_several_references_of_a_translation_count_as_for_sacrebleu(tmp_path):
    import sacrebleu

    rows = [
        {"given": f"Satz {i}", "text": ["A dog runs on the beach.", "The dog is running there."]}
        for i in range(8)
    ]
    asked = rows_of(tmp_path, rows)
    said = "The dog runs on the beach."
    model = Known({row["given"]: said for row in rows})
    outcome = Translation(asked, Asking(), ["\n"], 300, ["bleu", "chrf"]).run(model, quiet)
    streams = [[row["text"][i] for row in rows] for i in (0, 1)]
    assert values(outcome) == pytest.approx(
        {
            "bleu": sacrebleu.corpus_bleu([said] * 8, streams).score,
            "chrf": sacrebleu.corpus_chrf([said] * 8, streams).score,
        }
    )


def test_conditional_bits_are_asked_by_a_template_too():
    pairs = text(("the tap", "der Hahn"))
    costs = {("German: der Hahn", "the tap"): 1.0}

    class Ended(Known):
        def score(self, passages, window=None):
            for ledger in super().score(passages, window):
                yield Ledger.build(
                    [*ledger.start, ledger.bytes],
                    [*ledger.end, ledger.bytes],
                    [*ledger.bits, 0.0],
                    [*ledger.kind, END],
                    ledger.bytes,
                    ledger.id,
                )

    for template, want in (("German: {given}", 1.0), ("{given}", 8.0)):
        task = Conditional(pairs, template)
        assert values(task.run(Ended(costs=costs), quiet)) == {"conditional_bits_per_byte": want}
        assert ("template" in str(task.signature)) == (want == 1.0)


def test_an_encoder_decoder_reads_template_and_examples_as_its_source():
    class Reader(Known):
        reads_source = True

    pairs = text(("the tap", "der Hahn"), ("a kettle", "ein Kessel"))
    for shots, want in ((0, ["German: der Hahn", "German: ein Kessel"]), (1, None)):
        asking = Asking("German: {given}", " = ", "\n", shots, pairs if shots else None)
        model = Reader({asking.prompt(document): "x" for document in pairs.documents})
        Translation(pairs, asking, ["\n"], 300).run(model, quiet)
        want = want or [asking.prompt(document) for document in pairs.documents]
        assert [request.prompt for request in model.asked] == want
    assert want[0] == "German: ein Kessel = a kettle\nGerman: der Hahn"


def test_questions_without_candidates_are_refused():
    with pytest.raises(UsageError, match="no candidates"):
        MultipleChoice(text(("a", "b")), Asking())
