"""What most people subclass: a model over tokens. llmbench owns windows, batching, start symbol,
spelling, sampling and the clock.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from llmbench.adapter import Adapter, Chunk, ModelInfo, Passage, Request, Window
from llmbench.errors import Unsupported
from llmbench.hardware.device import torch_dtype
from llmbench.inference import generation, scoring
from llmbench.inference.text import lines
from llmbench.inference.token_bits import check_logits
from llmbench.inference.token_model import TokenModel
from llmbench.ledger import Ledger
from llmbench.models.tokenizers.spelling import Speller
from llmbench.models.tokenizers.tokens import Tokens

__all__ = ["TokenAdapter", "Tokens"]


class TokenAdapter(Adapter):
    """Four methods make a model: `encode`, `decode`, `logits`, and a constructor that sets what
    follows.

    `context`: most ids that `logits` takes at once, start symbols included; None where it takes any
    number.
    `bos_ids`: ids that are given, free, before every document. `eos_ids`: ids that end a text when
    generated; the first is scored where a task asks for the end.
    `unknown`: the id of pieces outside the vocabulary, never generated. `escape`: see
    vocabulary.Vocabulary.
    `opens`: bytes that `encode` puts before a text and that stand for nothing, as SentencePiece's
    space.
    """

    context: int | None = None
    bos_ids: tuple[int, ...] = ()
    eos_ids: tuple[int, ...] = ()
    unknown: int | None = None
    escape: float = 0.0
    opens: bytes = b""
    chat_eos_ids: tuple[int, ...] = ()  # that end a turn of a chat, besides eos_ids
    max_new_tokens: int | None = None  # symbols; a model that goes on for ever sets none
    answer_continues_prompt: bool = True  # False: forced answers are encoded by encode_answer
    # see TokenModel.library_generate
    library_generate: Callable[[Tensor, int], None] | None = None
    # whether its engine rounds activations, in a way that depends on how many are read at once
    rounds_activations: bool = False
    # see TokenModel.charge_targets and TokenModel.cache_window
    charges_targets: bool = False
    cache_window: int | None = None
    name: str = ""
    family: str = ""
    tokenizer: str = ""
    device: str = "cpu"

    @abstractmethod
    def encode(self, text: str) -> Tokens:
        """Ids of `text`, without start symbols, and the bytes that each stands for."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> bytes:
        """The bytes that `ids` stand for; decode(encode(text).ids) gives the text's bytes."""

    @abstractmethod
    def logits(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, T, V) logits; row t predicts what follows ids[:, :t+1]."""

    def decode_text(self, ids: Sequence[int]) -> bytes:
        """The bytes of a whole text, of which nothing stands before the first id."""
        return self.decode(ids).removeprefix(self.opens)

    # Optional, for speed
    # ----------------------------------------------------------------------------------------------

    def encode_all(self, texts: Sequence[str]) -> list[Tokens]:
        """What `encode` gives for each of these; for a tokenizer that takes less time for many at
        once.
        """
        return [self.encode(text) for text in texts]

    def encode_answer(self, text: str) -> Tokens:
        """Return the ids of an answer that has a tokenizer of its own."""
        return self.encode(text)

    def encode_chat(self, system: str, prompt: str) -> Sequence[int]:
        """Return the ids of a user's message in the chat template, up to where the answer begins.
        Asked only if `describe_chat` gives a digest of that template.
        """
        raise NotImplementedError

    def render_chat(self, messages: Sequence[Mapping[str, str]], asks: bool) -> str:
        """Return messages in that template as a prompt; see TokenModel.render_chat."""
        raise Unsupported(f"{type(self).__name__} does not write out its chat template")

    def read_rendered(self, prompt: str) -> tuple[Sequence[int], str]:
        """Return the ids of what `render_chat` wrote up to its last marker, and the text behind
        it.
        """
        raise NotImplementedError

    def hidden(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, T, D) rows for `head`. Used only after a probe showed head(hidden(ids))
        == logits(ids).
        """
        raise NotImplementedError

    def head(self, rows: Tensor) -> Tensor:
        """(N, D) rows -> (N, V) logits."""
        raise NotImplementedError

    def charge_targets(
        self, jobs: Sequence[tuple[NDArray[np.int64], int]]
    ) -> list[NDArray[np.float64]]:
        """Return, for each (T,) ids and `first`, the bits of ids[first:], each after those before
        it: for an engine that holds fewer logits at once than (T, V). Asked only if
        `charges_targets` is true.
        """
        raise NotImplementedError

    def read_logits(self, ids: Tensor, first: int) -> Iterator[Tensor]:
        """Yield the (N, V) logits after (T,) ids from number `first` on, some rows at a time. Asked
        only if `charges_targets` is true.
        """
        raise NotImplementedError

    def read_in_pieces(self, ids: Tensor, size: int) -> Tensor:
        """(T,) ids -> (T, V) logits, reading `size` ids at a time. Asked only of an engine that
        rounds activations, to see by how much that changes them.
        """
        raise NotImplementedError

    def forward_with_state(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(B, T) ids after `state` (None before a document) -> (B, T, D) rows for `head`, and the
        state after them. Together with context = None: a long document is read in pieces.
        """
        raise NotImplementedError

    def select_state(self, state: Any, rows: Tensor) -> Any:
        """The part of the state that belongs to these rows of its batch, in this order,
        some perhaps several times.
        """
        raise NotImplementedError

    def forward_packed(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """(B, T) ids at (B, T) positions, each seeing what the (B, 1, T, T) mask is true for -> (B,
        T, D) rows for `head`: several texts after one prompt, as packing.py lays them out. Asked
        only where `supports_packing` is true.
        """
        raise NotImplementedError

    def prefill(self, ids: Tensor) -> tuple[Any, Tensor]:
        """(B, T) ids -> a state and the (B, V) logits of what comes next. The default keeps the ids
        and computes all anew.
        """
        return ids, self._last(ids)

    def prefill_padded(self, ids: Tensor, lengths: Sequence[int]) -> tuple[Any, Tensor]:
        """The same for rows of which only the last `lengths` ids count: padding stands before them.
        Asked only if `supports_padding` is true.
        """
        raise NotImplementedError

    def step(self, state: Any, ids: Tensor) -> tuple[Any, Tensor]:
        """The state after one more id a row, (B,), and the (B, V) logits of what comes next."""
        line = torch.cat([state, ids[:, None]], dim=1)
        if self.context is not None:
            line = line[:, -self.context :]
        return line, self._last(line)

    def _last(self, ids: Tensor) -> Tensor:
        logits = self.logits(ids)
        check_logits(logits, ids)
        return logits[:, -1]

    @property
    def lm_head_weight(self) -> Tensor | None:
        """The head as a (V, D) matrix, where it is that and nothing else: head(rows) == rows @
        matrix.T.
        """
        return None

    # What llmbench does with it
    # ----------------------------------------------------------------------------------------

    @property
    def caches(self) -> bool:
        """Whether a step costs less than reading everything again."""
        return type(self).step is not TokenAdapter.step

    @property
    def supports_padding(self) -> bool:
        """Whether prompts of different lengths may share a batch, padded on the left."""
        return False

    @property
    def supports_packing(self) -> bool:
        """Whether `forward_packed` is there and gives what each text alone would."""
        return False

    @property
    def can_fork_state(self) -> bool:
        """Whether a state can be parted, so that several texts go on from one."""
        return self.is_stateful and type(self).select_state is not TokenAdapter.select_state

    @property
    def thread_safe(self) -> bool:
        """Whether several threads may call `hidden`, `logits` and `forward_packed` at once.

        Then they write nothing that another call reads.
        """
        return False

    @property
    def is_stateful(self) -> bool:
        return type(self).forward_with_state is not TokenAdapter.forward_with_state

    @cached_property
    def has_split_head(self) -> bool:
        """Whether hidden and head are there and, tried on random ids, equal logits."""
        if type(self).hidden is TokenAdapter.hidden or type(self).head is TokenAdapter.head:
            return False
        with torch.inference_mode():
            length = min(self.context or 16, 16)
            ids = torch.full((2, length), self.bos_ids[0], dtype=torch.long, device=self.device)
            count = self.logits(ids).shape[-1]
            ids[:, 1:] = torch.randint(
                0, count, (2, length - 1), generator=torch.Generator().manual_seed(0)
            ).to(self.device)
            whole, rows = self.logits(ids), self.hidden(ids)
            parts = self.head(rows.reshape(-1, rows.shape[-1])).reshape(whole.shape)
        return bool(torch.allclose(whole.float(), parts.float(), rtol=1e-4, atol=1e-4))

    @property
    def speller(self) -> Speller | None:
        """What gives the bits of pieces outside the vocabulary: `Vocabulary.speller`. Without it
        the checks cannot tell which bytes a spelled piece stands for.
        """
        return None

    @property
    def token_model(self) -> TokenModel:
        """The model itself: `prefill` and `step`."""
        return self

    def measure_prompt(self, prompt: str) -> tuple[int, int | None]:
        """Return the (bytes, tokens) that are read: of a long prompt, its end."""
        tokens = self.encode(prompt)
        count = len(tokens.ids) if self.context is None else min(len(tokens.ids), self.context)
        return (int(tokens.end[-1] - tokens.start[-count]), count) if count else (0, 0)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The torch modules among this object's attributes."""
        return {name: value for name, value in vars(self).items() if isinstance(value, nn.Module)}

    def to(self, device: str, dtype: str = "float32") -> Self:
        """Move the modules to a device and a dtype, in evaluation mode."""
        kind = torch_dtype(dtype)
        for module in self.modules.values():
            module.to(device=device, dtype=kind).eval()
        self.device = device
        return self

    @property
    def info(self) -> ModelInfo:
        tensors = {
            f"{name}.{key}": value
            for name, module in self.modules.items()
            for key, value in module.state_dict().items()
        }
        parameters = {id(p): p for module in self.modules.values() for p in module.parameters()}
        floats = [p for p in parameters.values() if p.is_floating_point()]
        return ModelInfo(
            name=self.name or type(self).__name__,
            family=self.family or type(self).__name__,
            tokenizer=self.tokenizer or "its own",
            parameters=sum(p.numel() for p in parameters.values()) if self.modules else None,
            context=self.context,
            dtype=str(floats[0].dtype).removeprefix("torch.") if floats else None,
            device=self.device,
            fingerprint=fingerprint(tensors, self.source()),
            weights_bytes=(
                sum(p.numel() * p.element_size() for p in parameters.values())
                if self.modules
                else None
            ),
        )

    def source(self) -> bytes:
        """What, besides tensors, decides the numbers: by default the class's name, the file that
        defines it, and the loaded modules beside that.
        """
        name = type(self).__qualname__.encode()
        try:
            own = Path(inspect.getfile(type(self))).resolve()
        except (OSError, TypeError):
            return name
        beside = {
            _resolve(file)
            for module in list(sys.modules.values())
            if (file := getattr(module, "__file__", None))
        }
        files = sorted(
            file for file in beside | {own} if file.parent == own.parent and file.suffix == ".py"
        )
        return name + b"".join(file.read_bytes() for file in files if file.is_file())

    def score(self, passages: Sequence[Passage], window: Window = Window()) -> Iterator[Ledger]:
        return scoring.score(self, passages, window)

    def find_loss(self, passage: Passage) -> str:
        return lines.find_loss(self, passage)

    def find_prompt_loss(self, prompt: str) -> str:
        return lines.find_prompt_loss(self, prompt)

    def generate(self, requests: Sequence[Request]) -> Iterator[Chunk]:
        return generation.generate(self, requests)

    def next_distribution(self, context: str) -> tuple[Sequence[bytes], NDArray[np.float64]]:
        ids = [*self.bos_ids, *self.encode(context).ids.tolist()]
        if self.context is not None:
            ids = ids[-self.context :]
        with torch.inference_mode():
            logits = self._last(torch.tensor([ids], device=self.device))[0].cpu().double()
        p = torch.softmax(logits, dim=0).numpy()
        symbols = [self.decode([i]) for i in range(len(p))]
        return (
            ([*symbols, b""], np.append(p * (1 - self.escape), self.escape))
            if self.escape
            else (symbols, p)
        )


@lru_cache(maxsize=4096)
def _resolve(file: str) -> Path:
    """The path of a module's file: there are thousands, and a model is asked for its info often."""
    return Path(file).resolve()


def fingerprint(tensors: dict[str, Tensor], source: bytes) -> str:
    """sha256 of tensors (names, shapes, dtypes, bytes) and source."""
    digest = hashlib.sha256(source)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(
            tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        )
    return digest.hexdigest()
