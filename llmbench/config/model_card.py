"""Cards: one YAML file a model, in `baselines/` or anywhere. What it is, how it is made, and what
others published about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from llmbench import limits
from llmbench.config import strict_yaml
from llmbench.config.plugins import check_spec
from llmbench.config.strict_yaml import Strict
from llmbench.errors import UsageError

Rows = Annotated[int, Field(ge=1, le=limits.ROWS)]
Ids = Annotated[int, Field(ge=1, le=limits.IDS)]
TextBytes = Annotated[int, Field(ge=1, le=limits.TEXT_BYTES)]
DEPTHS = ("layers", "n_layer", "num_layers", "num_hidden_layers")  # how many layers are called
Scheme = Literal["int8", "int8-dynamic", "int4"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
Dtype = Literal["float32", "bfloat16", "float16", "float64", "auto"]
# settings of a checkpoint that change how its weights are held and computed, not how it is trained
PLACEMENTS = ("dtype", "quantize", "compile", "device_map")
Share = Annotated[float, Field(ge=0, le=1)]


class Recipe(Strict):
    """How a network is trained: a fixed number of steps, so that it can be done again."""

    steps: int = Field(ge=1, le=limits.STEPS, description="how many batches it learns from")
    batch: Rows = Field(32, description="rows in one step")
    length: Ids = Field(64, description="ids a row in one step")
    learning_rate: float = Field(3e-3, gt=0, description="of AdamW")
    matrix_learning_rate: float | None = Field(
        None, gt=0, description="where given, the weight matrices are trained by Muon at this rate"
    )
    weight_decay: float = Field(0.0, ge=0, description="of the weight matrices")
    warmup: Share = Field(0.03, description="share of the steps in which the rate rises")
    final: Share = Field(0.02, description="share of the rate that is left at the end")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    evaluations: int = Field(
        8,
        ge=1,
        le=limits.EVALUATIONS,
        description="how often the validation text is scored, evenly spaced",
    )
    hold_out: float = Field(
        0.01,
        gt=0,
        lt=0.5,
        description="tail of the training text held out where there is no validation text",
    )


class NetworkSpec(Strict):
    """A network class, `module:Class` or `file.py:Class`, and its arguments."""

    cls: str = Field(alias="class", description="module:Class or file.py:Class, a `Network`")
    arguments: dict[str, int | float | bool | str] = Field(
        {}, description="what the class is given besides the size of its vocabulary"
    )

    @model_validator(mode="after")
    def _fit(self) -> NetworkSpec:
        if not self.cls.rpartition(":")[0].endswith(".py"):
            _check_sizes(self.arguments, least=1)
        return self


class VocabularySpec(Strict):
    """How text becomes symbols: every character of the training text, its `size` most frequent
    words, or a byte-level BPE of `size` ids.
    """

    splitter: Literal["characters", "words", "bpe"] = Field(
        default="characters", description="what the symbols are"
    )
    size: Annotated[int, Field(ge=limits.LEAST_VOCABULARY, le=limits.VOCABULARY)] | None = Field(
        default=None, description="how many words, or ids of the BPE, there are at most"
    )

    @model_validator(mode="after")
    def _hold_bytes(self) -> VocabularySpec:
        if self.splitter == "bpe" and self.size is not None and self.size < limits.LEAST_BPE:
            raise ValueError(f"a byte-level BPE has at least {limits.LEAST_BPE} ids")
        return self


class NewCheckpoint(Strict):
    """A GPT-2 of one's own: a byte-level BPE learnt on the training text, weights drawn from the
    seed.
    """

    vocabulary: int = Field(
        ge=limits.LEAST_BPE,
        le=limits.VOCABULARY,
        description="ids of the BPE, the 256 bytes and the end of text among them",
    )
    config: dict[str, int | float | bool | str] = Field(
        {}, description="what GPT2Config is given: n_embd, n_layer, n_head, n_positions, ..."
    )

    @model_validator(mode="after")
    def _fit(self) -> NewCheckpoint:
        _check_sizes(self.config, least=-1)  # which is no id
        return self


class Lora(Strict):
    """Low-rank adaptation (Hu et al. 2021), not of all weights; needs the extra `peft`."""

    rank: int = Field(8, ge=1, le=limits.RANK, description="of the matrices that are added")
    alpha: int = Field(
        16, ge=1, le=limits.RANK, description="what is added is multiplied by alpha / rank"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="share of its inputs that is left out")
    modules: list[str] = Field(
        [],
        description="names of the linear modules that are adapted; all of them where none is named",
    )


class CheckpointSpec(Strict):
    """A checkpoint that `transformers` loads, or where one that is trained here begins, and what it
    learns from.
    """

    id: str | None = Field(
        None, description="a hub id or a directory; in a card with a recipe also a baseline's name"
    )
    revision: str | None = Field(None, description="branch, tag or commit on the hub")
    trust_remote_code: bool = Field(
        False, description="run Python code that comes with the checkpoint; the record shows it"
    )
    new: NewCheckpoint | None = Field(
        None, description="in place of an id: a GPT-2 that is trained from nothing"
    )
    learns: Literal["general", "domain"] | None = Field(
        None,
        description=(
            "general: the built-in tales; domain: the suite's text `domain`, else its `train`"
        ),
    )
    lora: Lora | None = Field(
        None, description="train small matrices that are added, not all weights"
    )
    bos: str | int | None = Field(
        None,
        description=(
            "token or id that stands before every text and is not scored, for a causal checkpoint"
            " without BOS and EOS, or in place of its own"
        ),
    )
    dtype: Dtype | None = Field(
        None,
        description="number format of the weights, in place of --dtype; auto: that of the file",
    )
    quantize: Scheme | None = Field(
        None, description="round the weights to 8 or 4 bits after loading; needs the extra quantize"
    )
    compile: bool = Field(
        False, description="write by a step that torch.compile made; needs a C++ compiler"
    )
    device_map: Literal["auto"] | None = Field(
        None, description="auto: layers on all GPUs, then in RAM; needs the extra large"
    )
    source_lang: str | None = Field(
        None, description="of a checkpoint that translates between many languages, as it names them"
    )
    target_lang: str | None = Field(None, description="the language of its targets")

    @property
    def languages(self) -> dict[str, str]:
        """The languages that are given, by name."""
        named = {"source_lang": self.source_lang, "target_lang": self.target_lang}
        return {name: value for name, value in named.items() if value is not None}

    @model_validator(mode="after")
    def _one(self) -> CheckpointSpec:
        if (self.id is None) == (self.new is None):
            raise ValueError("a checkpoint has either an id or is new")
        return self


class Estimate(Strict):
    """What this model costs on two cores, as once measured: what --dry-run prints."""

    seconds_per_step: float = Field(0.0, ge=0, description="of training")
    seconds_per_megabyte: float = Field(0.0, ge=0, description="of scored text")
    memory_mb: float = Field(0.0, ge=0, description="of the process, at its peak")


class Price(Strict):
    """What a server asks for a million tokens, in any currency."""

    read: float = Field(ge=0, description="of prompts")
    written: float = Field(ge=0, description="of answers")


class Published(Strict):
    """A figure somebody else published."""

    metric: str = Field(description="a name from `llmbench metrics`")
    value: float = Field(description="as it was published")
    protocol: str = Field(description="on which text, and how it was measured")
    source: str = Field(description="who says so: a paper or an address")


class Card(Strict):
    """One model."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$",
        max_length=limits.NAME_CHARACTERS,
        description="on boards: letters, digits, and . _ + -",
    )
    stage: Annotated[int, Field(ge=0, le=6)] | None = Field(
        None, description="step of the roadmap; 0 for floors; none for a model of one's own"
    )
    family: str = Field("", description="what kind of model it is, in a word or two")
    about: str = Field("", description="one sentence, shown by `llmbench models`")
    adapter: str = Field(
        description="a name from `llmbench adapters`, module:Class, or file.py:Class"
    )
    arguments: dict[str, object] = Field({}, description="what the adapter is given")
    network: NetworkSpec | None = Field(None, description="the network that is trained here")
    vocabulary: VocabularySpec | None = Field(
        None, description="how the network's text becomes symbols; by default as the adapter says"
    )
    checkpoint: CheckpointSpec | None = Field(
        None, description="the weights that are loaded, or that training begins with"
    )
    recipe: Recipe | None = Field(None, description="how it is trained; without it it is not")
    estimate: Estimate | None = Field(
        None, description="what it costs, for --dry-run and the time that is left"
    )
    price: Price | None = Field(
        None, description="of a million tokens: what a judge behind a server costs is counted by it"
    )
    source: str = Field("", description="who made the weights, and where they are described")
    licence: str = Field("", description="of the weights, as in Apache-2.0")
    parent: str | None = Field(
        None,
        description="the model of a run that this one was made from, by its name there: boards hold"
        " the two against each other",
    )
    published: list[Published] = Field(
        [], description="figures of others, shown apart from what is measured"
    )


def _check_sizes(arguments: Mapping[str, object], least: int) -> None:
    """Raise ValueError if a whole number among the arguments of a network that llmbench or
    transformers makes is not a size that a machine can hold.
    """
    for name, value in arguments.items():
        if isinstance(value, int) and not isinstance(value, bool):
            most = limits.LAYERS if name in DEPTHS else limits.ARGUMENT
            if not least <= value <= most:
                raise ValueError(f"{name} must be from {least} to {most}: it is {value}")


@dataclass(frozen=True)
class Stage:
    """One step on the way to a checkpoint: where it begins, and, where it is trained here, by which
    recipe.
    """

    name: str
    checkpoint: CheckpointSpec
    recipe: Recipe | None


def find_bos(stages: Sequence[Stage]) -> str | int | None:
    """Return the start symbol that the last of these stages, or one before it, names."""
    named = [stage.checkpoint.bos for stage in stages if stage.checkpoint.bos is not None]
    return named[-1] if named else None


class Arguments(Strict):
    """The arguments of an adapter's cards, where they are known before it is imported."""

    def anchor(self, folder: Path) -> Self:
        """Return the same with its paths made absolute from `folder`."""
        return self

    def list_files(self) -> list[Path]:
        """Return the files, by absolute paths, that hold its weights: changed, they are others."""
        return []

    def to_arguments(self) -> dict[str, object]:
        """Return what a card has under `arguments`."""
        return self.model_dump(exclude_defaults=True)


def read(
    path: Path, find_arguments: Callable[[str], type[Arguments] | None] = lambda adapter: None
) -> Card:
    """The card in a YAML file; UsageError with file:line:column where it is wrong. Paths to .py
    files become absolute. `find_arguments`: the arguments of an adapter, if they are known.
    """
    data, places = strict_yaml.read(path)
    card = strict_yaml.check(Card, data, places, path)
    changes: dict[str, object] = {
        "adapter": _anchor_class(card.adapter, strict_yaml.place(path, places, ("adapter",)), path)
    }
    known = find_arguments(card.adapter)
    if known is not None:
        inside = {at[1:]: spot for at, spot in places.items() if at[:1] == ("arguments",)}
        inside.setdefault((), (1, 1))
        arguments = strict_yaml.check(known, data.get("arguments", {}), inside, path)
        changes["arguments"] = arguments.anchor(path.parent).to_arguments()
    if card.checkpoint and card.checkpoint.id and is_path(card.checkpoint.id):
        folder = resolve_path(Path(card.checkpoint.id).expanduser(), path.parent)
        changes["checkpoint"] = card.checkpoint.model_copy(update={"id": str(folder)})
    if card.network:
        where = strict_yaml.place(path, places, ("network", "class"))
        named = _anchor_class(card.network.cls, where, path)
        changes["network"] = card.network.model_copy(update={"cls": named})
    return card.model_copy(update=changes)


def _anchor_class(spec: str, where: str, card: Path) -> str:
    """The spec of a class with an absolute path. UsageError at `where` if it names nothing."""
    anchored = anchor_path(spec, card.parent)
    if ":" in spec:
        try:
            check_spec(anchored)
        except UsageError as error:
            raise UsageError(error.what, where=where, hint=error.hint) from None
    return anchored


def anchor_path(spec: str, folder: Path) -> str:
    """`file.py:Class` with the file's path made absolute from `folder`; anything else as it is."""
    file, colon, name = spec.rpartition(":")
    is_file = colon and file.endswith(".py")
    return f"{resolve_path(file, folder)}:{name}" if is_file else spec


def resolve_path(name: str | Path, folder: Path) -> Path:
    """The absolute path of a name in a file in this folder. UsageError if it is none."""
    try:
        return (folder / name).resolve()
    except (OSError, ValueError) as error:
        raise UsageError(f"not a path: {error}", where=str(name)) from None


def is_path(id: str) -> bool:
    """Whether a checkpoint's id is written as a path: `./dir`, `../dir`, `/dir`, `~/dir`."""
    return id.startswith(("./", "../", "/", "~")) or id in (".", "..")
