"""The facts of the metrics of speed, energy and memory, which hold for one machine."""

from __future__ import annotations

from llmbench.metrics.metric import ANY, NEVER, POSITIVE, Better, Format, Metric, Test, Variant

TIE_RATE = 0.05  # of a rate or a time, as a share


def _speed(
    name: str,
    unit: str,
    better: Better,
    help: str,
    *variants: Variant,
    format: Format,
    test: Test = "",
    headline: bool = False,
) -> Metric:
    tie = TIE_RATE if test else 0.0
    return Metric(
        name,
        unit,
        better,
        help,
        "speed",
        POSITIVE,
        variants,
        format,
        test,
        tie,
        headline,
        headline,
    )


def _memory(name: str, help: str, *variants: Variant, better: Better = "lower") -> Metric:
    return Metric(name, "bytes", better, help, "memory", ANY, variants, "mebibytes")


def _load(name: str, unit: str, better: Better, help: str, format: Format) -> Metric:
    """A metric of a load on a server, which has tables of its own."""
    return Metric(name, unit, better, help, "serving", POSITIVE, format=format)


SERVING = (
    _load(
        "serving_ttft",
        "seconds",
        "lower",
        "time to first token under load: from when the request was due (closed loop: sent) to the"
        " first message with text; median; less is better",
        "milliseconds",
    ),
    _load(
        "serving_tpot",
        "seconds",
        None,
        "time per output token after the first under load, of each answer; median: not comparable"
        " across tokenizers",
        "milliseconds",
    ),
    _load(
        "serving_itl",
        "seconds",
        None,
        "inter-token latency under load: gaps between messages of one token each; median",
        "milliseconds",
    ),
    _load(
        "serving_chunk_gap",
        "seconds",
        None,
        "gaps between messages under load, which are not single tokens; median",
        "milliseconds",
    ),
    _load(
        "serving_latency",
        "seconds",
        "lower",
        "end-to-end latency under load: from when the request was due (closed loop: sent) to the"
        " end of its answer; median; less is better",
        "milliseconds",
    ),
    _load(
        "serving_tokens_per_second",
        "tokens/s",
        None,
        "tokens generated per second by all answers of a load: not comparable across tokenizers",
        "rate",
    ),
    _load(
        "serving_requests_per_second",
        "requests/s",
        "higher",
        "requests answered per second of a load; more is better",
        "rate",
    ),
    _load(
        "serving_goodput",
        "requests/s",
        "higher",
        "requests per second that were answered within all stated limits; more is better",
        "rate",
    ),
    _load(
        "serving_joules_per_token",
        "joules/token",
        None,
        "energy under load, by the machine's counter / tokens generated",
        "scaled",
    ),
    Metric(
        "serving_peak_ram",
        "bytes",
        "lower",
        "peak memory of the server's processes, sampled; less is better",
        "serving",
        format="mebibytes",
    ),
    Metric(
        "serving_peak_gpu",
        "bytes",
        "lower",
        "peak GPU memory of the server's processes, by the driver, sampled; less is better",
        "serving",
        format="mebibytes",
    ),
)
PERFORMANCE = (
    _speed(
        "decode_bytes_per_second",
        "bytes/s",
        "higher",
        "bytes of text generated per second after the first token, batch 1; more is better",
        Variant("", "decode, bytes/s", priority=27, is_cost=True),
        Variant(
            "@best",
            "best batch, bytes/s",
            "bytes of text generated per second at the best batch size, which is in brackets",
            priority=18,
            is_cost=True,
        ),
        format="rate",
        test="rate",
        headline=True,
    ),
    _speed(
        "decode_tokens_per_second",
        "tokens/s",
        None,
        "the model's own tokens generated per second: not comparable across tokenizers",
        Variant("", "decode, tokens/s", priority=28, is_cost=True),
        format="rate",
    ),
    _speed(
        "prefill_bytes_per_second",
        "bytes/s",
        "higher",
        "bytes of the prompt / time to the first token; more is better",
        Variant("", "prefill, bytes/s", priority=11),
        format="rate",
        test="rate",
    ),
    _speed(
        "prefill_tokens_per_second",
        "tokens/s",
        None,
        "tokens of the prompt / time to the first token: not comparable across tokenizers",
        Variant("", "prefill, tokens/s", priority=7, is_brief=False),
        format="rate",
    ),
    _speed(
        "time_to_first_token",
        "seconds",
        "lower",
        "time to first token, at the stated prompt length; less is better",
        Variant("", "TTFT, ms", priority=24, is_cost=True),
        format="milliseconds",
        test="rate",
    ),
    _speed(
        "time_per_output_token",
        "seconds",
        None,
        "time per output token after the first: not comparable across tokenizers",
        format="milliseconds",
    ),
    _speed(
        "end_to_end_latency",
        "seconds",
        "lower",
        "from the request to the end of the answer, at the stated lengths; less is better",
        Variant("", "latency, ms", priority=6, is_brief=False),
        format="milliseconds",
        test="rate",
    ),
    _speed(
        "limit_share",
        "share",
        "higher",
        "roofline share: max(bytes read / memory bandwidth, operations / peak) / measured time",
        Variant(
            ":prefill",
            "roofline, prefill",
            "roofline time of the prompt on this machine / measured time",
            NEVER,
            is_brief=False,
        ),
        Variant(
            ":decode",
            "roofline, decode",
            "roofline time of a token on this machine / measured time",
            priority=12,
            is_brief=False,
            is_cost=True,
        ),
        format="percent",
    ),
    _speed(
        "joules_per_megabyte",
        "joules/MB",
        "lower",
        "energy of prefill and decode, by the machine's counter / megabytes generated; less is"
        " better",
        Variant("", "J/MB", priority=NEVER),
        format="scaled",
    ),
    _speed(
        "price_per_million_tokens",
        "price",
        None,
        "the stated price of an hour / tokens generated in an hour, x 10^6",
        Variant("", "price/M tokens", priority=NEVER),
        format="scaled",
    ),
    Metric(
        "max_batch",
        "answers",
        "higher",
        "largest batch that stays within the memory budget; more is better",
        "memory",
        variants=(Variant("", "max batch", priority=9, is_brief=False, is_cost=True),),
        format="count",
    ),
    _memory(
        "peak_ram",
        "peak memory of the model's process, from loading the model on; less is better",
        Variant("", "peak RAM, MiB", priority=23, is_cost=True),
    ),
    _memory(
        "peak_ram_over_idle",
        "peak memory less what the process held before the model was loaded; less is better",
        Variant("", "RAM over idle, MiB", priority=NEVER, is_brief=False, is_cost=True),
    ),
    _memory("peak_gpu_allocated", "peak GPU memory in tensors; less is better"),
    _memory(
        "peak_gpu_reserved",
        "peak GPU memory that torch's allocator reserved; less is better",
        Variant("", "peak GPU, MiB", priority=22, is_cost=True),
    ),
    _memory("peak_gpu_process", "peak GPU memory of the process, by the driver; less is better"),
    _memory("gpu_idle", "GPU memory in use before the model was loaded", better=None),
    *SERVING,
)
