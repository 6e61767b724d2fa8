"""The languages of a translation model's tokenizer: which source and which target it is set to."""

from __future__ import annotations

from typing import Any

from llmbench.errors import UsageError, did_you_mean

HINT = "name both, as in hf:ID?source_lang=deu_Latn&target_lang=eng_Latn"


def set_languages(
    tokenizer: Any, source: str | None, target: str | None, where: str, is_saved: bool = True
) -> list[int]:
    """Set a tokenizer's languages, and return the ids that stand before every source for them.

    NLLB, M2M100 and mBART mark source and target by a token of their own (the tokenizer adds it);
    a multilingual Marian model is told the target's language by a token before the source (>>fr<<).
    A saved tokenizer that names languages in its tokenizer_config.json needs none here.

    Raises UsageError if the tokenizer needs languages and none are given, if it does not know
    them, or if it has none.
    """
    own = vars(tokenizer)
    if own.get("supported_language_codes"):
        return _find_marian_code(tokenizer, target, where)
    if "_src_lang" not in own:
        if source or target:
            raise UsageError(
                "this checkpoint's tokenizer knows no languages",
                where=where,
                hint="leave out source_lang and target_lang",
            )
        return []
    # the library takes, and saves, English as the source where nobody named one: only a tokenizer
    # that names its target, too, was set on purpose
    if source is None and (tokenizer.tgt_lang is not None or not is_saved):
        source = tokenizer.src_lang
    target = target or tokenizer.tgt_lang
    if source is None or target is None:
        missing = "source_lang" if source is None else "target_lang"
        raise UsageError(
            f"this checkpoint translates between many languages, and `{missing}` is not given",
            where=where,
            hint=HINT,
        )
    codes = find_codes(tokenizer)
    for name in (source, target):
        if name not in codes:
            raise UsageError(
                f"the tokenizer knows no language {name!r}",
                where=where,
                hint=did_you_mean(name, codes) or f"it knows {', '.join(codes[:5])}, ...",
            )
    tokenizer.src_lang, tokenizer.tgt_lang = source, target
    return []


def find_codes(tokenizer: Any) -> list[str]:
    """Return the languages that a tokenizer knows, as it names them."""
    tokens = vars(tokenizer).get("lang_code_to_token")  # M2M100: en -> __en__
    if tokens:
        return sorted(tokens)
    named = {str(token) for token in tokenizer.special_tokens_map.values()}
    return sorted({str(token) for token in tokenizer.all_special_tokens} - named)


def _find_marian_code(tokenizer: Any, target: str | None, where: str) -> list[int]:
    codes = {code[2:-2]: code for code in tokenizer.supported_language_codes}
    if target is None:
        raise UsageError(
            f"this checkpoint translates into many languages, and `target_lang` is not given: it"
            f" knows {', '.join(sorted(codes)[:5])}",
            where=where,
            hint=f"as in hf:ID?target_lang={min(codes)}",
        )
    if target not in codes:
        raise UsageError(
            f"the tokenizer knows no language {target!r}",
            where=where,
            hint=did_you_mean(target, sorted(codes)),
        )
    return [int(tokenizer.convert_tokens_to_ids(codes[target]))]
