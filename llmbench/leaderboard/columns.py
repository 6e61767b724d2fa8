"""What a board's tables have for columns, and how a model's scores fill the cells of its line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmbench.leaderboard.findings import cut

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


OF_WRITING = {
    "ngram_distance": (
        "from human text",
        (
            "character 3-grams: distance from human text, less that of other human text, which is"
            " 0; less is better"
        ),
    ),
    "distinct_2": (
        "distinct pairs",
        (
            "share of the pairs of words in an answer's first 30 that differ; nearer to human"
            " text's is better"
        ),
    ),
    "repetition_4": (
        "repeats",
        "share of an answer's runs of four words that it had said before; less is better",
    ),
    "longest_copy_bytes": (
        "longest copy",
        (
            "bytes of the longest span that stands in the training text, mean; nearer to human"
            " text's is better"
        ),
    ),
    "answer_bytes": ("answer", "bytes of an answer, mean"),
    "long_copy_share": (
        "long copies",
        "share of the answers with 50 bytes or more of the training text",
    ),
}
WRITING_COLUMNS = [
    Column(
        f"{name}{variant}",
        f"{title}{', greedy' if variant else ''}",
        f"{help}{'; of greedy answers' if variant else ''}",
    )
    for variant in ("", ":greedy")
    for name, (title, help) in OF_WRITING.items()
]

COLUMNS = [
    Column(
        "rank",
        "rank",
        "best and worst rank that the data allow, all pairs tested, Holm-corrected; compressors are"
        " not ranked",
    ),
    Column("model", "model", "name of the model", numeric=False),
    Column(
        "bits_per_byte",
        "bits/byte",
        "bits the model needs for the text / bytes of the text, with its 95 % interval; less is"
        " better",
    ),
    Column(
        "excess_bits_per_byte",
        "over the truth",
        "bits/byte more than the source itself needs for its text, which is known; 0 is perfect",
    ),
    Column(
        "conditional_bits_per_byte",
        "bits/byte given source",
        "bits of the target and its end, given the source / bytes of the target; less is better",
    ),
    Column(
        "pseudo_bits_per_byte",
        "pseudo-bits/byte",
        "bits for gaps whose surroundings are shown / their bytes: for models that see both sides,"
        " and no others",
    ),
    Column(
        "accuracy",
        "accuracy",
        "share of the questions that were answered rightly, with Wilson's 95 % interval; more is"
        " better",
    ),
    Column(
        "accuracy:byte",
        "by bits/byte",
        "the same, where the choice is what needs the fewest bits a byte",
    ),
    Column(
        "exact_match",
        "exact match",
        "share of answers that are the reference, without case, punctuation and articles; more is"
        " better",
    ),
    Column("f1", "F1", "mean overlap of the words of answer and reference; more is better"),
    Column(
        "bleu",
        "BLEU",
        "n-gram precision against the reference, sacrebleu's, 0 to 100; more is better",
    ),
    Column("chrf", "chrF", "F-score of character n-grams, sacrebleu's, 0 to 100; more is better"),
    Column(
        "ter",
        "TER",
        "edits to make the output the reference, in percent of its words, sacrebleu's; less is"
        " better",
    ),
    *WRITING_COLUMNS,
    *(
        Column(
            name,
            name.upper(),
            f"{name}: F-measure against the reference, rouge-score's; more is better",
        )
        for name in ROUGES
    ),
    Column("byte_perplexity", "byte ppl", "2^(bits/byte)"),
    Column("word_perplexity", "word ppl", "2^(bits/words)"),
    Column(
        "token_perplexity",
        "token ppl",
        "perplexity of the model's own symbols: not comparable between rows",
    ),
    Column(
        "spelling_share",
        "spelling",
        "share of the bits that spell what the vocabulary does not hold",
    ),
    Column("unknown_share", "unknown", "share of the model's symbols outside its vocabulary"),
    Column("tokenizer", "symbols", "what the model reads", numeric=False),
    Column(
        "context",
        "context",
        "most symbols a prediction can look back on; unlimited where a state is carried",
    ),
    Column("parameters", "parameters", "numbers that were learnt; of the n-gram, counts"),
    Column("training_seconds", "training", "seconds of training on the machine of this run"),
    Column(
        "decode_bytes_per_second",
        "bytes/s",
        "bytes of text written a second, one answer at a time; more is better",
    ),
    Column(
        "decode_bytes_per_second@best",
        "best batch",
        "bytes of text a second with several answers side by side: how many, in brackets",
    ),
    Column(
        "decode_tokens_per_second",
        "symbols/s",
        "the model's own symbols written a second: not comparable between rows",
    ),
    Column(
        "prefill_bytes_per_second", "reads bytes/s", "bytes of the prompt / time to the first text"
    ),
    Column(
        "time_to_first_token",
        "first text",
        "from asking to the first text, at the stated length of the prompt",
    ),
    Column(
        "end_to_end_latency",
        "whole answer",
        "from asking to the end of the answer, at the stated lengths",
    ),
    Column(
        "limit_share:prefill",
        "of limit, reading",
        "least time that the machine could take for the prompt / the time that it took",
    ),
    Column(
        "limit_share:decode",
        "of limit, writing",
        "least time that the machine could take for a symbol / the time that it took",
    ),
    Column(
        "cache",
        "carries",
        "cached: keys and values of all symbols; recurrent: a state; window: the last symbols;"
        " recompute: reads all anew for each symbol",
        numeric=False,
    ),
    Column("max_batch", "most at once", "most answers side by side within the budget of memory"),
    Column(
        "joules_per_megabyte",
        "J/MB",
        "energy / megabytes of text written, by the machine's counter",
    ),
    Column(
        "price_per_million_tokens",
        "price/M symbols",
        "the stated price of an hour, for a million of the model's own symbols",
    ),
    Column(
        "peak_ram",
        "peak RAM",
        "most memory that the model's process held, from loading it on, while it read, spoke and"
        " scored",
    ),
    Column(
        "peak_ram_over_idle",
        "over idle",
        "the same, less what the process held before the model was loaded",
    ),
    Column(
        "peak_gpu_reserved", "peak GPU", "most memory of the GPU that was reserved for the model"
    ),
    Column(
        "published",
        "published",
        "what others published by the same protocol, and whether it matches; never ranked",
        numeric=False,
    ),
    Column(
        "proven",
        "proven",
        "certificates: A1 the ledger is consistent, A2 probabilities are normalised and do not look"
        " ahead, A3 decoded from its own bits",
        numeric=False,
    ),
    Column(
        "overlap",
        "overlap",
        "share of the test's 50-byte substrings that occur in the training text",
    ),
]


def all_columns(keys: Iterable[str]) -> list[Column]:
    """COLUMNS, and behind them one for each of the keys that none of them is for: metrics from
    elsewhere, or of a later llmbench.
    """
    known = {column.key for column in COLUMNS}
    return [
        *COLUMNS,
        *(
            Column(key, cut(key, NAME_CHARACTERS), "a metric that this board knows by name only")
            for key in dict.fromkeys(keys)
            if key not in known
        ),
    ]


def stage_title(stage: int | None) -> str:
    """The heading of a stage, of a later llmbench's too."""
    return STAGES.get(stage, f"Stage {stage}")
