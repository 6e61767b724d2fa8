"""Names -> adapters, renderers, baselines, suites; SPECs -> cards. Nothing is imported
before it is asked for.

What ships is registered in shipped.py, by a line each. Outside packages register adapters with the
entry point group `llmbench.adapters`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

from llmbench import limits
from llmbench.adapter import Adapter, AdapterFacts
from llmbench.config import course_settings, gguf_settings, model_card, server_settings
from llmbench.config.course_settings import COURSES
from llmbench.config.gguf_settings import GGUFSettings
from llmbench.config.model_card import Arguments, Card
from llmbench.config.plugins import check_spec, class_place, load_object
from llmbench.config.server_settings import ServerSettings
from llmbench.errors import UsageError, did_you_mean
from llmbench.models.pretrained import files as pretrained_files
from llmbench.models.pretrained import steps
from llmbench.plan.shipped import ADAPTERS as ADAPTERS
from llmbench.plan.shipped import adapters as adapters
from llmbench.plan.shipped import find_shipped as find_shipped
from llmbench.plan.shipped import names as names
from llmbench.storage import is_file

_TRAINED = ("network", "recipe")
# name -> the attributes of its class, which is in shipped.ADAPTERS; a test holds both together
_FACTS = {
    "uniform-bytes": AdapterFacts(needs_torch=False, learns_from_text=False),
    "compressor": AdapterFacts(needs_torch=False, learns_from_text=False),
    "oracle": AdapterFacts(needs_torch=False),
    "byte-ngram": AdapterFacts(needs_torch=False, learns_from_text=True),
    "network": AdapterFacts(learns_from_text=True, required_parts=_TRAINED),
    "encoder": AdapterFacts(learns_from_text=True, required_parts=_TRAINED, default_splitter="bpe"),
    "seq2seq": AdapterFacts(learns_from_text=True, required_parts=_TRAINED, default_splitter="bpe"),
    "gguf": AdapterFacts(),
    "huggingface": AdapterFacts(required_parts=("checkpoint",)),
    "nanogpt": AdapterFacts(),
    "scratch-gpt": AdapterFacts(),
    "litgpt": AdapterFacts(),
    "nanochat": AdapterFacts(),
    "openai": AdapterFacts(needs_torch=False),
}
FACTS = {ADAPTERS[name]: facts for name, facts in _FACTS.items()}
# class -> the arguments of its cards, for those that are known before it is imported
ARGUMENTS: dict[str, type[Arguments]] = {
    ADAPTERS["openai"]: ServerSettings,
    ADAPTERS["gguf"]: GGUFSettings,
    **{ADAPTERS[course]: settings for course, settings in COURSES.items()},
}
OPTIONS = ("source_lang", "target_lang", "bos", *model_card.PLACEMENTS)  # of hf:ID?...
KNOWN = {
    "dtype": get_args(model_card.Dtype),
    "quantize": model_card.SCHEMES,
    "compile": ("true", "false"),
    "device_map": ("auto",),
}
UNNAMED = ("bos", "device_map")  # options that no model is called after
GENERIC = ("ckpt", "model", "final")  # names of checkpoints that say nothing of them
OBJECT = "(object)"  # the adapter of a card that stands for an object of this process


def suite_path(spec: str) -> Path:
    """A suite by path or by shipped name."""
    path = Path(spec)
    if is_file(path):
        return path
    if spec in names("suites"):
        return find_shipped("suites") / f"{spec}.yaml"
    if len(spec) < limits.NAME_CHARACTERS and path.is_dir():
        raise UsageError("a folder, not a suite", where=spec, hint="name one of its YAML files")
    if path.parent.name == "suites" and path.stem in names(
        "suites"
    ):  # as in the README, from any folder
        return find_shipped("suites") / f"{path.stem}.yaml"
    raise UsageError(
        "there is no such suite", where=spec, hint=did_you_mean(path.stem, names("suites"))
    )


def hide_folders(spec: str) -> str:
    """Return a SPEC for records, which people publish: of a file or directory on this machine its
    name alone. Names of a hub and of servers stay.
    """
    prefix, colon, place = spec.partition(":")
    if not colon or "." in prefix or "/" in prefix or len(prefix) == 1:  # file.py:Class, C:\\x.yaml
        prefix, colon, place = "", "", spec
    path, mark, options = place.partition("?")
    is_address = prefix == "openai"
    is_own = path.startswith(("/", "~", ".", "\\")) or re.match(r"[A-Za-z]:[/\\]", path)
    file = path.rpartition(":")[0] if re.search(r"\.py:", path) else path
    if not is_address and (is_own or Path(file).exists() or prefix != "hf"):
        path = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    options = re.sub(r"=(?:[/~.\\]|[A-Za-z]:[/\\])[^&]*[/\\](?=[^&])", "=", options)
    return f"{prefix}{colon}{path}{mark}{options}"


def resolve(spec: str) -> Card:
    """The card for a SPEC: a baseline's name, a card's path, file.py:Class, module:Class,
    hf:ID_OR_DIRECTORY, gguf:FILE, nanogpt:FILE (and the other courses), openai:MODEL@URL, or an
    entry point's name.
    """
    if spec.startswith("hf:"):
        return _checkpoint(spec.removeprefix("hf:"))
    if spec.startswith("openai:"):
        return _read_server(spec)
    if spec.startswith(gguf_settings.PREFIX) or spec.lower().endswith(".gguf"):
        return _read_gguf(spec)
    course, colon, place = spec.partition(":")
    if colon and course in COURSES:
        return _read_course(course, place)
    _refuse_unserved(spec)
    if changed := re.fullmatch(rf"(.+?)\?((?:{'|'.join(model_card.PLACEMENTS)})=.*)", spec):
        return _change_checkpoint(resolve(changed[1]), _options(changed[1], changed[2]))
    if spec in names("baselines"):
        return model_card.read(find_shipped("baselines") / f"{spec}.yaml", find_arguments)
    if spec.endswith((".yaml", ".yml")):
        if not is_file(Path(spec)):
            raise UsageError(f"there is no card {spec}")
        return model_card.read(Path(spec), find_arguments)
    if spec.endswith(".py"):
        raise UsageError("a model file needs its class", hint=f"{spec}:ClassName")
    where, colon, name = spec.rpartition(":")
    if colon and where.endswith(".py"):
        anchored = model_card.anchor_path(spec, Path.cwd())
        check_spec(anchored)
        return _own(name, anchored)
    if colon and re.fullmatch(r"[A-Za-z_][\w.]*", where) and name.isidentifier():
        check_spec(spec)
        return _own(name, spec)
    if spec in adapters():
        return _own(spec, spec)
    known = [*names("baselines"), *adapters()]
    raise UsageError(
        f"unknown model {spec!r}", hint=did_you_mean(spec, known) or "see `llmbench models`"
    )


def resolve_all(spec: str) -> list[Card]:
    """The cards of a SPEC: of hf:DIR/checkpoint-* those of the checkpoints of a training, by step,
    of any other one.
    """
    if not steps.is_pattern(spec):
        return [resolve(spec)]
    cards = []
    for name, one in steps.expand(spec):
        card = resolve(one)
        options = card.name.removeprefix(plain_name(Path(one.partition("?")[0]).name))
        cards.append(card.model_copy(update={"name": plain_name(f"{name}{options}")}))
        _check_length(cards[-1].name)
    return cards


PORTS = {"ollama": 11434, "vllm": 8000, "llamacpp": 8080, "tgi": 3000, "sglang": 30000}
SERVERS = (*PORTS, "anthropic", "http", "https")


def _refuse_unserved(spec: str) -> None:
    """Raise UsageError for kinds of models that people name and that cannot be run."""
    kind, colon, rest = spec.partition(":")
    if colon and kind.lower() in SERVERS:
        is_address = kind.lower() in ("http", "https")
        model = "MODEL" if is_address or "/" in rest.removeprefix("//")[:1] else rest or "MODEL"
        base = spec if is_address else f"http://localhost:{PORTS.get(kind.lower(), 8000)}/v1"
        raise UsageError(
            f"{spec}: a model behind a server is written openai:MODEL@URL",
            hint=f"if it speaks OpenAI's protocol: openai:{model}@{base}",
        )


def _change_checkpoint(card: Card, given: Mapping[str, str]) -> Card:
    """The card of the same checkpoint, loaded in another way, which its name says."""
    if card.checkpoint is None:
        raise UsageError(
            f"only checkpoints take {' and '.join(given)}",
            where=card.name,
            hint="those of hf:ID_OR_DIRECTORY, or cards with a `checkpoint`",
        )
    changes = _read_placement(given)
    name = "-".join([card.name, *_name_options(given)])
    _check_length(name)
    checkpoint = card.checkpoint.model_copy(update=changes)
    return card.model_copy(update={"name": name, "checkpoint": checkpoint})


def _read_placement(given: Mapping[str, str]) -> dict[str, object]:
    """The options of a checkpoint, as its card has them. UsageError for a value of one of those of
    KNOWN that there is not.
    """
    for name, known in KNOWN.items():
        if name in given and given[name] not in known:
            raise UsageError(
                f"unknown {name} {given[name]!r}", hint=did_you_mean(given[name], known)
            )
    return {**given, **({"compile": given["compile"] == "true"} if "compile" in given else {})}


def _name_options(given: Mapping[str, str]) -> list[str]:
    """What a model's name says of its options."""
    compiled = {"true": ["compiled"], "false": []}
    return [
        part
        for name, value in given.items()
        if name not in UNNAMED
        for part in (compiled[value] if name == "compile" else [value])
    ]


def name_card(name: str, model: str | Adapter) -> Card:
    """The card of a SPEC under another name, or of an object of this process."""
    own = _own(name, OBJECT)
    return (
        own if isinstance(model, Adapter) else resolve(model).model_copy(update={"name": own.name})
    )


def _own(name: str, adapter: str) -> Card:
    """The card of a model that has none."""
    _check_length(plain_name(name))
    return Card.model_validate({"name": plain_name(name), "adapter": adapter})


def _check_length(name: str) -> None:
    """Raise UsageError if no file can be called after a model."""
    if len(name) > limits.NAME_CHARACTERS:
        raise UsageError(
            f"the model's name has more than {limits.NAME_CHARACTERS} characters: {name}",
            hint="give it a shorter `name` in a card",
        )


def plain_name(name: str) -> str:
    """A model's name without characters that a file's name must not have."""
    return re.sub(r"[^A-Za-z0-9._+-]", "-", name).lstrip("._+-") or "model"


def _checkpoint(spec: str) -> Card:
    """The card of a checkpoint that has none; a path becomes absolute.

    After a `?` stand options, as in `ID?source_lang=deu_Latn&target_lang=eng_Latn`, `ID?bos=%0A`.
    """
    id, _, query = spec.partition("?")
    if not id:
        raise UsageError(
            "hf: needs a hub id or a directory",
            hint="as in hf:openai-community/gpt2 or hf:./my-checkpoint",
        )
    place = str(Path(id).expanduser().resolve()) if pretrained_files.is_directory(id) else id
    given = _options(f"hf:{spec}", query)
    changes = _read_placement(given)
    parts = _name_options(given)
    own = pretrained_files.name_of(id)
    name = plain_name("-".join([own, *parts])) if parts else own
    _check_length(name)
    bos = {"bos": int(given["bos"])} if re.fullmatch("[0-9]{1,9}", given.get("bos", "")) else {}
    return Card.model_validate(
        {
            "name": name,
            "adapter": "huggingface",
            "checkpoint": {"id": place, **changes, **bos},
        }
    )


def _read_server(spec: str) -> Card:
    """The card of a model behind a server that has none."""
    settings = server_settings.parse_spec(spec)
    return Card.model_validate(
        {
            "name": plain_name(settings.model),
            "adapter": "openai",
            "arguments": settings.to_arguments(),
        }
    )


def build_card_schema() -> dict[str, Any]:
    """Return the JSON schema of cards; `$defs` has the arguments of each adapter that are known."""
    found = Card.model_json_schema()
    known = [model.model_json_schema() for model in ARGUMENTS.values()]
    for one in known:
        found["$defs"] |= one.pop("$defs", {})
    return {**found, "$defs": found["$defs"] | {one["title"]: one for one in known}}


def find_arguments(adapter: str) -> type[Arguments] | None:
    """The arguments that cards of an adapter have, if they are known; see ARGUMENTS."""
    return ARGUMENTS.get(ADAPTERS.get(adapter, adapter))


def _read_gguf(spec: str) -> Card:
    """The card of a GGUF file that has none."""
    settings = gguf_settings.parse_spec(spec)
    name = plain_name(Path(settings.file).stem)
    _check_length(name)
    given = {"name": name, "adapter": "gguf", "arguments": settings.to_arguments()}
    return Card.model_validate(given)


def _read_course(course: str, place: str) -> Card:
    """The card of a course's checkpoint that has none; files of one name are called after their
    directories.
    """
    settings = course_settings.parse_spec(course, place)
    path = Path(settings.place)
    name = plain_name(path.parent.name if path.stem in GENERIC else path.stem)
    _check_length(name)
    given = {"name": name, "adapter": course, "arguments": settings.to_arguments()}
    return Card.model_validate(given)


def _options(spec: str, query: str) -> dict[str, str]:
    """Read `source_lang=A&target_lang=B`, percent-encoded where that is needed."""
    found: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in OPTIONS or not value or name in found:
            raise UsageError(
                f"unknown option {name!r}" if name not in OPTIONS else f"{name}: give one value",
                where=spec,
                hint=did_you_mean(name, OPTIONS) or f"known: {', '.join(OPTIONS)}",
            )
        found[name] = unquote(value)
    return found


def find_adapter(name: str) -> str:
    """Return `module:Class` or `file.py:Class` of an adapter by name; any other spec as it is."""
    where = ADAPTERS.get(name, name)
    return where if ":" in where else adapters().get(name, name)  # which reads all packages


def adapter_class(spec: str) -> type[Adapter]:
    """Import the class of an adapter's name, module:Class or file.py:Class.

    Raises UsageError, with file:line:column, if that fails or it is not a whole adapter.
    """
    where = find_adapter(spec)
    if ":" not in where:
        raise UsageError(f"unknown adapter {spec!r}", hint=did_you_mean(spec, adapters()))
    cls = load_object(where)
    if not (isinstance(cls, type) and issubclass(cls, Adapter)):
        place, _, name = where.rpartition(":")
        raise UsageError(
            f"{name!r} is not an Adapter",
            where=class_place(cls) if isinstance(cls, type) else place,
            hint="subclass llmbench.TokenAdapter",
        )
    missing = sorted(cls.__abstractmethods__)
    if missing:
        raise UsageError(
            f"{cls.__name__} does not define {', '.join(missing)}",
            where=class_place(cls),
            hint="see docs/adapters.md",
        )
    return cls
