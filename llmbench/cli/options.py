"""Options that several commands share, and the parsing of their values."""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from llmbench import limits
from llmbench.errors import UsageError
from llmbench.hardware.device import DTYPES, OWN_DTYPE, pick_device


def parse_pairs(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> dict[str, str]:
    """Return {NAME: VALUE} of every NAME=VALUE that an option was given."""
    pairs = {}
    for item in value:
        name, equals, path = item.partition("=")
        if not (name and equals and path):
            raise UsageError(f"{param.opts[0]} {item!r} is not {param.metavar}")
        pairs[name] = path
    return pairs


def parse_size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return the bytes of a size such as 8GB, 512 MiB or 1e9."""
    if value is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e\d+)?)\s*([kmgt]?)(i?)b?\s*", value, re.IGNORECASE)
    if found:
        unit = 1024 if found[3] else 1000
        size = min(float(found[1]), 1e18) * unit ** " kmgt".index(found[2].lower() or " ")
        if size >= 1:
            return int(size)
    raise UsageError(f"{param.opts[0]}: invalid size {value!r} (use 8GB or 512MiB)")


class Number(click.FloatRange):
    """A number in a range, which NaN is not."""

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


def set_threads(threads: int | None) -> None:
    """Limit the CPU threads of this process. Must be called before torch is imported."""
    from llmbench.hardware import machine

    if threads:
        os.environ.update(machine.thread_settings(threads))


data = click.option(
    "--data",
    multiple=True,
    metavar="NAME=PATH",
    callback=parse_pairs,
    help="Use this file as the text NAME (or directory, as the source NAME of several texts).",
)
seed = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, limits.SEED),
    help="Seed of training, sampling and generation.",
)
device = click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    help="Device that models run on.",
)
dtype = click.option(
    "--dtype",
    default=None,
    type=click.Choice([*DTYPES, OWN_DTYPE]),
    help="Number format of the weights; auto: what a checkpoint was saved in.",
)
quantize = click.option(
    "--quantize",
    default=None,
    metavar="[int8|int8-dynamic|int4]",
    help="Round the weights of the checkpoint (of `run`: of those of --model) to 8 or 4 bits;"
    " needs the extra quantize.",
)
compile = click.option(
    "--compile",
    is_flag=True,
    default=None,
    help="Write by a compiled step of the checkpoint (of `run`: of those of --model), made by"
    " torch.compile; needs a C++ compiler.",
)
device_map = click.option(
    "--device-map",
    default=None,
    type=click.Choice(["auto"]),
    help="auto: spread the layers of the checkpoint (of `run`: of those of --model) over all GPUs,"
    " then RAM; needs the extra large.",
)
threads = click.option(
    "--threads",
    default=None,
    type=click.IntRange(1, limits.THREADS),
    help="Number of CPU threads (default: all cores).",
)
json_output = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def extend_spec(spec: str, **more: str | bool | None) -> str:
    """The SPEC of a checkpoint with these options of it, but those that are None."""
    for name, value in more.items():
        if value is not None:
            written = str(value).lower() if isinstance(value, bool) else value
            spec += f"{'&' if '?' in spec else '?'}{name}={written}"
    return spec


@dataclass(frozen=True)
class ModelOptions:
    """How a command about one model makes it. Each field is the option above of its name."""

    data: Mapping[str, str]
    seed: int
    device: str
    threads: int | None
    dtype: str | None = None
    quantize: str | None = None
    compile: bool | None = None
    device_map: str | None = None

    def name_spec(self, spec: str) -> str:
        """The SPEC, with what else is asked of its checkpoint."""
        return extend_spec(
            spec, quantize=self.quantize, compile=self.compile, device_map=self.device_map
        )

    def make_arguments(self) -> dict[str, Any]:
        """Limit the threads of this process; return what `session` takes beside the texts."""
        set_threads(self.threads)
        return {"seed": self.seed, "device": pick_device(self.device), "dtype": self.dtype}


OF_MODEL = {
    "data": data,
    "seed": seed,
    "device": device,
    "dtype": dtype,
    "quantize": quantize,
    "compile": compile,
    "device_map": device_map,
    "threads": threads,
}


def model_options(*without: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the options of ModelOptions, as its argument `model`, but those `without`."""
    taken = {name: option for name, option in OF_MODEL.items() if name not in without}

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def call(**chosen: Any) -> int:
            model = ModelOptions(**{name: chosen.pop(name) for name in taken})
            return command(model=model, **chosen)

        for option in reversed(taken.values()):
            call = option(call)
        return call

    return decorate
