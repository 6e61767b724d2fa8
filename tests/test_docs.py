"""What the docs show is run, as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import yaml
from support.run_helpers import SUITE, folder, llmbench, run_json

from llmbench import __version__
from llmbench.cli.main import cli
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.leaderboard.board import build
from llmbench.leaderboard.renderers import registry
from llmbench.metrics import registry as metrics_registry
from llmbench.metrics.facts import FACTS
from llmbench.plan import task_registry
from llmbench.plan.suite import read
from llmbench.results.record import load
from llmbench.testing import MockAdapter

ROOT = Path(__file__).parents[1]


def examples(page):
    """File name -> text of each block that follows an `example:` mark."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return dict(re.findall(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```", text, re.DOTALL))


@pytest.mark.slow
def test_the_adapter_walk_through_runs_as_written(tmp_path):
    place = folder(tmp_path)
    found = examples("docs/adapters.md")
    assert set(found) == {"my_model.py", "train_my_model.py", "my_net.yaml", "my_net.py"}
    for name, text in found.items():
        (place / name).write_text(text)
    subprocess.run(
        [sys.executable, "train_my_model.py"], cwd=place, check=True, capture_output=True
    )
    arguments = (
        "run",
        "tiny.yaml",
        "--model",
        "my_model.py:MyModel",
        "--model",
        "my_net.yaml",
        "--out",
        "out",
    )
    done = llmbench(*arguments, cwd=place)
    assert done.returncode == 0, done.stderr
    values = {
        row["model"]: row["value"]
        for row in run_json(place / "out")["scores"]
        if row["metric"] == "bits_per_byte"
    }
    assert values["MyModel"] < 5
    assert values["my-net"] < 6
    scored = llmbench("score", "my_model.py:MyModel", "test.jsonl", "--json", cwd=place)
    assert json.loads(scored.stdout)["bits_per_byte"] == pytest.approx(values["MyModel"], rel=1e-6)


def test_the_twenty_lines_are_about_twenty():
    adapter = examples("docs/adapters.md")["my_model.py"].partition("class MyModel")[2]
    assert len([line for line in adapter.splitlines() if line.strip()]) <= 20


def test_every_file_that_a_page_links_to_is_there():
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "reports/README.md")]
    for page in [*pages, *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_suite_and_cards_of_all_engines_are_read():
    suite = read(str(ROOT / "reports/engines/engines.yaml"))
    assert [card.name for card in suite.cards([], [])] == [
        *("smollm2-135m", "smollm2-135m-bfloat16", "smollm2-135m-int8"),
        *("gguf-f32", "gguf-q8_0", "gguf-q4_1"),
        *("vllm", "llama-cpp-server", "transformers-serve"),
    ]


def test_the_renderer_of_the_docs_draws_the_example_board(tmp_path):
    (tmp_path / "renderer.py").write_text(examples("docs/reading-a-board.md")["renderer.py"])
    name = f"{tmp_path}/renderer.py:Ranking"
    drawn = registry.draw(name, build(load(ROOT / "reports/example/run.json")))
    assert registry.file_ending(name) == "txt"
    assert [line.rpartition(" ")[2] for line in drawn.splitlines()[1:3]] == [
        "lstm",
        "transformer-decoder",
    ]


def test_the_task_of_the_docs_counts_right_words(tmp_path):
    (tmp_path / "next_word.py").write_text(examples("docs/tasks.md")["next_word.py"])
    task = task_registry.task_class(f"{tmp_path}/next_word.py:NextWord")
    text = Text("test", (Document("a", "one two three"), Document("b", "five six seven")))
    model = MockAdapter({"one two": " three!", "five six": " seven"})
    settings = task.Settings(task="next_word", words=2)
    outcome = task(text, settings).run(model, lambda what, share, remark: None)
    assert outcome.scores[0]["value"] == 0.5


def test_the_metric_of_the_docs_counts_vowels(tmp_path):
    (tmp_path / "vowels.py").write_text(examples("docs/metrics.md")["vowels.py"])
    metric = metrics_registry.create_metric(f"{tmp_path}/vowels.py:Vowels")
    found = metric.value([metric.statistics("Bad one", ""), metric.statistics("xyz", "")])
    assert (found.value, found.n) == (3 / 9, 2)


def test_the_suite_that_the_docs_explain_is_read(tmp_path):
    for name, text in examples("docs/suites.md").items():
        (tmp_path / name).write_text(text)
        (tmp_path / "book.txt").write_text("A book. " * 100)
        done = llmbench("run", name, "--dry-run", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert SUITE


def test_the_road_of_a_number_names_existing_functions():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\| \d+\. .*\| (.*?) \|$", page, re.MULTILINE)
    assert len(steps) >= 10
    for step in steps:
        *names, file = re.findall(r"`([\w./]+)`", step)
        code = (ROOT / file).read_text(encoding="utf-8")
        for name in names:
            assert re.search(rf"^(def|class) {name}\b", code, re.MULTILINE), f"{file}: {name}"


def commands(page):
    """The commands of llmbench in the code blocks of a page, without pipes and comments."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```\w+\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    found = re.findall(r"^ *(?:- )?(?:run: |\$ )?llmbench ([^\n]*)$", blocks, re.MULTILINE)
    return [shlex.split(re.split(r" +[#|>] ?", line)[0]) for line in found]


PAGES = sorted(
    str(page.relative_to(ROOT)) for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
)


def find_fault(words):
    """What is wrong with the words of a command of llmbench; "" if nothing."""
    name, *arguments = words
    command = cli.commands.get(name)
    if isinstance(command, click.Group):
        command, arguments = command.commands.get(arguments[0]), arguments[1:]
    if command is None:
        return "no such command"
    try:
        command.make_context(name, arguments)
    except click.ClickException as error:
        return error.format_message()
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one(page):
    found = {shlex.join(words): find_fault(words) for words in commands(page)}
    assert {command: fault for command, fault in found.items() if fault} == {}


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("runn quick", "no such command"),
        ("new adaptor X", "no such command"),
        ("run quick --modle lstm", "No such option"),
        ("run", "Missing argument"),
        ("run quick --limit many", "not a valid integer"),
        ("run quick --data test", "is not NAME=PATH"),
        ("run quick --model lstm", ""),
    ],
)
def test_a_wrong_command_of_a_page_would_be_found(words, fault):
    found = find_fault(words.split())
    assert fault in found
    assert bool(found) == bool(fault)


def test_the_pages_show_commands():
    assert sum(len(commands(page)) for page in PAGES) >= 60


def test_the_workflow_of_the_docs_is_yaml_whose_gate_writes_what_is_posted():
    steps = yaml.safe_load(examples("docs/ci.md")["llmbench.yml"])["jobs"]["gate"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert [line.split()[1] for line in runs if line.startswith("llmbench")] == ["run", "gate"]
    assert next(line for line in runs if line.startswith("llmbench gate")).endswith("> gate.md")
    assert sum("gate.md" in line for line in runs) == 3


def test_the_tests_workflow_runs_the_commands_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- test command -->\n```sh\n(.*?)```", readme, re.DOTALL)
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["tests"]
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert runs == block[1].splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = job["strategy"]["matrix"]["python"]
    assert project["requires-python"] == f">={versions[0]}"
    for version in versions:
        assert f"Programming Language :: Python :: {version}" in project["classifiers"]


def test_the_citation_names_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == __version__
    assert citation["license"] == project["license"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in project["authors"]
    ]


def test_the_issue_forms_are_yaml_whose_fields_have_labels():
    for form in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")):
        body = yaml.safe_load(form.read_text(encoding="utf-8"))["body"]
        assert len({field["id"] for field in body}) == len(body), form.name
        assert all(field["attributes"]["label"] for field in body), form.name


def test_the_margins_that_the_docs_state_are_those_of_the_tests():
    table = (
        (ROOT / "docs/comparing.md")
        .read_text(encoding="utf-8")
        .partition("## Tests")[2]
        .partition("The margins")[0]
    )
    stated = {
        name: line
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line)
    }
    assert stated.keys() == {name for name, metric in FACTS.items() if metric.test}
    words = {0.01: ("0.01", "1 point of 100"), 0.5: ("0.5 points",), 0.05: ("5 %",), 0.0: ("none",)}
    for name, line in stated.items():
        assert any(word in line.rsplit("|", 2)[1] for word in words[FACTS[name].tie]), name
