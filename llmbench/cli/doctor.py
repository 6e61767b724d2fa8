"""`llmbench doctor`: describe this machine and advise on measuring with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmbench.hardware import machine
from llmbench.storage import default_cache

if TYPE_CHECKING:
    from llmbench.hardware import peaks

BUSY = 0.3  # load of other programs, in cores, above which measurements suffer


def examine(
    device: str, threads: int, again: bool, progress: Callable[[str, float, str], None]
) -> Mapping[str, Any]:
    """Return what `llmbench doctor --json` prints. Peaks are measured once and stored.

    Args:
        device: auto, cpu or cuda.
        threads: CPU threads to measure with.
        again: measure even if a stored result exists.
        progress: called with (stage, share done, remark).
    """
    from llmbench.hardware import peaks, peaks_benchmark
    from llmbench.hardware.device import pick_device

    chosen = pick_device(device)
    facts, state = machine.facts(threads), machine.load_state()
    path = peaks.kept_in(default_cache(), chosen, threads)
    found = None if again else peaks.read(path)
    fresh = found is None
    if found is None:
        found = peaks_benchmark.measure(chosen, threads, progress)
        peaks.keep(path, found)
    advice = [
        *_advice(found, state, facts),
        (
            f"stored in {path}"
            if fresh
            else f"measured {found.measured}; use --again to measure again ({path})"
        ),
    ]
    return {
        **facts,
        "device": chosen,
        "state": state,
        "ceilings": peaks.as_record(found),
        "advice": advice,
    }


def _advice(found: peaks.Ceilings, state: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    said = []
    if found.grade == "noisy":
        said.append(
            f"Timings of the same work vary by {found.noise:.0%}: close other programs, or trust"
            " only large differences in speed."
        )
    if state["load"] is not None and state["load"] > BUSY:
        said.append(f"The load is {state['load']}: other programs are using the processor.")
    if state["governor"] not in (None, "performance"):
        said.append(
            f"The CPU frequency governor is {state['governor']!r}: clock speeds vary. Set it to"
            " 'performance' for stable timings."
        )
    plain = found.flops.get("float32", 0.0)
    if found.device == "cpu" and 0 < found.flops.get("bfloat16", plain) < plain / 2:
        said.append(
            "This processor emulates 16-bit formats: --dtype bfloat16 saves memory but is slower."
        )
    if not facts["gpus"] and found.device == "cpu":
        said.append("No GPU was found: models run on the CPU.")
    return said


def rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (property, value) rows of a table."""
    top, state = found["ceilings"], found["state"]
    gpus = (
        ", ".join(f"{gpu['name']} ({gpu['memory_bytes'] / 2**30:.0f} GiB)" for gpu in found["gpus"])
        or "none"
    )
    known = {"load": state["load"], "steal time": state["steal"], "governor": state["governor"]}
    return [
        ("processor", f"{found['cpu']}, {found['cores']} cores, {found['threads']} threads used"),
        (
            "memory",
            f"{found['memory_bytes'] / 2**30:.1f} GiB, {state['free_bytes'] / 2**30:.1f} GiB free",
        ),
        ("GPU", gpus),
        ("system", f"{found['os']}, Python {found['python']}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in found["packages"].items())),
        *((name, "unavailable" if value is None else str(value)) for name, value in known.items()),
        *(
            (f"bandwidth, {_size(size)}", f"{rate / 1e9:.1f} GB/s")
            for size, rate in top["bandwidth"]
        ),
        *(
            (f"matrix multiplication, {dtype}", f"{rate / 1e9:,.1f} GFLOP/s")
            for dtype, rate in top["flops"].items()
        ),
        *(
            (f"matrix multiplication, {dtype}", f"unavailable: {why}")
            for dtype, why in top["skipped"].items()
        ),
        ("latency of one small operation", f"{top['tiny'] * 1e6:.2f} us"),
        ("noise", f"{top['noise']:.1%} between quartiles ({top['grade']})"),
    ]


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
