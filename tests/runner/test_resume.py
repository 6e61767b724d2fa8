"""Going on with a run: what is done again, what is not, and what an odd model may not destroy. Each
test starts real workers.
"""

from __future__ import annotations

import os
import time

import psutil
import pytest
from support.run_helpers import folder, llmbench, run_json

from llmbench.errors import UsageError
from llmbench.plan import plan

MODEL = '''\
import os, subprocess, sys, torch
from llmbench.adapter import ModelInfo
from llmbench.adapters.token import TokenAdapter, Tokens
import neighbour


class Plain(TokenAdapter):
    bos_ids = (256,)

    def __init__(self):
        self.net = torch.nn.Embedding(257, 256)
        with torch.no_grad():
            self.net.weight.zero_()
            self.net.weight[:, int(open("favourite.txt").read())] = 3.0

    def encode(self, text):
        data = text.encode()
        return Tokens.of(list(data), [bytes([b]) for b in data])

    def decode(self, ids):
        return bytes(i for i in ids if i < 256)

    def logits(self, ids):
        return self.net(ids) * neighbour.SCALE


class OddInfo(Plain):
    @property
    def info(self):
        return ModelInfo("x", "y", "z", 1, "many", None, "cpu", "f")


class Forks(Plain):
    """Leaves a child behind that holds every descriptor open."""
    def logits(self, ids):
        if not os.path.exists("child.pid"):
            pid = os.fork()
            if pid == 0:
                import time
                time.sleep(600)
            open("child.pid", "w").write(str(pid))
        return super().logits(ids)


class FreeWords(Plain):
    def encode(self, text):
        return Tokens.of([0] * len(text), [c.encode() for c in text])


class Lowers(Plain):
    def encode(self, text):
        return super().encode(text.lower())
'''


@pytest.fixture
def place(tmp_path):
    made = folder(tmp_path)
    (made / "model.py").write_text(MODEL)
    (made / "neighbour.py").write_text("SCALE = 1.0\n")
    (made / "favourite.txt").write_text("101")
    (made / "tiny.yaml").write_text(
        (made / "tiny.yaml")
        .read_text()
        .replace('  - {task: continuation, prompts: ["The "], max_bytes: 20}\n', "")
    )
    return made


def bits(place):
    return {
        row["model"]: row["value"]
        for row in run_json(place / "out")["scores"]
        if row["metric"] == "bits_per_byte"
    }


def run(place, *more):
    return llmbench("run", "tiny.yaml", "--out", "out", *more, cwd=place)


@pytest.mark.slow
def test_changed_weights_and_changed_neighbours_are_scored_again(place):
    only = ("--model", "model.py:Plain", "--only", "Plain")
    run(place, *only)
    first = bits(place)["Plain"]
    again = run(place, *only)
    assert "done before" in again.stderr
    assert bits(place)["Plain"] == first
    (place / "favourite.txt").write_text("122")
    run(place, *only)
    second = bits(place)["Plain"]
    assert second > first + 0.1
    (place / "neighbour.py").write_text("SCALE = 0.0\n")
    run(place, *only)
    assert bits(place)["Plain"] == pytest.approx(8.0)


@pytest.mark.slow
def test_fewer_models_lose_no_finished_ones_and_other_words_in_a_card_change_nothing(place):
    card = "name: floor\nadapter: compressor\narguments: {method: bz2}\nabout: one\n"
    (place / "floor.yaml").write_text(card)
    run(place, "--model", "floor.yaml")
    assert set(bits(place)) == {"uniform-bytes", "byte-ngram", "zlib", "floor"}
    (place / "floor.yaml").write_text(card.replace("one", "two"))
    done = run(place, "--model", "floor.yaml", "--only", "floor")
    assert "done before" in done.stderr
    assert set(bits(place)) == {"uniform-bytes", "byte-ngram", "zlib", "floor"}
    ranks = {
        row["model"]: row["rank"]
        for row in run_json(place / "out")["scores"]
        if row["metric"] == "bits_per_byte"
    }
    assert ranks["byte-ngram"] == [1, 1]


@pytest.mark.slow
def test_odd_info_free_words_and_lossy_tokenizers_are_rows(place):
    models = [
        part
        for name in ("OddInfo", "FreeWords", "Lowers")
        for part in ("--model", f"model.py:{name}")
    ]
    done = run(place, *models)
    assert done.returncode == 1
    failures = {f["model"]: f for f in run_json(place / "out")["failures"]}
    assert "info.context" in failures["OddInfo"]["message"]
    assert (failures["FreeWords"]["reason"], failures["Lowers"]["reason"]) == (
        "unsupported",
        "unsupported",
    )
    assert "lossy tokenizer: byte 0" in failures["Lowers"]["message"]
    assert set(bits(place)) == {"uniform-bytes", "byte-ngram", "zlib"}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_children_of_a_model_do_not_hold_up_the_run_nor_outlive_it(place):
    begun = time.monotonic()
    done = run(place, "--model", "model.py:Forks", "--only", "Forks", "--timeout", "100")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 90
    pid = int((place / "child.pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("card", "want"),
    [
        ("adapter: netwrok\n", "unknown adapter 'netwrok' (did you mean 'network'?)"),
        ("adapter: network\nrecipe: {steps: 1}\n", "no 'network'"),
        ("adapter: compressor\narguments: {methd: zlib}\n", "methd"),
        (
            (
                'adapter: network\nnetwork: {class: "llmbench.models.networks.recurrent:RNN",'
                " arguments: {widht: 3}}\nrecipe: {steps: 1}\n"
            ),
            "widht",
        ),
        (
            (
                'adapter: network\nnetwork: {class: "llmbench.models.networks.recurent:RNN"}\n'
                "recipe: {steps: 1}\n"
            ),
            "there is no module 'llmbench.models.networks.recurent'",
        ),
        ('adapter: "leaves.py:Model"\n', "importing raised SystemExit"),
    ],
)
def test_what_is_wrong_with_a_card_is_said_before_anything_runs(place, card, want):
    (place / "card.yaml").write_text(f"name: mine\n{card}")
    (place / "leaves.py").write_text("import sys\nsys.exit(0)\nclass Model: ...\n")
    done = run(place, "--model", "card.yaml")
    assert done.returncode == 2
    assert want in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (place / "out").exists()


def test_a_model_that_learns_needs_a_training_text_in_the_suite(place):
    (place / "bare.yaml").write_text(
        "name: bare\nversion: 1\ntexts: {test: {source: test.jsonl}}\ntasks: [{task:"
        " likelihood}]\nmodels: [byte-ngram]\n"
    )
    done = llmbench("run", "bare.yaml", cwd=place)
    assert done.returncode == 2
    assert "learns from a training text" in done.stderr


@pytest.mark.slow
def test_a_library_is_not_hidden_by_a_file_in_the_current_folder(place):
    (place / "click.py").write_text("raise RuntimeError('wrong click')\n")
    (place / "numpy.py").write_text("raise RuntimeError('wrong numpy')\n")
    import subprocess
    import sys

    command = [
        sys.executable,
        "-P",
        "-m",
        "llmbench.cli.main",
        "run",
        "tiny.yaml",
        "--only",
        "byte-ngram",
        "--out",
        "out",
    ]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("seconds", ["inf", pytest.param("1e12", marks=pytest.mark.slow)])
def test_a_timeout_may_be_longer_than_the_system_can_wait(place, seconds):
    assert run(place, "--only", "zlib", "--timeout", seconds).returncode == 0


def test_a_timeout_that_is_no_number_is_refused():
    with pytest.raises(UsageError, match="timeout"):
        plan.plan("quick", plan.Options(timeout=float("nan")))


@pytest.mark.slow
def test_a_limit_that_samples_nothing_leaves_no_mark(place):
    run(place, "--only", "zlib", "--limit", "100")
    assert {
        row["signature"].rpartition("limit=")[2].partition(";")[0]
        for row in run_json(place / "out")["scores"]
    } == {"none"}
    done = run(place, "--only", "zlib", "--limit", "3", "--seed", "5")
    assert done.returncode == 0
    data = run_json(place / "out")
    assert {row["n"] for row in data["scores"]} == {3}
    assert all("limit=3@5" in row["signature"] for row in data["scores"])
