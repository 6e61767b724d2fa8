"""Any causal, masked or encoder-decoder checkpoint that `transformers` loads.

By hub id, by directory, or trained here from a card. Only safetensors are read, and no code of the
checkpoint's own is run unless the card says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapter import Adapter, BuildContext
from llmbench.adapters.checkpoints.causal import CausalLM
from llmbench.adapters.checkpoints.checkpoint_adapter import CheckpointAdapter
from llmbench.adapters.encoder_decoder import EncoderDecoderAdapter
from llmbench.adapters.masked import MaskedAdapter
from llmbench.config.model_card import Stage
from llmbench.errors import UsageError
from llmbench.models.pretrained import lm_head
from llmbench.models.pretrained.lm_head import Parts
from llmbench.models.pretrained.loading import Loaded, load
from llmbench.training.finetuning import obtain


class MaskedLM(CheckpointAdapter, MaskedAdapter):
    """An encoder that fills gaps."""

    def __init__(self, loaded: Loaded):
        super().__init__(loaded)
        tokenizer = loaded.tokenizer
        if tokenizer.mask_token_id is None:
            raise UsageError("the tokenizer has no mask token", where=loaded.checkpoint.id)
        self.context, self.mask = loaded.context or 512, int(tokenizer.mask_token_id)
        self.before = tuple(i for i in (tokenizer.cls_token_id,) if i is not None)
        self.after = tuple(i for i in (tokenizer.sep_token_id,) if i is not None)
        self.parts: Parts | None = lm_head.split(self.model, self._probe_ids())

    def words(self, text: str) -> NDArray[Any]:
        return self.text.words(text)

    def predict(self, ids: Tensor, attention: Tensor, rows: Tensor) -> Tensor:
        if self.parts is not None:
            return self.parts.head(
                self.parts.body(ids, attention_mask=attention).flatten(0, 1)[rows]
            )
        logits: Tensor = self.model(input_ids=ids, attention_mask=attention).logits
        return logits.flatten(0, 1)[rows]


class EncoderDecoderLM(CheckpointAdapter, EncoderDecoderAdapter):
    """A source is read, a target is written."""

    def __init__(self, loaded: Loaded):
        super().__init__(loaded)
        config, tokenizer = loaded.config, loaded.tokenizer
        first = getattr(config, "decoder_start_token_id", None)
        first = tokenizer.bos_token_id if first is None else first
        if first is None:
            raise UsageError(
                "the config has no decoder_start_token_id",
                where=loaded.checkpoint.id,
                hint="look at its config.json",
            )
        bare, whole = self.text.encode("a").ids.tolist(), list(tokenizer("a")["input_ids"])
        at = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
        self.bos_ids, self.eos_ids = (
            (int(first), *whole[:at]),
            tuple(whole[at + len(bare) :]) or loaded.eos_ids,
        )
        self.pad = int(tokenizer.pad_token_id or 0)
        self.context = self.source_context = loaded.context
        self.opens = self.text.opens

    def encode_source(self, text: str) -> list[int]:
        return list(self.loaded.tokenizer(text)["input_ids"])

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


KINDS: dict[str, type[Any]] = {
    "causal": CausalLM,
    "masked": MaskedLM,
    "encoder-decoder": EncoderDecoderLM,
}


class HuggingFace(CheckpointAdapter):
    """What a card names: `build` gives the class of the checkpoint's kind."""

    @classmethod
    def build(cls, arguments: Mapping[str, Any], build_context: BuildContext) -> Adapter:
        """From a card's `checkpoint`; `lineage` (finetuning.Stage) says what has to be trained
        before, oldest first.
        """
        stages: Sequence[Stage] = arguments["lineage"]
        checkpoint, training = obtain(stages, build_context)
        trusted = stages[-1].checkpoint.trust_remote_code
        loaded = load(checkpoint, build_context.dtype, build_context.device, trusted)
        adapter: CheckpointAdapter = KINDS[loaded.kind](loaded)
        adapter.training = training
        return adapter
