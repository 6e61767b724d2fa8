"""Checkpoints before they are loaded: where one is on this machine, and whether its files are
there, whole and safe. Loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmbench import limits, storage
from llmbench.config.model_card import CheckpointSpec, is_path
from llmbench.data import hub
from llmbench.errors import CellError, ModelError, Unavailable, UsageError
from llmbench.models.pretrained import fetchable

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
LORA = "adapter_config.json"  # what peft writes instead of a config.json
PICKLED = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.bin",
    "tf_model.h5",
    "flax_model.msgpack",
)
TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "source.spm",
    "sentencepiece.bpe.model",
    "tekken.json",
)
FETCHED = (
    "*.json",
    "*.txt",
    "*.model",
    "*.spm",
    "*.safetensors",
)  # no pickles, no weights of other frameworks
OLD_OWNERS = (
    "openai-community",
    "distilbert",
    "google-bert",
)  # their models have older ids without an owner, as which they may be cached


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's files. `id` as it was asked for; `commit` of the hub's repository, None for a
    directory.
    """

    id: str
    folder: Path
    commit: str | None = None


def is_directory(id: str) -> bool:
    """Whether the id means a directory: it is one, or it is written like a path and can be no hub
    id.
    """
    return Path(id).expanduser().is_dir() or is_path(id) or id.count("/") > 1


def is_on_hub(id: str) -> bool:
    """Whether the id is the hub's, and names neither a directory nor what is fetched elsewhere."""
    return not id.startswith(fetchable.PREFIX) and not is_directory(id)


def locate(id: str, revision: str | None = None, fetch: bool = False) -> Checkpoint:
    """The checkpoint's folder: a directory, or a snapshot in the hub's cache. `fetch`: ask the hub
    where it can be reached.

    Raises UsageError where a directory is not there, Unavailable (with the command that fetches it)
    where a hub id, or `fetch:NAME`, is not on this machine.
    """
    if id.startswith(fetchable.PREFIX):
        return _find_fetched(id)
    if is_directory(id):
        folder = Path(id).expanduser()
        if not folder.is_dir():
            raise UsageError(
                "there is no such checkpoint directory",
                where=id,
                hint="a hub id has the form owner/name",
            )
        return Checkpoint(id, folder)
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", id, re.ASCII):
        raise UsageError(
            f"{id!r} is neither a directory nor a hub id", hint="a hub id has the form owner/name"
        )
    if fetch and hub.reachable():
        return _fetch(id, revision)
    found = _find_cached(id, revision)
    if found is None:
        raise Unavailable(
            "the weights are not on this machine",
            where=id,
            hint=f"fetch them once: {fetch_command(id, revision)}",
        )
    return found


def _find_fetched(id: str) -> Checkpoint:
    """The checkpoint that `llmbench fetch` keeps in the cache."""
    weights = fetchable.find_weights(id)
    if not (weights.folder / storage.SEAL).is_file():
        raise Unavailable(
            "the weights are not on this machine", where=id, hint=f"run `{weights.command}`"
        )
    return Checkpoint(id, weights.folder)


def check_fetched(checkpoint: Checkpoint) -> None:
    """Raise ModelError if weights that `llmbench fetch` brought are not as it wrote them."""
    if not checkpoint.id.startswith(fetchable.PREFIX):
        return
    try:
        storage.check_folder(checkpoint.folder)
    except (storage.Damaged, OSError) as error:
        command = fetchable.find_weights(checkpoint.id).command
        raise ModelError(str(error), where=checkpoint.id, hint=f"run `{command}`") from None


def fetch_command(id: str, revision: str | None = None) -> str:
    """The command line that brings a checkpoint into the hub's cache, without pickles and other
    frameworks' weights.
    """
    chosen = f" --revision {revision}" if revision else ""
    return f"hf download {id}{chosen} " + " ".join(f'--include "{pattern}"' for pattern in FETCHED)


def _find_cached(id: str, revision: str | None) -> Checkpoint | None:
    owner, _, name = id.rpartition("/")
    for known in (id, name) if owner in OLD_OWNERS else (id,):
        place = hub.hub_cache() / f"models--{known.replace('/', '--')}"
        commit = revision or "main"
        reference = place / "refs" / commit
        if reference.is_file():
            commit = reference.read_text(encoding="utf-8").strip()
        folder = place / "snapshots" / commit
        if (folder / "config.json").is_file() or (folder / LORA).is_file():
            return Checkpoint(id, folder, commit)
    return None


def _fetch(id: str, revision: str | None) -> Checkpoint:
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(snapshot_download(id, revision=revision, allow_patterns=list(FETCHED)))
    except errors.GatedRepoError:
        hint = "ask for access on its hub page, then `hf auth login`"
        raise Unavailable(
            "the weights are given out on request only", where=id, hint=hint
        ) from None
    except errors.RevisionNotFoundError:
        raise CellError(f"the hub has no revision {revision!r} of it", where=id) from None
    except errors.RepositoryNotFoundError:
        raise CellError(
            "the hub has no such model",
            where=id,
            hint="look at the spelling; a private one needs `hf auth login`",
        ) from None
    except OSError as error:
        found = _find_cached(id, revision)
        if found is None:
            raise Unavailable(
                f"the hub did not answer: {error}",
                where=id,
                hint=f"fetch them once: {fetch_command(id, revision)}",
            ) from None
        return found
    return Checkpoint(id, folder, folder.name)


def is_lora(folder: Path) -> bool:
    """Whether the folder holds low-rank matrices for another checkpoint, as peft writes them, and
    no whole model.
    """
    return (folder / LORA).is_file() and not (folder / "config.json").is_file()


def verify(checkpoint: Checkpoint, trust_remote_code: bool = False) -> dict[str, object]:
    """The checkpoint's config, after a look at its files. UsageError, one clear line, where
    something is missing, torn, or would run code.
    """
    folder, where = checkpoint.folder, checkpoint.id
    if is_lora(folder):
        config = _json(folder / LORA)
        weights = [folder / "adapter_model.safetensors"]
    else:
        if not (folder / "config.json").is_file():
            raise UsageError(
                "the checkpoint has no config.json", where=where, hint=_near_miss(folder)
            )
        config = _json(folder / "config.json")
        if not any((folder / name).is_file() for name in TOKENIZERS):
            raise UsageError(
                "the checkpoint has no tokenizer",
                where=where,
                hint="save it there: tokenizer.save_pretrained(DIRECTORY)",
            )
        if "auto_map" in config and not trust_remote_code:
            raise UsageError(
                "the checkpoint wants to run Python code of its own",
                where=where,
                hint=(
                    "if you trust it, write a card with `checkpoint: {id: ..., trust_remote_code:"
                    " true}`"
                ),
            )
        weights = _shards(folder) if (folder / INDEX).is_file() else [folder / WEIGHTS]
    for file in weights:
        _check_weights(file, where)
    return config


def is_quantised(checkpoint: Checkpoint) -> bool:
    """Whether its weights were saved in few bits, for which transformers needs another package."""
    return "quantization_config" in _json(checkpoint.folder / "config.json")


def measure_weights(checkpoint: Checkpoint) -> tuple[int, str]:
    """Return the bytes of the files of its weights, and the dtype that its config names, or "".

    Raises UsageError where the config or the index of shards cannot be read, OSError where a file
    is missing.
    """
    folder = checkpoint.folder
    config = _json(folder / (LORA if is_lora(folder) else "config.json"))
    weights = _shards(folder) if (folder / INDEX).is_file() else [folder / WEIGHTS]
    sizes = [file.stat().st_size for file in weights]
    return sum(sizes), str(config.get("dtype") or config.get("torch_dtype") or "")


def _near_miss(folder: Path) -> str:
    inside = [
        path.name
        for path in sorted(folder.iterdir())
        if (path / "config.json").is_file() or (path / LORA).is_file()
    ]
    return (
        f"did you mean {folder.name}/{inside[-1]}?"
        if inside
        else "name the directory that save_pretrained wrote"
    )


def _json(file: Path) -> dict[str, object]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UsageError(
            f"not JSON: {error.msg}",
            where=f"{file}:{error.lineno}:{error.colno}",
            hint="fetch or save it again",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"cannot be read: {error}", where=str(file), hint="fetch or save it again"
        ) from None
    if not isinstance(data, dict):
        raise UsageError("not a JSON object", where=f"{file}:1:1", hint="fetch or save it again")
    return data


def _shards(folder: Path) -> list[Path]:
    names = _json(folder / INDEX).get("weight_map")
    if (
        not isinstance(names, dict)
        or not names
        or any(not isinstance(name, str) or Path(name).name != name for name in names.values())
    ):
        raise UsageError(
            "the index names no shards beside it",
            where=str(folder / INDEX),
            hint="fetch or save it again",
        )
    return [folder / name for name in sorted(set(names.values()))]


def _check_weights(file: Path, where: str) -> None:
    """A safetensors file is as long as its header says (the format: 8 bytes of length, a JSON
    header, the tensors' bytes).
    """
    if not file.is_file():
        pickled = [name for name in PICKLED if (file.parent / name).is_file()]
        if pickled:
            raise UsageError(
                f"the weights are only there as {pickled[0]}, which may run code when loaded",
                where=where,
                hint=(
                    "take a revision with safetensors, or convert it where you trust it: "
                    "AutoModel....from_pretrained(DIRECTORY).save_pretrained(NEW)"
                ),
            )
        raise UsageError(
            f"the checkpoint has no {file.name}",
            where=where,
            hint="fetch it again, or save it with save_pretrained",
        )
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        head = (
            handle.read(length) if 0 < length <= min(limits.SAFETENSORS_HEADER_BYTES, size) else b""
        )
    try:
        tensors = json.loads(head)
        end = max(
            (entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"),
            default=0,
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise UsageError(
            "not a whole safetensors file: its header cannot be read",
            where=str(file),
            hint="fetch or save it again",
        ) from None
    if size != 8 + length + end:
        what = (
            f"truncated: {size} bytes of {8 + length + end}"
            if size < 8 + length + end
            else f"{size - 8 - length - end} bytes too long"
        )
        raise UsageError(f"the weights are {what}", where=str(file), hint="fetch or save it again")


def identity(spec: CheckpointSpec) -> list[Any]:
    """What tells whether a checkpoint is still the one it was, read without loading it: the commit,
    or its files' sizes and times.
    """
    if spec.id is None:
        return []
    try:
        found = locate(spec.id, spec.revision)
    except (CellError, UsageError):
        return []
    files = sorted(path for path in found.folder.iterdir() if path.is_file())
    return [
        found.commit,
        *(
            []
            if found.commit
            else [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files]
        ),
    ]


def weights_sha256(folder: Path) -> str:
    """One hash for the weight files: of the file where there is one, else of the files' names and
    hashes.
    """
    files = sorted(path for path in folder.glob("*.safetensors"))
    hashes = [(file.name, _sha256(file)) for file in files]
    return hashes[0][1] if len(hashes) == 1 else hashlib.sha256(repr(hashes).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def name_of(id: str) -> str:
    """A model's name on the board: the last part of its id or path."""
    id = id.removeprefix(fetchable.PREFIX)
    last = Path(id).expanduser().resolve().name if is_directory(id) else id.rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._+-]", "-", last).lstrip("._+-") or "model"


def config_value(config: Any, name: str) -> Any:
    """The value of a key of a transformers config, by its own name or another that its class maps
    to it; None if this family has no such key.
    """
    return getattr(config, name, None)
