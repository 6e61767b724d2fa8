from __future__ import annotations

import os
import subprocess
import sys

import pytest

from llmbench.config import source_code
from llmbench.config.source_code import digest_code, find_imports

CODE = '''\
"""What it is for."""
import helper

def twice(x: float) -> float:
    """Doubles."""
    assert x, "must be something"
    return 2 * x  # exactly
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package called llmbench, of a few files, with a stranger's file beside it."""
    folder = tmp_path / "llmbench"
    (folder / "inner").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "inner/__init__.py": "",
        "top.py": "from llmbench.inner import middle\n",
        "inner/middle.py": "def later():\n    import llmbench.bottom\n    return llmbench.bottom\n",
        "bottom.py": "x = {'b', 'a'}\ny = 1 in {1, 2}\n",
        "other.py": "import llmbench.top\n",
        "../mine.py": "import near\nfrom llmbench.bottom import x\n",
        "../near.py": "z = 1\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(source_code, "PACKAGE", folder)
    return folder


def names(files):
    return sorted(file.name for file in files)


def test_imports_are_followed_into_functions_and_packages(package):
    assert names(find_imports([package / "top.py"])) == ["bottom.py", "middle.py", "top.py"]


def test_what_is_left_out_is_not_followed(package):
    assert names(find_imports([package / "top.py"], ["llmbench.inner"])) == ["top.py"]
    assert names(find_imports([package / "top.py"], ["llmbench.bottom"])) == ["middle.py", "top.py"]


def test_a_file_outside_brings_its_neighbours_and_what_they_use(package):
    assert names(find_imports([package.parent / "mine.py"])) == ["bottom.py", "mine.py", "near.py"]


@pytest.mark.parametrize(
    "text",
    [
        CODE.replace("exactly", "more or less"),
        CODE.replace('"""Doubles."""', '"""Gives twice as much,\n    and no more."""'),
        CODE.replace('"""What it is for."""\n', ""),
        CODE.replace("2 * x", "(\n        2 *\n        x\n    )"),
        "# a comment\n\n\n" + CODE,
        CODE.replace('    """Doubles."""\n', ""),
    ],
)
def test_words_and_formatting_change_no_digest(tmp_path, text):
    file = tmp_path / "a.py"
    file.write_text(CODE)
    before = digest_code([file])
    file.write_text(text)
    assert digest_code([file]) == before


@pytest.mark.parametrize(
    "text",
    [
        CODE.replace("2 * x", "3 * x"),
        CODE.replace("2 * x", "2.0 * x"),
        CODE.replace("twice", "double"),
        CODE.replace("import helper", "import another"),
        CODE.replace("return 2 * x", "return 2 + x"),
        CODE.replace(
            "    return 2 * x", "    try:\n        return 2 * x\n    finally:\n        pass"
        ),
        CODE + "KINDS = frozenset({'a'})\n",
        "this is no Python",
    ],
)
def test_a_change_of_code_changes_the_digest(tmp_path, text):
    file = tmp_path / "a.py"
    file.write_text(CODE)
    before = digest_code([file])
    file.write_text(text)
    assert digest_code([file]) != before


def test_a_docstring_before_a_try_changes_no_digest(tmp_path):
    file = tmp_path / "a.py"
    body = "    try:\n        g()\n        h()\n    except ValueError:\n        pass\n"
    file.write_text(f"def f():\n{body}")
    before = digest_code([file])
    file.write_text(f"def f():\n    'Try.'\n{body}")
    assert digest_code([file]) == before
    file.write_text("def f():\n" + body.replace("    try:\n        g()\n", "    g()\n    try:\n"))
    assert digest_code([file]) != before


def test_a_digest_is_the_same_in_every_process(tmp_path):
    file = tmp_path / "a.py"
    file.write_text("def f(x):\n    return x in {'a', 'b', 'c', 'd', 'e', 'f'}\n")
    line = (
        "from pathlib import Path; from llmbench.config.source_code import digest_code;"
        f" print(digest_code([Path({str(file)!r})]))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", line],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert found == {f"{digest_code([file])}\n"}
