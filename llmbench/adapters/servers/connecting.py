"""Connecting to a server: which models it has, how it wants to be asked, what it proves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from llmbench import limits
from llmbench.adapter import Request
from llmbench.adapters.servers.client import Client, Refusal
from llmbench.adapters.servers.kept_answers import KeptAnswers
from llmbench.adapters.servers.patience import Patience
from llmbench.adapters.servers.probe import Prober, Proof
from llmbench.adapters.servers.protocol import Counting, Dialect, OnlyReasoning, Prompt
from llmbench.adapters.servers.tokenizer import ServerTokenizer
from llmbench.adapters.servers.writing import Writer
from llmbench.config.server_settings import ServerSettings
from llmbench.errors import ModelError, Unavailable, UsageError, did_you_mean

TRIES = 3  # of the first requests: a server that is not there is soon known
FIRST_WORDS = Request("The kettle said", max_tokens=4)
NO_CHAT = "the chat API gives no log-probabilities of a prompt"
NO_TOKENIZER = (
    "without the model's own tokenizer its tokens cannot be charged to bytes: tokenizer=DIRECTORY"
)
NOT_SERVED = (400, 403, 404, 405, 410, 422, 501)  # a server without an API, or a model without it


@dataclass
class Connection:
    """A server that answers: how it is asked, and what it proved. `context`: its tokens at most."""

    client: Client
    dialect: Dialect
    counting: Counting
    proof: Proof
    context: int | None
    listed: bool
    facts: dict[str, object] = field(default_factory=dict)


def connect(
    settings: ServerSettings,
    tokenizer: ServerTokenizer | None,
    patience: Patience,
    report: Callable[[str], None] = lambda what: None,
) -> Connection:
    """Find out all that is asked of a server once.

    Raises Unavailable if it does not answer, UsageError if it has no such model, ModelError if
    another one answers.
    """
    client = Client(settings, replace(patience, tries=min(TRIES, patience.tries)))
    report("asking for its models")
    listed = _find_model(client, settings)
    served = listed.get("max_model_len") if listed is not None else None
    if isinstance(served, bool) or not isinstance(served, int) or not 0 < served <= limits.IDS:
        served = None
    context = settings.context or served
    report("asking for a few words")
    dialect, counting = _find_dialect(client, settings, context)
    report("comparing what it writes with what it reads")
    proof = _prove(client, dialect, counting, settings, tokenizer, context)
    client.patience = replace(patience, absence=ModelError)  # a server that was there has died
    return Connection(client, dialect, counting, proof, context, listed is not None)


def _find_model(client: Client, settings: ServerSettings) -> Mapping[str, Any] | None:
    """What the server lists of the model; None if it has no list, or cannot make one."""
    try:
        answer = client.ask("/models")
    except ModelError as error:
        if isinstance(error, Refusal) and error.status in (401, 403):
            raise _refuse_key(error, settings) from None
        return None
    rows = answer.get("data")
    models = {
        str(row["id"])[: limits.NAME_CHARACTERS * 4]: row
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and "id" in row
    }
    if not models or settings.model in models:
        return models.get(settings.model)
    raise UsageError(
        f"the server has no model {settings.model!r}",
        where=settings.url,
        hint=client.hide_key(did_you_mean(settings.model, models) or f"it has {len(models)}"),
    )


def _refuse_key(refusal: Refusal, settings: ServerSettings) -> Unavailable:
    return Unavailable(
        refusal.what,
        where=settings.url,
        hint="put the API key into an environment variable and name it: key_env=NAME",
    )


def _find_dialect(
    client: Client, settings: ServerSettings, context: int | None
) -> tuple[Dialect, Counting]:
    """Ask for a few words through the API of the settings, or the first that the server has."""
    apis: Sequence[Literal["completions", "chat"]] = (
        ("completions", "chat") if settings.api == "auto" else (settings.api,)
    )
    for api in apis:
        dialect = Dialect(api, settings.model, settings.served_as or settings.model, settings.url)
        counting = Counting()
        writer = Writer(client, dialect, settings, KeptAnswers(None), _as_text, context, counting)
        try:
            with suppress(OnlyReasoning):  # it may say more if it is allowed to
                for _ in writer.generate([FIRST_WORDS]):
                    pass
        except Refusal as refusal:
            if refusal.status in (401, 403):
                raise _refuse_key(refusal, settings) from None
            if refusal.status not in NOT_SERVED or api == apis[-1]:
                raise
        else:
            return dialect, counting
    raise AssertionError("the last way of asking raises or returns")


def _as_text(request: Request) -> tuple[Prompt, int | None]:
    return request.prompt, None


def _prove(
    client: Client,
    dialect: Dialect,
    counting: Counting,
    settings: ServerSettings,
    tokenizer: ServerTokenizer | None,
    context: int | None,
) -> Proof:
    if dialect.api == "chat":
        return Proof(NO_CHAT)
    if tokenizer is None:
        return Proof(NO_TOKENIZER)
    with suppress(Refusal):
        tolerance = settings.tolerance
        return Prober(client, dialect, tokenizer, counting, context, tolerance).prove()
    return Proof("it refuses log-probabilities")
