"""Causal checkpoints: a KV cache, packing and padding, each used if a trial shows that it works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapters.checkpoints.checkpoint_adapter import PROBE, CheckpointAdapter
from llmbench.adapters.token import TokenAdapter
from llmbench.errors import ModelError
from llmbench.inference import packing
from llmbench.models.pretrained import lm_head
from llmbench.models.pretrained.files import config_value
from llmbench.models.pretrained.lm_head import Parts
from llmbench.models.pretrained.loading import Loaded
from llmbench.models.pretrained.quantization import rounds_activations
from llmbench.models.pretrained.special_ids import check_bos
from llmbench.models.tokenizers.chat_template import ChatTemplate, TransformersChat

REENTRANT = ("gpt2", "llama")
STATIC_ROTATIONS = ("default", "linear", "llama3")
# difference of logits that rounding explains in float32; wrong caches and masks are off by far more
PROBE_ROOM = 1e-3


@dataclass(frozen=True)
class _Probe:
    """A line of a trial pack."""

    ids: NDArray[Any]
    first: int


@dataclass
class Cache:
    """What generation carries: the keys and values, and, for rows of unequal length, which of them
    count and where each row stands.
    """

    values: Any
    mask: Tensor | None
    positions: Tensor | None


class CausalLM(CheckpointAdapter, TokenAdapter):
    """A decoder: the next token after those before."""

    def __init__(self, loaded: Loaded):
        super().__init__(loaded)
        self.context, self.bos_ids, self.eos_ids = loaded.context, loaded.bos_ids, loaded.eos_ids
        check_bos(self.bos_ids, self.rows, loaded.checkpoint.id)
        self.rounds_activations = rounds_activations(loaded.quantization)
        self.text.refuses_first_space = True
        self.opens = self.text.opens
        self.adds_bos = (
            tuple(loaded.tokenizer("a")["input_ids"][: len(self.bos_ids)]) == self.bos_ids
        )
        unknown = loaded.tokenizer.unk_token_id
        self.unknown = None if unknown in (*self.bos_ids, *self.eos_ids) else unknown
        self.parts: Parts | None = (  # over several devices only the whole takes and gives rows
            None  # on one of them
            if loaded.is_spread
            else lm_head.split(self.model, self._probe_ids(), use_cache=False)
        )

    @cached_property
    def _chat(self) -> ChatTemplate:
        return ChatTemplate(TransformersChat(self.text, self.loaded.checkpoint.id))

    def describe_chat(self) -> str:
        return self._chat.digest

    def render_chat(self, messages: Sequence[Mapping[str, str]], asks: bool) -> str:
        return self._chat.render(messages, asks)

    def read_rendered(self, prompt: str) -> tuple[Sequence[int], str]:
        return self._chat.read_rendered(prompt)

    def encode_chat(self, system: str, prompt: str) -> Sequence[int]:
        return self._chat.encode(system, prompt, self.context)

    @cached_property
    def chat_eos_ids(self) -> tuple[int, ...]:  # type: ignore[override]  # asked only of chats
        return self._chat.eos_ids

    @property
    def has_split_head(self) -> bool:
        return self.parts is not None

    @property
    def lm_head_weight(self) -> Tensor | None:
        return self.parts.lm_head_weight if self.parts is not None else None

    def logits(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=ids, use_cache=False).logits
        return logits

    def hidden(self, ids: Tensor) -> Tensor:
        assert self.parts is not None
        return self.parts.body(ids, use_cache=False)

    def head(self, rows: Tensor) -> Tensor:
        assert self.parts is not None
        return self.parts.head(rows)

    def forward_packed(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        assert self.parts is not None
        return self.parts.body(ids, attention_mask=mask, position_ids=positions, use_cache=False)

    @cached_property
    def supports_packing(self) -> bool:
        # tried once; a mask of one's own would undo a sliding window, which a short trial misses
        config = self.loaded.config
        full = set(config_value(config, "layer_types") or ["full_attention"]) == {"full_attention"}
        return (
            self.parts is not None
            and full
            and not config_value(config, "sliding_window")
            and self._proves(self._compare_packing)
        )

    @property
    def thread_safe(self) -> bool:
        """Of families whose forward pass keeps nothing; of their rotations, some kinds are computed
        anew for each length, and kept.
        """
        config = self.loaded.config
        rotation = (config_value(config, "rope_parameters") or {}).get("rope_type", "default")
        return (
            config.model_type in REENTRANT
            and rotation in STATIC_ROTATIONS
            and not self.loaded.trusted
        )

    def _compare_packing(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of two texts after a common prompt and one after a prompt that begins like it in
        one row, beside a shorter row; and those of each text alone.
        """
        half, end = PROBE // 3, PROBE - 6
        lines = [
            _Probe(part.cpu().numpy(), end)
            for part in (
                ids[0],
                torch.cat([ids[0, :end], ids[1, end:]]),
                torch.cat([ids[0, :half], ids[1, half:]]),
                ids[1],
            )
        ]
        packs = [packing.Pack(some) for some in (lines[:2], lines[2:3], lines[3:])]
        bundles = [packing.Bundle(packs[:2], half), packing.Bundle(packs[2:])]
        rows = self.forward_packed(
            *(part.to(ids.device) for part in packing.rows(bundles, int(ids[0, 0])))
        )
        got = [rows[row, at] for row, one in enumerate(bundles) for at in packing.places(one)]
        want = [
            self.logits(torch.from_numpy(line.ids)[None].to(ids.device))[0, line.first - 1 : -1]
            for line in lines
        ]
        return self.head(torch.cat(got)), torch.cat(want)

    @cached_property
    def caches(self) -> bool:  # tried once: recurrent types have caches of other kinds
        return self._proves(lambda ids: self._compare_cache(ids, None))

    @cached_property
    def supports_padding(self) -> bool:  # tried once, with a row that is shorter by three
        return self.caches and self._proves(lambda ids: self._compare_cache(ids, PROBE - 3))

    def _proves(self, way: Any) -> bool:
        ids = self._probe_ids(2)
        with torch.inference_mode():
            try:
                got, want = way(ids)
            except Exception:  # a family whose forward takes no such cache or mask
                return False
        return bool(
            (got.cpu().double() - want.cpu().double()).abs().max()
            <= self.probe_room * max(1.0, float(want.abs().max()))
        )

    @property
    def probe_room(self) -> float:
        """How far apart rounding may bring two ways to the same logits, as a share of these."""
        fine = self.loaded.dtype in ("float32", "float64") and not self.rounds_activations
        return PROBE_ROOM if fine else 50 * PROBE_ROOM

    def _compare_cache(self, ids: Tensor, short: int | None) -> tuple[Tensor, Tensor]:
        """Logits after prefill and two steps, and those of one pass without a cache; the second row
        cut to its last `short` ids.
        """
        lengths = [PROBE, short or PROBE]
        want = torch.stack(
            [self.logits(ids[i : i + 1, PROBE - n :])[0, -1] for i, n in enumerate(lengths)]
        )
        state, logits = self._fill(
            ids[:, : PROBE - 2], None if short is None else [n - 2 for n in lengths]
        )
        for at in (2, 1):
            state, logits = self._advance(state, ids[:, PROBE - at])
        return logits, want

    def read_in_pieces(self, ids: Tensor, size: int) -> Tensor:
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config)
        given = {"use_cache": True, "past_key_values": cache}
        pieces = [
            self.model(input_ids=part[None], **given).logits[0] for part in torch.split(ids, size)
        ]
        return torch.cat(pieces)

    def prefill(self, ids: Tensor) -> tuple[Any, Tensor]:
        return self._fill(ids, None) if self.caches else TokenAdapter.prefill(self, ids)

    def prefill_padded(self, ids: Tensor, lengths: Sequence[int]) -> tuple[Any, Tensor]:
        return self._fill(ids, lengths)

    def step(self, state: Any, ids: Tensor) -> tuple[Any, Tensor]:
        return self._advance(state, ids) if self.caches else TokenAdapter.step(self, state, ids)

    def library_generate(self, ids: Tensor, count: int) -> None:
        """`count` tokens after (1, T) ids by transformers' own `generate`, the loop that most
        people use.
        """
        given: dict[str, object] = {
            "min_new_tokens": count,
            "max_new_tokens": count,
            "do_sample": False,
            "attention_mask": torch.ones_like(ids),
        }
        made = self.model.generate(ids, pad_token_id=0, **given)
        if made.shape[1] != ids.shape[1] + count:
            raise ModelError(
                f"generate made {made.shape[1] - ids.shape[1]} tokens instead of {count}"
            )

    def _fill(self, ids: Tensor, lengths: Sequence[int] | None) -> tuple[Cache, Tensor]:
        from transformers import DynamicCache

        mask = positions = None
        if lengths is not None:
            back = torch.arange(ids.shape[1] - 1, -1, -1, device=ids.device)
            mask = (back[None] < torch.tensor(list(lengths), device=ids.device)[:, None]).long()
            positions = (mask.cumsum(1) - 1).clamp(min=0)
        state = Cache(DynamicCache(config=self.model.config), mask, positions)
        return state, self._forward(ids, state)

    def _advance(self, state: Cache, ids: Tensor) -> tuple[Cache, Tensor]:
        if state.mask is not None and state.positions is not None:
            state.mask = torch.cat([state.mask, state.mask.new_ones(len(ids), 1)], dim=1)
            state.positions = state.positions[:, -1:] + 1
        return state, self._forward(ids[:, None], state)

    def _forward(self, ids: Tensor, state: Cache) -> Tensor:
        """(B, V) logits of what comes next, the head run on the last row only."""
        given: dict[str, object] = {"use_cache": True, "past_key_values": state.values}
        if state.mask is not None:
            given |= {"attention_mask": state.mask, "position_ids": state.positions}
        if self.parts is not None:
            return self.parts.head(self.parts.body(ids, **given)[:, -1])
        last: Tensor = self.model(input_ids=ids, **given).logits[:, -1]
        return last
