"""How a checkpoint of a course is read: the arguments of its card, or the options of its SPEC."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import unquote

from pydantic import Field, ValidationError

from llmbench.config.model_card import Arguments, Ids, is_path, resolve_path
from llmbench.errors import UsageError, did_you_mean
from llmbench.storage import is_file


class CourseSettings(Arguments):
    """A checkpoint as a course's own code writes it."""

    is_folder: ClassVar[bool] = False

    place: str = Field(description="the file or directory, from where the card is")
    tokenizer: str | None = Field(
        None, description="directory or hub id of the model's tokenizer, if it is not beside it"
    )
    bos: str | int | None = Field(
        None, description="token or id before every text, in place of the usual one"
    )

    def anchor(self, folder: Path) -> Self:
        """Return the same with its paths made absolute from `folder`."""
        paths = {"place": self.place, **{name: getattr(self, name) for name in self._find_paths()}}
        changes = {
            name: str(resolve_path(Path(path).expanduser(), folder)) for name, path in paths.items()
        }
        return self.model_copy(update=changes)

    def _find_paths(self) -> tuple[str, ...]:
        own = self.tokenizer
        is_one = own is not None and (is_path(own) or Path(own).expanduser().is_dir())
        return ("tokenizer",) if is_one else ()

    def list_files(self) -> list[Path]:
        place = Path(self.place)
        return sorted(filter(is_file, place.iterdir())) if place.is_dir() else [place]


class NanoGPTSettings(CourseSettings):
    """A `ckpt.pt` of nanoGPT."""

    vocabulary: str | None = Field(
        None,
        description="JSON file with the id of each character: what meta.pkl has as `stoi`; none:"
        " meta.json beside the checkpoint, if it is there",
    )

    def _find_paths(self) -> tuple[str, ...]:
        own = ("vocabulary",) if self.vocabulary is not None else ()
        return (*super()._find_paths(), *own)


class ScratchGPTSettings(CourseSettings):
    """The weights of a GPT as in "Build a Large Language Model (From Scratch)"."""

    heads: Ids = Field(
        description="`n_heads` of the model's config, which its weights do not tell: 12 of GPT-2"
        " small"
    )


class LitGPTSettings(CourseSettings):
    """A checkpoint directory of LitGPT."""

    is_folder = True


class NanoChatSettings(CourseSettings):
    """A checkpoint directory of nanochat."""

    is_folder = True

    step: int | None = Field(None, ge=0, description="which of its checkpoints; none: the last one")


COURSES: Mapping[str, type[CourseSettings]] = {
    "nanogpt": NanoGPTSettings,
    "scratch-gpt": ScratchGPTSettings,
    "litgpt": LitGPTSettings,
    "nanochat": NanoChatSettings,
}


def parse_spec(course: str, spec: str) -> CourseSettings:
    """Read `PLACE?option=value&...`, what follows `COURSE:` in a SPEC.

    Raises UsageError if there is no such file or directory, or an option is wrong.
    """
    kind = COURSES[course]
    place, _, query = spec.partition("?")
    where = f"{course}:{place}"
    given = {"place": unquote(place), **_read_options(kind, where, query)}
    try:
        settings = kind.model_validate(given, strict=False)
    except ValidationError as error:
        finding = error.errors(include_url=False, include_input=False)[0]
        name = str(finding["loc"][0]) if finding["loc"] else ""
        about = kind.model_fields[name].description if name in kind.model_fields else ""
        what = finding["msg"]
        said = f"{name}: {what[0].lower()}{what[1:]}"
        raise UsageError(said, where=where, hint=f"?{name}=: {about}") from None
    settings = settings.anchor(Path.cwd())
    found = Path(settings.place)
    if not (found.is_dir() if kind.is_folder else is_file(found)):
        wanted = "directory" if kind.is_folder else "file"
        raise UsageError(f"there is no such {wanted}", where=where)
    return settings


def _read_options(kind: type[CourseSettings], where: str, query: str) -> dict[str, Any]:
    """Options by name, percent-encoded where that is needed."""
    known = sorted(set(kind.model_fields) - {"place"})
    found: dict[str, Any] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in known or not value or name in found:
            raise UsageError(
                f"unknown option {name!r}" if name not in known else f"{name}: give one value",
                where=where,
                hint=did_you_mean(name, known) or f"known: {', '.join(known)}",
            )
        text = unquote(value)
        found[name] = int(text) if name == "bos" and text.isdecimal() and len(text) < 10 else text
    return found
