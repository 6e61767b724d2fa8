"""Honest models with odd tokenizers: no check fails for what a tokenizer cannot hold."""

from __future__ import annotations

import pytest
import torch
from support import honest_tokenizers, saboteurs
from support.run_helpers import llmbench

from llmbench.adapter import Passage
from llmbench.conformance.certificates import LEVELS
from llmbench.conformance.check import Subject, can_hold
from llmbench.conformance.kit import CHECKS, certificate, find_checks, run
from llmbench.data.probe_texts import TORTURE
from llmbench.errors import Unsupported
from llmbench.models.tokenizers.byte_offsets import FIRST_SPACE

PROVING = tuple(check.name for check in CHECKS if check.earns or check.bars)
FULL = ("gaps", "words", "word_pieces")  # these are asked to speak as well


@pytest.mark.parametrize("name", honest_tokenizers.NAMES)
def test_an_honest_tokenizer_costs_no_certificate(name):
    def make():
        return honest_tokenizers.adapter(name)

    checks = CHECKS if name in FULL else find_checks(PROVING)
    results = list(run(Subject(make(), make, thorough=False), checks))
    assert not [(result.name, result.sent, result.came) for result in results if result.bad]
    assert {
        level: row["state"] for level, row in certificate(results, "f")["levels"].items()
    } == dict.fromkeys(LEVELS, "earned")


@pytest.mark.parametrize("name", honest_tokenizers.NAMES)
def test_texts_that_a_tokenizer_holds_have_ids_of_their_own(name):
    model = honest_tokenizers.adapter(name)
    texts = [*Subject(model).texts, *TORTURE, "The tap.", "the tap .", "the tap.", "a", " a", "  a"]
    held = [text for text in dict.fromkeys(texts) if can_hold(model, text)]
    assert held
    ids = [tuple(model.encode(text).ids.tolist()) for text in held]
    assert len(set(ids)) == len(ids)
    for text, row in zip(held, ids, strict=True):
        assert model.decode_text(row) == text.encode()


@pytest.mark.parametrize("byte", honest_tokenizers.GAPS)
def test_a_text_with_a_byte_that_has_no_token_is_unsupported_alone(byte):
    model = honest_tokenizers.adapter("gaps")
    for text in (chr(byte), f"the{chr(byte)} tap"):
        with pytest.raises(Unsupported, match="lossy tokenizer"):
            list(model.score([Passage(text)]))
    (ledger,) = model.score([Passage("the tap")])
    assert ledger.total() > 0


@pytest.mark.parametrize("name", ["prefix_space", "unigram_bytes", "unigram_first"])
def test_a_first_space_that_is_not_in_the_ids_is_a_loss(name):
    model = honest_tokenizers.adapter(name)
    assert model.encode(" a").ids.tolist() == model.encode("a").ids.tolist()
    assert model.encode(" a").loss == FIRST_SPACE
    assert model.encode("a").loss == ""


def test_a_leak_blind_to_order_is_seen_by_other_ids_alone():
    model = saboteurs.CountsWhatComes()
    ids = torch.tensor([[256, *b"The tap. It rained on T"]])
    moved, other = ids.clone(), ids.clone()
    moved[:, 12:] = ids[:, 12:].roll(1, 1)
    other[:, 12:] = torch.arange(48, 60)
    with torch.inference_mode():
        rows = [torch.log_softmax(model.logits(line)[0, :12], -1) for line in (ids, moved, other)]
    assert torch.equal(rows[0], rows[1])
    assert float((rows[0] - rows[2]).abs().max()) > 0.01


@pytest.mark.slow
def test_check_of_a_model_with_gaps_says_earned(tmp_path):
    tokenizer = honest_tokenizers.tokenizer_of("gaps")
    honest_tokenizers.model(tokenizer).save_pretrained(tmp_path / "gaps")
    tokenizer.save_pretrained(tmp_path / "gaps")
    done = llmbench("check", f"hf:{tmp_path / 'gaps'}", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines()[-3:]] == [
        [level, "earned"] for level in LEVELS
    ]
    (tmp_path / "text.txt").write_bytes(b"the\x04 tap")
    done = llmbench("score", f"hf:{tmp_path / 'gaps'}", "text.txt", cwd=tmp_path)
    assert done.returncode == 2
    assert "lossy tokenizer: byte 3" in done.stderr
