"""A compiled step writes what the model writes without it, and is compiled once for all lengths."""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch
from support import run_helpers, small_checkpoints
from support.toys import TEXT
from torch._dynamo.utils import counters
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

from llmbench.adapter import BuildContext, Passage, Request
from llmbench.conformance import kit
from llmbench.conformance.check import Subject
from llmbench.data.text import Document, Text
from llmbench.errors import ModelError, UsageError
from llmbench.hardware import flops
from llmbench.models.pretrained import compiled
from llmbench.plan import registry
from llmbench.plan.resolved_model import make_adapter, resolve_model
from llmbench.storage import default_cache
from llmbench.tasks.performance.speed import Speed

PROMPTS = ("The kettle", "An unbelievable tap, dripping; 7 o'clock", "No", "It had said nothing")


pytestmark = pytest.mark.timeout(900)  # compiling takes long on a machine that is busy
SLOW = pytest.mark.slow
KINDS = [pytest.param("llama", marks=SLOW), pytest.param("gpt2", marks=SLOW)]


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """A checkpoint as it is, and with its step compiled."""
    place = tmp_path_factory.mktemp("compiled")
    spec = f"hf:{getattr(small_checkpoints, request.param)(place / 'checkpoint')}"
    return make(spec, place), make(f"{spec}?compile=true", place)


def make(spec, cache):
    return make_adapter(resolve_model(spec), BuildContext(cache=cache or default_cache()))


def write(adapter, requests):
    found = dict.fromkeys(range(len(requests)), "")
    for chunk in adapter.generate(requests):
        found[chunk.row] += chunk.text
    return found


def test_one_answer_and_several_are_the_same(pair):
    plain, fast = pair
    requests = [Request(prompt, max_tokens=24) for prompt in PROMPTS]
    for asked in ([requests[1]], requests, [requests[0]] * 3):
        assert write(fast, asked) == write(plain, asked)


def test_logits_are_the_same_when_the_room_grows(pair, monkeypatch):
    monkeypatch.setattr(compiled, "SPARE", 8)
    plain, fast = pair
    ids = torch.tensor([[5, 9, 11, 7], [8, 6, 5, 4]])
    for rows in (1, 2):
        (state, want), (other, got) = (adapter.prefill(ids[:rows]) for adapter in pair)
        for _ in range(24):
            token = want.argmax(-1)
            state, want = plain.step(state, token)
            other, got = fast.step(other, token)
            assert torch.allclose(got, want, rtol=1e-4, atol=1e-4)


def test_it_is_compiled_once_for_a_row_and_once_for_several(pair):
    _, fast = pair
    write(fast, [Request(PROMPTS[0], max_tokens=4)])
    write(fast, [Request(prompt, max_tokens=4) for prompt in PROMPTS])
    graphs, seconds = counters["stats"]["unique_graphs"], fast.compile_ahead(1)
    assert seconds > 0
    for rows in (1, 2, 3, 4):
        write(fast, [Request(prompt * rows, max_tokens=12 + rows) for prompt in PROMPTS[:rows]])
    assert counters["stats"]["unique_graphs"] == graphs
    assert fast.compile_ahead(9) == seconds


def test_it_scores_as_without(pair):
    bits = [next(adapter.score([Passage(TEXT[:200])])).total() for adapter in pair]
    assert bits[0] == bits[1]


def test_it_is_another_model_and_says_what_compiled_it(pair):
    plain, fast = (adapter.info for adapter in pair)
    assert plain.compiled is None
    assert fast.compiled.startswith("torch.compile (torch 2.")
    assert plain.fingerprint != fast.fingerprint


def test_operations_are_counted_as_without(pair):
    works = [
        flops.passes(adapter, [5, 9, 11, 7], 6, 2, flops.parameters_of(adapter))[1]
        for adapter in pair
    ]
    assert works[0] == works[1]
    assert works[0].agrees
    assert works[0].flops > 0


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="it needs torchao")
@pytest.mark.parametrize(
    "format",
    [pytest.param(f, marks=SLOW) for f in ("dtype=bfloat16", "quantize=int4", "quantize=int8")],
)
def test_weights_in_few_bits_write_as_without(format, tmp_path):
    spec = f"hf:{small_checkpoints.llama(tmp_path / 'llama')}?{format}"
    plain, fast = make(spec, tmp_path), make(f"{spec}&compile=true", tmp_path)
    asked = [Request(PROMPTS[0], max_tokens=12)]
    if "bfloat16" in format:  # in which other sums round to other tokens
        assert fast.compile_ahead(1) > 0
    else:
        assert write(fast, asked) == write(plain, asked)
    assert any(isinstance(m, compiled._RowLinear) for m in made_of(fast))


def made_of(adapter):
    """The modules that the step for a single row runs."""
    return compiled.share_modules(adapter.model, True).modules()


@pytest.mark.slow
def test_it_passes_the_checks(pair):
    results = list(kit.run(Subject(pair[1], thorough=False)))
    assert [(result.name, result.came) for result in results if result.bad] == []


def test_speed_has_the_seconds_of_compiling_apart(pair):
    text = Text("test", (Document("d", TEXT * 3),))
    task = Speed(text, Speed.Settings(task="speed", prompt_bytes=32, answer_bytes=16, blocks=8))
    facts = [task.prepare(adapter, lambda *_: None) for adapter in pair]
    assert "compile_seconds" not in facts[0]
    assert facts[1]["compile_seconds"] == pair[1].compile_ahead(1) > 0


def test_the_code_is_kept_in_the_cache(pair, tmp_path, monkeypatch):
    monkeypatch.delenv(compiled.FOLDER, raising=False)
    make(f"hf:{pair[0].loaded.checkpoint.folder}?compile=true", tmp_path)
    assert os.environ[compiled.FOLDER] == str(tmp_path / "compiled")
    monkeypatch.setenv(compiled.FOLDER, "mine")
    compiled.keep_code(tmp_path)
    assert os.environ[compiled.FOLDER] == "mine"


def test_without_a_compiler_it_is_one_line(pair, tmp_path, monkeypatch):
    def find_none():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", find_none)
    with pytest.raises(ModelError, match=r"needs a C\+\+ compiler, and none .*\(install g\+\+,"):
        make(f"hf:{pair[0].loaded.checkpoint.folder}?compile=true", tmp_path)


def test_other_logits_are_refused(pair, monkeypatch):
    fast = make(f"hf:{pair[0].loaded.checkpoint.folder}?compile=true", None)
    monkeypatch.setattr(
        fast.compiled_step, "compile", lambda memory, ids: torch.zeros(len(ids), fast.rows)
    )
    with pytest.raises(ModelError, match="its compiled step gives other logits"):
        fast.compile_ahead(1)


def test_what_the_compiler_refuses_is_one_line(pair, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no such thing\nand much more")

    fast = make(f"hf:{pair[0].loaded.checkpoint.folder}?compile=true", None)
    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(ModelError, match=r"cannot be compiled: no such thing \(run it without"):
        fast.compile_ahead(1)


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_only_causal_checkpoints_are_compiled(kind, tmp_path):
    folder = getattr(small_checkpoints, kind)(tmp_path / kind)
    with pytest.raises(UsageError, match="only causal checkpoints"):
        make(f"hf:{folder}?compile=true", tmp_path)


def test_a_sliding_window_is_not_compiled():
    key = torch.zeros(1, 2, 3, 4)
    compiled._attend(None, key[:, :, :1], key, key, None, sliding_window=None)
    with pytest.raises(NotImplementedError, match="attention with sliding_window"):
        compiled._attend(None, key[:, :, :1], key, key, None, sliding_window=2)


def test_the_name_says_it():
    for spec, name, compile in (
        ("hf:a/b?compile=true", "b-compiled", True),
        ("hf:a/b?compile=false", "b", False),
        ("gpt2?dtype=bfloat16&compile=true", "gpt2-bfloat16-compiled", True),
    ):
        card = registry.resolve(spec)
        assert (card.name, card.checkpoint.compile) == (name, compile)
    with pytest.raises(UsageError, match=r"unknown compile 'yes' \(known: false, true\)"):
        registry.resolve("hf:a/b?compile=yes")


SUITE = """\
name: formats
version: 1
texts:
  test: {source: test.jsonl}
tasks:
  - {task: likelihood, text: test}
  - {task: speed, text: test, prompt_bytes: 64, answer_bytes: 32, blocks: 8}
models: ["hf:llama", "hf:llama?dtype=bfloat16", "hf:llama?compile=true"]
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)  # seven minutes on two cores that others use, too
def test_a_run_has_all_formats_of_a_checkpoint_beside_each_other(tmp_path):
    place = run_helpers.folder(tmp_path)
    small_checkpoints.llama(place / "llama")
    (place / "formats.yaml").write_text(SUITE)
    done = run_helpers.llmbench("run", "formats.yaml", "--out", "out", cwd=place, timeout=1500)
    assert done.returncode == 0, done.stderr
    record = run_helpers.run_json(place / "out")
    rows = {row["name"]: row for row in record["models"]}
    assert [row["dtype"] for row in rows.values()] == ["float32", "bfloat16", "float32"]
    assert [name for name, row in rows.items() if row["compiled"]] == ["llama-compiled"]
    assert len({row["fingerprint"] for row in rows.values()}) == 3
    bits = {
        score["model"]: score["value"]
        for score in record["scores"]
        if score["metric"] == "bits_per_byte"
    }
    assert bits["llama"] == bits["llama-compiled"] != bits["llama-bfloat16"]
    against = record["notes"]["tasks"]["likelihood"]["against_parent"]
    assert against["llama-bfloat16"]["parent"] == against["llama-compiled"]["parent"] == "llama"
    assert against["llama-compiled"]["difference"] == 0
    assert against["llama-bfloat16"]["difference"] == pytest.approx(
        bits["llama-bfloat16"] - bits["llama"], abs=1e-12
    )
    board = (place / "out" / "leaderboard.md").read_text()
    for said in (
        "llama-compiled is llama, compiled: +0.0000 bits/byte",
        "llama-bfloat16 is llama, bfloat16: ",
        "llama-compiled writes by a compiled step: compiling took ",
    ):
        assert said in board.replace("\\", "")
    compared = run_helpers.llmbench("compare", "out", "llama-bfloat16", "llama", cwd=place)
    assert "llama-bfloat16 is llama, bfloat16; weights × 0.50" in compared.stdout
