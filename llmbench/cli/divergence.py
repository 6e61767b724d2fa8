"""`llmbench divergence`: what a change of a model's weights, as to 4 bits, cost and gained."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmbench.cli import options

if TYPE_CHECKING:
    from llmbench.adapter import ModelInfo
    from llmbench.inference.divergence import Compared, Divergence
    from llmbench.inference.token_model import TokenModel
    from llmbench.leaderboard.renderers.sections import Section
    from llmbench.stats import Interval


@click.command()
@click.argument("spec")
@click.argument("parent")
@click.argument("textfile", type=click.Path(path_type=Path))
@options.json_output
@options.model_options("quantize", "compile", "device_map")
def divergence(
    spec: str, parent: str, textfile: Path, as_json: bool, model: options.ModelOptions
) -> int:
    """Compare the predictions of SPEC with those of PARENT, token by token, on TEXTFILE.

    For a quantised or otherwise changed model beside the one that it was made from: the bits per
    byte that it needs more, how far its predictions are from its parent's (Kullback-Leibler
    divergence over the whole vocabulary), the memory of its weights, and how fast it reads.
    Both must have the same tokens. For example: llmbench divergence
    "smollm2-135m?quantize=int4" smollm2-135m some.txt
    """
    from llmbench.data import loading
    from llmbench.runner import session
    from llmbench.runner.progress import spinner
    from llmbench.tasks.passages import Passages
    from llmbench.tasks.prompts import check_plain

    for name in (spec, parent):
        session.find(name)
    text = loading.load("text", str(textfile))
    check_plain(text)
    passages = Passages(text.documents)
    arguments = model.make_arguments()
    from llmbench.inference.divergence import diverge, summarise  # loads torch

    with spinner() as progress:
        (mine, info), (parents, parent_info) = (
            _load(name, model.data, progress=progress, **arguments) for name in (spec, parent)
        )
        compared = []
        with session.model_errors(spec):
            for one in diverge(mine, parents, passages):
                compared.append(one)
                progress("comparing", len(compared) / len(passages), spec)
    found, infos = summarise(compared), (info, parent_info)
    if as_json:
        click.echo(json.dumps(_as_json((spec, parent), found, infos, compared)))
    else:
        _print((spec, parent), found, infos)
    return 0


def _load(spec: str, data: Mapping[str, str], **given: Any) -> tuple[TokenModel, ModelInfo]:
    """The model of a SPEC, which shows logits of tokens, and what it is."""
    from llmbench.runner import session
    from llmbench.tasks.divergence import find_token_model

    _, adapter = session.load_model(spec, data, **given)
    return find_token_model(adapter, spec), adapter.info


def _as_json(
    names: Sequence[str],
    found: Divergence,
    infos: Sequence[ModelInfo],
    compared: Sequence[Compared],
) -> dict[str, object]:
    """All that is known, with a row for each document; infinite numbers as "inf"."""
    numbers = {key: value for key, value in asdict(found).items() if key != "items"}
    rows = [
        {
            "id": one.passage.id,
            "bytes": len(one.passage.text.encode()),
            "tokens": len(one.bits),
            "bits": _number(math.fsum(one.bits)),
            "parent_bits": _number(math.fsum(one.parent_bits)),
            "nats": _number(math.fsum(one.nats)),
            "agreed": int(math.fsum(one.agreed)),
        }
        for one in compared
    ]
    models = [
        {
            "spec": name,
            "weights_bytes": info.weights_bytes,
            "quantization": info.quantization,
            "dtype": info.dtype,
            "fingerprint": info.fingerprint,
        }
        for name, info in zip(names, infos, strict=True)
    ]
    ready = {
        key: value and {name: _number(part) for name, part in value.items()}
        for key, value in numbers.items()
    }
    return {"model": models[0], "parent": models[1], **ready, "documents": rows}


def _number(value: float | None) -> float | str | None:
    return "inf" if value is not None and math.isinf(value) else value


def _print(names: Sequence[str], found: Divergence, infos: Sequence[ModelInfo]) -> None:
    from rich.console import Console

    from llmbench.leaderboard.renderers.sections import print_to

    print_to(Console(width=None if sys.stdout.isatty() else 140), [_draw(names, found, infos)])


def _draw(names: Sequence[str], found: Divergence, infos: Sequence[ModelInfo]) -> Section:
    """The table: what it cost above, what it gained below."""
    from llmbench.leaderboard.numbers import mebibytes
    from llmbench.leaderboard.renderers.sections import Section

    sizes = [info.weights_bytes for info in infos]
    memory = ["-" if size is None else f"{mebibytes(size)} MiB" for size in sizes]
    share = f"x {sizes[0] / sizes[1]:.2f}" if sizes[0] and sizes[1] else "-"
    rows = [
        (
            "bits per byte",
            f"{found.bits.value:.4f}",
            f"{found.parent_bits.value:.4f}",
            _show(found.difference, "+.4f"),
        ),
        ("divergence, nats a token", "", "", _show(found.nats, ".4f")),
        ("same likeliest token, %", "", "", _show(found.agreement, ".2f", 100)),
        ("memory of the weights", *memory, share),
    ]
    if found.speed is not None:
        rows.append(("reading speed", "", "", _show(found.speed, ".2f", before="x ")))
    rounding = [f"{n}: {info.quantization}" for n, info in zip(names, infos, strict=True)]
    unit = "documents" if len({item.id.partition(":")[0] for item in found.items}) > 1 else "blocks"
    over = f"Intervals: 95 % over {len(found.items)} {unit} of the text."
    notes = [
        over if len(found.items) > 1 else "The text is too short for intervals.",
        *(line for line in rounding if not line.endswith(": None")),
    ]
    titles = ("", "model", "parent", "difference")  # names may be long; the heading has them
    return Section(f"{names[0]} against its parent {names[1]}", titles, rows, notes)


def _show(found: Interval, form: str, scale: float = 1.0, before: str = "") -> str:
    """A value with its interval in brackets."""
    value = f"{before}{scale * found.value:{form}}"
    if found.low is None or found.high is None:
        return value
    return f"{value} [{scale * found.low:{form}}, {scale * found.high:{form}}]"


COMMANDS = (divergence,)
