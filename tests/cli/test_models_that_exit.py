"""A model's code that ends the program, or that goes on when it is told to end, is one line."""

from __future__ import annotations

import gc
import os
import sys

import pytest
from support.run_helpers import llmbench

from llmbench.adapter import Chunk, Request
from llmbench.adapters.trivial import UniformBytes
from llmbench.conformance import kit
from llmbench.conformance.check import Subject
from llmbench.errors import Exit, ModelError, hold_exits
from llmbench.inference.text.answer import stream_answers
from llmbench.runner import session

MODELS = """\
import os
import sys

from llmbench import Chunk
from llmbench.adapters.trivial import UniformBytes


class Polite(UniformBytes):
    def score(self, passages, window=None):
        sys.exit(0)

    def generate(self, requests):
        sys.exit(0)


class Hard(UniformBytes):
    def score(self, passages, window=None):
        os._exit(0)

    def generate(self, requests):
        os._exit(0)


class Unborn(UniformBytes):
    def __init__(self):
        os._exit(0)


class Stubborn(UniformBytes):
    def generate(self, requests):
        while True:
            try:
                yield Chunk(5, "a", 1)
            finally:
                yield Chunk(5, "b", 1)
"""
COMMANDS = {
    "score": ("text.txt",),
    "generate": ("The tap",),
    "check": ("--only", "causality"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "line", "call"),
    [("Polite", 10, "sys.exit(0)"), ("Hard", 18, "os._exit(0)"), ("Unborn", 26, "os._exit(0)")],
)
def test_a_model_that_ends_the_program_is_one_line(tmp_path, command, name, line, call):
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "text.txt").write_text("The tap dripped.")
    done = llmbench(command, f"models.py:{name}", *COMMANDS[command], cwd=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert f"the model's code called {call}" in said
    assert f"models.py:{line + 3 * (command == 'generate' and name != 'Unborn')}" in said
    assert "Traceback" not in said


def test_a_file_that_ends_the_program_when_imported_is_wrong_usage(tmp_path):
    (tmp_path / "models.py").write_text("import os\nos._exit(0)\nclass M: pass\n")
    (tmp_path / "text.txt").write_text("The tap dripped.")
    done = llmbench("score", "models.py:M", "text.txt", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "os._exit(0)" in done.stderr


def test_a_generator_that_refuses_to_end_leaves_no_traceback(tmp_path):
    (tmp_path / "models.py").write_text(MODELS)
    done = llmbench("generate", "models.py:Stubborn", "The tap", cwd=tmp_path)
    assert done.returncode == 1
    assert "`generate` yielded row 5 of 1 requests" in done.stderr
    assert done.stderr.count("\n") == 1


class Late(UniformBytes):
    def generate(self, requests):
        try:
            for _ in range(9):
                yield Chunk(0, "a", 1)
        finally:
            yield Chunk(0, "b", 1)
            yield Chunk(0, "c", 1)


def test_an_answer_that_is_left_early_ends_its_generator(monkeypatch):
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    chunks = stream_answers(Late(), [Request("a", max_bytes=3)])
    assert next(chunks).text == "a"
    chunks.close()
    del chunks
    gc.collect()
    assert heard == []


def test_what_is_no_exception_is_the_model_s_error():
    class Panic(BaseException):
        pass

    with pytest.raises(ModelError, match="Panic: of Rust"), session.model_errors("m"):
        raise Panic("of Rust")
    with pytest.raises(KeyboardInterrupt), session.model_errors("m"):
        raise KeyboardInterrupt


def test_a_check_tells_an_exit_as_an_error():
    class Hard(UniformBytes):
        def score(self, passages, window=None):
            os._exit(0)

    (result,) = kit.run(Subject(Hard()), kit.find_checks(["causality"]))
    assert result.state == "error"
    assert "os._exit(0)" in result.came
    assert "test_models_that_exit.py" in result.came


def test_a_forked_process_may_end_itself():
    before = os._exit
    with hold_exits():
        child = os.fork()
        if not child:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        with pytest.raises(Exit, match="7"):
            os._exit(7)
    assert os._exit is before
