"""Which ids begin a text and which end one, and whether the model has an embedding for them."""

from __future__ import annotations

from typing import Any

from llmbench.errors import Unsupported, UsageError
from llmbench.models.pretrained.files import config_value

HOW = (
    'name a token or an id that can stand before a text, as that of a newline: `bos: "\\n"` under'
    " `checkpoint` in a card, hf:ID?bos=TOKEN, or wrap(..., bos_ids=[ID])"
)


def count_rows(model: Any) -> int:
    """Return how many ids a transformers model has an embedding for."""
    return int(model.get_input_embeddings().weight.shape[0])


def find_special_ids(
    config: Any, tokenizer: Any, model: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (bos_ids, eos_ids): BOS, or EOS if the family has no BOS; EOS, then what else
    generation stops at. Ids without an embedding are left out: no text can have them.
    """
    text = config.get_text_config(decoder=True)
    ends = _ids(tokenizer.eos_token_id)
    if model.can_generate():
        ends += _ids(model.generation_config.eos_token_id)
    ends += _ids(config_value(text, "eos_token_id"))
    begins = [*_ids(tokenizer.bos_token_id), *_ids(config_value(text, "bos_token_id")), *ends]
    rows = count_rows(model)
    begins, ends = ([i for i in ids if 0 <= i < rows] for ids in (begins, ends))
    return tuple(begins[:1]), tuple(dict.fromkeys(ends))


def resolve_bos(bos: str | int, tokenizer: Any, where: str) -> tuple[int, ...]:
    """Return the id of a start symbol that a card names: an id, a token as the tokenizer writes
    it, or a text that is one token.

    Raises UsageError if it is not one token.
    """
    if isinstance(bos, int):
        return (bos,)
    if bos in tokenizer.get_vocab():
        return (int(tokenizer.convert_tokens_to_ids(bos)),)
    ids = tokenizer(bos, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise UsageError(
            f"bos: {bos!r} is {len(ids)} tokens, and must be one",
            where=where,
            hint="a token of the tokenizer, or its id",
        )
    return (int(ids[0]),)


def check_bos(bos_ids: tuple[int, ...], rows: int, where: str) -> None:
    """Raise Unsupported if there is no start symbol, UsageError if it has no embedding."""
    if not bos_ids:
        raise Unsupported(
            "the model has no start symbol (neither BOS nor EOS), so nothing predicts the first"
            " token of a text",
            where=where,
            hint=HOW,
        )
    for bos in bos_ids:
        if not 0 <= bos < rows:
            raise UsageError(
                f"the start symbol {bos} is not an id of the model, which has {rows}",
                where=where,
                hint=HOW,
            )


def _ids(value: Any) -> list[int]:
    if value is None:
        return []
    return [int(i) for i in value] if isinstance(value, list | tuple) else [int(value)]
