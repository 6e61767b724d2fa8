"""The same numbers as EleutherAI's lm-eval, per document, for the same checkpoint and windows.

Its numbers are kept in golden/lm_eval.json, which says what made them: benchmarks/lm_eval_oracle.py
asks lm-eval itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pytest
from conftest import real
from support import checkpoints

from llmbench.adapter import BuildContext, Passage, Window
from llmbench.ledger import count_words
from llmbench.plan.resolved_model import make_adapter, resolve_model

SHORT, SHARE = (
    1200,
    8,
)  # tokens; of the longer documents every eighth is scored in the ordinary tests
CASES = {
    case["name"]: case
    for case in json.loads(
        (Path(__file__).parents[1] / "golden" / "lm_eval.json").read_text(encoding="utf-8")
    )["cases"]
}


def texts(documents):
    """The documents by file and bytes; their sha256 says that the files are the same."""
    for document in documents:
        raw = real(document["file"]).read_bytes()[document["start"] : document["end"]]
        assert hashlib.sha256(raw).hexdigest() == document["sha256"], (
            f"{document['file']} is not the file that lm-eval was given"
        )
        yield raw.decode()


@pytest.fixture(
    scope="module",
    params=[
        *sorted(CASES),
        *(pytest.param(f"{name}, all", marks=pytest.mark.slow) for name in sorted(CASES)),
    ],
)
def scored(request, tmp_path_factory):
    """(what lm-eval said, text, our ledger) of each document of a case."""
    name, _, whole = request.param.partition(", ")
    case = CASES[name]
    said = [
        document
        for number, document in enumerate(case["documents"])
        if whole or document["tokens"] < SHORT or number % SHARE == 0
    ]
    documents, recipe = list(texts(said)), case["checkpoint"]
    if "folder" in recipe:
        folder = real(recipe["folder"])
    else:
        maker = getattr(checkpoints, recipe["maker"])
        folder = maker(
            tmp_path_factory.mktemp("checkpoint"), real("gpt2-tokenizer"), **recipe["arguments"]
        )
    assert checkpoints.weights_sha256(folder) == recipe["weights_sha256"]
    adapter = make_adapter(resolve_model(f"hf:{folder}"), BuildContext())
    assert adapter.info.context == case["context"]
    passages = [Passage(text, id=str(number)) for number, text in enumerate(documents)]
    ledgers = list(adapter.score(passages, Window("rolling")))
    adapter.close()
    return list(zip(said, documents, ledgers, strict=True))


def test_nats_of_each_document(scored):
    for said, _, ledger in scored:
        assert -ledger.total() * math.log(2) == pytest.approx(said["log_likelihood"], rel=1e-6), (
            f"{said['file']}, byte {said['start']}"
        )


def test_tokens_bytes_and_words_of_each_document(scored):
    for said, text, ledger in scored:
        assert (ledger.tokens, ledger.bytes) == (said["tokens"], said["bytes"])
        empty = (
            text[0].isspace() + text[-1].isspace()
        )  # where white space stands at an edge, lm-eval counts an empty word more
        assert count_words(text) + empty == said["words"]
