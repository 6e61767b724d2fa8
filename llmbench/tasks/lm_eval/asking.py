"""lm-eval's requests, answered by an adapter: log-likelihoods, rolling ones, and generated text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from llmbench.adapter import Adapter, Passage, Progress, Request, Window
from llmbench.errors import Unsupported
from llmbench.inference.text.lines import count_ids
from llmbench.ledger import Ledger
from llmbench.tasks.lm_eval.questions import Ask, Question
from llmbench.tasks.passages import charge
from llmbench.tasks.prompts import move_space
from llmbench.tasks.reference_based import generate_texts
from llmbench.tasks.shards.recording import ask_flags

LONGEST = 256  # tokens of an answer whose length a task does not limit: lm-eval's own default
REPEAT = 1_000_003  # between the seeds of two questions, so that repeats are drawn anew


@dataclass
class Answers:
    """What a model answered: `replies`, of each question and request a list, one for each repeat,
    as lm-eval wants them. `bytes`: of each question, those that were scored or written. `cut`:
    numbers of the questions of which only the end was read.
    """

    replies: list[list[list[Any]]]
    bytes: list[int]
    cut: set[int] = field(default_factory=set)
    straddled: int = 0


Place = tuple[int, int]  # number of a question, and of a request in it


def answer(
    adapter: Adapter,
    questions: Sequence[Question],
    needs_greedy: Mapping[str, bool],
    seed: int,
    progress: Progress,
) -> Answers:
    """Answer all requests. `needs_greedy`: of each task, whether it must be known if a continuation
    is what a greedy model says.
    """
    found = Answers([[[] for _ in q.asks] for q in questions], [0] * len(questions))
    places: dict[str, list[Place]] = {}
    for number, question in enumerate(questions):
        for at, ask in enumerate(question.asks):
            places.setdefault(ask.kind, []).append((number, at))
    for kind, some in places.items():
        if kind == "generate_until":
            _generate(adapter, questions, some, seed, found, progress)
        else:
            _score(adapter, questions, some, needs_greedy, found, progress)
    return found


def make_passage(ask: Ask, adapter: Adapter, id: str = "") -> Passage:
    """Return what is scored: spaces at the end of a context belong to the continuation."""
    if ask.kind == "loglikelihood_rolling":
        return Passage(ask.context, id=id)
    context, text = move_space(ask.context, str(ask.more))
    if adapter.reads_source:
        text = text.lstrip()  # a target of its own begins with no space
    return Passage(text, context, id, add_bos=_adds_bos(adapter, ask), rendered=ask.rendered)


def _adds_bos(adapter: Adapter, ask: Ask) -> bool:
    """Whether BOS goes before a context: not before one that begins with it, as templates do."""
    model = adapter.token_model
    if not ask.rendered or model is None:
        return adapter.adds_bos
    head, _ = model.read_rendered(ask.context)
    return adapter.adds_bos and tuple(head[: len(model.bos_ids)]) != tuple(model.bos_ids)


def _score(
    adapter: Adapter,
    questions: Sequence[Question],
    places: Sequence[Place],
    needs_greedy: Mapping[str, bool],
    found: Answers,
    progress: Progress,
) -> None:
    """Fill in log-likelihoods, natural logarithms of the continuation alone."""
    asks = [questions[number].asks[at] for number, at in places]
    passages = [
        make_passage(ask, adapter, f"{questions[number].id} {at}")
        for ask, (number, at) in zip(asks, places, strict=True)
    ]
    ledgers = charge(adapter, passages, Window("rolling"), progress)
    wanted = [
        i
        for i, (ask, (number, _)) in enumerate(zip(asks, places, strict=True))
        if ask.kind == "loglikelihood" and needs_greedy.get(questions[number].member, True)
    ]
    greedy = dict(zip(wanted, find_greedy(adapter, [passages[i] for i in wanted]), strict=True))
    cut = find_cut(adapter, passages)
    for i, (ask, (number, at), ledger) in enumerate(zip(asks, places, ledgers, strict=True)):
        nats = to_nats(ledger)
        reply = nats if ask.kind == "loglikelihood_rolling" else (nats, greedy.get(i, False))
        found.replies[number][at] = [reply] * questions[number].repeats
        found.bytes[number] += ledger.bytes
        found.straddled += ledger.context_bytes > 0
        if i in cut and ask.kind == "loglikelihood":
            found.cut.add(number)


def to_nats(ledger: Ledger) -> float:
    """Return the log-likelihood of a text from its bits."""
    return -ledger.total() * math.log(2)


def find_greedy(adapter: Adapter, passages: Sequence[Passage]) -> list[bool]:
    """Return whether a greedy model says just this; of one whose tokens are not visible, whether
    its answer, as long as the text, is the text.
    """
    if not passages:
        return []
    model = adapter.token_model
    if model is not None and not adapter.reads_source:
        from llmbench.inference.text.greedy import are_greedy

        return list(ask_flags(passages, partial(are_greedy, model)))
    if not adapter.can_generate:
        raise Unsupported(
            "whether it would say the continuation is part of this score, and it writes no text"
        )
    requests = [
        Request(
            passage.context,
            max_bytes=max(1, len(passage.text.encode())),
            add_bos=passage.add_bos,
            rendered=passage.rendered,
        )
        for passage in passages
    ]
    said = generate_texts(adapter, requests, lambda what, share, remark: None)
    return [text == passage.text for text, passage in zip(said, passages, strict=True)]


def find_cut(adapter: Adapter, passages: Sequence[Passage]) -> set[int]:
    """Return the numbers of the passages of which a model reads only the end."""
    model = adapter.token_model
    context = None if model is None else model.context
    if model is None or context is None:
        return set()
    most = context + 1  # the last token is scored, and not read
    long = [i for i, p in enumerate(passages) if len((p.context + p.text).encode()) + 2 > most]
    if any(passages[i].rendered for i in long):
        sizes = [count_ids(model, passages[i]) for i in long]
    else:
        texts = [passages[i].context + passages[i].text for i in long]
        sizes = [len(tokens.ids) for tokens in model.encode_all(texts)]
    starts = [len(model.bos_ids) if passages[i].add_bos else 0 for i in long]
    return {i for i, n, bos in zip(long, sizes, starts, strict=True) if n + bos > most}


def _generate(
    adapter: Adapter,
    questions: Sequence[Question],
    places: Sequence[Place],
    seed: int,
    found: Answers,
    progress: Progress,
) -> None:
    """Fill in generated texts, each repeat drawn anew."""
    requests, owners = list[Request](), list[Place]()
    for number, at in places:
        ask = questions[number].asks[at]
        for repeat in range(questions[number].repeats):
            own = (seed * REPEAT + questions[number].number) * 97 + repeat
            request, is_cut = make_request(ask, adapter, own % (1 << 31))
            requests.append(request)
            owners.append((number, at))
            if is_cut:
                found.cut.add(number)
    said = generate_texts(adapter, requests, progress)
    for (number, at), text in zip(owners, said, strict=True):
        found.replies[number][at].append(text)
        found.bytes[number] += len(text.encode(errors="replace"))


def make_request(ask: Ask, adapter: Adapter, seed: int) -> tuple[Request, bool]:
    """Return a request as lm-eval means it, and whether its prompt is cut: greedy unless sampling
    is asked for, 256 tokens unless another number is, and of a long prompt the end that leaves room
    for the answer.
    """
    from lm_eval.models.utils import normalize_gen_kwargs

    meant = normalize_gen_kwargs(dict(ask.more), default_max_gen_toks=LONGEST)
    longest = int(meant["max_gen_toks"])
    model = adapter.token_model
    room = None if model is None or model.context is None else model.context - longest
    if room is not None and room < 1:
        room = None  # lm-eval refuses such a model; here its window moves on
    bos = _adds_bos(adapter, ask)
    is_cut = False
    if model is not None and room is not None and len(ask.context.encode()) + 1 > room:
        whole = Passage("", ask.context, rendered=ask.rendered)
        count = count_ids(model, whole) + (len(model.bos_ids) if bos else 0)
        is_cut = count > room
    request = Request(
        ask.context,
        max_tokens=longest,
        stop=tuple(stop for stop in meant["until"] if stop),
        temperature=float(meant["temperature"]) if meant["do_sample"] else 0.0,
        top_k=meant.get("top_k"),
        top_p=meant.get("top_p"),
        seed=seed,
        add_bos=bos,
        prompt_tokens=room if is_cut else None,
        rendered=ask.rendered,
    )
    return request, is_cut
