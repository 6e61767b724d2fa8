"""The rules of the code: imports run downward, heavy libraries stay where they belong, files and
functions stay small, nothing unsafe is called, boundaries are typed, functions are named by verbs.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import llmbench
from llmbench.plan import registry

PACKAGE = Path(llmbench.__file__).parent
FILES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}

SOURCES = {name: file.read_text(encoding="utf-8") for name, file in FILES.items()}
TREES = {name: ast.parse(text) for name, text in SOURCES.items()}
LINT = "from importlinter.cli import lint_imports_command as command; command()"
HEAVY = ("torch", "transformers", "pandas", "numpy", "scipy", "pyarrow", "pydantic", "safetensors")
NOT_LIGHT = {*HEAVY, "rich", "altair", "tokenizers"}


def loaded(*arguments):
    """The heavy libraries that a fresh interpreter loads."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    modules = {
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "llmbench" in modules
    return {module for module in modules if module in NOT_LIGHT}


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import llmbench"),
        ("-m", "llmbench.cli.main", "--help"),
        ("-m", "llmbench.cli.main", "run", "--help"),
    ],
)
def test_the_front_is_light(arguments):
    assert loaded(*arguments) == set()


LIGHT = ("models", "suites", "metrics", "tasks", "adapters", "texts")
OTHERS = "click, yaml, json, hashlib, importlib.metadata, email.message"


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
@pytest.mark.parametrize("command", LIGHT)
def test_a_command_that_lists_what_there_is_loads_no_heavy_library(command, form):
    assert loaded("-m", "llmbench.cli.main", command, *form) == set()


@pytest.mark.parametrize("command", LIGHT)
def test_a_command_that_lists_what_there_is_takes_a_few_tenths_of_a_second(command):
    if sys.platform == "win32":
        pytest.skip("no resource usage of children")
    tries = []
    # the least of several, since other programs make each take longer
    assert any(is_quick(command, tries) for _ in range(8)), tries


def is_quick(command, tries):
    """Whether a command takes 0.3 s of CPU, on a machine on which OTHERS take 0.12 s."""
    taken = spend_seconds("-m", "llmbench.cli.main", command)
    least = spend_seconds("-c", f"import {OTHERS}")
    tries.append((taken, least))
    return taken <= 0.3 * max(1.0, least / 0.12)


def spend_seconds(*arguments):
    """Seconds of CPU that an interpreter takes for this."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_parent_of_a_run_and_the_painter_of_boards_load_no_torch():
    assert not loaded(
        "-c",
        "import llmbench.api, llmbench.runner.run, llmbench.runner.progress, llmbench.plan.dry_run",
    ) & {"torch", "transformers", "pandas"}
    assert not loaded(
        "-c",
        "import llmbench.leaderboard.board, llmbench.leaderboard.renderers.html,"
        " llmbench.cli.compare",
    ) & {"torch", "transformers", "pandas", "numpy"}


def lint_imports(root):
    """Check the contracts on the imports of the package in this folder."""
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_keep_their_contracts():
    pytest.importorskip("importlinter")
    done = lint_imports(PACKAGE.parent)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("ledger.py", "import llmbench.runner.run", "only from those below them BROKEN"),
        ("metrics/metric.py", "import torch", "without torch BROKEN"),
        ("data/text.py", "from llmbench.data import loading", "cycles inside a package BROKEN"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(tmp_path, file, line, contract):
    pytest.importorskip("importlinter")
    shutil.copytree(PACKAGE, tmp_path / "llmbench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PACKAGE.parent / "pyproject.toml", tmp_path)
    with (tmp_path / "llmbench" / file).open("a") as handle:
        handle.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stderr
    assert contract in done.stdout


def test_files_stay_small():
    sizes = {name: len(text.splitlines()) for name, text in SOURCES.items()}
    assert {name: size for name, size in sizes.items() if size > 400} == {}


def test_functions_stay_short():
    sizes = {
        f"{name}:{node.name}": node.end_lineno - node.lineno + 1
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: size for name, size in sizes.items() if size > 60} == {}


def test_files_have_a_docstring_and_a_name_that_says_something():
    assert [name for name, tree in TREES.items() if not ast.get_docstring(tree)] == []
    empty = {"utils", "util", "common", "base", "core", "helpers", "misc"}
    assert [name for name in FILES if set(name.split(".")) & empty] == []


def test_folders_hold_at_most_thirteen_files():
    counts = Counter(file.parent for file in FILES.values() if file.name != "__init__.py")
    assert {folder.name: count for folder, count in counts.items() if count > 13} == {}


def find_lines(pattern):
    """file:line of the package's lines that match."""
    return [
        f"{name}:{number}"
        for name, text in SOURCES.items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_attributes_are_declared_not_asked_for():
    found = find_lines(r"\b(getattr|hasattr)\(")
    assert len(found) <= 25, found


def test_boundaries_are_typed():
    found = find_lines(r"dict\[str, Any\]")
    assert len(found) <= 35, found


def test_no_adapter_is_told_by_its_name():
    names = set(registry.ADAPTERS)

    def is_told(node):
        strings = {
            part.value
            for part in ast.walk(node)
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        }
        return strings & names and "adapter" in ast.unparse(node)

    compared = [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and is_told(node)
    ]
    assert compared == []


# Words that end like a participle or an adverb and are none, and two nouns of the field
NO_PARTICIPLES = {
    *(
        "open",
        "screen",
        "embed",
        "listen",
        "when",
        "ring",
        "shorten",
        "widen",
        "tighten",
        "flatten",
        "speed",
        "feed",
        "seed",
        "need",
        "token",
        "reply",
        "apply",
    ),
    *("spelling", "hidden"),  # bits of spelling; hidden states
}
ADVERBS = {"alone", "together", "apart", "often", "again", "side_by_side"}


def is_participle_or_adverb(name):
    """Whether a function's name is one, or begins with one."""
    if name.startswith("__"):
        return False  # Python's own
    plain = name.strip("_")
    first = plain.partition("_")[0]
    if plain in ADVERBS:
        return True
    return first not in NO_PARTICIPLES and bool(re.search("(?:ed|en|ing|ly)$", first))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("opened", True),
        ("_written", True),
        ("padding", True),
        ("mostly", True),
        ("trained_folder", True),
        ("together", True),
        ("open_run", False),
        ("_pad", False),
        ("token_bits", False),
        ("embed", False),
        ("is_ranked", False),
    ],
)
def test_the_detector_of_names_tells_verbs_from_participles(name, expected):
    assert is_participle_or_adverb(name) is expected


def test_functions_are_named_by_verbs():
    found = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not any("property" in ast.unparse(mark) for mark in node.decorator_list)
        and is_participle_or_adverb(node.name)
    ]
    assert found == []


@pytest.mark.parametrize(
    "file",
    [*FILES.values(), *sorted((PACKAGE / "cli" / "templates").iterdir())],
    ids=lambda file: file.name,
)
def test_nothing_unsafe_is_called(file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(
        r"\b(pickle|cloudpickle|joblib|dill|shelve|marshal)\b|trust_remote_code=True|\byaml\.(load|unsafe_load|full_load)\(",
        text,
    )
    calls = len(re.findall(r"\btorch\.load\(", text))
    assert calls == len(re.findall(r"\btorch\.load\([^()]*\bweights_only=True\b[^()]*\)", text))
    assert not re.search(r"(?<![\w.])(eval|exec)\(|shell=True|os\.system|os\.popen", text)


def test_a_worker_and_the_parent_of_a_run_load_no_scipy_before_a_number_needs_it():
    """It would be more than a quarter of the memory of a model that needs no torch, and a quarter
    of a second in each process.
    """
    for code in ("import llmbench.runner.worker", "import llmbench.api, llmbench.runner.run"):
        assert not loaded("-c", code) & {"torch", "transformers", "pandas", "scipy"}
