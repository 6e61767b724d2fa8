"""EleutherAI's lm-eval, asked for its likelihood numbers. Runs in an environment of its own that
has `lm-eval[hf]`, and imports no llmbench.

PYTHON lm_eval_oracle.py documents DIR docs.jsonl     log-likelihood, bytes, words and tokens of
each document, from its `hf` model PYTHON lm_eval_oracle.py task docs.jsonl FOLDER       a task for
its command line; prints what to type PYTHON lm_eval_oracle.py lean DIR FOLDER              its
`simple_evaluate` on that task, without its index of 14,000 others PYTHON lm_eval_oracle.py golden
writes tests/golden/lm_eval.json from the shared data
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
DATA = TESTS.parents[1] / "shared" / "data"
GOLDEN = TESTS / "golden" / "lm_eval.json"
TASK = "documents"
SHAPE = {
    "context": 256,
    "layers": 2,
    "width": 64,
    "heads": 2,
    "spread": 0.15,
    "seed": 0,
}  # of the golden values' made checkpoint


@dataclass(frozen=True)
class Cut:
    """A document: the bytes start .. end of a file of the shared data."""

    file: str
    start: int
    end: int

    def text(self, data: Path) -> str:
        return (data / self.file).read_bytes()[self.start : self.end].decode()


def stories(data: Path) -> list[Cut]:
    """The five sample stories, without the white space around them."""
    name, between = "tinystories-sample/tinystories_sample.txt", b"<|endoftext|>"
    cuts, at = [], 0
    for part in (data / name).read_bytes().split(between):
        if story := part.strip():
            start = at + part.index(story)
            cuts.append(Cut(name, start, start + len(story)))
        at += len(part) + len(between)
    return cuts


def tales(data: Path, count: int = 40, size: int = 6000) -> list[Cut]:
    """Pieces of `size` bytes, both ends moved forward to a character's first byte."""
    name = "grimm/tales.txt"
    raw = (data / name).read_bytes()
    edges = [
        next(at for at in range(i * size, len(raw)) if raw[at] & 0xC0 != 0x80)
        for i in range(count + 1)
    ]
    return [Cut(name, a, b) for a, b in zip(edges, edges[1:], strict=False)]


def articles(data: Path) -> list[Cut]:
    """WikiText's articles, longest first."""
    name = "wikitext2-valid/valid.txt"
    raw = (data / name).read_bytes()
    edges = [
        *(match.start() for match in re.finditer(rb"^ = [^=].* = $", raw, re.MULTILINE)),
        len(raw),
    ]
    return sorted(
        (Cut(name, a, b) for a, b in zip(edges, edges[1:], strict=False)),
        key=lambda cut: cut.start - cut.end,
    )


def borders(tokenizer: Any, data: Path, cut: Cut, lengths: Iterable[int]) -> list[Cut]:
    """Beginnings of a document that are exactly so many tokens long, where there is one: where
    windows begin and end.
    """
    text, found = cut.text(data), []
    for length in lengths:
        for end in range(length, min(len(text), 8 * length)):
            if len(tokenizer.encode(text[:end], add_special_tokens=False)) == length:
                found.append(Cut(cut.file, cut.start, cut.start + len(text[:end].encode())))
                break
    return found


def write_jsonl(path: Path, texts: Iterable[tuple[str, str]]) -> None:
    path.write_text(
        "".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in texts), encoding="utf-8"
    )


def load(checkpoint: Path, batch: int, bos: bool) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=str(checkpoint),
        dtype="float32",
        device="cpu",
        batch_size=batch,
        add_bos_token=bos,
    )


def per_document(model: Any, texts: Sequence[str]) -> list[dict[str, float]]:
    """What lm-eval says of each text alone. Its words are what white space parts, an empty one at
    an edge included.
    """
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import PerplexityTask

    asked = [
        Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=0)
        for text in texts
    ]
    return [
        {
            "bytes": PerplexityTask.count_bytes(text),
            "words": PerplexityTask.count_words(text),
            "tokens": len(model.tok_encode(text)),
            "log_likelihood": value,
        }
        for text, value in zip(texts, model.loglikelihood_rolling(asked), strict=True)
    ]


ROLLING = (
    "output_type: loglikelihood_rolling",
    'doc_to_text: ""',
    "doc_to_target: text",
    "metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]",
)
CHOICE = (
    "output_type: multiple_choice",
    "doc_to_text: query",
    "doc_to_choice: choices",
    "doc_to_target: gold",
    "metric_list: [{metric: acc}, {metric: acc_norm}]",
)


def write_task(documents: Path, folder: Path, what: Sequence[str] = ROLLING) -> None:
    """The rolling likelihood of a JSON-lines file, or the choices of its questions, as an lm-eval
    task.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"task: {TASK}",
        "dataset_path: json",
        f"dataset_kwargs: {{data_files: {{test: {json.dumps(str(documents.resolve()))}}}}}",
        "test_split: test",
        *what,
    ]
    (folder / f"{TASK}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def command_line(
    python: Path,
    checkpoint: Path,
    folder: Path,
    batch: int,
    out: Path | None = None,
    bos: bool = False,
) -> list[str]:
    """lm-eval as a user would type it."""
    model = f"pretrained={checkpoint},dtype=float32,add_bos_token={bos}"
    where = [
        "--include_path",
        str(folder),
        "--tasks",
        TASK,
        "--device",
        "cpu",
        "--batch_size",
        str(batch),
    ]
    return [
        str(python.parent / "lm_eval"),
        "--model",
        "hf",
        "--model_args",
        model,
        *where,
        *(["--output_path", str(out)] if out else []),
    ]


def lean(checkpoint: Path, folder: Path, batch: int, bos: bool = False) -> dict[str, float]:
    """The task's numbers by `simple_evaluate`, with everything left out that can be."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    found = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(checkpoint), "dtype": "float32", "add_bos_token": bos},
        tasks=[TASK],
        batch_size=batch,
        device="cpu",
        log_samples=False,
        bootstrap_iters=0,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
    )
    return {
        key.partition(",")[0]: value
        for key, value in found["results"][TASK].items()
        if key.endswith(",none")
    }


def golden(data: Path, out: Path) -> None:
    """Log-likelihoods of the stories, the tales, the shortest articles and of beginnings as long as
    a window, give or take a token.
    """
    sys.path.insert(0, str(TESTS))
    from support import checkpoints

    with tempfile.TemporaryDirectory() as folder:
        made = checkpoints.gpt2_shape(Path(folder), data / "gpt2-tokenizer", **SHAPE)
        cases = [
            _case(
                "stories260K",
                {"folder": "stories260K-hf"},
                data / "stories260K-hf",
                data,
                [*stories(data), *tales(data)],
                tales(data)[1],
            ),
            _case(
                "gpt2-shape",
                {"maker": "gpt2_shape", "arguments": SHAPE},
                made,
                data,
                articles(data)[-12:],
                articles(data)[0],
            ),
        ]
    versions = {
        name: metadata.version(name) for name in ("lm_eval", "torch", "transformers", "tokenizers")
    }
    head = {
        "command": "PYTHON tests/benchmarks/lm_eval_oracle.py golden",
        "dtype": "float32",
        "batch": 1,
        "versions": versions,
    }
    out.write_text(
        '{"made": ' + json.dumps(head) + ',\n"cases": [\n' + ",\n".join(cases) + "\n]}\n",
        encoding="utf-8",
    )


def _case(
    name: str, recipe: dict[str, Any], checkpoint: Path, data: Path, cuts: list[Cut], long: Cut
) -> str:
    """One checkpoint's documents as JSON, one a line."""
    from support.checkpoints import weights_sha256

    model = load(checkpoint, 1, bos=False)
    context = model.max_length
    cuts = [
        *cuts,
        *borders(
            model.tokenizer,
            data,
            long,
            [1, 2, context - 1, context, context + 1, 2 * context, 2 * context + 1],
        ),
    ]
    texts = [cut.text(data) for cut in cuts]
    rows = [
        {
            "file": cut.file,
            "start": cut.start,
            "end": cut.end,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            **said,
        }
        for cut, text, said in zip(cuts, texts, per_document(model, texts), strict=True)
    ]
    head = {
        "name": name,
        "checkpoint": {**recipe, "weights_sha256": weights_sha256(checkpoint)},
        "context": context,
    }
    return (
        json.dumps(head)[:-1] + ',\n"documents": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = parser.add_subparsers(dest="mode", required=True)
    documents = modes.add_parser("documents")
    documents.add_argument("checkpoint", type=Path)
    documents.add_argument("file", type=Path)
    documents.add_argument(
        "--bos",
        action="store_true",
        help="let the tokenizer add its own start symbol to the one that lm-eval adds",
    )
    task = modes.add_parser("task")
    task.add_argument("file", type=Path)
    task.add_argument("folder", type=Path)
    quick = modes.add_parser("lean")
    quick.add_argument("checkpoint", type=Path)
    quick.add_argument("folder", type=Path)
    for each in (documents, quick):
        each.add_argument("--batch", type=int, default=1)
    quick.add_argument(
        "--bos",
        action="store_true",
        help="let the tokenizer add its start symbol, the only one where something is given",
    )
    whole = modes.add_parser("golden")
    whole.add_argument("--data", type=Path, default=DATA)
    whole.add_argument("--out", type=Path, default=GOLDEN)
    given = parser.parse_args()
    if given.mode == "documents":
        rows = [json.loads(line) for line in given.file.read_bytes().decode().split("\n") if line]
        said = per_document(
            load(given.checkpoint, given.batch, given.bos), [row["text"] for row in rows]
        )
        print(
            json.dumps(
                {str(row["id"]): facts for row, facts in zip(rows, said, strict=True)}, indent=1
            )
        )
    elif given.mode == "task":
        write_task(given.file, given.folder)
        print(*command_line(Path(sys.executable), Path("DIR"), given.folder, 1))
    elif given.mode == "lean":
        print(json.dumps(lean(given.checkpoint, given.folder, given.batch, given.bos)))
    else:
        golden(given.data, given.out)


if __name__ == "__main__":
    main()
