"""Small data in the layouts of the field's data sets, with all that is awkward in them."""

from __future__ import annotations

import json
import random

WORDS = ["the", "kettle", "tap", "river", "an", "unbelievable", "cloud", "seven", "o'clock"]
WORDS += ["naïve", "façade", "red", "blue", "counted", "said", "nothing", "slowly,", "twice"]
SUBJECTS = ("anatomy", "high_school_us_history")


def make_words(rng, least=3, most=9):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))


def make_hellaswag(rng, at):
    return {
        "ind": at,
        "activity_label": "Making tea",
        "ctx_a": f"[header] How to {make_words(rng)} [title] First  step [step] go.",
        "ctx_b": rng.choice(["", "a man", "She"]),
        "ctx": "",
        "endings": [f"{make_words(rng)} [substeps] and  so." for _ in range(4)],
        "label": str(rng.randrange(4)),
    }


def make_piqa(rng, at):
    return {
        "goal": f"To {make_words(rng)} {at}",
        "sol1": make_words(rng),
        "sol2": make_words(rng),
        "label": rng.randrange(2),
    }


def make_winogrande(rng, at):
    return {
        "sentence": f"Ann told Bea {make_words(rng)} because _ {make_words(rng)} {at} .",
        "option1": "Ann",
        "option2": "Bea",
        "answer": rng.choice("12"),
    }


def make_lambada(rng, at):
    return {"text": f'"{make_words(rng)}\n{make_words(rng)} {at}," said {rng.choice(WORDS)}'}


def make_labelled(rng, at, labels="ABCD", question="question"):
    texts = [f"{make_words(rng, 1, 4)} {letter}" for letter in labels]
    return {
        "id": f"q{at}",
        question: f"{make_words(rng)} {at}?" + rng.choice(["", " "]),
        "choices": {"text": texts, "label": list(labels)},
        "answerKey": rng.choice(labels),
    }


def make_boolq(rng, at):
    question, passage = f"is {make_words(rng)} {at}", f"{make_words(rng)} -- {make_words(rng)}."
    return {"question": question, "passage": passage, "idx": at, "label": rng.randrange(2)}


def make_mmlu(rng, at):
    return {
        "question": f" {make_words(rng)} {at}? ",
        "subject": SUBJECTS[at % 2],
        "choices": [f"{make_words(rng, 1, 3)} {i}" for i in range(4)],
        "answer": rng.randrange(4),
    }


def make_gsm8k(rng, at):
    answer = f"{make_words(rng)} is <<2*{at}={2 * at}>>{2 * at}.\n#### {2 * at:,}"
    return {"question": f"{make_words(rng)} {at}?", "answer": answer}


def make_squad(rng, at):
    known = [make_words(rng, 1, 2) for _ in range(at % 3)]
    return {
        "id": f"s{at}",
        "title": "Kettles",
        "context": f"{make_words(rng)}. {make_words(rng)}.",
        "question": f"Who {make_words(rng)} {at}?",
        "answers": {"text": known, "answer_start": [0] * len(known)},
    }


def make_xsum(rng, at):
    return {"document": f"{make_words(rng)}. {make_words(rng)}.", "summary": make_words(rng)}


MAKERS = {
    "hellaswag": make_hellaswag,
    "piqa": make_piqa,
    "winogrande": make_winogrande,
    "lambada": make_lambada,
    "arc-easy": make_labelled,
    "arc-challenge": make_labelled,
    "openbookqa": lambda rng, at: make_labelled(rng, at, question="question_stem"),
    "boolq": make_boolq,
    "commonsenseqa": lambda rng, at: make_labelled(rng, at, "ABCDE"),
    "mmlu": make_mmlu,
    "gsm8k": make_gsm8k,
    "squad": make_squad,
    "xsum": make_xsum,
}


def make_rows(name, part, count):
    rng = random.Random(f"{name} {part}")
    first = {"train": 0, "dev": 0, "validation": 100, "test": 200}[part]
    return [MAKERS[name](rng, first + at) for at in range(count)]


def write_rows(place, rows):
    place.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(place)
