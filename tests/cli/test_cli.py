"""The commands: results alone on stdout, one clear line and exit code 2 for what is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from support import chats, hand_record, small_checkpoints
from support.run_helpers import folder
from support.run_helpers import llmbench as child

import llmbench
from llmbench import Request
from llmbench.cli import main
from llmbench.metrics.facts import METRICS
from llmbench.plan import registry, task_registry

SCORE_KEYS = {
    *(
        "model",
        "text",
        "sha256",
        "bytes",
        "documents",
        "bits",
        "bits_per_byte",
        "low",
        "high",
        "byte_perplexity",
        "word_perplexity",
    ),
    *("token_perplexity", "tokens", "words", "signature", "charges"),
}
SENTENCE = "The tap dripped, and the kettle counted. Één, it said; two.\n"


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """The command in this process, in a folder of its own."""
    monkeypatch.chdir(folder(tmp_path))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["llmbench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main.main()
        out, err = capsys.readouterr()
        return SimpleNamespace(code=caught.value.code, out=out, err=err)

    return run


@pytest.mark.parametrize(
    "arguments", [("--help",), ("-h",), *((name, "--help") for name in sorted(main.cli.commands))]
)
def test_help_says_what_there_is(call, arguments):
    done = call(*arguments)
    assert done.code == 0
    assert done.out.startswith("Usage: llmbench")
    assert done.err == ""


def test_help_names_every_command_and_no_command_at_all_is_help_too(call):
    for arguments, code in ((("--help",), 0), ((), 2)):
        done = call(*arguments)
        assert done.code == code
        assert all(f"  {name} " in done.out + done.err for name in main.cli.commands)


def test_the_version_is_the_packages(call):
    assert call("--version").out.strip() == f"llmbench, version {llmbench.__version__}"


WRONG = [
    ("rnu", "unknown command 'rnu' (did you mean 'run'?)"),
    ("new adaptr x", "'adaptr'"),
    ("run", "'SUITE'"),
    ("run standrad", "standrad: there is no such suite (did you mean 'standard'?)"),
    ("run missing.yaml", "missing.yaml: there is no such suite"),
    ("run .", "a folder, not a suite"),
    ("run bad.yaml", "bad.yaml:3:1: unknown key 'txts' (did you mean 'texts'?)"),
    ("run torn.yaml", "torn.yaml:2:1: not YAML"),
    ("run tiny.yaml --model byte-ngrm", "unknown model 'byte-ngrm' (did you mean 'byte-ngram'?)"),
    (
        "run tiny.yaml --model my_models.py",
        "a model file needs its class (my_models.py:ClassName)",
    ),
    ("run tiny.yaml --model no.py:X", "there is no file"),
    ("run tiny.yaml --model my_models.py:Goood", "did you mean 'Good'?"),
    ("run tiny.yaml --model zlib", "two models are called 'zlib'"),
    ("run tiny.yaml --only zlb", "did you mean 'zlib'?"),
    ("run tiny.yaml --price-per-hour nan", "'--price-per-hour': nan is not a number"),
    ("run tiny.yaml --price-per-hour inf", "--price-per-hour inf is not a price above 0"),
    ("run tiny.yaml --model llama.GGUF", "gguf:llama.GGUF: there is no such file"),
    ("score ollama:llama3 test.jsonl", "openai:llama3@http://localhost:11434/v1"),
    ("score openai:gpt-4o test.jsonl", "as in openai:MODEL@http://localhost:8000/v1"),
    ("run tiny.yaml --data tset=test.jsonl", "did you mean 'test'?"),
    ("run tiny.yaml --data test", "--data 'test' is not NAME=PATH"),
    ("run tiny.yaml --data test=", "is not NAME=PATH"),
    ("run tiny.yaml --data test=no.txt", "no.txt: cannot read the text: No such file"),
    ("run tiny.yaml --data test=latin.txt", "latin.txt:2:3: not UTF-8: byte 0xe9"),
    ("run tiny.yaml --limit 0", "'--limit'"),
    ("run tiny.yaml --threads 0", "'--threads'"),
    ("run tiny.yaml --seed -1", "'--seed'"),
    ("run tiny.yaml --timeout 0", "'--timeout'"),
    ("run tiny.yaml --device tpu", "'tpu' is not one of"),
    ("run tiny.yaml --dtype int3", "'int3' is not one of"),
    ("run tiny.yaml --limmit 3", "--limit"),
    ("run tiny.yaml --out train.txt", "train.txt: --out is a file"),
    ("score zlib no.txt", "no.txt: cannot read the text: No such file"),
    ("score zlib .", "cannot read the text: not a regular file"),
    ("score zlib empty.txt", "empty.txt:1:1: the text is empty"),
    ("score zlib empty.jsonl", "empty.jsonl:1:1: the text is empty"),
    ("score zlib latin.txt", "latin.txt:2:3: not UTF-8: byte 0xe9"),
    ("score zlib torn.jsonl", "torn.jsonl:2:"),
    ("score zlibb test.jsonl", "did you mean 'zlib'?"),
    (
        "score zlib test.jsonl --window whole",
        "unknown window rule 'whole' (half, rolling, or a stride in tokens)",
    ),
    ("score zlib test.jsonl --window 0", "stride 0 is below 1"),
    ("score zlib test.jsonl --window ²", "unknown window rule '²'"),
    ("score zlib test.jsonl --data test=test.jsonl", "only train and valid"),
    ("generate zlib Hello", "Compressor does not generate text"),
    ("generate zlib Hello --top-p 0", "'--top-p'"),
    ("train zlib", "zlib is not a model that llmbench trains"),
    ("report nowhere", "nowhere: cannot read the record: No such file"),
    ("report . --format pdf", "unknown format 'pdf' (known: csv, html, md, table)"),
    ("new adapter class", "'class' cannot be the name"),
    ("new adapter é", "cannot be the name"),
    ("new adapter 3d", "cannot be the name"),
    ("new adapter tokens", "cannot be the name"),
    ("new adapter torch", "a module 'torch' already exists"),
    ("new adapter ../x", "'../x' is not a name: files are written into the current folder"),
    ("run tiny.yaml --timeout nan", "'--timeout'"),
    (f"run {'x' * 5000}", "there is no such suite"),
]


@pytest.mark.parametrize(("line", "want"), WRONG, ids=[line for line, _ in WRONG])
def test_what_is_wrong_is_one_line_and_exit_code_2(call, tmp_path, line, want):
    (tmp_path / "bad.yaml").write_text("name: bad\nversion: 1\ntxts: {}\ntasks: []\n")
    (tmp_path / "torn.yaml").write_text("name: [torn\n")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "latin.txt").write_bytes("one\ncafé".encode("latin-1").replace(b"caf", b"ca"))
    (tmp_path / "torn.jsonl").write_text('{"text": "a"}\n{"text": \n')
    before = sorted(tmp_path.iterdir())
    done = call(*line.split())
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("llmbench: ")
    assert done.err.endswith("\n")
    assert done.err.count("\n") == 1
    assert want in done.err
    assert not {"reports", "class.py", "torch.py", "tokens.py"} & {
        path.name for path in {*tmp_path.iterdir()} - {*before}
    }


@pytest.mark.parametrize(
    ("name", "content", "documents"),
    [("a.txt", SENTENCE, 1), ("a.jsonl", json.dumps({"text": SENTENCE}) + '\n{"text": "b"}\n', 2)],
)
def test_uniform_bytes_cost_exactly_8_bits_each_and_json_stands_alone(
    tmp_path, name, content, documents
):
    (tmp_path / name).write_text(content, encoding="utf-8")
    done = child("score", "uniform-bytes", name, "--json", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == SCORE_KEYS
    assert found["bits_per_byte"] == 8.0
    assert found["byte_perplexity"] == 256.0
    size = len(SENTENCE.encode()) + (documents == 2)
    assert (found["documents"], found["bytes"], found["tokens"], found["bits"]) == (
        documents,
        size,
        size,
        8.0 * size,
    )
    assert found["charges"] == {"token": 8.0 * size, "spelling": 0.0, "code": 0.0, "end": 0.0}
    assert found["words"] == 11 + (documents == 2)


def test_a_score_is_readable_without_json(call):
    done = call("score", "zlib", "test.jsonl", "--device", "cpu")
    assert done.code == 0
    assert re.match(
        r"zlib on test\.jsonl: \d\.\d{4} bits per byte \(95 % interval \d\.\d+ to \d\.\d+\)\n "
        r" bytes: \d+\n",
        done.out,
    )


def test_generate_asks_through_the_chat_template_and_shows_the_answer_alone(call, tmp_path):
    model = chats.save(tmp_path / "talker")
    request = Request("The tap", max_bytes=9, seed=0, chat="It hums.")
    (answer,) = small_checkpoints.said(model, [request])
    options = ("--system", "It hums.", "--max-bytes", "9", "--temperature", "0")
    done = call("generate", f"hf:{tmp_path / 'talker'}", "The tap", *options, "--device", "cpu")
    assert (done.code, done.out.rstrip("\n")) == (0, answer.rstrip("\n"))
    done = call("generate", "uniform-bytes", "The tap", "--chat", "--device", "cpu")
    assert (done.code, done.out) == (2, "")
    assert "UniformBytes has no chat template (ask it without `chat`)" in done.err


def test_generate_refuses_a_chunk_for_no_request_in_one_line(call, tmp_path):
    (tmp_path / "late.py").write_text(
        "from llmbench.adapter import Chunk\n"
        "from llmbench.testing import MockAdapter\n\n\n"
        "class Late(MockAdapter):\n"
        "    def generate(self, requests):\n"
        '        yield Chunk(1, "yes", 1, "stop")\n'
    )
    done = call("generate", "late.py:Late", "Is it?", "--device", "cpu")
    assert (done.code, done.out) == (1, "")
    assert "Late: `generate` yielded row 1 of 1 requests (yield the index" in done.err
    assert len(done.err.splitlines()) == 1


def test_the_byte_ngram_learns_from_what_it_is_given_and_python_says_the_same(call, tmp_path):
    arguments = (
        "score",
        "byte-ngram",
        "test.jsonl",
        "--json",
        "--device",
        "cpu",
        "--window",
        "rolling",
    )
    plain, taught = (
        json.loads(call(*arguments).out),
        json.loads(call(*arguments, "--data", "train=train.txt").out),
    )
    assert 0 < taught["bits_per_byte"] < plain["bits_per_byte"] < 8
    assert taught["low"] < taught["bits_per_byte"] < taught["high"]
    assert (
        llmbench.score("byte-ngram", "test.jsonl", window="rolling", given={"train": "train.txt"})
        == taught
    )


def test_what_there_is_is_listed(call):
    for command, names in (
        ("models", registry.names("baselines")),
        ("suites", registry.names("suites")),
        ("adapters", registry.ADAPTERS),
        ("tasks", task_registry.TASKS),
        ("metrics", [metric.name for metric in METRICS]),
    ):
        done = call(command)
        assert done.code == 0
        firsts = [line.split()[0] for line in done.out.splitlines() if line[1:2].strip()]
        assert {*names} <= {*firsts}, command


def test_the_schema_of_suites_is_json(call):
    assert {"name", "version", "texts", "tasks"} <= json.loads(call("suites", "--schema").out)[
        "properties"
    ].keys()


def test_a_dry_run_prints_the_cells_and_runs_nothing(call, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = call("run", "tiny.yaml", "--model", "lstm", "--out", "out", "--dry-run")
    assert done.code == 0, done.err
    cells = {tuple(line.split()[:2]) for line in done.out.splitlines()}
    assert {
        (model, task)
        for model in ("uniform-bytes", "byte-ngram", "zlib", "lstm")
        for task in ("likelihood", "continuation")
    } <= cells
    assert "to train" in done.out
    assert "total" in done.out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("md", "# llmbench: by-hand\n"),
        ("csv", "task,model,"),
        ("html", "<!doctype html>"),
        ("table", "byte-ngram has the best bits/byte, not proven against transformer-decoder"),
    ],
)
def test_a_board_is_drawn_from_the_record_alone(call, tmp_path, form, start):
    hand_record.record().write(tmp_path / "run")
    done = call("report", "run", "--format", form)
    assert done.code == 0
    assert done.err == ""
    assert done.out.startswith(start)
    assert "transformer-decoder" in done.out
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def test_report_writes_the_boards_beside_the_record(call, tmp_path):
    path = hand_record.record().write(hand_record.samples(tmp_path / "run"))
    for given in ("run", path):
        done = call("report", given)
        assert done.code == 0
        assert done.out.startswith("byte-ngram has the best bits/byte")
        written = {file.name: file for file in (tmp_path / "run").glob("leaderboard.*")}
        assert written.keys() == {"leaderboard.md", "leaderboard.csv", "leaderboard.html"}
        assert "nothing, and the tap" in written["leaderboard.html"].read_text(encoding="utf-8")
        [file.unlink() for file in written.values()]


@pytest.mark.slow
def test_a_new_adapter_works_passes_its_own_test_and_overwrites_nothing(call, tmp_path):
    done = call("new", "adapter", "my_net")
    assert done.code == 0
    assert [line.rpartition("/")[2] for line in done.out.splitlines()] == [
        "my_net.py",
        "test_my_net.py",
    ]
    assert "--model my_net.py:MyNet" in done.err
    tried = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_net.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert tried.returncode == 0, tried.stdout
    assert "20 passed, 5 skipped" in tried.stdout
    for gone in ("my_net.py", "test_my_net.py"):
        (tmp_path / gone).write_text("mine")
        again = call("new", "adapter", "my_net")
        assert again.code == 2
        assert "the file already exists" in again.err
        assert (tmp_path / gone).read_text() == "mine"
        (tmp_path / gone).unlink()


@pytest.mark.parametrize("command", [("models",), ("--help",), ("view", "--help"), ("report", ".")])
def test_a_reader_that_has_gone_ends_a_command_without_a_word(command, tmp_path):
    hand_record.record().write(tmp_path)
    read, write = os.pipe()
    os.close(read)
    try:
        found = subprocess.run(
            [sys.executable, "-m", "llmbench", *command],
            cwd=tmp_path,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write)
    assert (found.returncode, found.stderr) == (0, "")
