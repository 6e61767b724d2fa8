"""A suite's texts: where each comes from, and how it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from llmbench.config.strict_yaml import Places, place
from llmbench.data import hub, loading
from llmbench.data.fields import PARTS, Fields
from llmbench.data.formats import format_of
from llmbench.data.rows import find_place
from llmbench.data.templates import find_fields
from llmbench.data.text import DocumentError, Text
from llmbench.errors import Unavailable, UsageError, did_you_mean
from llmbench.plan.shipped import is_shipped, name_suite
from llmbench.plan.suite_file import HubSpec, Origin, SuiteFile, TextSpec
from llmbench.storage import is_file


@dataclass(frozen=True)
class TextLoader:
    """Loads the texts of a suite file. `given`: the user's own files by name, as in --data.

    `fetch_rows`: the file with the rows of a Hub dataset. `shown`: role -> the fields of its rows
    that templates show besides the parts of a document. `files`: role -> what was read for it.
    """

    path: Path
    file: SuiteFile
    places: Places
    given: Mapping[str, str]
    fetch_rows: Callable[[hub.Rows], Path]
    shown: Mapping[str, Sequence[str]]
    files: dict[str, Path] = field(default_factory=dict)

    def check_given(self) -> None:
        """Raise UsageError if --data names what the suite does not have, or is not a file."""
        for name, value in self.given.items():
            if value.startswith("hub:"):
                raise UsageError(
                    f"--data {name}: expected a local file, got a Hub dataset",
                    hint="name it in a suite instead: source: hub:ID",
                )
            if name not in self.file.sources and name not in self.file.texts:
                raise UsageError(
                    f"--data {name}: the suite has no such text",
                    hint=did_you_mean(name, [*self.file.sources, *self.file.texts]),
                )

    def is_remote(self, role: str, spec: TextSpec) -> bool:
        """Whether a text is of the hub, and no file is given in its place."""
        if role in self.given or spec.source in self.given:
            return False
        origin = self.file.sources.get(spec.source)
        return ((origin.source if origin else spec.source) or "").startswith("hub:")

    def load(self, role: str, spec: TextSpec) -> Text:
        """The text of a role. Unavailable if it can be neither found nor fetched."""
        given = self.given
        if role in given:
            return self._read(role, given[role], fields=spec.fields, shaping=spec.shaping)
        if self._is_text(role, spec):
            text = self.load(spec.source, self._find_text(role, spec))
            if spec.source in self.files:
                self.files[role] = self.files[spec.source]
            return replace(text, name=role)
        if spec.file is not None and spec.source not in self.file.sources:
            raise UsageError(
                f"`file` needs one of the suite's sources, not {spec.source!r}",
                where=self._where("texts", role, "file"),
                hint=did_you_mean(spec.source, self.file.sources),
            )
        split = None if spec.split is None else spec.split.model_dump(exclude_none=True)
        load = partial(self._read, role, split=split, select=spec.select, shaping=spec.shaping)
        at, source, chosen = ("texts", role), spec.source, spec.hub
        if source in self.file.sources:
            at, origin = ("sources", source), self.file.sources[source]
            if spec.file is not None:
                return load(self._find_file(source, spec.file), fields=spec.fields)
            if source in given:
                return load(given[source], fields=_find_fields(spec, origin, given[source]))
            if origin.source is None:
                raise UsageError(
                    f"the suite needs a text: {origin.about}",
                    where=self._where(*at),
                    hint=f"give it with --data {source}=PATH",
                )
            source, chosen = origin.source, origin.hub
        if source in loading.SOURCES:
            return loading.load(role, source, split, spec.select)
        if source.startswith("hub:"):
            chosen = chosen or HubSpec()
            fields: Fields = (
                spec.fields
                if "choices" in spec.fields or spec.prepare
                else {"text": chosen.field, **spec.fields}
            )
            shown = self.shown.get(role, ())
            shaped = [*spec.shaping.columns, *chain(*map(find_fields, spec.candidates))]
            is_mapped = bool(spec.fields or spec.select or shown or shaped)
            columns = _columns(fields, [*spec.select, *shown, *shaped]) if is_mapped else ()
            file = self._fetch(source, chosen, at, columns)
            if not spec.prepare:
                self._check_shown(shown, file, source, at)
            return load(file, join=chosen.join == "lines", fields=fields if columns else None)
        path = self.path.parent / source
        if not is_file(path):
            known = [*loading.SOURCES, *self.file.sources]
            raise _no_source(source, path, known, self._where(*at, "source"))
        return load(path, fields=spec.fields)

    def _read(self, role: str, source: str | Path, **how: Any) -> Text:
        """The text of a role from a file, or a built-in one; see `loading.load`."""
        if str(source) not in loading.SOURCES:
            self.files[role] = Path(source)
        return loading.load(role, source, **how)

    def locate(self, error: DocumentError, asked: str) -> UsageError:
        """Return the error of a document with the place in its file; if no document of the text is
        right, with that of the task (`asked`), which may be the wrong one.
        """
        if error.name not in self.files:
            return UsageError(error.what, where=asked, hint=error.hint)
        select = self.file.texts[error.name].select
        one = error.document
        found = find_place(self.files[error.name], one.id, one.text, select)
        if not error.is_of_all or is_shipped(self.path):
            return UsageError(error.what, where=found, hint=error.hint)
        hint = "; ".join(filter(None, [error.hint, f"it stands at {found}"]))
        return UsageError(error.what, where=asked, hint=hint)

    def _is_text(self, role: str, spec: TextSpec) -> bool:
        """Whether the source of a text is another text of the suite."""
        known = spec.source in (*self.file.sources, *loading.SOURCES)
        return spec.source in self.file.texts and spec.source != role and not known

    def _find_text(self, role: str, spec: TextSpec) -> TextSpec:
        """The other text that a text is the same as. UsageError if it is changed or named again."""
        found = self.file.texts[spec.source]
        if spec.model_fields_set != {"source"} or self._is_text(spec.source, found):
            raise UsageError(
                f"{role!r} is the text {spec.source!r}, so it can have no other key, and that must"
                " have a source of its own",
                where=self._where("texts", role),
            )
        return found

    def _find_file(self, source: str, name: str) -> Path:
        """A file in the directory that the user gives for a source. Unavailable if it is not there.

        nanochat's eval_bundle keeps its data in eval_data, llm-foundry in local_data.
        """
        about, hint = self.file.sources[source].about, f"give it with --data {source}=DIR"
        if source not in self.given:
            raise Unavailable(f"{name} needs {about}", hint=hint)
        folder = Path(self.given[source])
        if not folder.is_dir():
            raise UsageError(f"--data {source}: {folder} is not a directory", hint=about)
        places = [folder / inside / name for inside in ("", "eval_data", "local_data")]
        found = next((place for place in places if is_file(place)), None)
        if found is None:
            raise Unavailable(f"{name} is not in {folder}, which should be {about}", hint=hint)
        return found

    def _fetch(
        self, source: str, chosen: HubSpec, at: tuple[str, str], columns: tuple[str, ...]
    ) -> Path:
        """The file with the rows of a data set on the hub, or of a folder beside the suite."""
        id = source.removeprefix("hub:")
        folder = self.path.parent / id
        try:
            place = str(folder.resolve()) if id and folder.is_dir() else id
            return self.fetch_rows(
                hub.Rows(place, chosen.config, chosen.split, chosen.field, columns)
            )
        except UsageError as error:
            raise UsageError(
                f"{source}: {error.what}", where=self._where(*at, "hub"), hint=error.hint
            ) from None
        except Unavailable as error:
            raise Unavailable(
                error.what,
                hint=f"{error.hint}; or give a file with --data {at[1]}=PATH; `llmbench data fetch"
                f" {name_suite(self.path)}` brings all of the suite",
            ) from None

    def _check_shown(
        self, shown: Sequence[str], file: Path, source: str, at: tuple[str, str]
    ) -> None:
        """Raise UsageError if a template shows a field that a data set does not have."""
        known = hub.list_fields(file) if shown else []
        for name in shown:
            if name == "id":
                raise UsageError(
                    f"{source}: a template cannot show the field 'id': of a Hub dataset it is the"
                    " number of the row",
                    where=self._where(*at),
                )
            if known and not {name, name.partition(".")[0]} & set(known):
                raise UsageError(
                    f"{source}: there is no field {name!r}, which a template shows",
                    where=self._where(*at),
                    hint=did_you_mean(name, known) or f"there are: {', '.join(known)}",
                )

    def _where(self, *at: str) -> str:
        return place(self.path, self.places, at)


def _no_source(source: str, path: Path, known: Sequence[str], where: str) -> UsageError:
    """The error of a source that is neither a file nor a known name."""
    if not path.suffix and "/" not in source:
        return UsageError(
            f"unknown source {source!r}", where=where, hint=did_you_mean(source, known)
        )
    near: list[str] = []
    with suppress(OSError):  # no folder has such a name
        near = [file.name for file in path.parent.glob("*") if path.parent.is_dir()]
    hint = did_you_mean(path.name, near)
    if not hint.startswith("did"):  # all the files of a folder would say less
        hint = "paths are relative to the folder of the suite"
    return UsageError(f"there is no file {path}", where=where, hint=hint)


def _columns(fields: Fields, others: Sequence[str]) -> tuple[str, ...]:
    """The fields of a data set that may hold the parts of a pair or a question, renamed or not, and
    others. Of `a.b` the object a, or the field of that name.
    """
    named = [fields.get(part, part) for part in PARTS]
    names = [name for found in named for name in ([found] if isinstance(found, str) else found)]
    names += others
    return tuple(sorted({name.partition(".")[0] for name in names} | {*names}))


def _find_fields(spec: TextSpec, origin: Origin, file: str | Path) -> Fields:
    """The names of the parts in a file that is given for a source: the suite's, and for the text
    the one that it has on the Hub.
    """
    chosen = origin.hub
    if chosen is None or chosen.field == "text" or spec.prepare or "choices" in spec.fields:
        return spec.fields
    if format_of(Path(file)) == "text":  # one document, without fields
        return spec.fields
    return {"text": [chosen.field, "text"], **spec.fields}
