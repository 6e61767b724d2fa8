"""Every command that the README and the docs show is run as it stands there, in a folder with the
files that it names; those that need a network, somebody's server or somebody's checkpoint are
marked so.

The cheap ones run in this process. `pytest -m slow` runs those that measure for seconds or minutes.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.hand_runs import BITS, RATE, Hand, bits
from support.run_helpers import llmbench
from support.small_checkpoints import gpt2
from test_docs import PAGES, commands, examples

from llmbench.cli.main import cli

ROOT = Path(__file__).parents[1]
PERPLEXITY = ("likelihood", "word_perplexity", "perplexity", "lower")
RATES = tuple(2.0 + 0.01 * (i % 5) for i in range(20))
AMD = "baselines/records/quick@amd-epyc-2-cores.json"

# in this order: what one writes, the next ones read
QUICK = f"""\
metrics
suites
suites --schema
new adapter my_model
new metric vowels
new task next_word
score my_model.py:MyModel some.txt
generate my_model.py:MyModel 'The king'
run mine.yaml --dry-run
view
report reports/standard/RUN
report reports/example --format renderer.py:Ranking
leaderboard 'reports/standard/*' --out all
leaderboard reports/example --format renderer.py:Ranking --out all
leaderboard run-a run-b --format md
leaderboard run-a run-b --strict
compare reports/standard/2026-11-25T14-27-50Z lstm rnn
compare RUN lstm rnn --metric word_perplexity
compare change main
record promote main
record promote run --out baselines/records/quick@github.json
export reports/example --to list
export reports/example --to latex
export reports/example --to parquet --out tables
export reports/example --to model-index --dry-run
export reports/example --to hf-eval-results --dataset likelihood=my-org/tales:tales
gate run --against baselines/records/quick@github.json --format md
publish run --out site
verify site
gate change --against {AMD}
gate RUN --against RECORD --allow bits_per_byte=0.02 --allow decode_bytes_per_second=10%
""".splitlines()
SLOW = """\
check my_model.py:MyModel
check my_model.py:MyModel --json
doctor
run quick
run quick --seed 0 --out run
verify site --recompute 3
run quick --model my_model.py:MyModel
run suites/quick.yaml --model my_net.yaml
run quick --log-to latex --log-to parquet
run vowels.yaml
run next_word.yaml
run mine.yaml --data book=moby-dick.txt
score hf:./my-checkpoint some.txt --quantize int8
generate hf:./my-checkpoint 'Once upon a time'
run speed --only lstm --model hf:./my-checkpoint
run speed --memory-budget 4GB --price-per-hour 1.2
run suites/standard.yaml
run suites/standard.yaml --model my_model.py:MyModel
run suites/standard.yaml --model hf:./my-checkpoint
train lstm
""".splitlines()
# each baseline of it is trained for minutes: planned here, and trained by hand
LONG = ["run shakespeare --data shakespeare=input.txt"]
# what a command needs that no test can bring
NEEDS = {
    "network": (
        "gpt2",
        "hf:openai-community",
        "hf:Helsinki-NLP",
        "hf:facebook",
        "smollm2",
        "my-card.yaml",  # which is fine-tuned from gpt2
        "verify https:",
        "data fetch hellaswag",  # tests/data/test_data_fetch.py checks files of its layout
    ),
    "nanochat's eval_bundle": ("bundle=eval_bundle",),  # tests/tasks/test_core.py makes one
    # tests/runner/engine/test_ray_cluster.py runs such commands on a cluster of two nodes
    "a cluster": ("--engine ray",),
    "a rater": ("vote RUN", "votes import RUN"),  # tests/cli/test_vote.py runs both
    "a Mac": ("--device mps",),
    "a run with text": ("judge RUN",),  # tests/cli/test_judge.py runs it
    "a server": ("openai:", "my-server.yaml"),
    # tests/integrations/exports reads back what they write
    "a tracker": tuple(f"--to {name}" for name in ("tensorboard", "mlflow", "wandb", "trackio")),
    # tests/adapters/importers and tests/adapters/test_gguf.py run such files, drawn small
    "a checkpoint": ("nanogpt:", "scratch-gpt:", "litgpt:", "nanochat:", "gguf:"),
    # tests/integrations/training runs those of a small training
    "checkpoints of a training": ("hf:out/checkpoint-*",),
}


def find_need(command):
    """What a command needs that no test can bring; "" if nothing."""
    found = (need for need, marks in NEEDS.items() if any(mark in command for mark in marks))
    return next(found, "")


def list_commands():
    return {shlex.join(words) for page in PAGES for words in commands(page)}


def test_every_command_of_the_docs_is_run_or_needs_what_no_test_can_bring():
    known = {*QUICK, *SLOW, *LONG}
    left = {command for command in list_commands() - known if not find_need(command)}
    assert left == set(), "say in tests/test_commands.py how each of these is run"
    assert known - list_commands() == set(), "no page shows these any more"


def write_runs(place):
    """Runs and records under the names that the docs use."""
    suite = {"name": "quick", "version": 1, "sha256": "0" * 64}
    names = ["main", "change", "run", "RUN", "run-a", "run-b", "reports/standard/RUN"]
    for number, name in enumerate([*names, "reports/standard/2026-11-25T14-27-50Z"]):
        cells = {model: ["likelihood", "speed"] for model in ("lstm", "rnn")}
        hand = Hand(place / name, suite=suite, notes={"cells": cells})
        for at, model in enumerate(("lstm", "rnn")):
            rates = bits(*(rate + 0.1 * at for rate in RATES))
            hand.add(model, BITS, rates).add(model, PERPLEXITY, bits(*RATES, size=20))
            speeds = [[1000.0 + 10 * i + at, 1] for i in range(8)]
            hand.add(model, RATE, speeds, session=f"s{number}")
        hand.write()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files that the pages name, and their runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("my_model", "vowels", "next_word"):  # other tests load files of these names
        monkeypatch.delitem(sys.modules, name, raising=False)
    folders = (str(tmp_path.parent), str(tmp_path.parent.resolve()))
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.startswith(folders)])
    for page in ("docs/adapters.md", "docs/suites.md", "docs/reading-a-board.md"):
        for name, text in examples(page).items():
            if name != "my_model.py":  # `new adapter` writes it
                (tmp_path / name).write_text(text)
    for name in ("some.txt", "book.txt", "moby-dick.txt", "input.txt"):
        (tmp_path / name).write_text("The king said nothing, and then a whale said it.\n" * 200)
    (tmp_path / "suites").symlink_to(ROOT / "suites")
    (tmp_path / "reports").mkdir()
    shutil.copytree(ROOT / "reports/example", tmp_path / "reports/example")
    return tmp_path


def expand(word):
    """The files that a shell makes of a word with a star; any other word as it is."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def test_the_quick_commands_of_the_docs_do_what_they_say(place):
    write_runs(place)
    for command in QUICK:
        if "RECORD" in command:
            shutil.copy(AMD, "RECORD")
        words = [file for word in shlex.split(command) for file in expand(word)]
        done = CliRunner().invoke(cli, words, standalone_mode=False)
        assert done.exception is None, f"{command}: {done.exception}"
        assert not done.return_value, f"{command}: {done.output}"
        if command == "record promote main":
            (written,) = Path("baselines/records").glob("quick@*.json")
            written.rename(AMD)
    assert Path("all/leaderboard.html").is_file()
    assert Path("my_model.py").is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", SLOW)
def test_a_command_of_the_docs_that_takes_long_does_what_it_says(place, command):
    for kind in ("adapter my_model", "metric vowels", "task next_word"):
        assert llmbench("new", *kind.split(), cwd=place).returncode == 0
    if command.startswith("verify"):
        for words in (
            ("run", "quick", "--only", "zlib", "--out", "run"),
            ("publish", "run", "--out", "site"),
        ):
            assert llmbench(*words, cwd=place).returncode == 0
    if "hf:" in command:
        if "quantize" in command:
            pytest.importorskip("torchao")
        gpt2(place / "my-checkpoint")
    done = llmbench(*shlex.split(command), cwd=place, timeout=880)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", LONG)
def test_a_command_of_the_docs_that_trains_for_minutes_is_planned(place, command):
    done = CliRunner().invoke(cli, [*shlex.split(command), "--dry-run"], standalone_mode=False)
    assert done.exception is None
    assert "to train" in done.stdout
