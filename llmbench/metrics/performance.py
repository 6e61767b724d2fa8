"""Speed, cost, and the share of what the machine could do."""

from __future__ import annotations

from llmbench.metrics.metric import Metric

METRICS = (
    Metric(
        "prefill_bytes_per_second",
        "bytes/s",
        "higher",
        "bytes of the prompt that the model read / time to the first text",
    ),
    Metric(
        "prefill_tokens_per_second",
        "tokens/s",
        None,
        "the same in the model's own symbols: not comparable across tokenisers",
    ),
    Metric(
        "decode_bytes_per_second",
        "bytes/s",
        "higher",
        "bytes of text after the first / the time they took",
    ),
    Metric(
        "decode_tokens_per_second",
        "tokens/s",
        None,
        "the same in the model's own symbols: not comparable across tokenisers",
    ),
    Metric("time_to_first_token", "seconds", "lower", "from asking to the first text"),
    Metric(
        "time_per_output_token",
        "seconds",
        None,
        "(last - first) / (tokens - 1): of the model's own symbols",
    ),
    Metric(
        "end_to_end_latency",
        "seconds",
        "lower",
        "from asking to the end of the answer, at the stated lengths",
    ),
    Metric(
        "limit_share",
        "share",
        "higher",
        "max(bytes read / bandwidth, operations / peak) / measured time: how much of what the"
        " machine could do was used",
    ),
    Metric(
        "joules_per_megabyte",
        "joules/MB",
        "lower",
        "energy of reading prompts and writing answers, by the machine's counter / megabytes"
        " written",
    ),
    Metric(
        "price_per_million_tokens",
        "price",
        None,
        "the stated price of an hour / tokens in an hour, x 10^6",
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}
