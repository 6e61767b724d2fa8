"""Pretrained checkpoints of every kind: the shared machinery gives what a plain loop over the model
gives, whatever the batch.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import real
from safetensors.torch import load_file, save_file
from support.small_checkpoints import TEXTS, bert, load, passages, said
from support.toys import reference_bits
from transformers import AutoTokenizer, GPT2LMHeadModel, LlamaForCausalLM

from llmbench.adapter import Passage, Request, Window
from llmbench.errors import CellError, LlmbenchError, ModelError, UsageError
from llmbench.inference import scoring
from llmbench.inference.text.lines import encode_lines
from llmbench.ledger import END
from llmbench.models.pretrained import files as pretrained_files
from llmbench.models.pretrained import lm_head, loading
from llmbench.plan import registry

# Causal
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize(("rule", "stride"), [("rolling", None), ("half", 2), (5, 5)])
def test_bits_are_those_of_a_loop_over_single_tokens(models, name, rule, stride):
    model = models[name]
    stride = {None: model.context, 2: model.context // 2}.get(stride, stride)
    for text, ledger in zip(TEXTS, model.score(passages(), Window(rule)), strict=True):
        want = reference_bits(model, text, stride)
        assert np.allclose(ledger.bits, want, rtol=1e-4, atol=1e-4)
        assert ledger.bytes == len(text.encode())


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_body_and_head_apart_give_what_the_whole_gives(models, name):
    model = models[name]
    assert model.has_split_head
    assert model.parts.plain
    ids = model._probe_ids(2)
    with torch.inference_mode():
        assert torch.allclose(model.head(model.hidden(ids)), model.logits(ids), atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_wherever_a_text_is_parted_its_tokens_are_those_of_the_whole(models, name):
    text = "the tap's way, said the kettle"
    (whole,) = models[name].score([Passage(text)])
    cuts = range(1, len(text))
    asked = [Passage(text[at:], context=text[:at]) for at in cuts]
    straddled = 0
    for at, ledger in zip(cuts, models[name].score(asked), strict=True):
        last = whole.bits[whole.end > at]
        assert ledger.total() == pytest.approx(float(last.sum()), rel=1e-4)
        start = int(whole.start[whole.end > at][0])
        assert ledger.context_bytes == at - start
        straddled += ledger.context_bytes > 0
    assert 0 < straddled < len(cuts)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("budget", [1, 30, 4096])
def test_scores_do_not_change_with_batch_size_and_order(models, name, budget):
    model = models[name]
    whole = [ledger.total() for ledger in scoring.score(model, passages(), Window("half"))]
    backwards = list(scoring.score(model, passages()[::-1], Window("half"), budget))[::-1]
    assert [ledger.total() for ledger in backwards] == pytest.approx(whole, rel=1e-5)


def test_scores_do_not_change_with_the_number_of_threads(models):
    before, model = torch.get_num_threads(), models["gpt2"]
    try:
        torch.set_num_threads(1)
        one = sum(ledger.total() for ledger in model.score(passages()))
        torch.set_num_threads(2)
        two = sum(ledger.total() for ledger in model.score(passages()))
    finally:
        torch.set_num_threads(before)
    assert one == pytest.approx(two, rel=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_in_16_bits_are_scored_with_a_log_softmax_in_32(folders, models, dtype):
    halved = load(folders["gpt2"], dtype=dtype)
    assert halved.info.dtype == dtype
    full = sum(ledger.total() for ledger in models["gpt2"].score(passages()))
    ledgers = list(halved.score(passages()))
    assert sum(ledger.total() for ledger in ledgers) == pytest.approx(full, rel=2e-2)
    steps = np.concatenate([ledger.bits for ledger in ledgers])
    assert len(np.unique(steps)) > 0.9 * len(
        steps
    )  # a log-softmax in 16 bits would give a few hundred values
    assert halved.info.fingerprint != models["gpt2"].info.fingerprint


def test_the_start_symbol_is_given_once_and_never_scored(models):
    assert models["llama"].bos_ids == (1,)
    assert models["gpt2"].bos_ids == (0,)
    for name in ("gpt2", "llama"):
        line = encode_lines(models[name], [Passage("The tap")])[0]
        assert line.ids.tolist().count(models[name].bos_ids[0]) == 1
        assert line.first == 1


def test_a_tokenizer_that_adds_bos_itself_does_not_double_it(folders, tmp_path):
    from tokenizers import processors

    folder = tmp_path / "adds-bos"
    folder.mkdir()
    for file in folders["llama"].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.save_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder)("The tap")["input_ids"][0] == 1
    with_bos, without = load(folder), load(folders["llama"])
    assert [a.total() for a in with_bos.score(passages())] == [
        a.total() for a in without.score(passages())
    ]


def test_a_text_that_says_a_special_token_means_its_characters(models):
    tokens = models["gpt2"].encode("<|endoftext|>")
    assert 0 not in tokens.ids
    assert models["gpt2"].decode(tokens.ids.tolist()) == b"<|endoftext|>"
    models["bart"].encode_source("a source")  # through the tokenizer's own call
    assert models["bart"].decode(models["bart"].encode("</s>").ids.tolist()) == b"</s>"


def test_info_is_true(models, folders):
    info = models["llama"].info
    own = LlamaForCausalLM.from_pretrained(folders["llama"])
    assert info.parameters == sum(p.numel() for p in own.parameters())
    assert (info.context, info.family, info.tokenizer, info.dtype) == (
        32,
        "llama",
        "SentencePiece",
        "float32",
    )
    assert info.origin["id"] == info.name  # of a directory not its place on this machine
    assert info.origin["commit"] is None
    assert len(info.origin["weights_sha256"]) == 64
    assert info.origin["trust_remote_code"] is False
    assert not {"bos", "converted_from"} & set(info.origin)


@pytest.mark.parametrize(
    ("facts", "found"),
    [('{"sha256": "5a5a"}', "5a5a"), ('{"sha256": 7}', None), ("[]", None), ("{", None)],
)
def test_a_fetched_checkpoint_names_the_file_that_it_was_converted_from(
    folders, tmp_path, facts, found
):
    folder = shutil.copytree(folders["llama"], tmp_path / "fetched")
    (folder / "fetched.json").write_text(facts)
    assert load(folder).info.origin.get("converted_from") == found


def test_where_a_text_ends_is_charged_when_asked(models):
    model = models["gpt2"]
    ledger = next(iter(model.score([Passage("The tap", score_eos=True)])))
    ids = [0, *model.encode("The tap").ids.tolist()]
    with torch.inference_mode():
        want = -torch.log_softmax(model.logits(torch.tensor([ids]))[0, -1].double(), 0)[
            0
        ].item() / math.log(2)
    assert ledger.total(END) == pytest.approx(want, rel=1e-5)
    assert ledger.total() == pytest.approx(
        next(iter(model.score([Passage("The tap")]))).total(), rel=1e-5
    )


def test_a_source_is_free_and_read(models):
    model = models["gpt2"]
    given, alone = (
        next(iter(model.score([Passage(" hummed aloud", context=g)]))) for g in ("The kettle", "")
    )
    both = next(iter(model.score([Passage("The kettle hummed aloud")]))).total()
    first = next(iter(model.score([Passage("The kettle")]))).total()
    assert first + given.total() == pytest.approx(both, rel=1e-5)
    assert given.total() != pytest.approx(alone.total(), rel=1e-3)


# Body and head
# --------------------------------------------------------------------------------------------------


class Capped(GPT2LMHeadModel):
    """Like Gemma's: the logits bend at 30."""

    def forward(self, *args, **kwargs):
        out = super().forward(*args, **kwargs)
        out.logits = 30 * torch.tanh(out.logits / 30)
        return out


class Tangled(GPT2LMHeadModel):
    """Logits that also depend on what the rows do not hold."""

    def forward(self, input_ids=None, **kwargs):
        out = super().forward(input_ids=input_ids, **kwargs)
        out.logits = out.logits + input_ids[..., None].float()
        return out


@pytest.mark.parametrize(
    ("cls", "want"), [(GPT2LMHeadModel, "plain"), (Capped, "replay"), (Tangled, None)]
)
def test_a_soft_cap_is_found_and_replayed_and_what_cannot_be_split_is_not(folders, cls, want):
    model = cls.from_pretrained(folders["gpt2"]).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(0.01)  # small logits, among which a cap hides
    ids = torch.arange(3, 13)[None]
    parts = lm_head.split(model, ids, use_cache=False)
    assert (parts and ("plain" if parts.plain else "replay")) == want
    if parts:
        with torch.inference_mode():
            assert torch.allclose(
                parts.head(parts.body(ids, use_cache=False)[0]), model(ids).logits[0], atol=1e-5
            )
    assert "forward" not in vars(model.transformer)  # what was replaced for the probe is back


def test_a_model_that_cannot_be_split_is_scored_whole(models, monkeypatch):
    model = models["gpt2"]
    split = [ledger.total() for ledger in model.score(passages())]
    monkeypatch.setattr(model, "parts", None)
    assert not model.has_split_head
    assert [ledger.total() for ledger in model.score(passages())] == pytest.approx(split, rel=1e-5)
    assert said(model, [Request("The", max_tokens=5)])


# What is wrong with a checkpoint
# ---------------------------------------------------------------------------------------


@pytest.fixture
def copy(folders, tmp_path):
    for file in folders["gpt2"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_a_tokenizer_of_another_model_is_refused(copy, tmp_path_factory):
    AutoTokenizer.from_pretrained(bert(tmp_path_factory.mktemp("bert"))).save_pretrained(copy)
    with pytest.raises(
        UsageError,
        match=r"vocabulary and embedding disagree: the tokenizer has \d+ ids, the model 320",
    ):
        load(copy)


def test_a_config_of_another_size_is_refused(copy):
    change(copy / "config.json", vocab_size=500)
    with pytest.raises(
        CellError, match=r"weights have another shape than the config says: .*wte\.weight"
    ):
        load(copy)


def test_weights_that_are_missing_are_not_drawn_at_random(copy):
    change(copy / "config.json", n_layer=3)
    with pytest.raises(
        ModelError, match=r"weights are missing: transformer\.h\.2\..* and \d+ more"
    ):
        load(copy)


def test_a_model_that_is_no_language_model_is_unsupported(copy):
    change(copy / "config.json", model_type="vit", architectures=["ViTModel"])
    with pytest.raises(LlmbenchError):
        load(copy)


def test_an_unknown_type_is_one_clear_line(copy):
    change(copy / "config.json", model_type="nosuch")
    with pytest.raises(ModelError, match="transformers cannot load it: ") as caught:
        load(copy)
    assert "\n" not in str(caught.value)


def test_nan_in_the_weights_is_said(copy):
    tensors = load_file(copy / "model.safetensors")
    save_file(
        {name: t * float("nan") if "ln_f" in name else t for name, t in tensors.items()},
        copy / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ModelError, match="NaN"):
        list(load(copy).score(passages()))


def test_memory_that_does_not_suffice_halves_the_batch(models, monkeypatch):
    model, sizes = models["gpt2"], []
    whole = [ledger.total() for ledger in model.score(passages())]
    hidden = type(model).hidden

    def small(self, ids):
        sizes.append(len(ids))
        if len(ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return hidden(self, ids)

    monkeypatch.setattr(type(model), "hidden", small)
    assert [ledger.total() for ledger in model.score(passages())] == pytest.approx(whole, rel=1e-5)
    assert max(sizes) > 1


def test_a_gpu_is_asked_for_in_one_place(folders, monkeypatch):
    asked = []
    monkeypatch.setattr(GPT2LMHeadModel, "to", lambda self, device: asked.append(device) or self)
    checkpoint = registry.resolve(f"hf:{folders['gpt2']}").checkpoint
    loading.load(pretrained_files.locate(checkpoint.id), "float32", "cuda")
    assert asked == ["cuda"]


def test_loading_is_quiet(folders, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(folders["gpt2"])
    assert capfd.readouterr() == ("", "")


# The real small LLaMA
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stories():
    return load(real("stories260K-hf"))


def test_the_real_llama_needs_the_nats_that_its_source_says(stories):
    text = real("tinystories-sample/tinystories_sample.txt").read_text(encoding="utf-8")
    texts = [story.strip() for story in text.split("<|endoftext|>") if story.strip()]
    ledgers = list(stories.score(passages(texts)))
    tokens = sum(ledger.tokens for ledger in ledgers)
    assert tokens == 1804
    assert sum(ledger.total() for ledger in ledgers) * math.log(2) / tokens == pytest.approx(
        1.26644, abs=5e-6
    )


def test_the_real_llama_says_what_its_source_says(stories):
    want = (
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the"
        " park. One day, she saw a big, red ball."
    )
    assert said(stories, [Request("", max_bytes=len(want))]) == [want]


def test_the_real_llama_says_the_same_alone_and_in_a_batch(stories):
    requests = [
        Request(prompt, max_tokens=60)
        for prompt in (
            "Once upon a time",
            "One day",
            "",
            "Lily and Tom went to the park and",
            "The dog",
        )
    ]
    assert said(stories, requests) == [said(stories, [request])[0] for request in requests]
    sampled = [replace(request, temperature=0.8, seed=i) for i, request in enumerate(requests)]
    assert said(stories, sampled) == [said(stories, [request])[0] for request in sampled]


def test_the_fused_activation_is_gpt2s_own(folders):
    from transformers.activations import NewGELUActivation

    values = torch.linspace(-12, 12, 20_001)
    assert torch.allclose(
        torch.nn.GELU(approximate="tanh")(values), NewGELUActivation()(values), atol=2e-6
    )
    plain = GPT2LMHeadModel.from_pretrained(folders["gpt2"]).eval()
    fused = load(folders["gpt2"])
    assert {type(module).__name__ for module in fused.model.modules()} & {
        "NewGELUActivation",
        "GELU",
    } == {"GELU"}
    ids = torch.arange(3, 20)[None]
    with torch.inference_mode():
        assert torch.allclose(fused.logits(ids), plain(ids).logits, rtol=1e-4, atol=1e-4)
