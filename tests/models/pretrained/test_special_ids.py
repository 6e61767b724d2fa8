"""Which ids begin and end a text: models without BOS, and ids beyond the embedding."""

from __future__ import annotations

import json
import math

import pytest
import torch
from support.checkpoints import draw
from support.run_helpers import llmbench
from support.small_checkpoints import END, byte_level, load
from support.toys import ByteModel
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import llmbench as package
from llmbench import testing
from llmbench.adapter import BuildContext, Passage
from llmbench.conformance.check import Subject
from llmbench.conformance.kit import certificate, run
from llmbench.errors import Unsupported, UsageError
from llmbench.plan.resolved_model import make_adapter, resolve_model

TEXT = "The kettle said nothing."


def write(folder, tokenizer, rows):
    config = GPT2Config(vocab_size=rows, n_positions=64, n_embd=32, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config)  # its bos_token_id is 50256, which has no embedding here
    draw(model, 0.3, 0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A checkpoint as nanoGPT makes them: neither BOS nor EOS."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(special=()))
    return write(tmp_path_factory.mktemp("bare"), tokenizer, len(tokenizer))


def test_a_checkpoint_without_a_start_symbol_says_what_to_do_in_one_line(bare):
    with pytest.raises(Unsupported, match=r"no start symbol.*name a token or an id.*hf:ID\?bos"):
        load(bare)
    done = llmbench("check", f"hf:{bare}", cwd=bare)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("bos", ["\n", "\u010a", 198])
def test_a_card_names_the_start_symbol(bare, tmp_path, bos):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(bare)
    newline = tokenizer.convert_tokens_to_ids("\u010a")
    chosen = newline if bos == 198 else bos
    card = tmp_path / "nano.yaml"
    checkpoint = {"id": str(bare), "bos": chosen}
    card.write_text(
        json.dumps({"name": "nano", "adapter": "huggingface", "checkpoint": checkpoint})
    )
    model = make_adapter(resolve_model(str(card)), BuildContext())
    assert model.bos_ids == (newline,)
    (ledger,) = model.score([Passage(TEXT)])
    theirs = GPT2LMHeadModel.from_pretrained(bare)
    ids = torch.tensor([tokenizer("\n" + TEXT)["input_ids"]])
    nats = theirs(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
    assert ledger.total() == pytest.approx(nats / math.log(2), rel=1e-5)


def test_a_spec_names_the_start_symbol_and_it_is_a_part_of_the_model(bare):
    found = [
        make_adapter(resolve_model(f"hf:{bare}?bos={bos}"), BuildContext()) for bos in ("%0A", "0")
    ]
    assert [model.bos_ids[0] for model in found][1] == 0
    assert found[0].info.fingerprint != found[1].info.fingerprint


@pytest.mark.parametrize(
    ("bos", "said"),
    [("5000", "5000 is not an id of the model, which has"), ("xyzzy", "is 5 tokens, and must be")],
)
def test_a_wrong_start_symbol_is_refused(bare, bos, said):
    with pytest.raises(UsageError, match=said):
        make_adapter(resolve_model(f"hf:{bare}?bos={bos}"), BuildContext())


def test_tokens_added_to_the_tokenizer_alone_are_no_fault(tmp_path):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(), bos_token=END, eos_token=END)
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.add_tokens(["<image>"])
    model = load(write(tmp_path, tokenizer, rows))
    assert not any(result.bad for result in run(Subject(model, thorough=False)))
    held, lost = f"a [PAD] {TEXT}", f"an <image> {TEXT}"
    (ledger,) = model.score([Passage(held)])
    assert ledger.bytes == len(held)
    with pytest.raises(Unsupported, match=f"'<image>' has the id {rows + 1}.*has {rows} ids"):
        list(model.score([Passage(lost)]))


class NoStart(ByteModel):
    bos_ids = ()

    def __init__(self):
        self.net = torch.nn.Embedding(256, 256)

    def logits(self, ids):
        return self.net(ids)


class OutOfRange(NoStart):
    bos_ids = (999,)


@pytest.mark.parametrize(
    ("make", "said"),
    [(NoStart, "`bos_ids` is empty"), (OutOfRange, r"IndexError for.*\[999, 97\]")],
)
def test_a_class_without_a_usable_start_is_told_once(make, said):
    with pytest.raises(UsageError, match=said):
        package.score(make(), text=TEXT)
    results = list(run(Subject(make())))
    assert [result.state for result in results].count("error") == 1
    assert {result.reason for result in results[1:]} == {"as above"}
    assert {row["state"] for row in certificate(results, "f")["levels"].values()} == {"not tested"}
    with pytest.raises(AssertionError, match=said) as raised:
        testing.check_conformance(make)
    assert str(raised.value).count("came:") == 1


def test_wrap_refuses_no_and_wrong_start_ids(bare):
    model = GPT2LMHeadModel.from_pretrained(bare)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(bare)
    with pytest.raises(Unsupported, match="no start symbol"):
        package.wrap(model, tokenizer)
    with pytest.raises(UsageError, match="999999 is not an id"):
        package.wrap(model, tokenizer, bos_ids=[999999])
    assert package.wrap(model, tokenizer, bos_ids=[0]).bos_ids == (0,)
