"""What a board's tables have for columns, and how a model's scores fill the cells of its line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from llmbench.notes import cut, mapping
from llmbench.published import words
from llmbench.results.record import BITS, SPEED, WRITING, Certificate, ModelRow, Score

STAGES = {
    0: "Floors",
    1: "Stage 1: characters, feed-forward",
    2: "Stage 2: words, feed-forward",
    3: "Stage 3: recurrent",
    4: "Stage 4: transformer",
    5: "Stage 5: pretrained",
    6: "Stage 6: fine-tuned",
    None: "Models of one's own",
}
ROUGES = ("rouge1", "rouge2", "rougeL")
SHARES = ("accuracy", "accuracy:byte", "exact_match", "f1", *ROUGES)
NAME_CHARACTERS = 255  # a model's name is a folder's name: none that is real is cut


@dataclass(frozen=True)
class Column:
    """`numeric`: sorted and set as numbers. `help`: what it is, in a line."""

    key: str
    title: str
    help: str
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """What is shown, and the number behind it (None sorts last). `low`, `high`: the interval, where there is one."""

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


OF_WRITING = {
    "ngram_distance": (
        "from human text",
        "character 3-grams: distance from human text, less that of other human text, which is 0; less is better",
    ),
    "distinct_2": ("distinct pairs", "share of the pairs of words in an answer's first 30 that differ; nearer to human text's is better"),
    "repetition_4": ("repeats", "share of an answer's runs of four words that it had said before; less is better"),
    "longest_copy_bytes": ("longest copy", "bytes of the longest span that stands in the training text, mean; nearer to human text's is better"),
    "answer_bytes": ("answer", "bytes of an answer, mean"),
    "long_copy_share": ("long copies", "share of the answers with 50 bytes or more of the training text"),
}
WRITING_COLUMNS = [
    Column(f"{name}{variant}", f"{title}{', greedy' if variant else ''}", f"{help}{'; of greedy answers' if variant else ''}")
    for variant in ("", ":greedy")
    for name, (title, help) in OF_WRITING.items()
]

COLUMNS = [
    Column("rank", "rank", "best and worst rank that the data allow, all pairs tested, Holm-corrected; compressors are not ranked"),
    Column("model", "model", "name of the model", numeric=False),
    Column("bits_per_byte", "bits/byte", "bits the model needs for the text / bytes of the text, with its 95 % interval; less is better"),
    Column("excess_bits_per_byte", "over the truth", "bits/byte more than the source itself needs for its text, which is known; 0 is perfect"),
    Column(
        "conditional_bits_per_byte",
        "bits/byte given source",
        "bits of the target and its end, given the source / bytes of the target; less is better",
    ),
    Column(
        "pseudo_bits_per_byte",
        "pseudo-bits/byte",
        "bits for gaps whose surroundings are shown / their bytes: for models that see both sides, and no others",
    ),
    Column("accuracy", "accuracy", "share of the questions that were answered rightly, with Wilson's 95 % interval; more is better"),
    Column("accuracy:byte", "by bits/byte", "the same, where the choice is what needs the fewest bits a byte"),
    Column("exact_match", "exact match", "share of answers that are the reference, without case, punctuation and articles; more is better"),
    Column("f1", "F1", "mean overlap of the words of answer and reference; more is better"),
    Column("bleu", "BLEU", "n-gram precision against the reference, sacrebleu's, 0 to 100; more is better"),
    Column("chrf", "chrF", "F-score of character n-grams, sacrebleu's, 0 to 100; more is better"),
    Column("ter", "TER", "edits to make the output the reference, in percent of its words, sacrebleu's; less is better"),
    *WRITING_COLUMNS,
    *(Column(name, name.upper(), f"{name}: F-measure against the reference, rouge-score's; more is better") for name in ROUGES),
    Column("byte_perplexity", "byte ppl", "2^(bits/byte)"),
    Column("word_perplexity", "word ppl", "2^(bits/words)"),
    Column("token_perplexity", "token ppl", "perplexity of the model's own symbols: not comparable between rows"),
    Column("spelling_share", "spelling", "share of the bits that spell what the vocabulary does not hold"),
    Column("unknown_share", "unknown", "share of the model's symbols outside its vocabulary"),
    Column("tokenizer", "symbols", "what the model reads", numeric=False),
    Column("context", "context", "most symbols a prediction can look back on; unlimited where a state is carried"),
    Column("parameters", "parameters", "numbers that were learnt; of the n-gram, counts"),
    Column("training_seconds", "training", "seconds of training on the machine of this run"),
    Column("decode_bytes_per_second", "bytes/s", "bytes of text written a second, one answer at a time; more is better"),
    Column("decode_bytes_per_second@best", "best batch", "bytes of text a second with several answers side by side: how many, in brackets"),
    Column("decode_tokens_per_second", "symbols/s", "the model's own symbols written a second: not comparable between rows"),
    Column("prefill_bytes_per_second", "reads bytes/s", "bytes of the prompt / time to the first text"),
    Column("time_to_first_token", "first text", "from asking to the first text, at the stated length of the prompt"),
    Column("end_to_end_latency", "whole answer", "from asking to the end of the answer, at the stated lengths"),
    Column("limit_share:prefill", "of limit, reading", "least time that the machine could take for the prompt / the time that it took"),
    Column("limit_share:decode", "of limit, writing", "least time that the machine could take for a symbol / the time that it took"),
    Column(
        "cache",
        "carries",
        "cached: keys and values of all symbols; recurrent: a state; window: the last symbols; recompute: reads all anew for each symbol",
        numeric=False,
    ),
    Column("max_batch", "most at once", "most answers side by side within the budget of memory"),
    Column("joules_per_megabyte", "J/MB", "energy / megabytes of text written, by the machine's counter"),
    Column("price_per_million_tokens", "price/M symbols", "the stated price of an hour, for a million of the model's own symbols"),
    Column("peak_ram", "peak RAM", "most memory that the model's process held, from loading it on, while it read, spoke and scored"),
    Column("peak_ram_over_idle", "over idle", "the same, less what the process held before the model was loaded"),
    Column("peak_gpu_reserved", "peak GPU", "most memory of the GPU that was reserved for the model"),
    Column("published", "published", "what others published by the same protocol, and whether it matches; never ranked", numeric=False),
    Column(
        "proven",
        "proven",
        "certificates: A1 the ledger is consistent, A2 probabilities are normalised and do not look ahead, A3 decoded from its own bits",
        numeric=False,
    ),
    Column("overlap", "overlap", "share of the test's 50-byte substrings that occur in the training text"),
]


def all_columns(keys: Iterable[str]) -> list[Column]:
    """COLUMNS, and behind them one for each of the keys that none of them is for: metrics from elsewhere, or of a later llmbench."""
    known = {column.key for column in COLUMNS}
    return [
        *COLUMNS,
        *(Column(key, cut(key, NAME_CHARACTERS), "a metric that this board knows by name only") for key in dict.fromkeys(keys) if key not in known),
    ]


def any_cell(score: Score | None) -> Cell:
    """Of a metric of which no more is known than its unit."""
    return _bracketed(score, 100, " %") if score is not None and score.unit == "share" else _bracketed(score)


def stage_title(stage: int | None) -> str:
    """The heading of a stage, of a later llmbench's too."""
    return STAGES.get(stage, f"Stage {stage}")


def cells(model: ModelRow, scores: Mapping[str, Score], metric: str) -> dict[str, Cell]:
    """The cells of a model's line, by the keys of columns, in the table that goes by `metric`. `scores`: by record.key_of."""
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
        "cache": Cell(cut(str(mapping(getattr(scores.get(SPEED), "facts", None)).get("cache") or "-"), NAME_CHARACTERS)),
        "published": Cell(cut(words(model, scores, metric), NAME_CHARACTERS)),
        "proven": Cell(_proven(model.certificate)),
        "overlap": Cell("unknown" if model.overlap is None else f"{model.overlap:.1%}", model.overlap),
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
    return Cell(f"{_number(score.value, 4)} ± {half:.4f}", float(score.value), float(score.low), float(score.high))


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
    return Cell("-") if score is None else Cell(f"{_scaled(float(score.value))} ({getattr(score, 'batch', '?')})", float(score.value))


def _scaled(value: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size * 0.9995:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _duration(score: Score | None) -> Cell:
    if score is None:
        return Cell("-")
    value = float(score.value)
    return Cell(f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} µs", value)


def _most(score: Score | None) -> Cell:
    if score is None:
        return Cell("-")
    return Cell(f"{'at least ' if getattr(score, 'at_least', False) else ''}{score.value}", float(score.value))


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
    return " ".join(level for level, proof in certificate.levels.items() if proof.state == "earned") or "-"


MACHINE: dict[str, Callable[[Score | None], Cell]] = {  # what a model costs on the machine of the run
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
