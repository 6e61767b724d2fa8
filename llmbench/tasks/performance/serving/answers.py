"""From the times of an answer to its numbers, and whether the client kept to its schedule.

Definitions, in seconds. Time to first token (TTFT): from when the request was due (closed loop:
sent) to the first message with text. Time per output token (TPOT): from the first message with text
to the last / (tokens - 1). End-to-end latency: from when it was due to the end of the answer.
Inter-token latency: the gaps between messages, if each message is one token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from llmbench.inference.serving.load import Exchange, Level
from llmbench.tasks.performance.serving.schedule import find_interval

LATE_SECONDS, LATE_INTERVAL = 0.010, 0.05  # of a send; and as a share of the median interval
LATE_SHARE = 0.01  # of the sends may be late
OWN_SLACK = 0.1  # a text that is tokenized again may have so many more or fewer tokens, as a share,
OWN_FEW = 2  # and so many besides


@dataclass(frozen=True)
class Answer:
    """An answer's numbers; None if there is nothing to derive one from.

    tokens: of the answer, as far as they are known. is_by_token: whether each message is a token.
    doubt: what is wrong with the server's count of them.
    """

    exchange: Exchange
    first: float
    latency: float
    per_token: float | None
    gaps: tuple[float, ...]
    tokens: int | None
    is_by_token: bool
    doubt: str = ""

    @property
    def ended(self) -> int:
        """When it ended, in ns."""
        return _find_end(self.exchange)


def derive(exchange: Exchange, level: Level, most: int) -> Answer | None:
    """Return the numbers of an exchange; None for an error, or an answer without text.

    most: the tokens that were asked for.
    """
    if exchange.error or not exchange.pieces:
        return None
    asked = exchange.scheduled if level.is_open else exchange.started
    times = [at for at, _ in exchange.pieces]
    tokens, doubt = count_tokens(exchange, most)
    per_token = None
    if tokens is not None and tokens > 1 and len(times) > 1:
        per_token = (times[-1] - times[0]) / 1e9 / (tokens - 1)
    return Answer(
        exchange,
        (times[0] - asked) / 1e9,
        (_find_end(exchange) - asked) / 1e9,
        per_token,
        tuple((b - a) / 1e9 for a, b in pairwise(times)),
        tokens,
        _is_by_token(exchange, tokens),
        doubt,
    )


def _find_end(exchange: Exchange) -> int:
    return exchange.pieces[-1][0] if exchange.ended is None else exchange.ended


def _is_by_token(exchange: Exchange, tokens: int | None) -> bool:
    """Whether there are as many messages as tokens; an end symbol is a token without a text."""
    count = len(exchange.pieces)
    return tokens == count or (exchange.finish == "stop" and tokens == count + 1)


def count_tokens(exchange: Exchange, most: int) -> tuple[int | None, str]:
    """Return the tokens of an answer, and what is wrong with the server's count of them.

    An answer that ended at its limit has `most`. The server's count is believed if it agrees with
    that and, roughly, with the model's own tokenizer: text that is tokenized again may come in
    other pieces. Otherwise the tokenizer's count stands, or that of as many messages as tokens were
    asked for; None if there is neither.
    """
    usage, own, is_full = exchange.usage, exchange.own, exchange.finish == "length"
    doubt = ""
    if usage is not None:
        if not 1 <= usage <= most or (is_full and usage != most):
            doubt = f"completion_tokens is {usage} in an answer of {most}"
        elif own is not None and abs(usage - own) > OWN_FEW + OWN_SLACK * own:
            doubt = f"completion_tokens is {usage}, and the model's tokenizer counts {own}"
        elif own is None and len(exchange.pieces) > usage:
            doubt = f"completion_tokens is {usage} in {len(exchange.pieces)} messages with text"
        else:
            return usage, ""
    if own is None and is_full and len(exchange.pieces) == most:
        return most, doubt
    return own, doubt


@dataclass(frozen=True)
class Punctuality:
    """How well the client kept to its schedule. limit: seconds after which a send is late."""

    sent: int
    late: int
    worst: float
    limit: float

    @property
    def refusal(self) -> str:
        """Why the load is no measurement of the server; "" if it is."""
        if self.late <= LATE_SHARE * self.sent:
            return ""
        return (
            f"the client could not keep up: {self.late} of {self.sent} requests were sent more than"
            f" {1e3 * self.limit:.0f} ms late, the worst {1e3 * self.worst:.0f} ms"
        )


def check_sends(exchanges: Sequence[Exchange], due: Sequence[float] | None) -> Punctuality:
    """Compare when requests were due and when the client began to send them."""
    limit = max(LATE_SECONDS, LATE_INTERVAL * find_interval(due or ()))
    delays = [(one.started - one.scheduled) / 1e9 for one in exchanges]
    late = sum(delay > limit for delay in delays)
    return Punctuality(len(delays), late, max(delays, default=0.0), limit)
