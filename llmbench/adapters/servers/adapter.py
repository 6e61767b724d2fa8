"""A model behind an OpenAI-compatible server: it writes, and where the server proves that it gives
each token of a prompt its own log-probability, it is scored like a model in this process.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmbench.adapter import (
    Adapter,
    BuildContext,
    Chunk,
    ModelInfo,
    Passage,
    Request,
    Window,
)
from llmbench.adapters.servers import scoring
from llmbench.adapters.servers.connecting import Connection, connect
from llmbench.adapters.servers.echo import Echo
from llmbench.adapters.servers.kept_answers import KeptAnswers
from llmbench.adapters.servers.load.run import run_load
from llmbench.adapters.servers.patience import Patience
from llmbench.adapters.servers.protocol import Prompt
from llmbench.adapters.servers.serve.process import ServerProcess, start_server
from llmbench.adapters.servers.tokenizer import ServerTokenizer, load_tokenizer
from llmbench.adapters.servers.writing import Times, Writer
from llmbench.config.fingerprints import UNHASHED
from llmbench.config.server_settings import ServerSettings
from llmbench.errors import Unsupported
from llmbench.inference.serving.load import Load, LoadRun, LoadTarget, Say, ServerMemory
from llmbench.inference.text import lines
from llmbench.ledger import Ledger
from llmbench.models.tokenizers.tokens import Tokens

BESIDE = 2  # places of a server's context for the last target and for the token that it must write


class OpenAIServer(Adapter, LoadTarget):
    """See docs/engines.md. `connection`: what was found out when it was connected."""

    needs_torch = False
    is_remote = True

    def __init__(
        self,
        settings: ServerSettings,
        connection: Connection,
        tokenizer: ServerTokenizer | None = None,
        kept: KeptAnswers | None = None,
        server: ServerProcess | None = None,
    ):
        self.server = server
        self.settings, self.connection, self.tokenizer = settings, connection, tokenizer
        self.kept = kept or KeptAnswers(None)
        self.bos_ids = tokenizer.bos_ids if tokenizer else ()
        self.eos_ids = tokenizer.eos_ids if tokenizer else ()
        self.adds_bos = tokenizer.adds_bos if tokenizer else True
        self.context = None if connection.context is None else connection.context - BESIDE
        self.reads_ids = tokenizer is not None and connection.proof.takes_ids
        if not self.reads_ids:
            self.prompt_parts = {"prompt": "chat" if connection.dialect.api == "chat" else "text"}
        self.writer = Writer(
            connection.client,
            connection.dialect,
            settings,
            self.kept,
            self._encode_prompt,
            connection.context,
            connection.counting,
        )

    @classmethod
    def build(
        cls,
        arguments: Mapping[str, Any],
        build_context: BuildContext,
        patience: Patience | None = None,
    ) -> OpenAIServer:
        """Connect to the server of a card's `arguments` (ServerSettings), and probe it."""
        settings = ServerSettings.model_validate(arguments)

        def report(what: str) -> None:
            build_context.progress("connecting", 0.0, what)

        kept = build_context.kept_answers
        tokenizer = load_tokenizer(settings.tokenizer, settings.bos) if settings.tokenizer else None
        folder, name = (None, "server") if kept is None else (kept.parent.parent, kept.stem)
        server = start_server(settings, folder, name, report)
        try:
            connection = connect(settings, tokenizer, patience or Patience(settings.tries), report)
        except BaseException:
            if server is not None:
                server.close()
            raise
        answers = KeptAnswers(kept, build_context.kept_seal, build_context.tell_kept)
        return cls(settings, connection, tokenizer, answers, server)

    @property
    def info(self) -> ModelInfo:
        settings, connection, tokenizer = self.settings, self.connection, self.tokenizer
        identity = f"{tokenizer.sha256} {self.bos_ids}" if tokenizer else "its own tokenizer"
        digest = hashlib.sha256(
            f"{settings.model} {connection.dialect.api} {identity}".encode()
        ).hexdigest()
        origin = {
            "server": settings.url,
            "id": settings.model,
            "weights": "not seen, and not hashed",
            "api": connection.dialect.api,
            "prompts": "token ids" if self.reads_ids else "text",
            "usage": connection.counting.wrong or "plausible",
            **connection.proof.to_record(),
        }
        return ModelInfo(
            name=settings.model,
            family="server",
            tokenizer=tokenizer.text.kind if tokenizer else "the server's",
            parameters=None,
            context=connection.context,
            dtype=None,
            device="server",
            fingerprint=f"{UNHASHED}{digest[:16]} {settings.model}",
            origin=origin,
        )

    @property
    def can_score(self) -> bool:
        """Whether the server proved that its log-probabilities are those of a prompt's tokens."""
        return not self.connection.proof.cause

    @property
    def is_masked(self) -> bool:
        return False

    @property
    def times(self) -> Mapping[int, Times]:
        """When the answers of the last `generate` came, by row."""
        return self.writer.times

    # Tokens
    # ------------------------------------------------------------------------------------------

    def encode(self, text: str) -> Tokens:
        """Return the ids of a text by the model's own tokenizer."""
        return self._own.text.encode(text)

    def encode_all(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the same for each text."""
        return self._own.text.encode_all(texts)

    def decode(self, ids: Sequence[int]) -> bytes:
        """Return the bytes that ids stand for."""
        return self._own.text.decode(ids)

    @property
    def _own(self) -> ServerTokenizer:
        assert self.tokenizer is not None
        return self.tokenizer

    def measure_prompt(self, prompt: str) -> tuple[int, int | None]:
        """Return (bytes, tokens) of a prompt: none is cut."""
        count = len(self.encode(prompt).ids) if self.tokenizer else None
        return len(prompt.encode()), count

    def find_loss(self, passage: Passage) -> str:
        return lines.find_loss(self, passage) if self.tokenizer else ""

    def find_prompt_loss(self, prompt: str) -> str:
        return lines.find_prompt_loss(self, prompt) if self.tokenizer else ""

    def _encode_prompt(self, request: Request) -> tuple[Prompt, int | None]:
        """What is sent, and how many tokens it has at least."""
        if self.tokenizer is None:
            return request.prompt, None
        ids = self.encode(request.prompt).ids.tolist()
        if not self.reads_ids:
            return request.prompt, len(ids)
        whole = [*(self.bos_ids if request.add_bos or not ids else ()), *ids]
        return whole, len(whole)

    chat_eos_ids: tuple[int, ...] = ()

    def encode_chat(self, system: str, prompt: str) -> Sequence[int]:
        """Raise Unsupported: the server alone applies its template."""
        raise Unsupported("only the server knows its chat template", where=self.settings.model)

    def read_rendered(self, prompt: str) -> tuple[Sequence[int], str]:
        """Raise Unsupported, as `encode_chat` does."""
        raise Unsupported("only the server knows its chat template", where=self.settings.model)

    def describe_chat(self) -> str:
        if self.connection.dialect.api != "chat":
            raise Unsupported(
                "/v1/completions applies no chat template",
                where=self.settings.model,
                hint="openai:MODEL@URL?api=chat, or ask it without `chat`",
            )
        return "the server's"

    # What it is asked
    # ------------------------------------------------------------------------------------------

    def score(self, passages: Sequence[Passage], window: Window = Window()) -> Iterator[Ledger]:
        proof, connection = self.connection.proof, self.connection
        if proof.cause or proof.way is None:
            raise Unsupported(
                f"the server's log-probabilities are not used: {proof.cause}",
                where=self.settings.model,
                hint="docs/engines.md says which servers can be scored",
            )
        echo = Echo(connection.client, connection.dialect, proof.way)
        return scoring.score(self, echo, self.kept, self.settings.concurrency, passages, window)

    def generate(self, requests: Sequence[Request]) -> Iterator[Chunk]:
        believed = not self.connection.counting.wrong
        yield from self.writer.generate(requests)
        wrong = self.connection.counting.wrong
        if believed and wrong:
            sys.stderr.write(f"llmbench: {self.settings.model}: usage says {wrong}\n")

    def run_load(self, load: Load, say: Say) -> LoadRun:
        connection, count = self.connection, None
        if not self.settings.stream:
            raise Unsupported("without streams there is no time of a first token: stream: true")
        if self.tokenizer is not None:
            own = self._own.text

            def count(text: str) -> int:
                return len(own.encode(text).ids)

        return run_load(
            connection.client, connection.dialect, self._encode_prompt, count, load, say
        )

    def measure_server(self) -> ServerMemory:
        return super().measure_server() if self.server is None else self.server.measure()

    def read_energy(self) -> tuple[float | None, str]:
        return super().read_energy() if self.server is None else self.server.read_energy()

    def forget_answers(self) -> None:
        self.kept.stop()

    def close(self) -> None:
        self.connection.client.close()
        self.kept.close()
        if self.server is not None:
            self.server.close()
