"""Checks of generation: what a model says is what it scores, limits hold, and the company does not
matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmbench.adapter import Adapter, Request
from llmbench.conformance.check import Check, Failed, Skip, Subject, show
from llmbench.errors import Unsupported
from llmbench.inference.text.answer import stream_answers

if TYPE_CHECKING:
    from llmbench.adapters.token import TokenAdapter

SHORT = 64  # a context that a check of generation goes beyond
LENGTH = 24  # tokens said in a check
TIE = 1e-3  # nats: of two tokens this close either may be the likeliest


def _say(subject: Subject, *requests: Request) -> list[tuple[str, int, str]]:
    """(text, tokens, finish) of each answer."""
    if type(subject.adapter).generate is Adapter.generate:
        raise Skip(f"{type(subject.adapter).__name__} does not generate text")
    texts, ends = [""] * len(requests), [(0, "")] * len(requests)
    try:
        for chunk in stream_answers(subject.adapter, requests):
            texts[chunk.row] += chunk.text
            ends[chunk.row] = (chunk.tokens, chunk.finish or "")
    except Unsupported as error:
        raise Skip(str(error)) from None
    for request, (_, finish) in zip(requests, ends, strict=True):
        if finish not in ("length", "stop"):
            raise Failed(
                _words(request),
                f"a last chunk that is finished by {finish!r}",
                "the last chunk of an answer has no `finish`",
            )
    return [(text, *end) for text, end in zip(texts, ends, strict=True)]


def _words(request: Request) -> str:
    set_ = {key: value for key, value in vars(request).items() if value not in (None, (), 0, 0.0)}
    return f"Request({', '.join(f'{key}={value!r}' for key, value in set_.items())})"


def step_by_step(subject: Subject) -> str:
    """Reading one token after another, with a cache, predicts what one pass predicts."""
    model = subject.tokens
    if model is None:
        raise Skip("its tokens cannot be seen")
    import torch  # here and below: a model without torch does not wait for it

    ids = torch.tensor(
        [*model.bos_ids, *model.encode(subject.texts[-1]).ids.tolist()], device=model.device
    )[: min(40, model.context or 40)]
    if len(ids) < 2:
        raise Skip("its context is too short for a step")
    ids = torch.stack([ids, ids.flip(0)])
    if model.escape and model.bos_ids:
        ids[1, 0] = model.bos_ids[0]
    steps = 0
    with torch.inference_mode():
        whole = torch.log_softmax(model.logits(ids).float(), -1)
        room = subject.room(whole, writes=True)
        for begin in sorted({1, ids.shape[1] // 2}):
            state, last = model.prefill(ids[:, :begin])
            for t in range(begin, ids.shape[1] + 1):
                got = torch.log_softmax(last.float(), -1)
                if not torch.allclose(whole[:, t - 1], got, rtol=1e-3, atol=room):
                    gap = float((whole[:, t - 1] - got).abs().max())
                    sent = f"{begin} ids at once and {t - begin} one by one"
                    raise Failed(
                        sent,
                        f"log-probabilities {gap:.4g} nats from those of one pass",
                        "positions or the cache are off by one, or reordered",
                    )
                if t < ids.shape[1]:
                    state, last = model.step(state, ids[:, t])
                    steps += 1
    return f"{steps} steps of 2 rows" + ("" if model.caches else " (it keeps no cache)")


def greedy(subject: Subject) -> str:
    """At temperature 0 each token is the likeliest one by what the model scores."""
    model = subject.tokens
    prompts = [*subject.prompts[:2], subject.joined]  # the last is longer than many a context
    answers = _say(subject, *(Request(prompt, max_tokens=LENGTH) for prompt in prompts))
    only = _say(
        subject,
        *(
            Request(prompt, max_tokens=LENGTH, temperature=1.0, top_k=1, seed=subject.seed)
            for prompt in prompts
        ),
    )
    if not subject.half and [text for text, _, _ in only] != [text for text, _, _ in answers]:
        raise Failed(
            "temperature 1 among the likeliest one (top_k=1)",
            "another answer than the greedy one",
            "top_k is not heeded",
        )
    if model is not None:
        follow = _follow_noisy if subject.noise else _follow_likeliest
        followed = [
            follow(subject, model, prompt, text, finish)
            for prompt, (text, _, finish) in zip(prompts, answers, strict=True)
        ]
        if not sum(followed):
            raise Skip("its first tokens are ties, which may go either way")
        return (
            f"{len(prompts)} answers, {sum(followed)} of their tokens as by a loop over plain"
            " passes"
        )
    if type(subject.adapter).next_distribution is Adapter.next_distribution:
        raise Skip("it shows no next-token distribution to compare with")
    compared = sum(
        _as_shown(subject, prompt, text)
        for prompt, (text, _, _) in zip(prompts, answers, strict=True)
    )
    if not compared:
        raise Skip("nothing that it says could be compared")
    return f"{len(prompts)} answers, {compared} of their tokens as by the next-token distribution"


def _as_shown(subject: Subject, prompt: str, text: str) -> int:
    """Follow an answer by the distributions that are shown, up to a character that is not whole;
    gives how many tokens could be followed.
    """
    said, rest, count = prompt, text.split("\N{REPLACEMENT CHARACTER}")[0], 0
    while rest:
        symbols, p = subject.adapter.next_distribution(said)
        most = max(p[i] for i in range(len(symbols)) if symbols[i])
        best = [symbols[i] for i in range(len(symbols)) if symbols[i] and p[i] >= most * (1 - TIE)]
        found = next((symbol for symbol in best if rest.encode().startswith(symbol)), None)
        taken = (found or best[0]).decode(errors="ignore")
        if not taken:
            break  # a byte that begins a character
        if found is None:
            if subject.beyond(said):
                break
            raise Failed(
                f"the greedy answer to {prompt!r}",
                f"{rest[:10]!r} after {show(said)}, where {best[0]!r} is likeliest",
                _SAMPLES,
            )
        said, rest, count = said + taken, rest[len(taken) :], count + 1
    return count


_SAMPLES = "temperature 0 samples, or generation and scoring are not of one model"


def _follow_noisy(
    subject: Subject, model: TokenAdapter, prompt: str, text: str, finish: str
) -> int:
    """Follow an answer by plain passes: each of its tokens is as likely as the likeliest but for
    the engine's noise. Gives how many there were.
    """
    import torch

    line = [*model.bos_ids, *model.encode(prompt).ids.tolist()]
    rest, count = text.split("\N{REPLACEMENT CHARACTER}")[0].encode(), 0
    while rest and len(line) < (model.context or len(line) + 1):
        with torch.inference_mode():
            row = torch.log_softmax(model._last(torch.tensor([line]))[0].double(), 0)
        order = row.argsort(descending=True)
        near = order[row[order] >= row[order[0]] - subject.tie].tolist()
        found = next((id for id in near if (p := model.decode([id])) and rest.startswith(p)), None)
        if found is None:
            raise Failed(
                f"the greedy answer to {prompt!r}",
                f"{rest[:10]!r}, where {model.decode(near[:1])!r} is likeliest",
                _SAMPLES,
            )
        line, rest, count = [*line, found], rest[len(model.decode([found])) :], count + 1
    return count


def _follow_likeliest(
    subject: Subject, model: TokenAdapter, prompt: str, text: str, finish: str
) -> int:
    """Follow the likeliest tokens by plain passes, and hold the answer against what they say;
    gives how many there were.
    """
    import torch

    line = [*model.bos_ids, *model.encode(prompt).ids.tolist()]
    begin, ended = len(line), False
    with torch.inference_mode():
        for _ in range(LENGTH):
            seen = line if model.context is None else line[-model.context :]
            row = torch.log_softmax(
                model._last(torch.tensor([seen], device=model.device))[0].double(), 0
            )
            if model.unknown is not None:
                row[model.unknown] = -torch.inf
            top, chosen = row.topk(min(2, len(row)))  # a vocabulary may have one symbol
            if (len(line) > begin and len(line) > (model.context or len(line))) or (
                len(top) > 1 and float(top[0] - top[1]) < TIE
            ):
                # a tie may go either way, and past its context a model goes on by a rule of its own
                break
            if int(chosen[0]) in model.eos_ids:
                ended = True
                break
            line.append(int(chosen[0]))
    said = b"".join(model.decode([token]) for token in line[begin:])
    want = said.decode(errors="replace").rstrip("\N{REPLACEMENT CHARACTER}")
    if not text.startswith(want) or (ended and finish != "stop"):
        at = next(
            (i for i, (a, b) in enumerate(zip(want, text, strict=False)) if a != b),
            min(len(want), len(text)),
        )
        raise Failed(
            f"the greedy answer to {prompt!r}",
            f"{text[: at + 10]!r}, where plain passes go on {want[: at + 10]!r}",
            _SAMPLES,
        )
    return len(line) - begin + ended


def check_batched_generation(subject: Subject) -> str:
    """An answer is the same alone and beside others, greedy or drawn, and the same seed draws it
    again.
    """
    if subject.half:
        raise Skip("in 16 bits rounding may turn a draw either way")
    if subject.noise and subject.adapter.info.quantization:
        raise Skip("rounded activations may turn a draw either way in a batch")
    tried = 0
    context = subject.adapter.info.context or 0
    count = context + 8 if context <= SHORT else 12  # beyond the context, where that is not far
    for temperature in (0.0, 1.0):
        requests = [
            Request(prompt, max_tokens=count, temperature=temperature, seed=subject.seed + i)
            for i, prompt in enumerate(subject.prompts)
        ]
        alone = [_say(subject, request)[0] for request in requests]
        for how, order in (("beside others", [0, 1, 2]), ("in the opposite order", [2, 1, 0])):
            for i, answer in zip(order, _say(subject, *(requests[i] for i in order)), strict=True):
                tried += 1
                if answer[0] != alone[i][0]:
                    cause = (
                        "padding is seen by the model, rows share a state, or the random numbers"
                        " are not the request's own"
                    )
                    raise Failed(
                        f"{_words(requests[i])} alone and {how}",
                        f"{show(alone[i][0], 40)} and {show(answer[0], 40)}",
                        cause,
                    )
    return f"{tried} answers"


def limits(subject: Subject) -> str:
    """max_tokens, max_bytes and stop strings are kept; an empty prompt and one that is longer than
    the context are answered.
    """
    prompt = subject.prompts[1]
    (_, tokens, finish), (short, _, _) = _say(
        subject, Request(prompt, max_tokens=9), Request(prompt, max_bytes=7)
    )
    if tokens > 9 or (finish == "length" and tokens != 9):
        raise Failed(
            "max_tokens=9",
            f"{tokens} tokens, finish {finish!r}",
            "the limit is off by one, or tokens are not counted",
        )
    if len(short.encode()) > 7:
        raise Failed(
            "max_bytes=7",
            f"{len(short.encode())} bytes: {short!r}",
            "characters or tokens are counted instead of bytes",
        )
    long = _say(subject, Request(prompt, max_bytes=60))[0][0]
    stop = long[len(long) // 2 : len(long) // 2 + 2]
    stopped = ""
    if stop and "\N{REPLACEMENT CHARACTER}" not in long:
        stopped, _, finish = _say(subject, Request(prompt, max_bytes=60, stop=(stop,)))[0]
        if stop in stopped or finish != "stop" or stopped != long[: long.index(stop)]:
            raise Failed(
                f"stop={stop!r} in {show(long)}",
                f"{show(stopped)}, finish {finish!r}",
                "a stop string is passed over, or is part of the answer",
            )
    _say(subject, Request("", max_tokens=3), Request(subject.joined * 3, max_tokens=3))
    return f"{'3' if stop else '2'} limits, an empty prompt and a long one"


CHECKS = (
    Check(
        "step-by-step",
        "reading token by token predicts the same as one pass",
        step_by_step,
        bars="A3",
    ),
    Check("greedy", "greedy text is the likeliest by the model's own scores", greedy),
    Check(
        "batched-generation",
        "an answer is the same alone and in a batch",
        check_batched_generation,
    ),
    Check("limits", "length limits and stop strings are respected", limits),
)
