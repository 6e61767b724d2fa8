"""Any causal, masked or encoder-decoder checkpoint that `transformers` loads.

By hub id, by directory, or trained here from a card. Only safetensors are read, and no code of the
checkpoint's own is run unless the card says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapter import Adapter, BuildContext
from llmbench.adapters.checkpoints.causal import CausalLM
from llmbench.adapters.checkpoints.checkpoint_adapter import CheckpointAdapter
from llmbench.adapters.checkpoints.encoder_decoder import EncoderDecoderLM
from llmbench.adapters.checkpoints.recurrent import RecurrentLM
from llmbench.adapters.masked import MaskedAdapter
from llmbench.config.model_card import Stage, find_bos
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
        self.parts: Parts | None = (
            None if loaded.is_spread else lm_head.split(self.model, self._probe_ids())
        )

    def words(self, text: str) -> NDArray[Any]:
        return self.text.words(text)

    def predict(self, ids: Tensor, attention: Tensor, rows: Tensor) -> Tensor:
        if self.parts is not None:
            return self.parts.head(
                self.parts.body(ids, attention_mask=attention).flatten(0, 1)[rows]
            )
        logits: Tensor = self.model(input_ids=ids, attention_mask=attention).logits
        return logits.flatten(0, 1)[rows]


KINDS: dict[str, type[Any]] = {
    "causal": CausalLM,
    "masked": MaskedLM,
    "encoder-decoder": EncoderDecoderLM,
}


def find_compiled(kind: type[Any], where: str, cache: Path) -> type[Any]:
    """Return the class of adapters of this kind whose step is compiled, to code that is kept in the
    cache. UsageError for a kind that has none.
    """
    if kind is not CausalLM:
        raise UsageError(
            "only causal checkpoints with a KV cache are compiled", where=where, hint="leave it out"
        )
    from llmbench.adapters.checkpoints.compiled import CompiledLM  # loads torch's compiler
    from llmbench.models.pretrained.compiled import keep_code

    keep_code(cache / "compiled")
    return CompiledLM


class HuggingFace(CheckpointAdapter):
    """What a card names: `build` gives the class of the checkpoint's kind."""

    @classmethod
    def build(cls, arguments: Mapping[str, Any], build_context: BuildContext) -> Adapter:
        """From a card's `checkpoint`; `lineage` (finetuning.Stage) says what has to be trained
        before, oldest first.
        """
        stages: Sequence[Stage] = arguments["lineage"]
        checkpoint, training = obtain(stages, build_context)
        spec = stages[-1].checkpoint
        loaded = load(
            checkpoint,
            spec.dtype or build_context.dtype,
            build_context.device,
            spec.trust_remote_code,
            find_bos(stages),
            spec.quantize,
            spec.device_map,
            spec.compile,
        )
        languages = spec.languages
        if languages and loaded.kind != "encoder-decoder":
            raise UsageError(
                f"a {loaded.kind} checkpoint has no languages",
                where=checkpoint.id,
                hint="leave out source_lang and target_lang",
            )
        kind = RecurrentLM if loaded.is_recurrent else KINDS[loaded.kind]
        if spec.compile:
            kind = find_compiled(kind, checkpoint.id, build_context.cache)
        adapter: CheckpointAdapter = kind(loaded, **languages)
        adapter.training = training
        return adapter
