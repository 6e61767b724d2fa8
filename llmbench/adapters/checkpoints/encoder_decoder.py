"""Encoder-decoder checkpoints: T5, BART, Marian, mBART, M2M100, NLLB and their kind.

Each side is encoded as its own tokenizer encodes it: what `tokenizer(source, text_target=target)`
gives is what the model's own loss is of, and what is scored here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from llmbench.adapter import ModelInfo
from llmbench.adapters.checkpoints.checkpoint_adapter import CheckpointAdapter
from llmbench.adapters.encoder_decoder import EncoderDecoderAdapter
from llmbench.errors import UsageError
from llmbench.models.pretrained.loading import Loaded
from llmbench.models.tokenizers.byte_offsets import ByteTokenizer
from llmbench.models.tokenizers.languages import set_languages

IGNORED = -100  # a label that transformers' loss leaves out


class EncoderDecoderLM(CheckpointAdapter, EncoderDecoderAdapter):
    """A source is read, a target is written.

    source_lang, target_lang: the languages of a checkpoint that translates between many.
    Raises UsageError if it needs them and they are not given, or does not know them.
    """

    def __init__(
        self, loaded: Loaded, source_lang: str | None = None, target_lang: str | None = None
    ):
        tokenizer, where = loaded.tokenizer, loaded.checkpoint.id
        code = set_languages(tokenizer, source_lang, target_lang, where, loaded.is_saved)
        if "spm_target" in vars(tokenizer):  # Marian: ">>fr<<" in a text is text
            tokenizer.remove_language_code = lambda text: ([], text)
        super().__init__(loaded)
        self.languages = {"source_lang": source_lang, "target_lang": target_lang}
        self.source_text, self.text = self.text, ByteTokenizer(tokenizer, is_target=True)
        self.text.refuses_first_space = self.source_text.refuses_first_space = True
        source, target = tokenizer("a")["input_ids"], tokenizer(text_target="a")["input_ids"]
        before, after = _find_frame(self.source_text.encode("a").ids.tolist(), source, where)
        self.source_code, self.source_frame = code, ([*code, *before], after)
        self.source_tail = len(after)
        self.target_frame = _find_frame(self.text.encode("a").ids.tolist(), target, where)
        opening, closing = self.target_frame
        inputs = self._decoder_inputs(torch.tensor([target]))
        self.bos_ids = tuple(inputs[0, : 1 + len(opening)].tolist())
        self.eos_ids = tuple(dict.fromkeys([*closing[:1], *loaded.eos_ids]))
        self._check_language(where)
        self.pad = int(tokenizer.pad_token_id or 0)
        self.context = self.source_context = loaded.context
        self.opens = self.text.opens

    def _check_language(self, where: str) -> None:
        """The target's language must be among what the decoder is given."""
        tokenizer = self.loaded.tokenizer
        if "_src_lang" not in vars(tokenizer):
            return
        named = vars(tokenizer).get("lang_code_to_token") or {}
        code = tokenizer.convert_tokens_to_ids(named.get(tokenizer.tgt_lang, tokenizer.tgt_lang))
        if code not in self.bos_ids:
            raise UsageError(
                f"the tokenizer does not tell the decoder the language {tokenizer.tgt_lang!r}",
                where=where,
                hint="look at `legacy_behaviour` in its tokenizer_config.json",
            )

    def _decoder_inputs(self, labels: Tensor) -> Tensor:
        """Return the (1, T) ids that the model's own forward gives its decoder for labels."""
        seen: list[Tensor] = []

        def note(module: Any, positional: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            seen.append(named["input_ids"] if "input_ids" in named else positional[0])

        hook = self.model.get_decoder().register_forward_pre_hook(note, with_kwargs=True)
        source = torch.tensor([self.encode_source("a")], device=self.device)
        try:
            with torch.inference_mode():
                self.model(input_ids=source, labels=labels.to(self.device))
        finally:
            hook.remove()
        return seen[0].cpu()

    @property
    def info(self) -> ModelInfo:
        info = super().info
        named = [f"{name}={value}" for name, value in self.languages.items() if value]
        if not named:
            return info
        whole = "\n".join([info.fingerprint, *named])
        return replace(info, fingerprint=hashlib.sha256(whole.encode()).hexdigest())

    def encode_source(self, text: str) -> list[int]:
        prefix, suffix = self.source_frame
        return [*prefix, *self.source_text.encode(text).ids.tolist(), *suffix]

    def find_prompt_loss(self, prompt: str) -> str:
        return self._mark_unknown(self.source_text.encode(prompt)).loss or ""

    def reference_bits(self, source: str, target: str) -> float | None:
        """Bits of a target and its end by the model's own loss on `text_target`."""
        tokenizer, (opening, closing) = self.loaded.tokenizer, self.target_frame
        given = [*self.source_code, *tokenizer(source)["input_ids"]]
        labels = torch.tensor([tokenizer(text_target=target)["input_ids"]])
        asked, end = labels.clone(), labels.shape[1] - max(0, len(closing) - 1)
        asked[0, : len(opening)] = asked[0, end:] = IGNORED
        with torch.inference_mode():
            loss = self.model(
                input_ids=torch.tensor([given], device=self.device),
                decoder_input_ids=self._decoder_inputs(labels).to(self.device),
                labels=asked.to(self.device),
            ).loss
        return float(loss) * int((asked != IGNORED).sum()) / math.log(2)

    def pair_logits(self, source: Tensor, attention: Tensor, target: Tensor) -> Tensor:
        logits: Tensor = self.model(
            input_ids=source, attention_mask=attention, decoder_input_ids=target, use_cache=False
        ).logits
        return logits

    def begin(self, source: Tensor) -> tuple[Any, Tensor]:
        target = torch.tensor([self.bos_ids] * len(source), dtype=torch.long, device=source.device)
        out = self.model(input_ids=source, decoder_input_ids=target, use_cache=True)
        return (source, out.encoder_last_hidden_state, out.past_key_values), out.logits[:, -1]

    def step(self, state: Any, ids: Tensor) -> tuple[Any, Tensor]:
        source, encoded, past = state
        given = {
            "encoder_outputs": (encoded,),
            "attention_mask": torch.ones_like(source),
            "past_key_values": past,
            "use_cache": True,
        }
        out = self.model(decoder_input_ids=ids[:, None], **given)
        return (source, encoded, out.past_key_values), out.logits[:, -1]


def _find_frame(bare: list[int], whole: Sequence[int], where: str) -> tuple[list[int], list[int]]:
    """Return the ids that a tokenizer puts before and after the ids of a text."""
    ids = [int(i) for i in whole]
    for at in range(len(ids) - len(bare) + 1) if bare else ():
        if ids[at : at + len(bare)] == bare:
            return ids[:at], ids[at + len(bare) :]
    raise UsageError(
        "the tokenizer encodes a text otherwise alone than between its special tokens",
        where=where,
        hint="save a tokenizer.json with the checkpoint",
    )
