"""A load on a model behind a server, from requests to exchanges."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from llmbench.adapter import Request
from llmbench.adapters.servers.client import Client
from llmbench.adapters.servers.load.generator import Generator
from llmbench.adapters.servers.load.reading import read_reply
from llmbench.adapters.servers.protocol import Characters, Dialect, Prompt
from llmbench.errors import Unsupported
from llmbench.inference.serving.load import Exchange, Load, LoadRun, Say


def run_load(
    client: Client,
    dialect: Dialect,
    encode: Callable[[Request], tuple[Prompt, int | None]],
    count: Callable[[str], int] | None,
    load: Load,
    say: Say,
) -> LoadRun:
    """Send a load and return its exchanges. `encode`: as of a Writer; `count`: tokens of a text by
    the model's own tokenizer.

    Raises Unsupported if a proxy stands between, and ModelError if another model answers.
    """
    endpoint = client.find_endpoint(dialect.path)
    if endpoint.is_by_proxy:
        raise Unsupported(
            "the server is behind a proxy, whose time would be measured, too",
            where=client.where,
            hint="put the host into NO_PROXY",
        )
    bodies = [_make_body(dialect, encode, request, load) for request in load.requests]
    generator = Generator(endpoint, bodies, load, say)
    cost = generator.run()
    found = [read_reply(reply, dialect, client) for reply in generator.replies]
    return LoadRun([_count(exchange, count) for exchange in found], cost)


def _make_body(
    dialect: Dialect,
    encode: Callable[[Request], tuple[Prompt, int | None]],
    request: Request,
    load: Load,
) -> bytes:
    prompt, _ = encode(request)
    body = dialect.body(prompt, request, request.max_tokens or 1, True)
    return json.dumps({**body, **load.extra}, ensure_ascii=True).encode()


def _count(exchange: Exchange, count: Callable[[str], int] | None) -> Exchange:
    if count is None or not exchange.pieces:
        return exchange
    characters = Characters()
    data = [characters.take(text) for _, text in exchange.pieces]
    whole = b"".join([*data, characters.take("", True)]).decode()
    return replace(exchange, own=count(whole))
