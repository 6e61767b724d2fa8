"""Input that nobody should write, and somebody will: one line with its place and exit code 2,
within seconds, whatever it is.
"""

from __future__ import annotations

import gzip
import json
import os
import sys

import pytest
from support.run_helpers import folder, llmbench, run_json

from llmbench import limits
from llmbench.cli import main

pytestmark = pytest.mark.slow
SUITE = """\
name: mine
version: 1
texts: {train: {source: train.txt}, test: {source: test.jsonl}}
tasks: [{task: likelihood}]
models: [uniform-bytes]
"""
CARD = """\
name: mine
adapter: network
network: {class: "llmbench.models.networks.recurrent:RNN", arguments: {width: 8}}
recipe: {steps: 2}
"""
CHECKPOINT = """\
name: mine
adapter: huggingface
checkpoint: {new: {vocabulary: 300, config: {n_embd: 8}}}
recipe: {steps: 2}
"""
LONG = "x" * 5000
DEEP = "[" * 100_000

# (part of a suite, what stands there instead, what is said)
SUITES = [
    ("name: mine", f"name: {LONG}", "s.yaml:1:7: name: longer than 128 characters, not 'xxx"),
    ("name: mine", "name: my suite", "s.yaml:1:7: name: expected a name of letters, digits and"),
    ("name: mine", "name: ../up", "s.yaml:1:7: name: expected a name of letters"),
    ("version: 1", f"version: {10**9}", "s.yaml:2:10: version: must be at most"),
    ("version: 1", "version: 1.5", "s.yaml:2:10: version: expected a whole number, not 1.5"),
    ("version: 1", "version: yes", "s.yaml:2:10: version: expected a whole number, not true"),
    ("version: 1", f"version: {'9' * 5000}", "s.yaml:2:10: not a value"),
    ("version: 1", "version: .inf", "s.yaml:2:10: version: expected a whole number"),
    ("version: 1", "version:", "s.yaml:2:9: version: expected a whole number, not nothing"),
    ("version: 1", f"version: {DEEP}", "nested too deeply"),
    ("version: 1", f"{LONG[:900]}: 1", "s.yaml:2:1: unknown key 'xxx"),
    ("version: 1", "? [a]\n: 1", "s.yaml:2:3: a key must be a string"),
    ("version: 1", "version: *a", "s.yaml:2:10: not YAML"),
    ("version: 1", "version: 1\n\x00", "s.yaml: not YAML"),
    ("{train:", f"{{{LONG[:900]}:", "a key: longer than 128 characters"),
    ("{train:", "{my text:", "s.yaml:3:9: a key: expected a name of letters"),
    ("train.txt", "../" * 3000 + "x", "s.yaml:3:25: there is no file"),
    ("train.txt", '"a\\0b"', "s.yaml:3:25: unknown source"),
    ("train.txt", "'hub:'", "s.yaml:3:16: hub:"),
    ("test.jsonl", "pipe.jsonl", "pipe.jsonl"),
    ("test.jsonl", "loop.jsonl", "loop.jsonl"),
    ("train.txt", "fables, select: {part: tails}", "did you mean 'tales'?"),
    ("train.txt", "fables, select: {prat: tales}", "did you mean 'part'?"),
    ("train.txt", "storyworld, select: {part: storys}", "part: stories, questions or pairs"),
    ("train.txt", "train.txt, split: {regex: '(a|aa)+$'}", "takes longer than 2 s on this text"),
    ("train.txt", "train.txt, split: {regex: '('}", "the regex '(' is wrong"),
    ("train.txt", "train.txt, split: {regex: 'a{99999999999999999999}'}", "is wrong"),
    ("train.txt", "train.txt, split: {fraction: [0.5, .nan]}", "fraction: "),
    ("train.txt", "train.txt, split: {fraction: [0.5, 0.5]}", "the fraction must rise"),
    ("train.txt", "train.txt, split: {fraction: [0, 2]}", "must be at most 1"),
    ("train.txt", "train.txt, split: {regexp: a}", "did you mean 'regex'?"),
    ("train.txt", "train.txt, split: {separator: ''}", "separator: must not be empty"),
    ("test.jsonl}", "test.jsonl, fields: {txt: a}}", "unknown key 'txt' (did you mean 'text'?)"),
    (
        "likelihood",
        "likelyhood",
        "s.yaml:4:16: unknown task 'likelyhood' (did you mean 'likelihood",
    ),
    ("likelihood", LONG, "s.yaml:4:16: unknown task 'xxx"),
    ("likelihood", "./no.py:Task", "there is no file"),
    ("likelihood", f"likelihood, name: {LONG}", "s.yaml:4:34: name: longer than 128 characters"),
    ("likelihood", "likelihood, name: a/b", "s.yaml:4:34: name: expected a name of letters"),
    (
        "likelihood",
        "likelihood, window: rollin",
        "unknown value 'rollin' (did you mean 'rolling'?)",
    ),
    ("likelihood", f"likelihood, window: {10**12}", "window: must be at most 1048576"),
    ("likelihood", "likelihood, window: -1", "window: must be at least 1, not -1"),
    ("likelihood", "likelihood, window: [1]", "s.yaml:4:36: window: "),
    ("likelihood", f"likelihood, pseudo_positions: {10**9}", "must be at most 1048576"),
    (
        "likelihood",
        "continuation, prompts: [a], max_bytes: 10000000000",
        "max_bytes: must be at most",
    ),
    ("likelihood", "continuation, text: test, count: 2000", "count: must be at most 1000"),
    ("likelihood", "continuation, prompts: [a], seeds: 1000000", "seeds: must be at most 100"),
    (
        "likelihood",
        "continuation, prompts: [a], temperature: .inf",
        "temperature: must be a finite",
    ),
    (
        "likelihood",
        "continuation, prompts: [a], temperature: .nan",
        "temperature: must be a finite",
    ),
    ("likelihood", "continuation, prompts: [a], top_k: 1000000000", "top_k: must be at most"),
    ("likelihood", "continuation, prompts: [a], top_p: 0", "top_p: must be above 0"),
    (
        "likelihood",
        "continuation, prompts: [a], metrics: [distinct_3]",
        "did you mean 'distinct_2'",
    ),
    ("likelihood", f"continuation, prompts: [{'a,' * 1001}]", "prompts: too many entries: at most"),
    ("likelihood", "answer, shots: 1000000000", "shots: must be at most 1000"),
    ("likelihood", "multiple-choice, bos: alway", "unknown value 'alway' (did you mean 'always'?)"),
    ("likelihood", "speed, batches: [1, 1000000000]", "batches: must be at most 65536"),
    ("likelihood", f"speed, depths: {list(range(1, 101))}", "depths: too many entries: at most 64"),
    ("likelihood", "speed, blocks: 100000000", "blocks: must be at most 1000"),
    ("likelihood", "speed, energy_seconds: 1.0e+12", "energy_seconds: must be at most 3600"),
    ("likelihood", "memory, prompt_bytes: 1000000000000", "prompt_bytes: must be at most"),
    ("likelihood", "max-batch, most: 1000000000", "most: must be at most 65536"),
    ("uniform-bytes", "uniform-byte", "s.yaml:5:10: unknown model 'uniform-byte' (did you mean"),
    ("uniform-bytes", LONG, "s.yaml:5:10: unknown model 'xxx"),
    ("uniform-bytes", "llama.gguf", "s.yaml:5:10: llama.gguf: GGUF files cannot be run"),
    ("uniform-bytes", "{model: lstm, name: a b}", "name: expected a name of letters"),
    (
        "uniform-bytes",
        "{model: lstm, recipe: {batch: 1000000000}}",
        "s.yaml:5:40: batch: must be at most 65536, not 1000000000",
    ),
    (
        "uniform-bytes",
        "{model: lstm, network: {arguments: {layers: 1000000000}}}",
        "s.yaml:5:33: layers must be from 1 to 1000: it is 1000000000",
    ),
    ("uniform-bytes", "{model: lstm, vocabulary: {splitter: word}}", "did you mean 'words'?"),
    ("uniform-bytes", "{model: lstm, vocabulary: {size: 1}}", "size: must be at least 2, not 1"),
    ("models: [uniform-bytes]", "gate: {bits_per_bite: 0.1}", "did you mean 'bits_per_byte'?"),
    (
        "models: [uniform-bytes]",
        "gate: {bits_per_byte: .inf}",
        "s.yaml:5:23: bits_per_byte: must be",
    ),
    ("models: [uniform-bytes]", "gate: {bits_per_byte: much}", "'much' is not a tolerance"),
]
# (a card, its part, what stands there instead, what is said)
CARDS = [
    (CARD, "name: mine", f"name: {LONG}", "c.yaml:1:7: name: longer than 128 characters"),
    (CARD, "adapter: network", "adapter: netwrok", "did you mean 'network'?"),
    (CARD, "steps: 2", f"steps: {10**12}", "c.yaml:4:17: steps: must be at most 10000000"),
    (CARD, "steps: 2", "steps: 2, batch: 1000000000", "batch: must be at most 65536"),
    (CARD, "steps: 2", "steps: 2, length: 1000000000", "length: must be at most 1048576"),
    (CARD, "steps: 2", "steps: 2, evaluations: 1000000000", "evaluations: must be at most 10000"),
    (CARD, "steps: 2", "steps: 2, learning_rate: .inf", "learning_rate: must be a finite number"),
    (CARD, "steps: 2", "steps: 2, clip: .nan", "clip: must be a finite number"),
    (CARD, "steps: 2", "steps: 2, hold_out: 0.5", "hold_out: must be below 0.5"),
    (
        CARD,
        "width: 8",
        "width: 1000000000",
        "c.yaml:3:10: network: width must be from 1 to 1048576",
    ),
    (CARD, "width: 8", "width: 0", "network: width must be from 1 to"),
    (CARD, "width: 8", "layers: 100000", "network: layers must be from 1 to 1000"),
    (CARD, "width: 8", "width: {a: 1}", "c.yaml:3:79: width: "),
    (CARD, "recipe:", "vocabulary: {size: 1}\nrecipe:", "size: must be at least 2, not 1"),
    (CARD, "recipe:", "vocabulary: {size: 0}\nrecipe:", "size: must be at least 2, not 0"),
    (CARD, "recipe:", "vocabulary: {size: 10000000000}\nrecipe:", "size: must be at most 1048576"),
    (CARD, "recipe:", "vocabulary: {splitter: bpe, size: 9}\nrecipe:", "has at least 257 ids"),
    (CARD, "recipe:", "vocabulary: {splitter: wrods}\nrecipe:", "did you mean 'words'?"),
    (CARD, "recurrent:RNN", "recurrent:RNNN", "did you mean 'RNN'?"),
    (CHECKPOINT, "vocabulary: 300", "vocabulary: 1", "vocabulary: must be at least 257, not 1"),
    (CHECKPOINT, "n_embd: 8", "n_layer: 1000000", "new: n_layer must be from -1 to 1000"),
    (CHECKPOINT, "{new:", "{learns: genral, new:", "did you mean 'general'?"),
    (CHECKPOINT, "{new:", "{lora: {rank: 1000000000}, new:", "rank: must be at most 65536"),
    (CHECKPOINT, "{new: {vocabulary: 300, config: {n_embd: 8}}}", "{id: './a\\0'}", ""),
    (CHECKPOINT, "huggingface", '"a\\0.py:X"', "not a path: embedded null"),
]
# (the command, what is said); files are made below
LINES = [
    (f"run {LONG}", "there is no such suite"),
    (f"run tiny.yaml --out {LONG} --dry-run", "File name too long"),
    (f"run tiny.yaml --model {LONG}", "unknown model 'xxx"),
    (f"run tiny.yaml --model my_models.py:{LONG}", "there is no class 'xxx"),
    (f"run tiny.yaml --model hf:{LONG}", ""),
    (f"run tiny.yaml --only {LONG}", "no such model in this run"),
    (f"run tiny.yaml --data test={LONG}", "File name too long"),
    (f"run tiny.yaml --seed {2**64}", "'--seed'"),
    (f"run tiny.yaml --limit {'9' * 5000}", "'--limit'"),
    ("run tiny.yaml --threads 1000000000", "'--threads'"),
    ("run tiny.yaml --timeout nan", "'--timeout'"),
    (f"run tiny.yaml --memory-budget {'9' * 5000}X", "invalid size"),
    ("run pipe.yaml", "there is no such suite"),
    ("run big.yaml", "longer than 4 MiB"),
    ("run tiny.yaml --model pipe.yaml", "there is no card"),
    ("score zlib pipe.jsonl", "not a regular file"),
    ("score zlib loop.jsonl", "loop.jsonl"),
    ("score zlib test.jsonl --window 999999999999999999999", "unknown window rule"),
    (f"score zlib test.jsonl --window {'9' * 5000}", "unknown window rule"),
    ("score zlib test.jsonl --window -5", "the window's stride -5 is below 1"),
    ("score zlib id.jsonl", "id.jsonl:1:1: the id has 5000 characters, and may have 1000"),
    ("score zlib twice.jsonl", "twice.jsonl:2:1: the id 'a' stands here a second time"),
    ("score zlib half.jsonl", "half a surrogate pair"),
    ("score zlib number.jsonl", "number.jsonl:1:1: not JSON that can be read"),
    ("score zlib deep.jsonl", "deep.jsonl:1:1: not JSON that can be read"),
    ("score zlib wide.csv", "wide.csv:2:1: 2 cells in a row of 1 columns"),
    ("score zlib cut.txt.gz", "cut.txt.gz: not a whole gzip file"),
    ("score zlib a.parquet", "a .parquet file cannot be read"),
    ("score zlib test.jsonl --field txet=text", "txet"),
    ("score hf:x?boss=1 test.jsonl", "did you mean 'bos'?"),
    ("generate uniform-bytes a --max-bytes 100000000000", "'--max-bytes'"),
    ("generate uniform-bytes a --stop=", "a stop text is empty"),
    ("generate uniform-bytes a --temperature nan", "'--temperature'"),
    ("generate uniform-bytes a --temperature inf", "'--temperature'"),
    ("generate uniform-bytes a --top-p nan", "'--top-p'"),
    ("generate uniform-bytes a --top-k 100000000000", "'--top-k'"),
    ("check uniform-bytes --timeout nan", "'--timeout'"),
    ("check uniform-bytes --only tilling", "tilling"),
    ("new adapter ../x", "'../x' is not a name: files are written into the current folder"),
    ("new adapter /tmp/x", "'/tmp/x' is not a name"),
    ("new task a\\b", "is not a name"),
    (f"new metric {LONG}", "is not a name"),
    ("new adapter -- -x", "cannot be the name"),
    ("new adapter _x", "cannot be the name"),
    ("new adapter lambda", "'lambda' cannot be the name"),
    ("report pipe.json", "the record is not a regular file"),
    ("report loop.json", "loop.json"),
    ("report list.json", "not a record"),
    ("report deep.json", "the record is torn"),
    ("report future.json", "schema 999 is newer"),
    (f"report {LONG}", "File name too long"),
    ("compare list.json zlib", "not a record"),
    ("gate list.json --against list.json", "not a record"),
    ("gate list.json --against list.json --allow x=nan", ""),
    ("leaderboard list.json", "list.json: not a record"),
    ("record promote list.json", "not a record"),
]


def write_files(place):
    """The files of the table, which are all wrong in their own way."""
    (place / "train.txt").write_text("a" * 60 + "!\n")
    for name in ("pipe.yaml", "pipe.jsonl", "pipe.json"):
        os.mkfifo(place / name)
    for name in ("loop.jsonl", "loop.json"):
        (place / name).symlink_to(name)
    (place / "big.yaml").write_text(f"# {'x' * limits.YAML_BYTES}\n")
    (place / "id.jsonl").write_text(json.dumps({"id": LONG, "text": "a"}))
    (place / "twice.jsonl").write_text('{"id": "a", "text": "a"}\n' * 2)
    (place / "half.jsonl").write_text('{"id": "\\ud800", "text": "a"}\n')
    (place / "number.jsonl").write_text(f'{{"text": "a", "n": {"9" * 5000}}}\n')
    (place / "deep.jsonl").write_text(DEEP)
    (place / "deep.json").write_text(DEEP)
    (place / "wide.csv").write_text("text\na,b\n")
    (place / "cut.txt.gz").write_bytes(gzip.compress(b"text" * 100)[:-9])
    (place / "a.parquet").write_bytes(b"PAR1")
    (place / "list.json").write_text("[]")
    (place / "future.json").write_text('{"schema": 999}')


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(folder(tmp_path))
    write_files(tmp_path)
    return tmp_path


def refuse(monkeypatch, capsys, words):
    """Run the command in this process; it must refuse in one line, which is returned."""
    monkeypatch.setattr(sys, "argv", ["llmbench", *words])
    with pytest.raises(SystemExit) as caught:
        main.main()
    out, err = capsys.readouterr()
    assert caught.value.code == 2, err
    assert out == ""
    assert err.startswith("llmbench: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert len(err) < limits.MESSAGE_CHARACTERS + 100
    return err


def shorten(value):
    return value if len(str(value)) < 60 else f"{str(value)[:50]}..."


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("old", "new", "want"), SUITES, ids=shorten)
def test_a_wrong_suite_is_refused_with_its_place(place, monkeypatch, capsys, old, new, want):
    assert old in SUITE
    (place / "s.yaml").write_text(SUITE.replace(old, new, 1))
    assert want in refuse(monkeypatch, capsys, ("run", "s.yaml", "--dry-run"))


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("card", "old", "new", "want"), CARDS, ids=shorten)
def test_a_wrong_card_is_refused_with_its_place(place, monkeypatch, capsys, card, old, new, want):
    assert old in card
    (place / "c.yaml").write_text(card.replace(old, new, 1))
    line = ("run", "tiny.yaml", "--model", "c.yaml", "--dry-run")
    assert want in refuse(monkeypatch, capsys, line)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("line", "want"), LINES, ids=shorten)
def test_a_wrong_command_or_file_is_refused(place, monkeypatch, capsys, line, want):
    assert want in refuse(monkeypatch, capsys, line.split())


HUGE = [
    ("width: 8", f"width: {limits.ARGUMENT}"),
    ("steps: 2", f"steps: 2, batch: {limits.ROWS}, length: {limits.IDS}"),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("old", "new"), HUGE)
def test_a_model_of_the_largest_sizes_is_a_row_for_want_of_memory(place, capsys, old, new):
    (place / "c.yaml").write_text(CARD.replace(old, new))
    done = llmbench("run", "tiny.yaml", "--model", "c.yaml", "--only", "zlib", cwd=place)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = (place / "reports" / "tiny").iterdir()
    reasons = {row["model"]: row["reason"] for row in run_json(folder)["failures"]}
    assert reasons["mine"] == "out_of_memory"
