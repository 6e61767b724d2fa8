"""Checkpoints that translate: both sides as the library encodes them, its loss the measure."""

from __future__ import annotations

import math

import pytest
import torch
from support import translators
from support.small_checkpoints import load, said
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import llmbench
from llmbench.adapter import BuildContext, Passage, Request
from llmbench.conformance import check, kit
from llmbench.errors import Unsupported, UsageError
from llmbench.ledger import END
from llmbench.models.pretrained import loading
from llmbench.plan import registry
from llmbench.plan.resolved_model import make_adapter, resolve_model

PAIRS = (
    ("der Kessel sagte nichts", "the kettle said nothing"),
    ("niemand kam", "the new tap came, and the kettle said so"),
)
LANGUAGES = {
    "nllb": ("deu_Latn", "eng_Latn"),
    "m2m100": ("de", "en"),
    "mbart": ("de_DE", "en_XX"),
    "marian": (None, None),
}


def code_of(tokenizer, name):
    """The id of the target's language; None of a checkpoint that has one."""
    target = LANGUAGES[name][1]
    token = f"__{target}__" if name == "m2m100" else target
    return None if target is None else tokenizer.convert_tokens_to_ids(token)


def options(name):
    source, target = LANGUAGES[name]
    return f"?source_lang={source}&target_lang={target}" if source else ""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The folder of each kind, made when it is asked for."""
    root, made = tmp_path_factory.mktemp("translators"), {}

    def place(name):
        if name in ("m2m100", "marian"):
            pytest.importorskip("sentencepiece")
        if name not in made:
            made[name] = getattr(translators, name)(root / name)
        return made[name]

    return place


def library_nats(folder, name, source, target):
    """Nats of the target and its end by transformers alone: its tokenizer, its loss."""
    source_lang, target_lang = LANGUAGES[name]
    given = {"src_lang": source_lang, "tgt_lang": target_lang} if source_lang else {}
    tokenizer = AutoTokenizer.from_pretrained(folder, **given)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    batch = tokenizer(source, text_target=target, return_tensors="pt")
    with torch.inference_mode():
        out = model(**batch)
        assert out.loss.item() > 0
        each = torch.nn.functional.cross_entropy(
            out.logits[0].double(), batch["labels"][0], reduction="none"
        )
    assert each.mean().item() == pytest.approx(out.loss.item(), rel=1e-5)
    # a language in the labels is what the decoder is told, not what it has to say
    code = code_of(tokenizer, name)
    assert code is None or batch["labels"][0].tolist().count(code) == 1
    return sum(n for n, id in zip(each.tolist(), batch["labels"][0], strict=True) if id != code)


@pytest.mark.parametrize("name", list(LANGUAGES))
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_bits_of_a_target_are_the_librarys_own_loss(places, name, source, target):
    model = load(f"{places(name)}{options(name)}")
    (ledger,) = model.score([Passage(target, context=source, score_eos=True)])
    want = library_nats(places(name), name, source, target) / math.log(2)
    assert ledger.total() + ledger.total(END) == pytest.approx(want, rel=1e-5)
    assert model.reference_bits(source, target) == pytest.approx(want, rel=1e-5)
    assert model.decode(model.encode(target).ids.tolist()).removeprefix(b" ") == target.encode()


@pytest.mark.parametrize("name", list(LANGUAGES))
def test_an_answer_is_what_the_librarys_generate_says(places, name):
    source_lang, target_lang = LANGUAGES[name]
    folder, source = places(name), PAIRS[0][0]
    given = {"src_lang": source_lang, "tgt_lang": target_lang} if source_lang else {}
    tokenizer = AutoTokenizer.from_pretrained(folder, **given)
    library = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    code = code_of(tokenizer, name)
    asked = {"max_new_tokens": 8, "num_beams": 1, "do_sample": False}
    if name == "mbart":
        asked["decoder_start_token_id"] = code
    elif code is not None:
        asked |= {"forced_bos_token_id": code, "max_new_tokens": 9}
    ids = library.generate(**tokenizer(source, return_tensors="pt"), **asked)[0].tolist()
    model = load(f"{folder}{options(name)}")
    assert ids[: len(model.bos_ids)] == list(model.bos_ids)
    assert code in (None, model.bos_ids[-1])  # what generation is forced to begin with
    first = ids[len(model.bos_ids) :]
    want = model.decode(first).decode(errors="replace")
    got = said(model, [Request(source, max_tokens=len(first))])[0]
    assert got == want.removeprefix(model.opens.decode())


@pytest.mark.parametrize("name", list(LANGUAGES))
def test_a_source_is_encoded_as_the_library_does(places, name):
    source_lang, _ = LANGUAGES[name]
    given = {"src_lang": source_lang} if source_lang else {}
    tokenizer = AutoTokenizer.from_pretrained(places(name), **given)
    model = load(f"{places(name)}{options(name)}")
    for source, _ in PAIRS:
        assert model.encode_source(source) == tokenizer(source)["input_ids"]


@pytest.mark.parametrize("name", ["t5", "bart", *LANGUAGES])
def test_special_tokens_in_a_source_are_characters(places, folders, name):
    place = folders[name] if name in folders else places(name)
    model = load(f"{place}{options(name) if name in LANGUAGES else ''}")
    specials = set(model.loaded.tokenizer.all_special_ids) - {model.loaded.tokenizer.unk_token_id}
    plain = [id for id in model.encode_source("the tap") if id in specials]
    words = list(map(str, model.loaded.tokenizer.all_special_tokens))[:8]
    for word in (*words, "".join(words), ">>en<< the"):
        ids = model.encode_source(f"{word} the tap")
        assert [id for id in ids if id in specials] == plain


@pytest.mark.parametrize("name", ["nllb", "m2m100", "mbart"])
def test_a_checkpoint_of_many_languages_asks_for_them(places, name):
    folder = places(name)
    source, target = LANGUAGES[name]
    for spec in ("", f"?target_lang={target}", f"?source_lang={source}"):
        with pytest.raises(UsageError, match=r"`(source|target)_lang` is not given"):
            load(f"{folder}{spec}")
    with pytest.raises(UsageError, match="knows no language 'deu'") as caught:
        load(f"{folder}?source_lang=deu&target_lang={target}")
    assert source in caught.value.hint or "it knows" in caught.value.hint


def test_the_languages_are_part_of_the_model(places):
    folder = places("nllb")
    names = [f"{folder}?source_lang=deu_Latn&target_lang={t}" for t in ("eng_Latn", "fra_Latn")]
    first, other = (load(name) for name in names)
    assert first.bos_ids != other.bos_ids
    assert first.info.fingerprint != other.info.fingerprint
    cards = [registry.resolve(f"hf:{name}").name for name in names]
    assert cards == [f"{folder.name}-deu_Latn-eng_Latn", f"{folder.name}-deu_Latn-fra_Latn"]


def test_a_wrong_option_of_a_checkpoint_is_named():
    with pytest.raises(UsageError, match="unknown option 'target_language'"):
        registry.resolve("hf:some/model?target_language=x")


def test_a_card_names_languages_too(places, tmp_path):
    card = tmp_path / "card.yaml"
    languages = "source_lang: deu_Latn, target_lang: eng_Latn"
    card.write_text(
        f"name: mine\nadapter: huggingface\ncheckpoint: {{id: {places('nllb')}, {languages}}}\n",
        encoding="utf-8",
    )
    model = make_adapter(resolve_model(str(card)), BuildContext())
    assert model.bos_ids == load(f"{places('nllb')}{options('nllb')}").bos_ids


def test_only_an_encoder_decoder_has_languages(folders):
    with pytest.raises(UsageError, match="a causal checkpoint has no languages"):
        load(f"{folders['gpt2']}?target_lang=en")
    with pytest.raises(UsageError, match="tokenizer knows no languages"):
        load(f"{folders['t5']}?target_lang=en")


def test_a_marian_model_of_many_languages_is_told_one(tmp_path):
    pytest.importorskip("sentencepiece")
    folder = translators.marian(tmp_path / "many", (">>eng<<", ">>fra<<"))
    with pytest.raises(UsageError, match="`target_lang` is not given: it knows eng, fra"):
        load(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = load(f"{folder}?target_lang=fra")
    want = tokenizer(">>fra<< der Kessel")["input_ids"]
    assert model.encode_source(" der Kessel") == want


def test_a_wrapped_model_takes_the_languages_of_its_tokenizer(places):
    folder = places("nllb")
    library = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, src_lang="deu_Latn")
    with pytest.raises(UsageError, match="`target_lang` is not given"):
        llmbench.wrap(library, tokenizer)
    tokenizer.tgt_lang = "eng_Latn"
    asked = [Passage(PAIRS[0][1], context=PAIRS[0][0], score_eos=True)]
    (wrapped,) = llmbench.wrap(library, tokenizer).score(asked)
    (loaded,) = load(f"{folder}{options('nllb')}").score(asked)
    assert wrapped.total() == pytest.approx(loaded.total(), rel=1e-9)


@pytest.mark.parametrize("name", list(LANGUAGES))
@pytest.mark.parametrize("target", [" ", "\n", " the kettle"])
def test_white_space_that_a_target_loses_is_refused(places, name, target):
    model = load(f"{places(name)}{options(name)}")
    with pytest.raises(Unsupported, match="lossy tokenizer"):
        list(model.score([Passage(target, context="der Kessel", score_eos=True)]))


@pytest.mark.slow
def test_a_marian_model_fails_no_check(places):
    folder = places("marian")
    results = list(kit.run(check.Subject(load(folder), lambda: load(folder))))
    assert not [(result.name, result.sent, result.came) for result in results if result.bad]
    passed = {result.name for result in results if result.state == "passed"}
    assert passed >= {"target-encoding", "own-loss", "source-text"}


def test_a_target_in_the_sources_pieces_is_found_by_the_check(places):
    model = load(places("marian"))
    model.text.is_target = False
    results = kit.run(check.Subject(model), kit.find_checks(["own-loss"]))
    assert [result.state for result in results] == ["failed"]


def test_a_long_source_keeps_its_end_symbols(places):
    model = load(f"{places('mbart')}{options('mbart')}")
    writer = model.token_model
    ids = writer.encode("der Kessel " * 60).ids.tolist()
    assert len(ids) == model.source_context
    assert ids[-2:] == model.encode_source("a")[-2:]


def test_a_missing_package_of_a_tokenizer_is_named():
    said = loading._said(
        ImportError("\nMarianTokenizer requires the SentencePiece library but it was not found"),
        "m",
    )
    assert "needs the package sentencepiece" in said.what
    assert said.hint == "pip install sentencepiece"
