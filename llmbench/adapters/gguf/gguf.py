"""A GGUF file as a model: scored, and writing, by llama.cpp in the process.

The tokenizer is the file's own. Quantised files are computed with rounded activations, and how they
are rounded depends on how many tokens are read at once; `rounds_activations` lets the checks
measure that noise instead of calling it a lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapter import BuildContext, ModelInfo
from llmbench.adapters.gguf import charging
from llmbench.adapters.gguf.chat import GGUFChat
from llmbench.adapters.gguf.engine import BATCH, SEQUENCES, Engine
from llmbench.adapters.token import TokenAdapter
from llmbench.config.gguf_settings import GGUFSettings
from llmbench.config.source_code import digest_code
from llmbench.errors import ModelError, OutOfMemory, UsageError
from llmbench.hardware.device import is_cuda
from llmbench.models.tokenizers.chat_template import ChatTemplate
from llmbench.models.tokenizers.tokens import Tokens
from llmbench.storage import is_file

MAGIC = b"GGUF"
LONGEST = 8192  # tokens of the default context, however long the file's own is


@dataclass
class State:
    """Sequences that are continued: what they hold, and whose turn it was that filled them."""

    lines: list[list[int]]
    turn: int


class GGUF(TokenAdapter):
    """Arguments of a card: `file`, and `context`, `parallel` as in `gguf:FILE?context=N`."""

    rounds_activations = True
    charges_targets = True
    generation_batch_size = 1

    def __init__(self, file: str, engine: Any, on_gpu: bool = False):
        self.file, self.engine, self.on_gpu = file, engine, on_gpu
        facts = engine.facts
        self.context = engine.context
        self.generation_batch_size = engine.rows
        first = facts.bos if facts.bos >= 0 else facts.eos
        self.bos_ids = (first,) if first >= 0 else ()
        self.eos_ids = facts.ends
        self.adds_bos = facts.adds_bos
        self.turn = 0  # counts what was read anew: an older state's sequences are gone
        self.spell = lru_cache(maxsize=None)(engine.spell)
        self.opens = self._find_opening()

    @classmethod
    def build(cls, arguments: Mapping[str, Any], build_context: BuildContext) -> GGUF:
        """Load a card's `file`. `context`: tokens, else the file's own, at most 8192; `parallel`:
        sequences that are written at once, else 1.
        """
        settings = GGUFSettings.model_validate(arguments)
        file, context, parallel = settings.file, settings.context, settings.parallel
        verify_file(Path(file))
        on_gpu = is_cuda(build_context.device)
        engine = Engine(Path(file), context, parallel, on_gpu)
        if context is None and engine.context > LONGEST:
            engine.close()
            engine = Engine(Path(file), LONGEST, parallel, on_gpu)
        return cls(file, engine, on_gpu)

    def _find_opening(self) -> bytes:
        """The bytes that the tokenizer puts before a text."""
        spelled = b"".join(self.spell(id) for id in self.engine.tokenize(b"a"))
        return spelled[:-1] if spelled.endswith(b"a") else b""

    # Tokens
    # ------------------------------------------------------------------------------------------

    def encode(self, text: str) -> Tokens:
        raw = text.encode()
        ids = self.engine.tokenize(raw)
        pieces = [self.spell(id) for id in ids]
        if pieces and pieces[0].startswith(self.opens):
            pieces[0] = pieces[0].removeprefix(self.opens)
        tokens = Tokens.of(ids, pieces)
        whole = b"".join(pieces)
        loss = "" if whole == raw else _describe_loss(raw, whole)
        return Tokens(tokens.ids, tokens.start, tokens.end, tokens.spelling, loss)

    def decode(self, ids: Sequence[int]) -> bytes:
        return b"".join(self.spell(int(id)) for id in ids)

    @cached_property
    def _chat(self) -> ChatTemplate:
        return ChatTemplate(GGUFChat(self.engine, self.file))

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

    # Scoring
    # ------------------------------------------------------------------------------------------

    def logits(self, ids: Tensor) -> Tensor:
        return torch.stack([self._read_whole(row.tolist(), BATCH, steady=True) for row in ids])

    def read_in_pieces(self, ids: Tensor, size: int) -> Tensor:
        """(T,) ids -> (T, V) logits, reading `size` ids at a time, as llama.cpp does it."""
        return self._read_whole(ids.tolist(), min(size, BATCH), steady=False)

    def _read_whole(self, line: list[int], size: int, steady: bool) -> Tensor:
        self._begin()
        parts = [
            self._read(0, line[at : at + size], at, steady=steady)
            for at in range(0, len(line), size)
        ]
        return torch.from_numpy(np.concatenate(parts))

    def charge_targets(
        self, jobs: Sequence[tuple[NDArray[np.int64], int]]
    ) -> list[NDArray[np.float64]]:
        return charging.charge(self.engine, self._begin, jobs)

    def read_logits(self, ids: Tensor, first: int) -> Iterator[Tensor]:
        line = ids.tolist()
        self._begin()
        for at in range(0, len(line), BATCH):
            part = line[at : at + BATCH]
            wanted = [at + i >= first for i in range(len(part))]
            places = range(at, at + len(part))
            rows = self.engine.read([0] * len(part), part, places, wanted, steady=True)
            if any(wanted):
                yield torch.from_numpy(rows)

    def _begin(self) -> None:
        """Empty the memory. A state from before is read again when it is continued."""
        self.engine.forget()
        self.engine.set_threads(torch.get_num_threads())
        self.turn += 1

    def _read(
        self,
        row: int,
        ids: Sequence[int],
        place: int,
        last_only: bool = False,
        steady: bool = False,
    ) -> NDArray[np.float32]:
        count = len(ids)
        wanted = [not last_only or i == count - 1 for i in range(count)]
        places = range(place, place + count)
        rows: NDArray[np.float32] = self.engine.read([row] * count, ids, places, wanted, steady)
        return rows

    # Generation
    # ------------------------------------------------------------------------------------------

    @property
    def caches(self) -> bool:
        return True

    @property
    def supports_padding(self) -> bool:
        return True

    def prefill(self, ids: Tensor) -> tuple[State, Tensor]:
        return self._fill([row.tolist() for row in ids])

    def prefill_padded(self, ids: Tensor, lengths: Sequence[int]) -> tuple[State, Tensor]:
        return self._fill(
            [row[-length:].tolist() for row, length in zip(ids, lengths, strict=True)]
        )

    def _fill(self, lines: list[list[int]]) -> tuple[State, Tensor]:
        if len(lines) > SEQUENCES:
            raise OutOfMemory(
                f"{len(lines)} sequences, where {SEQUENCES} may be written at once", where=self.file
            )
        self._begin()
        rows = []
        for row, line in enumerate(lines):
            for at in range(0, len(line), BATCH):
                last = self._read(row, line[at : at + BATCH], at, last_only=True)
            rows.append(last)
        return State([list(line) for line in lines], self.turn), torch.from_numpy(
            np.concatenate(rows)
        )

    def step(self, state: State, ids: Tensor) -> tuple[State, Tensor]:
        if state.turn != self.turn:  # another text was read meanwhile
            state, _ = self._fill(state.lines)
        places = [len(line) for line in state.lines]
        if max(places) >= self.engine.context:
            raise ModelError(f"a sequence is longer than {self.engine.context} tokens")
        new = ids.tolist()
        rows = self.engine.read(range(len(new)), new, places, [True] * len(new))
        self.turn += 1
        lines = [[*line, id] for line, id in zip(state.lines, new, strict=True)]
        return State(lines, self.turn), torch.from_numpy(rows)

    # What it is
    # ------------------------------------------------------------------------------------------

    def to(self, device: str, dtype: str = "float32") -> Self:
        """Do nothing: `build` loaded it where it runs, in the number format of the file."""
        return self

    @cached_property
    def sha256(self) -> str:
        """Of the whole file."""
        with Path(self.file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    @property
    def info(self) -> ModelInfo:
        facts = self.engine.facts
        code = digest_code([Path(__file__), Path(__file__).with_name("engine.py")])
        identity = f"{self.sha256} {facts.version} {self.context} {code}"
        return ModelInfo(
            name=Path(self.file).stem,
            family=facts.architecture,
            tokenizer=facts.tokenizer,
            parameters=facts.parameters,
            context=self.context,
            dtype=f"{facts.scheme} (GGUF)",
            device="cuda" if self.on_gpu else "cpu",
            fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
            weights_bytes=facts.weights_bytes,
            origin={
                "id": Path(self.file).name,  # and no folder: people publish records
                "weights_sha256": self.sha256,
                "engine": f"llama-cpp-python {facts.version}",
            },
        )

    def close(self) -> None:
        self.engine.close()


def verify_file(file: Path) -> None:
    """Raise UsageError unless this is a GGUF file, as its first bytes say."""
    if not is_file(file):
        raise UsageError("there is no such file", where=str(file))
    with file.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise UsageError("not a GGUF file", where=str(file), hint="its first bytes say GGUF")


def _describe_loss(raw: bytes, whole: bytes) -> str:
    """The first byte of a text that its tokens do not give back."""
    at = next((i for i, (x, y) in enumerate(zip(raw, whole, strict=False)) if x != y), len(whole))
    return f"byte {min(at, len(raw) - 1)} of the text is not in the tokens of the file"
