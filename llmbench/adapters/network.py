"""Networks trained here: a vocabulary learnt from the training text, a network from models/ (or
anybody's), a checkpoint that came with llmbench or is kept in a cache.

The cache's key is recipe + source of network and trainer + training bytes + seed, so a checkpoint
is never stale. Checkpoints are safetensors and JSON, written beside their place and renamed, so
that a killed training leaves nothing half-done.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from llmbench.adapter import BuildContext, ModelInfo, Window
from llmbench.adapters.bpe_network import made, obtain_model, taught, texts_of
from llmbench.adapters.token import TokenAdapter, Tokens
from llmbench.config.model_card import NetworkSpec, VocabularySpec
from llmbench.config.plugins import source_files
from llmbench.errors import UsageError
from llmbench.models.networks.network import Network, State
from llmbench.models.steps.begin import begin_step
from llmbench.models.steps.row_step import RowStep
from llmbench.models.tokenizers.spelling import Speller
from llmbench.models.tokenizers.vocabulary import Vocabulary
from llmbench.training.causal_lm import NextSymbols, as_training_line
from llmbench.training.place import place_network
from llmbench.training.trainer import valid_passages


class NetworkAdapter(TokenAdapter):
    """A network over a closed vocabulary."""

    learns_from_text, required_parts = True, ("network", "recipe")
    default_splitter, network_class = "characters", Network

    def __init__(
        self,
        network: Network,
        vocabulary: Vocabulary,
        training: Mapping[str, Any] | None = None,
        source: bytes = b"",
    ):
        self.network, self.vocabulary, self.training, self._source = (
            network.eval(),
            vocabulary,
            training,
            source,
        )
        self.context, self.cache_window = network.context, network.window
        self.bos_ids = (vocabulary.bos_id,)
        self.unknown, self.escape = vocabulary.unknown, vocabulary.escape
        self.tokenizer = vocabulary.splitter

    @classmethod
    def build(cls, arguments: Mapping[str, Any], build_context: BuildContext) -> NetworkAdapter:
        """From the cache, or trained now. `arguments`: network (NetworkSpec), vocabulary
        (VocabularySpec), recipe (Recipe), as in a card.
        """
        spec, recipe = arguments["network"], arguments["recipe"]
        chosen = arguments.get("vocabulary") or VocabularySpec(splitter=cls.default_splitter)
        text, valid = texts_of(build_context, recipe)
        splitter = chosen.splitter
        if splitter == "bpe":
            raise UsageError(
                "this network reads characters or words", hint="vocabulary: {splitter: characters}"
            )

        def load(facts: Mapping[str, Any], weights: dict[str, Tensor]) -> NetworkAdapter:
            vocabulary = Vocabulary.from_json(facts["vocabulary"])
            # the class of the card is none
            network = made(spec, Network, vocabulary.symbols, seed=0)  # type: ignore[type-abstract]
            network.load_state_dict(weights)
            return cls(network, vocabulary, facts["training"], _source(spec))

        def train(partial: Path) -> NetworkAdapter:
            build_context.progress("vocabulary", 0.0, "")
            vocabulary = Vocabulary.learn(
                (document.whole for document in text.documents), splitter, chosen.size
            )
            # likewise
            network = made(spec, Network, vocabulary.symbols, build_context.seed)  # type: ignore[type-abstract]
            adapter = cls(network, vocabulary, source=_source(spec))
            adapter.to(build_context.device)
            passages = valid_passages(valid)

            def evaluate() -> float:
                return sum(
                    ledger.total() for ledger in adapter.score(passages, Window("half"))
                ) / max(1, valid.bytes)

            lessons = NextSymbols(
                adapter.network,
                [
                    as_training_line(vocabulary.encode(document.whole), document)
                    for document in text.documents
                ],
            )
            adapter.training = taught(
                adapter.network, lessons, evaluate, recipe, build_context, partial
            )
            return adapter

        return obtain_model(
            place_network(spec, chosen, recipe, build_context, Path(inspect.getfile(cls))),
            load,
            train,
        )

    def facts(self) -> Mapping[str, object]:
        """What, besides its weights, it is made from again."""
        return {"vocabulary": self.vocabulary.to_json(), "training": self.training}

    @property
    def info(self) -> ModelInfo:
        return replace(
            super().info, context=self.network.context or self.network.reach, training=self.training
        )

    def source(self) -> bytes:
        return self._source + json.dumps(self.vocabulary.to_json(), sort_keys=True).encode()

    @property
    def speller(self) -> Speller:
        return self.vocabulary.speller

    def encode(self, text: str) -> Tokens:
        return self.vocabulary.encode(text)

    def decode(self, ids: Sequence[int]) -> bytes:
        return self.vocabulary.decode(ids)

    def logits(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.network(ids)
        return logits

    def hidden(self, ids: Tensor) -> Tensor:
        return self.network.hidden(ids)[0]

    def head(self, rows: Tensor) -> Tensor:
        return self.network.head(rows)

    def forward_with_state(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        return self.network.hidden(ids, state)

    @property
    def can_fork_state(self) -> bool:
        return self.is_stateful and type(self.network).select_state is not Network.select_state

    def select_state(self, state: State, rows: Tensor) -> State:
        return self.network.select_state(state, rows)

    def prefill(self, ids: Tensor) -> tuple[State, Tensor]:
        rows, state = self.network.hidden(ids)
        return state, self.network.head(rows[:, -1])

    def step(self, state: State, ids: Tensor) -> tuple[State, Tensor]:
        """See TokenAdapter.step. A single row is written by a step of its own where there is one:
        after that its state is this step, which changes with each id.
        """
        fast = state if isinstance(state, RowStep) else None
        if fast is None and len(ids) == 1:
            fast = begin_step(self.network, state)
        if fast is not None:
            return fast, fast(int(ids))
        rows, state = self.network.hidden(ids[:, None], state)
        return state, self.network.head(rows[:, -1])


def _source(spec: NetworkSpec) -> bytes:
    return b"".join(file.read_bytes() for file in source_files(spec.cls))
