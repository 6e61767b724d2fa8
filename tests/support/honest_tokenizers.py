"""Honest oddities: tokenizers as real models have them, each with a tiny random GPT-2 around it.

None of these models lies, whatever its tokenizer cannot hold, so no check may fail for any of them.
"""

from __future__ import annotations

import json
from functools import lru_cache

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import nn
from transformers import ByT5Tokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import llmbench
from support.checkpoints import draw
from support.small_checkpoints import LINES
from support.zoo import Net

BOS, EOS, UNK = "<s>", "</s>", "<unk>"
SPACE = "\u2581"
GAPS = (0x04, 0x06, 0x13, 0x14, 0x16, 0x1D)  # control bytes without a token in SmolLM2's
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
ALPHABET = pre_tokenizers.ByteLevel.alphabet()
MOVED = {chr(256 + i): i for i in range(33)}  # how byte-level BPE writes 0x00 to 0x20


def byte_level(alphabet=ALPHABET, normalizer=None, unk=None, **options):
    """Byte-level BPE, as GPT-2's."""
    tokenizer = Tokenizer(models.BPE(unk_token=unk))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **options})
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, trainers.BpeTrainer, 330, [UNK] if unk else [], sorted(alphabet))


def gaps():
    """SmolLM2: byte-level BPE, six control bytes without a token"""
    return byte_level([c for c in ALPHABET if MOVED.get(c) not in GAPS])


def gaps_unknown():
    """byte-level BPE with an unknown token for the bytes that have none"""
    return byte_level([c for c in ALPHABET if MOVED.get(c) not in GAPS], unk=UNK)


def ascii_alone():
    """byte-level BPE without a token for any byte outside ASCII"""
    return byte_level([c for c in ALPHABET if c < "\x80" or MOVED.get(c) is not None])


def prefix_space():
    """byte-level BPE that puts a space before every text (as GPT-J's and BLOOM's may)"""
    return byte_level(add_prefix_space=True)


def nfc():
    """Qwen: NFC, then byte-level BPE"""
    return byte_level(normalizer=normalizers.NFC())


def lower_bytes():
    """byte-level BPE after lower-casing"""
    return byte_level(normalizer=normalizers.Lowercase())


def stripped():
    """byte-level BPE after white space at both ends was removed"""
    return byte_level(normalizer=normalizers.Strip())


def llama3():
    """Llama 3: byte-level BPE with a BOS that the tokenizer itself adds"""
    tokenizer = byte_level()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def gemma():
    """Gemma: BPE with \u2581 for a space, none before a text, and tokens for bytes"""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=UNK, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return _trained(tokenizer, trainers.BpeTrainer, 420, [UNK, *BYTES])


def _unigram(normalizer, scheme, fallback):
    tokenizer = Tokenizer(models.Unigram())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = (
        decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
        if fallback
        else decoders.Metaspace(prepend_scheme=scheme)
    )
    special = [BOS, EOS, UNK]
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=special, unk_token=UNK, show_progress=False
    )
    tokenizer.train_from_iterator(LINES, trainer)
    if not fallback:
        return tokenizer
    state = json.loads(tokenizer.to_str())
    state["model"]["vocab"] += [[token, -20.0] for token in BYTES]
    state["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(state))


def unigram():
    """T5, XLNet: Unigram without tokens for bytes, after NFKC and with runs of spaces as one"""
    whole = [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")]
    return _unigram(normalizers.Sequence(whole), "always", fallback=False)


def unigram_bytes():
    """Unigram with tokens for bytes"""
    return _unigram(None, "always", fallback=True)


def unigram_first():
    """Unigram that puts a space before the first word alone"""
    return _unigram(None, "first", fallback=True)


def unigram_bare():
    """Unigram that puts no space before a text"""
    return _unigram(None, "never", fallback=False)


def word_pieces(lowercase=True):
    """BERT: WordPiece that lower-cases and keeps no white space"""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNK))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return _trained(tokenizer, trainers.WordPieceTrainer, 160, [UNK])


def word_pieces_cased():
    """WordPiece that keeps capitals"""
    return word_pieces(lowercase=False)


def gpt1():
    """GPT-1: BPE that marks the ends of words, after lower-casing"""
    tokenizer = Tokenizer(models.BPE(unk_token=UNK, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=200,
        special_tokens=[BOS, EOS, UNK],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer


def words():
    """whole words, and an unknown one"""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return _trained(tokenizer, trainers.WordLevelTrainer, 60, [UNK])


def _characters(letters, unk):
    vocabulary = {BOS: 0, EOS: 1, **({UNK: 2} if unk else {})}
    vocabulary |= {c: i for i, c in enumerate(letters, len(vocabulary))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK if unk else "none"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return tokenizer


def characters():
    """letters and spaces one by one, and an unknown one"""
    return _characters("abcdefghijklmnopqrstuvwxyz .,", unk=True)


def sums():
    """digits and signs alone: a model of arithmetic"""
    return _characters("0123456789+-*= ", unk=True)


def nucleotides():
    """A, C, G and T alone: a model of DNA"""
    return _characters("ACGT", unk=True)


def byt5():
    """ByT5: bytes, by a tokenizer written in Python"""
    return ByT5Tokenizer(extra_ids=0, bos_token="<pad>")


TOKENIZERS = {
    make.__name__: make
    for make in (
        gaps,
        gaps_unknown,
        ascii_alone,
        prefix_space,
        nfc,
        lower_bytes,
        stripped,
        llama3,
        gemma,
        unigram,
        unigram_bytes,
        unigram_first,
        unigram_bare,
        word_pieces,
        word_pieces_cased,
        gpt1,
        words,
        characters,
        sums,
        nucleotides,
        byt5,
    )
}


def _trained(tokenizer, trainer, size, special, alphabet=()):
    tokenizer.train_from_iterator(
        LINES,
        trainer(
            vocab_size=size,
            special_tokens=[BOS, EOS, *special],
            show_progress=False,
            **({"initial_alphabet": list(alphabet)} if alphabet else {}),
        ),
    )
    return tokenizer


@lru_cache
def tokenizer_of(name):
    """The tokenizer of this name, as transformers has it; the same whenever it is asked for."""
    tokenizer = TOKENIZERS[name]()
    if not isinstance(tokenizer, Tokenizer):
        return tokenizer
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] not in BYTES]
    unknown = {"unk_token": UNK} if tokenizer.token_to_id(UNK) is not None else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        bos_token=BOS,
        eos_token=EOS,
        **unknown,
    )


def model(tokenizer, context=24):
    """A tiny random GPT-2 for the tokenizer."""
    size = len(tokenizer)
    config = GPT2Config(
        vocab_size=size,
        n_positions=context,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    made = GPT2LMHeadModel(config)
    draw(made, 0.4, 0)
    return made


class _Network(nn.Module):
    """A module as people wrap them: bytes -> logits."""

    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, ids):
        return self.net(ids)[0]


def _known_letters():
    letters = {c: i for i, c in enumerate(sorted({*" ".join(LINES)}))}
    back = {i: c for c, i in letters.items()}
    return (
        lambda text: [letters[c] for c in text],
        lambda ids: "".join(back[i] for i in ids if i in back),
    )


FUNCTIONS = {  # pairs of functions, as people wrap them
    "lower_functions": (
        lambda text: list(text.lower().encode()),
        lambda ids: bytes(i for i in ids if i < 256),
    ),
    "letter_functions": _known_letters(),
}


def adapter(name):
    """The honest adapter around the tokenizer of this name, made anew."""
    if name in FUNCTIONS:
        return llmbench.wrap(_Network(), FUNCTIONS[name], name=name, context=24, bos_ids=[256])
    tokenizer = tokenizer_of(name)
    return llmbench.wrap(model(tokenizer), tokenizer, name=name)


NAMES = (*TOKENIZERS, *FUNCTIONS)
