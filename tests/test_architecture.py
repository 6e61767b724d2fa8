"""The house keeps its floors: imports run downward, heavy libraries stay where they belong, files
stay small, nothing unsafe is called.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import llmbench

PACKAGE = Path(llmbench.__file__).parent
FILES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}

HEAVY = ("torch", "transformers", "pandas", "numpy", "scipy", "pyarrow", "pydantic", "safetensors")


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
    return {module for module in modules if module in HEAVY}


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


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_stay_small_and_say_what_they_are_for(name):
    text = FILES[name].read_text(encoding="utf-8")
    assert len(text.split("\n")) <= 401, "over 400 lines"
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert not set(name.split(".")) & {"utils", "util", "common", "base", "core", "helpers", "misc"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_functions_stay_short(name):
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, (
                f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
            )


@pytest.mark.parametrize(
    "file",
    [*FILES.values(), *sorted((PACKAGE / "cli" / "templates").iterdir())],
    ids=lambda file: file.name,
)
def test_nothing_unsafe_is_called(file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(
        r"\b(pickle|cloudpickle|joblib|dill|shelve|marshal)\b|\btorch\.load\(|trust_remote_code=True|\byaml\.(load|unsafe_load|full_load)\(",
        text,
    )
    assert not re.search(r"(?<![\w.])(eval|exec)\(|shell=True|os\.system|os\.popen", text)


def test_a_worker_and_the_parent_of_a_run_load_no_scipy_before_a_number_needs_it():
    """It would be more than a quarter of the memory of a model that needs no torch, and a quarter
    of a second in each process.
    """
    for code in ("import llmbench.runner.worker", "import llmbench.api, llmbench.runner.run"):
        assert not loaded("-c", code) & {"torch", "transformers", "pandas", "scipy"}
