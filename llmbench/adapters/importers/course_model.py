"""What the importers of courses' checkpoints share: weights read as tensors alone, a network of
transformers filled with them, and a tokenizer.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from llmbench import limits
from llmbench.adapter import Adapter, BuildContext, ModelInfo
from llmbench.adapters.checkpoints.causal import CausalLM
from llmbench.config.course_settings import CourseSettings
from llmbench.config.model_card import DEPTHS
from llmbench.config.source_code import digest_code
from llmbench.errors import ModelError, OutOfMemory, UsageError, is_out_of_memory
from llmbench.hardware.device import torch_dtype
from llmbench.models.pretrained import files as pretrained_files
from llmbench.models.pretrained.fast_import import fast_import
from llmbench.models.pretrained.files import Checkpoint
from llmbench.models.pretrained.loading import describe, fuse, quiet
from llmbench.models.pretrained.special_ids import resolve_bos
from llmbench.models.tokenizers.byte_offsets import byte_alphabet

COMPILED = "_orig_mod."  # what torch.compile puts before the names of weights
UNSAFE = "UnpicklingError"  # what torch raises for what is neither a tensor nor plain data
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class CourseCheckpoint:
    """A checkpoint that was read: the class and the config of the network of transformers that is
    the same function, the weights by its names, and the tokenizer.

    files: what the weights were read from. bos: the usual start symbol, if the tokenizer has none.
    fills: ends of the names of biases that the course leaves out, which are zero.
    """

    network: str
    config: Any
    weights: Weights
    tokenizer: Any
    files: tuple[Path, ...]
    bos: str | None = None
    fills: tuple[str, ...] = ()


class CourseModel(CausalLM):
    """A causal checkpoint of a course, computed by transformers."""

    required_parts = ()
    settings: ClassVar[type[CourseSettings]]
    course: ClassVar[str]

    @classmethod
    def build(cls, arguments: Mapping[str, Any], build_context: BuildContext) -> Adapter:
        """From a card's `arguments`, as the class `settings` has them."""
        settings = cls.settings(**arguments)
        with fast_import():
            transformers = importlib.import_module("transformers")
            quiet()
            found = cls.read(settings)
            network = make_network(getattr(transformers, found.network), found, settings.place)
        fuse(network)
        network.to(device=build_context.device, dtype=torch_dtype(build_context.dtype))
        loaded = describe(network.eval().requires_grad_(False), found.tokenizer, settings.place)
        bos = settings.bos if settings.bos is not None else found.bos
        if bos is not None:
            loaded.bos_ids = resolve_bos(bos, found.tokenizer, settings.place)
        loaded.checkpoint = Checkpoint(settings.place, Path(settings.place).parent)
        loaded.dtype, loaded.device = build_context.dtype, build_context.device
        loaded.chosen_bos = True  # no file of transformers names it
        loaded.weights_sha256 = _digest(found.files)
        state = found.tokenizer.backend_tokenizer.to_str() + repr(network.config.to_dict())
        loaded.tokenizer_sha256 = hashlib.sha256(state.encode()).hexdigest()
        return cls(loaded)

    @classmethod
    @abstractmethod
    def read(cls, settings: Any) -> CourseCheckpoint:
        """Read the files. Raises UsageError or ModelError, in one line, if they are wrong."""

    @property
    def info(self) -> ModelInfo:
        info = super().info
        code = digest_code([Path(__file__)])
        digest = hashlib.sha256(f"{info.fingerprint} {code}".encode()).hexdigest()
        return replace(info, family=self.course, fingerprint=digest)


def read_saved(file: Path) -> dict[str, Any]:
    """Return what `torch.save` wrote, a dictionary: tensors and plain values alone, never code."""
    where = str(file)
    again = "save or copy it again"
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever torch raises for bytes of anybody's
        if type(error).__name__ == UNSAFE:
            raise UsageError(
                "the checkpoint holds Python objects, which may run code when they are loaded",
                where=where,
                hint="where you trust it, save the weights alone: torch.save(model.state_dict(),"
                " FILE)",
            ) from None
        said = " ".join(str(error).split())[:120]
        raise UsageError(
            f"torch cannot read the checkpoint: {said}", where=where, hint=again
        ) from None
    if not isinstance(saved, dict):
        raise UsageError(f"a {type(saved).__name__}, not a dictionary", where=where, hint=again)
    return saved


def take_weights(saved: object, where: str, without: Iterable[str] = ()) -> Weights:
    """Return the tensors of a state by name, without what torch.compile puts before the names, and
    without buffers whose names end as one of `without`.
    """
    if not isinstance(saved, dict) or not saved:
        raise UsageError("the checkpoint has no weights", where=where)
    for name, value in saved.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UsageError(f"{name!r} in the checkpoint is no weight", where=where)
    plain = {name.removeprefix(COMPILED): value for name, value in saved.items()}
    return {name: value for name, value in plain.items() if not name.endswith(tuple(without))}


def take_sizes(config: Mapping[str, Any], names: Iterable[str], where: str) -> dict[str, int]:
    """Return whole numbers of a checkpoint's config. Raises UsageError if one is none."""
    found = {name: config.get(name) for name in names}
    for name, value in found.items():
        most = limits.LAYERS if name in DEPTHS else limits.ARGUMENT
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise UsageError(f"{name} must be from 1 to {most}: it is {value!r}", where=where)
    return found  # type: ignore[return-value]  # all are int


def take_numbers(config: Mapping[str, Any], names: Iterable[str], where: str) -> dict[str, float]:
    """Return numbers of a checkpoint's config. Raises UsageError if one is none."""
    found = dict[str, float]()
    for name in names:
        try:
            found[name] = float(config[name])  # YAML reads 1e-05 as a text
        except (TypeError, ValueError):
            said = f"{name} must be a number: it is {config[name]!r}"
            raise UsageError(said, where=where) from None
    return found


def rename_parts(weights: Weights, names: Mapping[str, str]) -> Weights:
    """Return the weights under transformers' names; one that `names` lacks keeps its own.

    names: what stands before the last dot; # is the number of a layer, the same on both sides.
    """
    found: Weights = {}
    for name, value in weights.items():
        part, _, kind = name.rpartition(".")
        number = re.search(r"\.(\d+)(\.|$)", part)
        plain = part if number is None else f"{part[: number.start(1)]}#{part[number.end(1) :]}"
        new = names.get(plain)
        found[name if new is None else f"{_number(new, number)}.{kind}"] = value
    return found


def _number(name: str, number: re.Match[str] | None) -> str:
    return name if number is None else name.replace("#", number[1])


def take_weight(weights: Mapping[str, Tensor], name: str, where: str) -> Tensor:
    """Return a weight that must be there, a matrix or a vector."""
    found = weights.get(name)
    if found is None or found.ndim not in (1, 2):
        state = "is missing" if found is None else f"has the shape {tuple(found.shape)}"
        raise ModelError(f"the weight {name} {state}", where=where, hint="another architecture?")
    return found


def make_config(kind: str, **values: Any) -> Any:
    """Return a config of transformers in which no id begins or ends a text: the tokenizer's do."""
    make = getattr(importlib.import_module("transformers"), kind)
    return make(**values, bos_token_id=None, eos_token_id=None)


def make_network(kind: Any, found: CourseCheckpoint, where: str) -> Any:
    """Return the network with its weights. ModelError if they are not those that it needs."""
    try:
        with torch.device("meta"):
            wanted = {name: value.shape for name, value in kind(found.config).state_dict().items()}
    except ValueError as error:
        raise UsageError(f"the config makes no network: {error}", where=where) from None
    left_out = {
        name: torch.zeros(wanted[name])
        for name in wanted.keys() - found.weights.keys()
        if name.endswith(found.fills)
    }
    weights = {**found.weights, **left_out}
    shapes = {name: value.shape for name, value in weights.items()}
    for names, what in (
        (wanted.keys() - shapes.keys(), "are missing"),
        (shapes.keys() - wanted.keys(), "are unknown"),
        (
            {n for n in wanted.keys() & shapes.keys() if wanted[n] != shapes[n]},
            "have another shape than the config says",
        ),
    ):
        if names:
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            raise ModelError(
                f"weights {what}: {', '.join(sorted(names)[:2])}{more}",
                where=where,
                hint="the checkpoint is of another architecture or version, or not whole",
            )
    try:
        network = kind(found.config)
        network.load_state_dict(weights)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise OutOfMemory("no memory for the weights", where=where) from None
        raise
    network.tie_weights()
    return network


def load_tokenizer(id: str) -> Any:
    """Return the fast tokenizer in a directory or in the Hub's cache; no code of its own is run."""
    folder = pretrained_files.locate(id).folder
    if not any((folder / name).is_file() for name in pretrained_files.TOKENIZERS):
        raise UsageError(
            "there is no tokenizer of transformers",
            where=str(folder),
            hint="name a directory with its tokenizer.json: ?tokenizer=DIRECTORY",
        )
    auto = importlib.import_module("transformers.models.auto.tokenization_auto")
    try:
        tokenizer = auto.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever transformers raises for files that are none
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"transformers cannot load the tokenizer: {said}", where=id) from None
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise UsageError("the tokenizer has no tokenizer.json", where=id)
    return tokenizer


def require_tokenizer(settings: CourseSettings, what: str) -> Any:
    """Return the tokenizer that the settings name. Raises UsageError if they name none."""
    if settings.tokenizer is None:
        raise UsageError(
            f"the checkpoint does not hold its tokenizer: {what}",
            where=settings.place,
            hint="name a directory with it: ?tokenizer=DIRECTORY",
        )
    return load_tokenizer(settings.tokenizer)


def make_character_tokenizer(ids: Mapping[str, int]) -> Any:
    """Return a transformers tokenizer with one id for each of these characters, and no others."""
    tokenizers = importlib.import_module("tokenizers")
    spelled = {byte: letter for letter, byte in byte_alphabet().items()}
    vocabulary = {
        "".join(spelled[byte] for byte in letter.encode()): id for letter, id in ids.items()
    }
    parts, byte_level = tokenizers.pre_tokenizers, tokenizers.decoders.ByteLevel
    # a character that is an entry is taken whole; the bytes of any other are no entries, and lost
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab=vocabulary, merges=[], ignore_merges=True)
    )
    alone = parts.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    made.pre_tokenizer = parts.Sequence(
        [alone, parts.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = byte_level()
    fast = importlib.import_module("transformers").PreTrainedTokenizerFast
    return fast(tokenizer_object=made)


def read_json(file: Path) -> dict[str, Any]:
    """Return a JSON object. Raises UsageError with file:line:column if it is none."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        at = f"{file}:{error.lineno}:{error.colno}"
        raise UsageError(f"not JSON: {error.msg}", where=at) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot be read: {error}", where=str(file)) from None
    if not isinstance(data, dict):
        raise UsageError("not a JSON object", where=f"{file}:1:1")
    return data


def _digest(files: Iterable[Path]) -> str:
    hashes = []
    for file in files:
        with file.open("rb") as handle:
            hashes.append(hashlib.file_digest(handle, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
