"""Checkpoints of a second, of every kind and every way of writing tokens: networks drawn by
`checkpoints.draw`, tokenizers learnt on a few lines.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from llmbench.adapter import BuildContext, Passage
from llmbench.plan.resolved_model import make_adapter, resolve_model
from support.checkpoints import draw

LINES = (
    (
        "The kettle said nothing. It had said nothing since Tuesday, which was the day the new tap"
        " came."
    ),
    "You might at least hum, said the tap. No, said the kettle; I am waiting for 7 o'clock.",
    (
        "An unbelievable kettle, thought the tap, and dripped; dripping was the tap's way of"
        " thinking aloud."
    ),
)
TEXTS = (
    "The kettle said nothing.",
    (
        "An unbelievable tap, dripping; 7 o'clock! Ünïcödé 😀 and back.\n\nThe new tap came on"
        " Tuesday, the day of the kettle, and hummed aloud."
    ),
    "",
    "k",
    "It had said nothing since Tuesday. " * 4,
)
END = "<|endoftext|>"


def byte_level(size: int = 320, special: tuple[str, ...] = (END,)) -> Tokenizer:
    """Byte-level BPE, as GPT-2 and RoBERTa have."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        LINES,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(special),
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    return tokenizer


def gpt2(
    folder: Path,
    *,
    context: int = 24,
    width: int = 32,
    vocabulary: int | None = None,
    layers: int = 2,
) -> Path:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(), bos_token=END, eos_token=END)
    size = len(tokenizer) if vocabulary is None else vocabulary
    config = GPT2Config(
        vocab_size=size,
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    return _saved(GPT2LMHeadModel(config), tokenizer, folder)


def llama(folder: Path) -> Path:
    """With a SentencePiece-like tokenizer: ▁ for spaces, one before a text, bytes for what has no
    piece; and a BOS that it does not add itself.
    """
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    parts = [
        decoders.Replace("\u2581", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
    tokenizer.decoder = decoders.Sequence(parts)
    special = ["<unk>", "<s>", "</s>"]
    tokenizer.train_from_iterator(
        LINES,
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=[*special, *bytes_], show_progress=False
        ),
    )
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [
        token for token in state["added_tokens"] if token["content"] in special
    ]  # bytes are pieces like others
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    )
    shape = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    config = LlamaConfig(
        vocab_size=len(fast),
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
        **shape,
    )
    return _saved(LlamaForCausalLM(config), fast, folder)


def bert(folder: Path) -> Path:
    """With lower-casing WordPiece, which loses capitals and white space."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = (
        normalizers.BertNormalizer(lowercase=True),
        pre_tokenizers.BertPreTokenizer(),
    )
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        LINES,
        trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False),
    )
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    shape = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
    }
    return _saved(
        BertForMaskedLM(BertConfig(vocab_size=len(fast), max_position_embeddings=24, **shape)),
        fast,
        folder,
    )


def roberta(folder: Path) -> Path:
    """Byte-level, so nothing is lost; its positions are counted from behind the padding's."""
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    tokenizer = byte_level(special=special)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    names = {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
    }
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="<mask>", **names)
    shape = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
    }
    return _saved(
        RobertaForMaskedLM(
            RobertaConfig(vocab_size=len(fast), max_position_embeddings=26, pad_token_id=1, **shape)
        ),
        fast,
        folder,
    )


def t5(folder: Path) -> Path:
    """Relative positions, an end that the tokenizer adds, and a decoder that starts with the
    padding.
    """
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        LINES,
        trainers.UnigramTrainer(
            vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    shape = {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_heads": 4,
        "decoder_start_token_id": 0,
    }
    return _saved(T5ForConditionalGeneration(T5Config(vocab_size=len(fast), **shape)), fast, folder)


def bart(folder: Path) -> Path:
    """The decoder is given two ids: the end, and the BOS that its tokenizer puts before a text."""
    tokenizer = byte_level(special=("<s>", "<pad>", "</s>", "<unk>"))
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )
    heads = {
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
    }
    shape = {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "max_position_embeddings": 40,
        **heads,
    }
    return _saved(
        BartForConditionalGeneration(BartConfig(vocab_size=len(fast), **shape)), fast, folder
    )


MAKERS = {"gpt2": gpt2, "llama": llama, "bert": bert, "roberta": roberta, "t5": t5, "bart": bart}


def _saved(model, tokenizer, folder: Path) -> Path:
    draw(model, 0.3, 0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load(folder: Path, **given):
    """The model of a folder, as a run would have it."""
    return make_adapter(resolve_model(f"hf:{folder}"), BuildContext(**given))


def passages(texts=TEXTS, **given):
    return [Passage(text, id=str(i), **given) for i, text in enumerate(texts)]


def said(model, requests):
    answers = [""] * len(requests)
    for chunk in model.generate(requests):
        answers[chunk.row] += chunk.text
    return answers
