"""Makes lm-eval's task objects, in silence, and says in one line what is wrong with one."""

from __future__ import annotations

import contextlib
import copy
import glob
import io
import logging
import random
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from llmbench.errors import LlmbenchError, Unavailable, UsageError
from llmbench.tasks.lm_eval import catalog as catalogs
from llmbench.tasks.lm_eval import trust
from llmbench.tasks.lm_eval.catalog import Entry

FORMATS = ("json", "csv", "parquet", "arrow", "text", "xml")  # of local files, as datasets has them
TEMPLATES = 1024  # that are kept compiled
SEEDS = (0, 1234)  # of random and numpy, which lm-eval sets before it makes its tasks


@dataclass(frozen=True)
class Wanted:
    """A name of lm-eval's, and how it is asked.

    shots: None leaves what the task itself says. offline: data sets are not asked of the hub.
    gen_kwargs: how answers are generated, in place of what a task says.
    """

    name: str
    include_path: str | None = None
    trust_code: bool = False
    shots: int | None = None
    shots_seed: int = 1234
    offline: bool = True
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """A task with its data, or a group: `members` by name, and lm-eval's group object.
    `is_trusted`: whether its files may run code.
    """

    members: Mapping[str, Any]
    group: Any = None
    is_trusted: bool = True


def list_members(name: str, catalog: Mapping[str, Entry]) -> list[str] | None:
    """Return the tasks that a name stands for side by side: the members of a tag, or of a group
    without an average; None of a task, or of a group with an average.
    """
    entry = catalog[name]
    if entry.kind == "tag":
        return list(entry.members)
    if entry.kind == "task" or entry.has_average:
        return None
    members = trust.read_plain(Path(entry.file)).get("task")
    found = [members] if isinstance(members, str) else members
    if not isinstance(found, list) or not all(one in catalog for one in found if _is_text(one)):
        raise UsageError("a group without members", where=entry.file)
    if not all(map(_is_text, found)):
        raise UsageError(
            f"the group {name!r} has no average, and members with settings of their own",
            where=entry.file,
            hint="name its members in the suite",
        )
    return [str(one) for one in found]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def check_files(name: str, catalog: Mapping[str, Entry], trust_code: bool) -> None:
    """Raise UsageError if a file that a name needs may not be used; nothing is run."""
    seen, waiting = set[str](), [name]
    while waiting:
        entry = catalog.get(waiting.pop())
        if entry is None or entry.name in seen:
            continue
        seen.add(entry.name)
        waiting += entry.members
        if not entry.file:
            continue
        file = Path(entry.file)
        trust.check_file(file, trust_code)
        if entry.kind == "group":
            waiting += _find_names(trust.read_plain(file).get("task"))


def find_beneath(name: str, catalog: Mapping[str, Entry]) -> set[str]:
    """Return the names of all that stands beneath a group, at any depth."""
    found, waiting = set[str](), [name]
    while waiting:
        entry = catalog.get(waiting.pop())
        if entry is None or entry.kind == "task":
            continue
        members = list(entry.members)
        if entry.file:
            members += _find_names(trust.read_plain(Path(entry.file)).get("task"))
        waiting += [one for one in members if one not in found]
        found.update(members)
    return found


def _find_names(members: object) -> list[str]:
    """All names among the members of a group, those of groups inside it, too."""
    if isinstance(members, str):
        return [members]
    if isinstance(members, list):
        return [name for one in members for name in _find_names(one)]
    if isinstance(members, dict):
        return [name for key in ("task", "group") for name in _find_names(members.get(key))]
    return []


def load(wanted: Wanted) -> Loaded:
    """Return a task or a group with its data and few-shot settings, as lm-eval's evaluator has it.

    Raises Unavailable if a data set is not on this machine and cannot be fetched, and UsageError
    for anything that is wrong with a task.
    """
    catalog = catalogs.read_catalog(wanted.include_path)
    catalogs.match_names([wanted.name], catalog)
    check_files(wanted.name, catalog, wanted.trust_code)
    entry = catalog[wanted.name]
    is_trusted = wanted.trust_code or wanted.include_path is None
    with work_in_silence(is_trusted), _ask_hub(not wanted.offline):
        made = _build(entry, catalog, wanted)
        is_group = entry.kind == "group"
        tasks = made.get_all_tasks() if is_group else [made]
        members = {one.task_name: one for one in tasks}
        for name, task in members.items():
            _set_shots(name, task, wanted)
            if wanted.gen_kwargs and task.get_config("output_type") == "generate_until":
                given = copy.deepcopy(dict(wanted.gen_kwargs))
                task.set_config(key="generation_kwargs", value=given, update=True)
    return Loaded(members, made if is_group else None, is_trusted)


def _build(entry: Entry, catalog: Mapping[str, Entry], wanted: Wanted) -> Any:
    """The object that lm-eval makes of an entry."""
    try:
        import numpy as np
        from lm_eval.tasks._factory import TaskFactory
    except ImportError as error:
        raise UsageError(
            f"this lm-eval cannot be used: {error}", hint="pip install 'llmbench[lm-eval]'"
        ) from None
    asked = list[Asked]()

    class Factory(TaskFactory):  # type: ignore[misc]  # lm-eval has no types
        """Notes the data that are asked for, and finds files that stand beside a task file."""

        def _load_full_config(self, entry: Any, overrides: Any = None) -> Any:
            config = super()._load_full_config(entry, overrides)
            folder = entry.yaml_path.parent if entry.yaml_path else Path()
            asked.append(_place_data(config, folder))
            return config

    random.seed(SEEDS[0])
    np.random.seed(SEEDS[1])
    registry = _convert_shipped() if wanted.include_path is None else _convert_catalog(catalog)
    try:
        return Factory().build(registry[entry.name], overrides=None, registry=registry)
    except LlmbenchError:
        raise
    except Exception as error:  # whatever a task's file or a data set's library does
        raise _explain(error, entry, asked[-1] if asked else None, wanted) from error


def _convert_catalog(catalog: Mapping[str, Entry]) -> dict[str, object]:
    """The entries as lm-eval has them; those of its own are converted once."""
    shipped = catalogs.read_catalog(None)
    own = {name: one for name, one in catalog.items() if shipped.get(name) is not one}
    return {**_convert_shipped(), **{name: _convert(one) for name, one in own.items()}}


@cache
def _convert_shipped() -> dict[str, object]:
    return {name: _convert(one) for name, one in catalogs.read_catalog(None).items()}


def _convert(one: Entry) -> object:
    from lm_eval.tasks._index import Entry as TheirEntry
    from lm_eval.tasks._index import Kind

    kind = Kind.PY_TASK if one.is_class else Kind[one.kind.upper()]
    file = Path(one.file) if one.file else None
    return TheirEntry(one.name, kind, file, None, set(one.members))


@dataclass(frozen=True)
class Asked:
    """A data set that a task asks for."""

    path: str
    name: str | None
    is_local: bool
    absent: tuple[str, ...] = ()  # its local files that are not there

    @property
    def command(self) -> str:
        """What brings it to this machine."""
        name = "" if self.name is None else f", {self.name!r}"
        return f'python -c "from datasets import load_dataset; load_dataset({self.path!r}{name})"'


def _place_data(config: MutableMapping[str, Any], folder: Path) -> Asked:
    """The data that a task asks for; its local files are made absolute if they stand in `folder`,
    that of the task file.
    """
    path, name = config.get("dataset_path"), config.get("dataset_name")
    if path is None:
        path = getattr(config.get("class"), "DATASET_PATH", None)
    beside = folder / str(path)
    if isinstance(path, str) and path not in FORMATS and beside.is_dir():
        config["dataset_path"] = path = str(beside.resolve())
    arguments, absent = config.get("dataset_kwargs"), list[str]()
    if isinstance(arguments, dict):
        moved = dict(arguments)
        for key in ("data_files", "data_dir"):
            if key in moved:
                moved[key] = _place_files(moved[key], folder, absent)
        config["dataset_kwargs"] = moved
    is_local = path in FORMATS or Path(str(path)).exists()
    return Asked(str(path), name, is_local, tuple(absent))


def _place_files(value: Any, folder: Path, absent: list[str]) -> Any:
    """A file name, or those in lists and by split, made absolute if there is such a file; `absent`
    gets those that are nowhere.
    """
    if isinstance(value, str):
        beside = folder / value
        if "://" in value or beside.exists():
            return value if "://" in value else str(beside.resolve())
        if not glob.has_magic(value) and not Path(value).exists():
            absent.append(value)
        return value
    if isinstance(value, list):
        return [_place_files(one, folder, absent) for one in value]
    if isinstance(value, dict):
        return {key: _place_files(one, folder, absent) for key, one in value.items()}
    return value


def _explain(error: Exception, entry: Entry, asked: Asked | None, wanted: Wanted) -> Exception:
    """The error in one line: a data set that is not here, or a task that is wrong."""
    line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if asked is not None and not asked.is_local and _is_lack(error):
        why = "" if wanted.offline else f": {line}"
        return Unavailable(
            f"{asked.path}, the data set of lm-eval's {entry.name}, is not on this machine{why}",
            hint=asked.command,
        )
    if asked is not None and asked.absent and isinstance(error, FileNotFoundError):
        return Unavailable(
            f"{asked.absent[0]}, a data file of lm-eval's {entry.name}, is not on this machine",
            hint=f"put it beside {Path(entry.file).name if entry.file else 'the task file'}",
        )
    what = f" (data: {asked.path})" if asked is not None and asked.is_local else ""
    return UsageError(
        f"lm-eval cannot make this task{what}: {line}",
        where=entry.file or entry.name,
        hint="correct the task file, or leave the task out",
    )


def _is_lack(error: BaseException) -> bool:
    """Whether a data set could not be had: errors of the connection, the hub or its cache."""
    from datasets.exceptions import DatasetsError

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (OSError, DatasetsError)) or type(seen).__module__.startswith(
            ("huggingface_hub", "requests", "httpx", "urllib3")
        ):
            return True
        if isinstance(seen, ValueError) and "cache" in str(seen):
            return True
        seen = seen.__cause__
    return False


def _set_shots(name: str, task: Any, wanted: Wanted) -> None:
    """The number of examples before a question, by the rules of lm-eval's evaluator."""
    trust.check_unsafe(name, {"unsafe_code": getattr(task, "UNSAFE_CODE", False)})
    if getattr(task, "MULTIMODAL", False):
        raise UsageError(f"lm-eval's task {name} has pictures or sound, and models here read text")
    own = task.get_config("num_fewshot")
    if wanted.shots is not None and own != 0:
        task.set_config(key="num_fewshot", value=wanted.shots)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=wanted.shots_seed)


@contextlib.contextmanager
def _ask_hub(is_allowed: bool) -> Iterator[None]:
    """Let data sets be asked of the hub, or only be looked for on this machine."""
    import datasets
    import huggingface_hub.constants as hub

    before = (datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE)
    if not is_allowed:
        datasets.config.HF_HUB_OFFLINE = hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def work_in_silence(is_trusted: bool) -> Iterator[None]:
    """Keep lm-eval's log, bars and prints off the terminal, and compile each template once. Those
    of files that are not trusted are filled in Jinja's sandbox: an expression in a template could
    reach the interpreter.
    """
    import datasets
    from jinja2 import Environment
    from jinja2.sandbox import SandboxedEnvironment
    from lm_eval import utils

    own, logger = utils.env, logging.getLogger("lm_eval")
    kind = Environment if is_trusted else SandboxedEnvironment
    made = kind(loader=own.loader, undefined=own.undefined, keep_trailing_newline=True)
    made.filters.update(own.filters)
    made.from_string = lru_cache(TEMPLATES)(made.from_string)  # type: ignore[assignment, method-assign]
    level, verbosity = logger.level, datasets.logging.get_verbosity()
    logger.setLevel(logging.CRITICAL)
    datasets.logging.set_verbosity_error()
    utils.env = made
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        utils.env = own
        logger.setLevel(level)
        datasets.logging.set_verbosity(verbosity)
