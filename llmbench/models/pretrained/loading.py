"""From a checkpoint's files to a transformers model and tokenizer in memory: quickly, from
safetensors alone, and whole or not at all.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from llmbench.errors import (
    CellError,
    LlmbenchError,
    ModelError,
    OutOfMemory,
    Unsupported,
    UsageError,
    is_out_of_memory,
)
from llmbench.models.pretrained import files as pretrained_files
from llmbench.models.pretrained.fast_import import fast_import
from llmbench.models.pretrained.files import Checkpoint, config_value
from llmbench.models.pretrained.low_rank import merge_adaptation
from llmbench.models.pretrained.placement import Placement
from llmbench.models.pretrained.special_ids import find_special_ids, resolve_bos

Kind = Literal["causal", "masked", "encoder-decoder"]
WEIGHTS = {
    "use_safetensors": True,
    "output_loading_info": True,
    "ignore_mismatched_sizes": True,
}
LIMITLESS = 1_000_000  # tokens; a context this long means none was set


@dataclass
class Loaded:
    """A model in evaluation mode, and what its config and tokenizer say. `context`: most ids at
    once; None where there is no limit.
    `start`: ids given before a text; `ends`: ids that end one, the one that is charged first.
    """

    model: Any
    tokenizer: Any
    config: Any
    kind: Kind
    checkpoint: Checkpoint
    dtype: str
    device: str
    trusted: bool
    context: int | None
    bos_ids: tuple[int, ...]
    eos_ids: tuple[int, ...]
    weights_sha256: str
    tokenizer_sha256: str
    quantization: str | None = None  # how the weights are rounded, and by what
    devices: Mapping[str, int] = field(default_factory=dict)  # bytes of the weights on each
    chosen_bos: bool = False  # bos_ids are the card's, not the checkpoint's own

    @property
    def is_recurrent(self) -> bool:
        """Whether it carries a state and never looks back, so that no context limits it."""
        return is_recurrent(self.config, self.model)

    @property
    def is_spread(self) -> bool:
        """Whether its layers lie on several devices."""
        return len(self.devices) > 1

    @property
    def is_saved(self) -> bool:
        """Whether it was loaded from files, and not handed over in memory."""
        return self.checkpoint.folder != Path()


def load(
    checkpoint: Checkpoint,
    dtype: str,
    device: str,
    trusted: bool = False,
    bos: str | int | None = None,
    quantize: str | None = None,
    device_map: str | None = None,
    compiled: bool = False,
) -> Loaded:
    """Load the checkpoint. CellError, in one line, if its files do not make a whole model.

    bos: the start symbol of a causal model that has none, or another one than its own.
    quantize: a scheme by which the weights are rounded (model_card.SCHEMES).
    device_map: "auto" spreads the layers over all GPUs, then RAM.
    compiled: whether the model will be compiled, for which transformers is imported whole.
    """
    placement = Placement(dtype, device, quantize, device_map)
    pretrained_files.check_fetched(checkpoint)
    whole = _base(checkpoint, trusted)  # of a low-rank adaptation, the checkpoint that it adapts
    needs_all = compiled or placement.needs_whole_import(pretrained_files.is_quantised(whole))
    with fast_import(needs_all):
        transformers = importlib.import_module("transformers")
        auto = importlib.import_module("transformers.models.auto.modeling_auto")
    quiet()
    where = checkpoint.id
    given = {"local_files_only": True, "trust_remote_code": trusted}
    with _tell_in_one_line(where):
        with fast_import(needs_all):
            config = transformers.AutoConfig.from_pretrained(whole.folder, **given)
            kind = _kind(config, auto, where, (config.architectures or [""])[0])
            tokenizer = transformers.AutoTokenizer.from_pretrained(whole.folder, **given)
            quantization = placement.name_rounding(config, where)
            placed = placement.make_arguments(config, where)
            model, found = _class_of(kind, auto).from_pretrained(
                whole.folder, **placed, **WEIGHTS, **given
            )
            _whole(found, where)
        if whole is not checkpoint:
            model = merge_adaptation(model, checkpoint.folder)
        fuse(model)
        model = placement.finish(model, placed, where)
    model.requires_grad_(False)
    start, ends = find_special_ids(config, tokenizer, model)
    if bos is not None:
        if kind != "causal":
            raise UsageError(f"a {kind} checkpoint takes no bos", where=where, hint="leave it out")
        start = resolve_bos(bos, tokenizer, where)
    return Loaded(
        *(model, tokenizer, config, kind, checkpoint),
        *(placement.name_dtype(model), placement.find_device(model), trusted),
        context=_context(config, model, kind),
        bos_ids=start,
        eos_ids=ends,
        weights_sha256=_weights_sha256(checkpoint, whole),
        tokenizer_sha256=_tokenizer_sha256(whole.folder),
        quantization=quantization,
        devices=placement.find_devices(model),
        chosen_bos=bos is not None,
    )


@contextmanager
def _tell_in_one_line(where: str) -> Iterator[None]:
    """Whatever transformers raises, as an error of ours."""
    try:
        yield
    except ModuleNotFoundError as error:
        said, hint = f"loading it needs the package {error.name}", f"pip install {error.name}"
        raise ModelError(said, where=where, hint=hint) from None
    except LlmbenchError:
        raise
    except Exception as error:
        raise _said(error, where) from error


def describe(model: Any, tokenizer: Any, name: str) -> Loaded:
    """Describe a model that is in memory, as `load` does one from files; its weights stay unhashed.

    Raises Unsupported if it is no language model that can be scored.
    """
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    kind = _kind(model.config, auto, name, type(model).__name__)
    start, ends = find_special_ids(model.config, tokenizer, model)
    return Loaded(
        model,
        tokenizer,
        model.config,
        kind,
        Checkpoint(name, Path()),
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
        trusted=False,
        context=_context(model.config, model, kind),
        bos_ids=start,
        eos_ids=ends,
        weights_sha256="",
        tokenizer_sha256="",
    )


def quiet() -> None:
    """transformers writes nothing to the terminal: what is wrong is raised."""
    logging = importlib.import_module("transformers.utils.logging")
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def fuse(model: torch.nn.Module) -> None:
    """GPT-2's activation (the tanh form of GELU, Hendrycks & Gimpel 2016) in one pass over memory
    instead of eight; the same to rounding.
    """
    for module in model.modules():
        for name, child in module.named_children():
            if type(child).__name__ == "NewGELUActivation":
                fused = torch.nn.GELU(approximate="tanh").train(child.training)
                setattr(module, name, fused)


def _base(checkpoint: Checkpoint, trusted: bool) -> Checkpoint:
    """The checkpoint itself, or the one that its low-rank matrices are for."""
    config = pretrained_files.verify(checkpoint, trusted)
    if not pretrained_files.is_lora(checkpoint.folder):
        return checkpoint
    id = config.get("base_model_name_or_path")
    if not isinstance(id, str) or not id:
        raise UsageError(
            "adapter_config.json does not say which checkpoint it adapts",
            where=checkpoint.id,
            hint="base_model_name_or_path",
        )
    revision = config.get("revision")
    base = pretrained_files.locate(id, revision if isinstance(revision, str) else None)
    pretrained_files.verify(base, trusted)
    return base


def _weights_sha256(checkpoint: Checkpoint, whole: Checkpoint) -> str:
    hashes = [
        pretrained_files.weights_sha256(part.folder) for part in dict.fromkeys((checkpoint, whole))
    ]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _kind(config: Any, auto: Any, where: str, said: str) -> Kind:
    """By the class that the checkpoint names; if it names none, by what its type can be."""
    causal = config.model_type in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    masked = config.model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if config.is_encoder_decoder:
        return "encoder-decoder"
    if masked and (
        said.endswith(("ForMaskedLM", "ForPreTraining", "WithLMHeadModel")) or not causal
    ):
        return "masked"
    if causal or "auto_map" in config.to_dict():
        return "causal"
    raise Unsupported(
        f"{config.model_type!r} is no language model that can be scored",
        where=where,
        hint="causal, masked or encoder-decoder",
    )


def _class_of(kind: Kind, auto: Any) -> Any:
    """The class of transformers that loads this kind."""
    classes: dict[Kind, Any] = {
        "causal": auto.AutoModelForCausalLM,
        "masked": auto.AutoModelForMaskedLM,
        "encoder-decoder": auto.AutoModelForSeq2SeqLM,
    }
    return classes[kind]


def _whole(found: Any, where: str) -> None:
    """Weights that were not in the files have been drawn at random: such a model says nothing about
    the checkpoint.
    """
    for key, what in (
        ("missing_keys", "are missing"),
        ("mismatched_keys", "have another shape than the config says"),
    ):
        names = sorted(
            str(name[0] if isinstance(name, tuple) else name) for name in found.get(key) or ()
        )
        if names:
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            raise ModelError(
                f"weights {what}: {', '.join(names[:2])}{more}",
                where=where,
                hint="the checkpoint is of another kind, or not whole",
            )


def _said(error: Exception, where: str) -> CellError:
    """What transformers raised, as one line."""
    if is_out_of_memory(error):
        return OutOfMemory(
            "no memory for the weights",
            where=where,
            hint="a smaller model, a smaller --dtype, or more memory",
        )
    if isinstance(error, ImportError) and (package := _find_package(str(error))):
        hint = f"pip install {package}"
        return ModelError(f"loading it needs the package {package}", where=where, hint=hint)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    wrong = next(
        (line for line in lines if "size mismatch" in line or "mismatch" in line.lower()), ""
    )
    return ModelError(
        f"transformers cannot load it: {wrong or (lines[0] if lines else type(error).__name__)}"[
            :600
        ],
        where=where,
    )


def _find_package(message: str) -> str:
    """The package that transformers says it lacks; "" if it names none."""
    command = re.search(r"pip install (?:-\S+ )*['\"]?([\w.-]+)", message)
    library = re.search(r"requires the (\w+) library", message)
    return library[1].lower() if library else command[1] if command else ""


def is_recurrent(config: Any, model: Any) -> bool:
    """Return whether a model's only memory is a state (RWKV, Mamba), and not attention."""
    return bool(model._is_stateful) and config_value(config, "num_attention_heads") is None


def _context(config: Any, model: Any, kind: Kind) -> int | None:
    text = config.get_text_config(decoder=True)
    if is_recurrent(config, model):
        return None
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"):
        value = config_value(text, name)
        if isinstance(value, int) and 0 < value < LIMITLESS:
            if kind == "masked":  # RoBERTa counts its positions from behind the padding's
                first = getattr(getattr(model.base_model, "embeddings", None), "padding_idx", None)
                return value - (0 if first is None else int(first) + 1)
            return (
                None
                if kind == "encoder-decoder"
                and config_value(text, "relative_attention_num_buckets") is not None
                else value
            )
    return None


def _tokenizer_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (
        *pretrained_files.TOKENIZERS,
        "target.spm",
        "target_vocab.json",
        "merges.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "config.json",
    ):
        if (folder / name).is_file():
            digest.update(name.encode() + hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()
