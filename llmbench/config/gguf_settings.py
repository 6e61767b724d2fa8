"""How a GGUF file is run: the arguments of its card, or the options of its SPEC."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import unquote

from pydantic import Field

from llmbench import limits
from llmbench.config.model_card import Arguments, Ids, resolve_path
from llmbench.errors import UsageError, did_you_mean
from llmbench.storage import is_file

PREFIX = "gguf:"
OPTIONS = ("context", "parallel")


class GGUFSettings(Arguments):
    """A GGUF file, run by llama.cpp in the process."""

    file: str = Field(description="a path, from where the card is")
    context: Ids | None = Field(
        None, description="most tokens at once; none: the file's own, at most 8192"
    )
    parallel: Annotated[int, Field(ge=1, le=limits.GGUF_PARALLEL)] = Field(
        1, description="answers that are written side by side, each with room for `context` tokens"
    )

    def anchor(self, folder: Path) -> Self:
        """Return the same with the file's path made absolute from `folder`."""
        place = resolve_path(Path(self.file).expanduser(), folder)
        return self.model_copy(update={"file": str(place)})

    def list_files(self) -> list[Path]:
        return [Path(self.file)]


def parse_spec(spec: str) -> GGUFSettings:
    """Read `gguf:FILE?context=N&parallel=N`, or only FILE. Raises UsageError if there is none."""
    file, _, query = spec.removeprefix(PREFIX).partition("?")
    given = dict[str, int]()
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in OPTIONS or name in given:
            hint = did_you_mean(name, OPTIONS) or f"known: {', '.join(OPTIONS)}"
            raise UsageError(f"unknown option {part!r}", where=f"{PREFIX}{file}", hint=hint)
        most = limits.IDS if name == "context" else limits.GGUF_PARALLEL
        if not value.isdecimal() or not 1 <= int(value[:9]) <= most:
            raise UsageError(f"{name} must be from 1 to {most}: {value!r}", where=f"gguf:{file}")
        given[name] = int(value)
    path = Path(unquote(file)).expanduser()
    if not is_file(path):
        raise UsageError("there is no such file", where=f"{PREFIX}{file}")
    return GGUFSettings(file=str(path.resolve()), **given)
