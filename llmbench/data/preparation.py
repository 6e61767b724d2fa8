"""Rows of known data sets as pairs and questions, as their papers and lm-evaluation-harness 0.4.13
prepare them; named by `prepare` in a suite's text.

Each takes the layouts in which the data set is usually kept: Hugging Face's, and those of
llm-foundry's files (`query`, `choices`, `gold`; `context`, `continuation`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmbench.errors import UsageError, did_you_mean

Row = Mapping[str, Any]
Prepared = dict[str, object]


@dataclass(frozen=True)
class Preparation:
    """`columns`: the fields that are read of a data set on the hub; `prepare`: row -> row, which
    raises KeyError for a field that is missing, ValueError or IndexError for one that is wrong.
    """

    columns: tuple[str, ...]
    prepare: Callable[[Row], Prepared]


@dataclass(frozen=True)
class Shaping:
    """What is made of a row before its fields are read. `prepare`: a name of PREPARATIONS;
    `candidates`: those of each row, as templates of its fields.
    """

    prepare: str = ""
    candidates: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Fields of a data set that this needs, besides those of `candidates`."""
        return PREPARATIONS[self.prepare].columns if self.prepare else ()


def find_preparation(name: str) -> Preparation:
    """Return the preparation of this name. UsageError if there is none."""
    if name not in PREPARATIONS:
        known = did_you_mean(name, PREPARATIONS) or f"there are: {', '.join(PREPARATIONS)}"
        raise UsageError(f"there is no preparation {name!r}", hint=known)
    return PREPARATIONS[name]


def prepare_row(row: object, name: str, where: str) -> object:
    """Return a row as a preparation makes it. UsageError, with its place, if it does not fit."""
    if not isinstance(row, dict):
        return row
    known = ", ".join(map(str, [*row][:8]))
    try:
        made = find_preparation(name).prepare(row)
    except KeyError as error:
        raise UsageError(
            f"the row has no field `{error.args[0]}`, which `prepare: {name}` needs",
            where=where,
            hint=f"it has {known}",
        ) from None
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise UsageError(
            f"`prepare: {name}` cannot read the row: {error}", where=where, hint=f"it has {known}"
        ) from None
    return {**({"id": row["id"]} if "id" in row else {}), **made}


def clean_wikihow(text: str) -> str:
    """Return a text of HellaSwag without the marks of WikiHow's pages, as its authors clean it."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def _keep(row: Row, given: str = "query") -> Prepared:
    """The parts of a question of llm-foundry, whose prompt is ready."""
    return {"given": row[given], "choices": row["choices"], "gold": row["gold"]}


def _prepare_hellaswag(row: Row) -> Prepared:
    if "endings" not in row:
        return _keep(row)
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    label = row["label"]
    if label == "":
        raise ValueError("it has no `label`: the test part has no answers, use the validation part")
    choices = [clean_wikihow(ending) for ending in row["endings"]]
    return {"given": clean_wikihow(context), "choices": choices, "gold": int(label)}


def _prepare_winogrande(row: Row) -> Prepared:
    if "context_options" in row:
        contexts = row["context_options"]
        return {
            "given": contexts[row["gold"]],
            "contexts": contexts,
            "choices": contexts,
            "gold": row["gold"],
            "text": row["continuation"].strip(),
        }
    sentence, options = row["sentence"], [row["option1"], row["option2"]]
    at = sentence.find("_")
    if at < 0:
        raise ValueError("the sentence has no `_`, where an option goes")
    return {
        "given": sentence,
        "contexts": [sentence[:at] + option for option in options],
        "choices": options,
        "gold": _read_option(row["answer"]),
        "text": sentence[at + 1 :].strip(),
    }


def _read_option(answer: object) -> int:
    """Which of two options is right, as winogrande names it."""
    if str(answer) not in ("1", "2"):
        raise ValueError(f"`answer` is {answer!r}, not 1 or 2; the test part has no answers")
    return int(str(answer)) - 1


def _prepare_lambada(row: Row) -> Prepared:
    if "continuation" in row:
        return {"given": row["context"], "text": row["continuation"].strip()}
    given, space, word = row["text"].rpartition(" ")
    if not space:
        raise ValueError("its text has no two words")
    return {"given": given, "text": word}


def _prepare_question(row: Row) -> Prepared:
    """A question without the word before it, which llm-foundry's files have."""
    name = next((key for key in ("question", "goal", "question_stem", "query") if key in row), "")
    if not name:
        raise KeyError("question")
    return {**row, "question": row[name].removeprefix("Question: ")}


def _prepare_boolq(row: Row) -> Prepared:
    if "query" in row:
        found = re.fullmatch(r"(?s)(?:Passage: )?(.*)\nQuestion: (.*?)\??\s*", row["query"])
        if not found:
            raise ValueError("its `query` has no line that begins with `Question: `")
        return {"passage": found[1], "question": found[2], "gold": row["gold"]}
    gold = row["label"] if "label" in row else row["answer"]
    return {"passage": row["passage"], "question": row["question"], "gold": int(gold)}


def _prepare_mmlu(row: Row) -> Prepared:
    if "query" not in row:
        gold = row["answer"] if "answer" in row else row["gold"]
        return {
            "question": row["question"],
            "choices": row["choices"],
            "subject": row["subject"],
            "gold": gold,
        }
    question, *choices = re.split(r"\n[A-D]\. ", row["query"].removesuffix("\n"))
    return {
        "question": question,
        "choices": choices,
        "subject": row["category"],
        "gold": row["gold"],
    }


def _prepare_gsm8k(row: Row) -> Prepared:
    if "chain_of_thought" in row:
        answer = f"{row['chain_of_thought']}\n#### {row['answer']}"
        return {"question": row["context"], "answer": answer}
    if "####" not in row["answer"]:
        raise ValueError("its `answer` has no `####`, after which the final number stands")
    return {"question": row["question"], "answer": row["answer"]}


PREPARATIONS = {
    "hellaswag": Preparation(
        ("ctx_a", "ctx_b", "activity_label", "endings", "label"), _prepare_hellaswag
    ),
    "winogrande": Preparation(("sentence", "option1", "option2", "answer"), _prepare_winogrande),
    "lambada": Preparation(("text",), _prepare_lambada),
    "question": Preparation(("question", "goal", "question_stem", "query"), _prepare_question),
    "boolq": Preparation(("passage", "question", "label", "answer"), _prepare_boolq),
    "mmlu": Preparation(("question", "choices", "subject", "answer"), _prepare_mmlu),
    "gsm8k": Preparation(("question", "answer"), _prepare_gsm8k),
}
