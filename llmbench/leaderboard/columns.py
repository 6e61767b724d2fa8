"""The columns of a board's tables: those of the metrics, and what else is known of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import METRICS
from llmbench.metrics.metric import ALWAYS, NEVER, Metric
from llmbench.results.record import Score, key_of, metric_of

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
NAME_CHARACTERS = 255  # a model's name is a folder's name: none that is real is cut


@dataclass(frozen=True)
class Column:
    """A column: its key, title, and what it is, in a line.

    is_numeric: whether it is sorted and set as numbers.
    priority, is_brief: as of a metric's Variant.
    member: of a group of tasks or questions, the one that it is of, and `items`: how many it has.
    """

    key: str
    title: str
    help: str
    is_numeric: bool = True
    priority: int = ALWAYS
    is_brief: bool = True
    member: str = ""
    items: int | None = None


def metric_columns(metrics: Iterable[Metric]) -> list[Column]:
    """The columns of these metrics."""
    return [
        Column(
            metric.name + variant.suffix,
            cut(variant.label, NAME_CHARACTERS),
            cut(variant.help or metric.help, NAME_CHARACTERS),
            priority=variant.priority,
            is_brief=variant.is_brief,
        )
        for metric in metrics
        for variant in metric.variants
    ]


COLUMNS = [
    Column(
        "rank",
        "rank",
        "best and worst rank that the data allow: all pairs tested, Holm-corrected; compressors are"
        " not ranked",
    ),
    Column("model", "model", "name of the model", is_numeric=False),
    *metric_columns(metric for metric in METRICS if not metric.depends_on_machine),
    Column(
        "chance",
        "chance",
        "share that is right by chance",
        priority=NEVER,
        is_brief=False,
    ),
    Column(
        "majority",
        "most common answer",
        "share that always giving the most common right answer would reach",
        priority=NEVER,
        is_brief=False,
    ),
    Column(
        "left_out",
        "left out",
        "documents that some model of the run cannot hold, left out for all models",
        priority=NEVER,
        is_brief=False,
    ),
    Column("tokenizer", "tokenizer", "what the model's tokens are", is_numeric=False, priority=2),
    Column(
        "context",
        "context, tokens",
        "context length: tokens that a prediction can depend on; unlimited if the model carries a"
        " state",
        priority=NEVER,
        is_brief=False,
    ),
    Column("parameters", "parameters", "number of parameters; of the n-gram, counts", priority=20),
    Column(
        "training_seconds",
        "training, s",
        "training time on this machine; with *, where weights that come with llmbench were made",
        priority=17,
    ),
    *metric_columns(metric for metric in METRICS if metric.group == "speed"),
    Column(
        "cache",
        "state",
        "what is kept from token to token: a KV cache (rolling: of the last tokens), a recurrent"
        " state, a window of the last tokens, or nothing (recompute)",
        is_numeric=False,
        priority=7,
    ),
    *metric_columns(metric for metric in METRICS if metric.group == "memory"),
    Column(
        "published",
        "published",
        "what others published by the same protocol, and whether it matches; never ranked",
        is_numeric=False,
        priority=26,
    ),
    Column(
        "certificate",
        "certificate",
        "A1: the ledger is consistent; A2: probabilities are normalised and causal; A3: the text"
        " was decoded from its own bits",
        is_numeric=False,
        priority=16,
    ),
    Column(
        "overlap",
        "overlap",
        "share of the test text's 50-byte substrings that occur in the training text",
        priority=NEVER,
        is_brief=False,
    ),
]


def all_columns(scores: Iterable[Score]) -> list[Column]:
    """COLUMNS, and behind them those of scores by metrics that llmbench itself does not define."""
    by_key = {key_of(score): score for score in scores}
    known = {column.key for column in COLUMNS}
    return [
        *COLUMNS,
        *(_custom_column(key, score) for key, score in by_key.items() if key not in known),
    ]


def _custom_column(key: str, score: Score) -> Column:
    metric = metric_of(score)
    variant = key.removeprefix(metric.name).strip(":@")
    label = f"{metric.label}, {variant}" if variant else metric.label
    if score.member:
        own = variant.removesuffix(score.member).strip(":")
        title = ", ".join(filter(None, (score.member, metric.label, own)))
        help = f"{metric.help}; of {score.member} alone"
        title, help = cut(title, NAME_CHARACTERS), cut(help, NAME_CHARACTERS)
        whole = Column(key, title, help, priority=NEVER, is_brief=False)
        return replace(whole, member=score.member, items=score.n)
    return Column(key, cut(label, NAME_CHARACTERS), cut(metric.help, NAME_CHARACTERS))


def stage_title(stage: int | None) -> str:
    """The heading of a stage, of a later llmbench's too."""
    return STAGES.get(stage, f"Stage {stage}")
