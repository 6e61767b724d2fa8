"""How a model behind a server is asked: the arguments of its card, or the options of its SPEC."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, ValidationError, field_validator

from llmbench import limits
from llmbench.config.model_card import Arguments, Ids, is_path, resolve_path
from llmbench.config.strict_yaml import Strict
from llmbench.errors import UsageError, did_you_mean

Api = Literal["auto", "completions", "chat"]
USUAL_KEY = "OPENAI_API_KEY"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
EXAMPLE = "openai:MODEL@http://localhost:8000/v1"


class Serve(Strict):
    """How to start a server: llmbench starts it before the model is asked, and ends it after."""

    command: list[str] = Field(
        min_length=1,
        description="the program and its arguments, without a shell; let it bind 127.0.0.1",
    )
    health: str | None = Field(
        None, description="address that answers once the model is ready; by default URL/models"
    )
    seconds: float = Field(
        limits.SERVER_START_SECONDS,
        gt=0,
        le=limits.CELL_SECONDS,
        description="to wait until it answers",
    )
    folder: str = Field("", description="where the command runs; by default the card's folder")

    @field_validator("command")
    @classmethod
    def _is_runnable(cls, command: list[str]) -> list[str]:
        if not command[0] or any("\0" in word for word in command):
            raise ValueError("expected a program and its arguments")
        return command

    @field_validator("health")
    @classmethod
    def _is_address(cls, health: str | None) -> str | None:
        problem = find_url_problem(health) if health is not None else ""
        if problem:
            raise ValueError(problem)
        return health


class ServerSettings(Arguments):
    """A model behind an OpenAI-compatible server."""

    model: str = Field(
        min_length=1, max_length=limits.NAME_CHARACTERS, description="as the server calls it"
    )
    url: str = Field(description="up to and with the version, as in http://localhost:8000/v1")
    tokenizer: str | None = Field(
        None,
        description="directory or hub id of the model's own tokenizer: text can only be scored, and"
        " tokens counted, with it",
    )
    bos: str | int | None = Field(
        None, description="token or id before every text, in place of the tokenizer's own"
    )
    api: Api = Field(
        "auto", description="auto: completions if the server has them, else chat with its template"
    )
    served_as: str | None = Field(
        None, description="the name that the server's answers bear, if it is another one"
    )
    key_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description=f"environment variable that holds the API key; {USUAL_KEY} if that is set",
    )
    context: Ids | None = Field(
        None, description="most tokens of prompt and answer, if the server does not say"
    )
    concurrency: Annotated[int, Field(ge=1, le=limits.SERVER_REQUESTS)] = Field(
        8, description="most requests at a time"
    )
    timeout: float = Field(
        limits.SERVER_SECONDS,
        gt=0,
        le=limits.CELL_SECONDS,
        description="seconds without a byte after which a request is tried again",
    )
    tries: int = Field(
        limits.SERVER_TRIES,
        ge=1,
        le=limits.SERVER_TRIES_MOST,
        description="of one request, with waits that double, before the server is given up",
    )
    stream: bool = Field(True, description="ask for answers piece by piece, as they are written")
    serve: Serve | None = Field(None, description="how llmbench starts the server itself")
    tolerance: float = Field(
        0.05,
        gt=0,
        le=1,
        description="nats by which a token's log-probability may differ, on average, between"
        " writing it and reading it",
    )

    @field_validator("url")
    @classmethod
    def _is_plain(cls, url: str) -> str:
        problem = find_url_problem(url)
        if problem:
            raise ValueError(problem)
        return url.rstrip("/")

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return urlsplit(self.url).hostname in LOOPBACK

    def anchor(self, folder: Path) -> Self:
        """Return the same with its paths made absolute from `folder`."""
        changes: dict[str, object] = {}
        if self.tokenizer is not None and is_path(self.tokenizer):
            changes["tokenizer"] = str(resolve_path(Path(self.tokenizer).expanduser(), folder))
        if self.serve is not None:
            place = resolve_path(Path(self.serve.folder or ".").expanduser(), folder)
            changes["serve"] = self.serve.model_copy(update={"folder": str(place)})
        return self.model_copy(update=changes)


def find_url_problem(url: str) -> str:
    """Return what is wrong with the address of a server, "" if nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"not an address: {error}"
    if parts.scheme not in ("http", "https") or not host:
        return "expected http://HOST:PORT/v1 or https://HOST/v1"
    if parts.username is not None or parts.password is not None:
        return "an address with a password in it would be recorded; name a variable with key_env"
    if parts.query or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        return "expected an address without query, fragment and spaces"
    return ""


def parse_spec(spec: str) -> ServerSettings:
    """Read `openai:MODEL@URL?option=value&...`. Raises UsageError, without repeating a password."""
    body, _, query = spec.removeprefix("openai:").partition("?")
    model, url = _split_address(body)
    if not model or not url:
        raise UsageError(
            "openai: needs a model and the address of its server", hint=f"as in {EXAMPLE}"
        )
    given: dict[str, Any] = {"model": model, "url": url, **_read_options(query)}
    where = f"openai:{model}"
    try:
        settings = ServerSettings.model_validate(given, strict=False)
    except ValidationError as error:
        finding = error.errors(include_url=False, include_input=False)[0]
        name = finding["loc"][0] if finding["loc"] else ""
        what = finding["msg"].removeprefix("Value error, ")
        raise UsageError(f"{name}: {what[0].lower()}{what[1:]}", where=where) from None
    tokenizer = settings.tokenizer
    if tokenizer is not None and Path(tokenizer).expanduser().is_dir():
        return settings.model_copy(
            update={"tokenizer": str(Path(tokenizer).expanduser().resolve())}
        )
    return settings.anchor(Path.cwd())


def _split_address(body: str) -> tuple[str, str]:
    """MODEL and URL of `MODEL@URL`; a model's name may hold an @, too."""
    at = max(body.rfind("@http://"), body.rfind("@https://"))
    return (body[:at], body[at + 1 :]) if at >= 0 else (body, "")


def _read_options(query: str) -> dict[str, str | int]:
    """Options by name, percent-encoded where that is needed."""
    known = sorted(set(ServerSettings.model_fields) - {"model", "url", "serve"})
    found: dict[str, str | int] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in known or not value or name in found:
            raise UsageError(
                f"unknown option {name!r}" if name not in known else f"{name}: give one value",
                where="openai:",
                hint=did_you_mean(name, known) or f"known: {', '.join(known)}",
            )
        text = unquote(value)
        found[name] = int(text) if name == "bos" and text.isdecimal() else text
    return found
