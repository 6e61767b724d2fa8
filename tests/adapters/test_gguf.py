"""GGUF files: what the adapter makes of an engine, by a fake one."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from support.fake_engine import FakeEngine

from llmbench.adapter import BuildContext, Passage, Request, Window
from llmbench.adapters.gguf.gguf import GGUF
from llmbench.conformance import kit
from llmbench.conformance.check import Subject
from llmbench.errors import Unavailable, UsageError
from llmbench.inference.token_bits import token_bits
from llmbench.plan import registry

TEXTS = ["The kettle said nothing.", "A tap", "The kettle said nothing at all, since Tuesday. " * 9]


def make(**how):
    return GGUF(__file__, FakeEngine(**how))


def reference(model, line, first):
    """Bits of line[first:], a call for each id."""
    engine, bits = FakeEngine(4096), []
    for at, id in enumerate(line[:-1]):
        (row,) = engine.read([0], [id], [at], [True])
        if at + 1 >= first:
            bits.append(token_bits(torch.tensor(row)[None], np.array([line[at + 1]]))[0])
    return np.array(bits)


def test_bits_of_many_texts_are_those_of_one_id_after_another():
    model = make(context=2048)
    ledgers = list(model.score([Passage(text) for text in TEXTS]))
    for text, ledger in zip(TEXTS, ledgers, strict=True):
        want = reference(model, [*model.bos_ids, *text.encode()], 1)
        np.testing.assert_allclose(ledger.bits, want, rtol=1e-6)


def test_its_origin_is_the_name_and_the_hash_of_the_file_without_a_folder():
    found = make().info.origin
    assert found["id"] == Path(__file__).name
    assert found["weights_sha256"] == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def test_texts_longer_than_the_context_are_scored_window_by_window():
    model = make(context=64)
    (ledger,) = model.score([Passage(TEXTS[2])], Window("half"))
    (plain,) = make(context=2048).score([Passage(TEXTS[2])])
    np.testing.assert_allclose(ledger.bits[:63], plain.bits[:63], rtol=1e-6)
    assert len(ledger.bits) == len(TEXTS[2].encode())


def test_a_context_that_texts_share_is_read_once():
    model = make(context=512)
    context = "Which of these has a spout? " * 4
    answers = [" a kettle", " a cat", " a door", " rain"]
    ledgers = list(model.score([Passage(text, context=context) for text in answers]))
    assert sum(len(call) for call in model.engine.calls) < 1.5 * len(context) + 60
    for text, ledger in zip(answers, ledgers, strict=True):
        line = [*model.bos_ids, *context.encode(), *text.encode()]
        want = reference(model, line, len(line) - len(text))
        np.testing.assert_allclose(ledger.bits, want, rtol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_an_engine_that_rounds_activations_fails_no_check(noise):
    subject = Subject(make(noise=noise), lambda: make(noise=noise))
    results = list(kit.run(subject, kit.CHECKS))
    assert not [result for result in results if result.bad], results
    proof = kit.certificate(results, "f")
    assert proof["levels"]["A1"]["state"] == proof["levels"]["A2"]["state"] == "earned"
    assert (proof["noise"] > 1e-4) == bool(noise)


def test_an_engine_whose_long_passes_are_wrong_is_refused_by_name():
    subject = Subject(make(wrong_from=32))
    (result,) = kit.run(subject, kit.find_checks(["engine-noise"]))
    assert result.state == "failed"
    assert "from 32 tokens at once on" in result.cause


def test_an_answer_goes_on_after_another_text_was_read():
    model = make()
    state, _ = model.prefill(torch.tensor([[256, 65, 66]]))
    model.logits(torch.tensor([[256, 70, 71, 72]]))
    _, got = model.step(state, torch.tensor([67]))
    torch.testing.assert_close(got, model.logits(torch.tensor([[256, 65, 66, 67]]))[:, -1])


def test_prompts_of_different_lengths_are_answered_side_by_side():
    requests = [Request(text, max_bytes=12) for text in ("A", "The kettle", "The tap")]
    alone = ["".join(c.text for c in make().generate([request])) for request in requests]
    model = make(rows=3)
    answers = dict.fromkeys(range(3), "")
    for chunk in model.generate(requests):
        answers[chunk.row] += chunk.text
    assert list(answers.values()) == alone
    assert max(len(call) for call in model.engine.calls[3:]) == 3


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gguf:none.gguf", "there is no such file"),
        ("gguf:model.gguf?context=x", "context must be from 1 to"),
        ("gguf:model.gguf?threads=2", "unknown option 'threads=2'"),
    ],
)
def test_wrong_specs_are_refused_in_one_line(spec, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(UsageError, match=said):
        registry.resolve(spec)


def test_a_spec_is_a_file_and_its_options(tmp_path):
    (tmp_path / "model.Q8_0.gguf").write_bytes(b"GGUF")
    card = registry.resolve(f"gguf:{tmp_path}/model.Q8_0.gguf?context=64&parallel=2")
    assert card.name == "model.Q8_0"
    assert card.arguments == {
        "file": str(tmp_path / "model.Q8_0.gguf"),
        "context": 64,
        "parallel": 2,
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{}", "file"),
        ("{file: a.gguf, layers: 2}", "layers"),
        ("{file: a.gguf, context: 0}", "context"),
        ("{file: a.gguf, parallel: 1000000000}", "parallel"),
    ],
)
def test_wrong_arguments_of_a_card_are_refused_where_they_stand(arguments, said, tmp_path):
    card = tmp_path / "card.yaml"
    card.write_text(f"name: a\nadapter: gguf\narguments: {arguments}\n")
    with pytest.raises(UsageError, match=said) as error:
        registry.resolve(str(card))
    assert error.value.where.startswith(f"{card}:3:")


def test_the_file_of_a_card_is_found_from_the_card(tmp_path):
    card = tmp_path / "card.yaml"
    card.write_text("name: a\nadapter: gguf\narguments: {file: models/a.gguf}\n")
    assert registry.resolve(str(card)).arguments == {"file": str(tmp_path / "models" / "a.gguf")}


def test_a_file_that_is_not_gguf_is_refused_before_it_is_loaded(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"PK\3\4")
    with pytest.raises(UsageError, match="not a GGUF file"):
        GGUF.build({"file": str(tmp_path / "model.gguf")}, BuildContext())


def test_without_the_package_one_line_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "llama_cpp", None)
    monkeypatch.delitem(__import__("sys").modules, "llama_cpp.llama_cpp", raising=False)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(Unavailable, match="llama-cpp-python") as error:
        GGUF.build({"file": str(tmp_path / "model.gguf")}, BuildContext())
    assert "llmbench[gguf]" in error.value.hint


@pytest.mark.parametrize("context", ["", "The same before each: "])
def test_no_more_texts_are_read_at_once_than_there_are_sequences(context):
    model = make(context=4096)  # the engine asserts the rows it is given
    texts = [f"{number}" for number in range(1000, 1200)]
    ledgers = list(model.score([Passage(text, context=context) for text in texts]))
    alone = make(context=4096)
    for text, ledger in list(zip(texts, ledgers, strict=True))[::37]:
        (want,) = alone.score([Passage(text, context=context)])
        np.testing.assert_allclose(ledger.bits, want.bits, rtol=1e-6)
