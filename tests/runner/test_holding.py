"""A judge of a run works in one process at a time, and leaves nothing behind when all is judged."""

import threading

import pytest

from llmbench.runner.judging.holding import FOLDER, hold_judge


def test_a_second_process_with_the_same_judge_waits(tmp_path):
    order, begun = [], threading.Event()

    def judge():
        begun.set()
        with hold_judge(tmp_path, "lstm"):
            order.append("second")

    with hold_judge(tmp_path, "lstm"), hold_judge(tmp_path, "byte-ngram"):  # another one does not
        other = threading.Thread(target=judge)
        other.start()
        assert begun.wait(10)
        other.join(0.05)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]
    assert not (tmp_path / FOLDER).exists()


def test_what_a_server_answered_stays_if_the_judge_fails(tmp_path):
    def fail():
        with hold_judge(tmp_path, "lstm") as kept:
            kept.write_text("{}\n")
            raise KeyError(kept.name)

    with pytest.raises(KeyError) as failed:
        fail()
    assert [file.name for file in (tmp_path / FOLDER).iterdir()] == [failed.value.args[0]]
    with hold_judge(tmp_path, "lstm") as again:
        assert again.read_text() == "{}\n"
    assert not (tmp_path / FOLDER).exists()
