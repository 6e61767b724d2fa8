"""Causal checkpoints that write by a compiled step. They score as the others do."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from llmbench.adapter import ModelInfo
from llmbench.adapters.checkpoints.causal import Cache, CausalLM
from llmbench.errors import ModelError, Unsupported
from llmbench.models.pretrained.compiled import Memory, Step, check_compiler, name_compiler
from llmbench.models.pretrained.loading import Loaded


class CompiledLM(CausalLM):
    """A decoder whose step of one token is compiled: for a single row, and for several rows, each
    when it is first needed.
    """

    def __init__(self, loaded: Loaded):
        super().__init__(loaded)
        where = loaded.checkpoint.id
        check_compiler(self.device, where)
        if loaded.is_spread or not self.caches:
            why = "it is spread over devices" if loaded.is_spread else "it keeps no KV cache"
            raise Unsupported(
                f"its step cannot be compiled: {why}", where=where, hint="run it without compile"
            )
        self.compiled_step = Step(self.model, where, self.rounds_activations)

    @property
    def info(self) -> ModelInfo:
        found, compiler = super().info, name_compiler()
        digest = hashlib.sha256(f"{found.fingerprint}\n{compiler}".encode()).hexdigest()
        return replace(found, compiled=compiler, fingerprint=digest)

    def compile_ahead(self, rows: int) -> float:
        """Compile what writing so many answers side by side needs; return the seconds of all
        compiling so far.
        """
        if not self.compiled_step.is_ready(rows):
            self._compile(rows > 1)
        return self.compiled_step.seconds

    def step(self, state: Any, ids: Tensor) -> tuple[Any, Tensor]:
        if isinstance(state, Cache):
            if (
                _get_current_dispatch_mode() is not None
            ):  # somebody counts operations, which compiled code hides
                return super().step(state, ids)
            state = _remember(state)
        self.compile_ahead(len(ids))
        return state, self.compiled_step(state, ids)

    def _compile(self, several: bool) -> None:
        """Compile a step, and see that it gives the logits of the model's own. ModelError if it
        does not.
        """
        rows, length = self.compiled_step.choose_sizes(several)
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(
            0, min(self.rows, self.text.size), (rows, length + 3), generator=generator
        )
        ids = ids.to(self.device)
        lengths = [length - min(row, 3) for row in range(rows)] if several else None
        with torch.inference_mode():
            plain, _ = self._fill(ids[:, :length], lengths)
            memory = _remember(self._fill(ids[:, :length], lengths)[0])
            for at in range(length, length + 3):
                _, want = self._advance(plain, ids[:, at])
                call = self.compiled_step.compile if at == length else self.compiled_step
                got = call(memory, ids[:, at])
                self._check_logits(got.cpu().double(), want.cpu().double())

    def _check_logits(self, got: Tensor, want: Tensor) -> None:
        apart = float((got - want).abs().max())
        room = self.probe_room * max(1.0, float(want.abs().max()))
        if not apart <= room:
            raise ModelError(
                f"its compiled step gives other logits: {apart:.2g} apart, where rounding explains"
                f" {room:.2g}",
                where=self.loaded.checkpoint.id,
                hint="run it without compile",
            )


def _remember(state: Cache) -> Memory:
    """What a prefill left, with room for what is written. Unsupported if a layer keeps something
    else than keys and values.
    """
    layers = [(layer.keys, layer.values) for layer in state.values.layers]
    return Memory(layers, state.mask, state.positions)
