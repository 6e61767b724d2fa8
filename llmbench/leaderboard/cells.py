"""How a model's scores fill the cells of its row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmbench.leaderboard.columns import NAME_CHARACTERS, OF_WRITING, SHARES
from llmbench.leaderboard.findings import cut, mapping
from llmbench.leaderboard.reference_scores import words
from llmbench.results.record import BITS, SPEED, WRITING, Certificate, ModelRow, Score


@dataclass(frozen=True)
class Cell:
    """What is shown, and the number behind it (None sorts last). `low`, `high`: the interval, where
    there is one.
    """

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


def any_cell(score: Score | None) -> Cell:
    """Of a metric of which no more is known than its unit."""
    return (
        _bracketed(score, 100, " %")
        if score is not None and score.unit == "share"
        else _bracketed(score)
    )


def cells(model: ModelRow, scores: Mapping[str, Score], metric: str) -> dict[str, Cell]:
    """The cells of a model's line, by the keys of columns, in the table that goes by `metric`.
    `scores`: by record.key_of.
    """
    found = {
        "rank": _rank(scores.get(metric)),
        "model": Cell(cut(model.name, NAME_CHARACTERS)),
        **{name: _with_interval(scores.get(name)) for name in (*BITS, "excess_bits_per_byte")},
        "tokenizer": Cell(cut(model.tokenizer, NAME_CHARACTERS)),
        "context": _context(model),
        "parameters": Cell(_count(model.parameters), model.parameters),
        "training_seconds": _seconds(model.training.seconds if model.training else None),
        **{name: shown(scores.get(name)) for name, shown in MACHINE.items()},
        "decode_bytes_per_second@best": _best(scores.get(f"{SPEED}@best")),
        "cache": Cell(
            cut(
                str(mapping(getattr(scores.get(SPEED), "facts", None)).get("cache") or "-"),
                NAME_CHARACTERS,
            )
        ),
        "published": Cell(cut(words(model, scores, metric), NAME_CHARACTERS)),
        "proven": Cell(_proven(model.certificate)),
        "overlap": Cell(
            "unknown" if model.overlap is None else f"{model.overlap:.1%}", model.overlap
        ),
    }
    for name in ("byte_perplexity", "word_perplexity", "token_perplexity"):
        found[name] = _plain(scores.get(name))
    found |= {name: _bracketed(scores.get(name), 100, " %") for name in SHARES} | {
        name: _bracketed(scores.get(name)) for name in ("bleu", "chrf", "ter")
    }
    for name in OF_WRITING:
        for key in (name, f"{name}:greedy"):
            found[key] = _writing(scores.get(key))
    for name in ("joules_per_megabyte", "price_per_million_tokens"):
        found[name] = _plain(scores.get(name) or scores.get(f"{name}@best"))
    for name in ("spelling_share", "unknown_share"):
        found[name] = _share(scores.get(name))
    return found


def _rank(score: Score | None) -> Cell:
    if score is None or score.rank is None:
        return Cell("-")
    best, worst = score.rank
    return Cell(str(best) if best == worst else f"{best}-{worst}", best + worst / 1000, best, worst)


def _with_interval(score: Score | None) -> Cell:
    if score is None:
        return Cell("-")
    if score.low is None or score.high is None:
        return Cell(_number(score.value, 4), float(score.value))
    half = (score.high - score.low) / 2
    return Cell(
        f"{_number(score.value, 4)} ± {half:.4f}",
        float(score.value),
        float(score.low),
        float(score.high),
    )


def _bytes(score: Score | None) -> Cell:
    if score is None:
        return Cell("-")
    value = float(score.value)
    return Cell(f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB", value)


def _share(score: Score | None) -> Cell:
    return Cell("-") if score is None else Cell(f"{score.value:.1%}", float(score.value))


def _bracketed(score: Score | None, scale: float = 1.0, unit: str = "") -> Cell:
    """A value with its interval in brackets, which need not lie evenly around it."""
    if score is None:
        return Cell("-")
    text = f"{scale * float(score.value):.1f}{unit}"
    if score.low is None or score.high is None:
        return Cell(text, float(score.value))
    low, high = float(score.low), float(score.high)
    return Cell(f"{text} [{scale * low:.1f}, {scale * high:.1f}]", float(score.value), low, high)


def _writing(score: Score | None) -> Cell:
    """Of bytes a number, of shares percent, of the distance three digits."""
    if score is None:
        return Cell("-")
    if score.unit == "bytes":
        return Cell(f"{score.value:.1f}", float(score.value))
    return _bracketed(score, 100, " %") if score.metric != WRITING else _with_interval(score)


def _rate(score: Score | None) -> Cell:
    """Three digits, with the half width of the interval in percent."""
    if score is None:
        return Cell("-")
    value = float(score.value)
    if score.low is None or score.high is None or value == 0:
        return Cell(_scaled(value), value)
    half = (float(score.high) - float(score.low)) / 2 / value
    return Cell(f"{_scaled(value)} ± {half:.0%}", value, float(score.low), float(score.high))


def _best(score: Score | None) -> Cell:
    return (
        Cell("-")
        if score is None
        else Cell(
            f"{_scaled(float(score.value))} ({getattr(score, 'batch', '?')})", float(score.value)
        )
    )


def _scaled(value: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size * 0.9995:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _duration(score: Score | None) -> Cell:
    if score is None:
        return Cell("-")
    value = float(score.value)
    return Cell(
        (
            f"{value:.2f} s"
            if value >= 1
            else f"{value * 1e3:.3g} ms"
            if value >= 1e-3
            else f"{value * 1e6:.3g} µs"
        ),
        value,
    )


def _most(score: Score | None) -> Cell:
    if score is None:
        return Cell("-")
    return Cell(
        f"{'at least ' if getattr(score, 'at_least', False) else ''}{score.value}",
        float(score.value),
    )


def _plain(score: Score | None) -> Cell:
    return Cell("-") if score is None else Cell(_number(score.value, 3), float(score.value))


def _number(value: float, digits: int) -> str:
    """Fixed digits for everyday sizes, four significant ones beyond."""
    if math.isinf(value):
        return "inf"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.4g}"


def _context(model: ModelRow) -> Cell:
    if model.context is None:
        return Cell("unlimited" if model.fingerprint and model.parameters else "-", math.inf)
    return Cell(str(model.context), model.context)


def _count(value: int | None) -> str:
    if value is None:
        return "-"
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size * 0.9995:  # so that 999,999 is 1 M, not 1e+03 k
            return f"{value / size:.3g} {unit}"
    return str(value)


def _seconds(value: float | None) -> Cell:
    return Cell("-") if value is None else Cell(f"{value:.0f} s", value)


def _proven(certificate: Certificate | None) -> str:
    """The levels that were earned, or the first that was refused."""
    if certificate is None:
        return "-"
    refused = [level for level, proof in certificate.levels.items() if proof.state == "refused"]
    if refused:
        return f"refused {refused[0]}"
    return (
        " ".join(level for level, proof in certificate.levels.items() if proof.state == "earned")
        or "-"
    )


MACHINE: dict[
    str, Callable[[Score | None], Cell]
] = {  # what a model costs on the machine of the run
    "decode_bytes_per_second": _rate,
    "decode_tokens_per_second": _rate,
    "prefill_bytes_per_second": _rate,
    "time_to_first_token": _duration,
    "end_to_end_latency": _duration,
    "limit_share:prefill": _share,
    "limit_share:decode": _share,
    "max_batch": _most,
    "peak_ram": _bytes,
    "peak_ram_over_idle": _bytes,
    "peak_gpu_reserved": _bytes,
}
