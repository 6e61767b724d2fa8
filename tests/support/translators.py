"""Tiny translation checkpoints with drawn weights: tokenizers that know languages, or two sides."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartTokenizer,
    NllbTokenizer,
)
from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

from support.checkpoints import draw
from support.small_checkpoints import LINES

GERMAN = (
    "der Wasserhahn sagte nichts, und der Kessel pfiff",
    "an jenem Tag kam der neue Wasserhahn",
    "ein unglaublicher Kessel, dachte der alte Hahn",
    "niemand hatte den Kessel gefragt, was er davon hielt",
)
FIRST = ("<s>", "<pad>", "</s>", "<unk>")
SHAPE = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "forced_eos_token_id": None,
}


def _train(model, trainer, **given):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trained = trainer(special_tokens=list(FIRST), show_progress=False, **given)
    tokenizer.train_from_iterator([*LINES, *GERMAN], trained)
    return json.loads(tokenizer.to_str())["model"]


def nllb(folder: Path) -> Path:
    """The decoder is given the end symbol and the target's language."""
    trained = _train(models.BPE(unk_token="<unk>"), trainers.BpeTrainer, vocab_size=150)
    tokenizer = NllbTokenizer(vocab=trained["vocab"], merges=[tuple(m) for m in trained["merges"]])
    config = M2M100Config(vocab_size=len(tokenizer), decoder_start_token_id=2, **SHAPE)
    return _save(M2M100ForConditionalGeneration(config), tokenizer, folder)


def m2m100(folder: Path) -> Path:
    """The decoder is given the end symbol and the target's language, which is called __en__ among
    the tokens. One SentencePiece model, its ids in a vocabulary. Needs `sentencepiece`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pieces = _train_pieces([*LINES, *GERMAN], folder / "pieces", 110)
    vocabulary = {piece: id for id, piece in enumerate(dict.fromkeys([*FIRST, *pieces]))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    codes = [f"__{language}__" for language in FAIRSEQ_LANGUAGE_CODES["m2m100"]]
    files = (str(folder / "vocab.json"), str(folder / "pieces.model"))
    tokenizer = M2M100Tokenizer(*files, additional_special_tokens=codes)
    size = len(vocabulary) + len(codes) + tokenizer.num_madeup_words  # as the published ones
    config = M2M100Config(vocab_size=size, decoder_start_token_id=2, **SHAPE)
    return _save(M2M100ForConditionalGeneration(config), tokenizer, folder)


def mbart(folder: Path) -> Path:
    """The decoder is given the target's language alone, which stands last in the labels."""
    trained = _train(models.Unigram(), trainers.UnigramTrainer, vocab_size=120, unk_token="<unk>")
    vocab = [(piece, score) for piece, score in trained["vocab"]]
    tokenizer = MBartTokenizer(vocab=vocab)
    config = MBartConfig(vocab_size=len(tokenizer), **SHAPE)
    return _save(MBartForConditionalGeneration(config), tokenizer, folder)


def marian(folder: Path, codes: tuple[str, ...] = ()) -> Path:
    """Two SentencePiece models, one a side, over one vocabulary. Needs `sentencepiece`."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces: dict[str, int] = {}
    for side, lines in (("source", GERMAN), ("target", LINES)):
        for piece in _train_pieces(lines, folder / side, 70):
            pieces.setdefault(piece, len(pieces))
        (folder / f"{side}.model").rename(folder / f"{side}.spm")
    del pieces["<s>"]
    vocabulary = {piece: id for id, piece in enumerate([*pieces, *codes, "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    facts = {"tokenizer_class": "MarianTokenizer", "source_lang": "de", "target_lang": "en"}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts), encoding="utf-8")
    size, pad, end = len(vocabulary), vocabulary["<pad>"], vocabulary["</s>"]
    given = {**SHAPE, "pad_token_id": pad, "eos_token_id": end, "bos_token_id": None}
    model = MarianMTModel(MarianConfig(vocab_size=size, decoder_start_token_id=pad, **given))
    draw(model, 0.3, 0)
    model.save_pretrained(folder)
    return folder


def _train_pieces(lines, prefix: Path, size: int) -> list[str]:
    """The pieces of a SentencePiece model, which is at `prefix`.model."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(prefix),
        vocab_size=size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
    )
    Path(f"{prefix}.vocab").unlink()
    model = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    return [model.id_to_piece(id) for id in range(model.get_piece_size())]


def _save(model, tokenizer, folder: Path) -> Path:
    draw(model, 0.3, 0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
