"""`llmbench compare`: what it prints, escapes, and refuses in one line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.comparisons import BETTER, RATES, print_comparison
from support.hand_runs import ACCURACY, BITS, Hand, bits, right

from llmbench.errors import UsageError


def test_bytes_of_memory_are_drawn_in_mebibytes_and_bytes_of_text_as_they_are(tmp_path):
    hand = Hand(tmp_path)
    for name, peak, length in (("a", 300, 240.0), ("b", 200, 100.0)):
        hand.add(
            name,
            ("continuation", "answer_bytes", "bytes", None),
            [[length + i % 2, 1.0] for i in range(10)],
        )
        hand.scores.append(
            {
                **hand.scores[-1],
                "task": "memory",
                "metric": "peak_ram",
                "better": "lower",
                "value": peak << 20,
            }
        )
    hand.write()
    text = print_comparison(
        tmp_path, "a", "b", "--metric", "answer_bytes", "--metric", "peak_ram", "--format", "md"
    )
    assert "| 240.5 bytes | 100.5 bytes | +140.00 \\[+140.00, +140.00\\] |" in text
    assert "| 300 MiB | 200 MiB | +50.0 % |" in text


HOSTILE = "[red]x[/red] \x1b[2J | <b>& `code`\n# title \u202e"


def test_everything_drawn_is_escaped(tmp_path):
    hand = Hand(tmp_path).add("a", ACCURACY, right("10"), ids=[HOSTILE, "q"], said=[HOSTILE, "x"])
    hand.add("b", ACCURACY, right("01"), ids=[HOSTILE, "q"], said=["y", HOSTILE]).write()
    for form in ("table", "md"):
        text = print_comparison(tmp_path, "a", "b", "--format", form)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "[red]" in text.replace("\\", "")
    assert "\\<b\\>" in text
    assert "\n# title" not in text
    assert (
        json.loads(print_comparison(tmp_path, "a", "b", "--format", "json"))["flips"][0]["said_a"]
        == HOSTILE
    )


@pytest.mark.parametrize("form", ["table", "md", "json"])
def test_half_a_character_in_an_id_is_printed(tmp_path, form):
    ids = ["half \ud800", "whole"]
    Hand(tmp_path).add("a", BITS, bits(1.0, 2.0), ids=ids).add(
        "b", BITS, bits(1.5, 2.0), ids=ids
    ).write()
    for name in "ab":  # a run writes them in full; other programs write JSON's escape
        place = tmp_path / "samples" / name / "likelihood.jsonl"
        assert "\\ud800" in place.read_text()
    text = print_comparison(tmp_path, "a", "b", "--format", form)
    assert "half" in text
    if form == "json":
        assert json.loads(text)["moved"][0]["id"] == ids[0]


def test_markdown_has_a_table_for_scores_and_for_what_moved(tmp_path):
    Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES)).write()
    text = print_comparison(tmp_path, "a", "b", "--format", "md", "--top", "1")
    assert text.startswith("## A: a, B: b\n")
    assert (
        "| likelihood | bits\\_per\\_byte | 1.9850 | 2.1300 | -0.1450 \\[-0.1667, -0.1233\\] |"
        " 0.0020 | better |  |" in text
    )
    assert "### likelihood, bits\\_per\\_byte: largest differences" in text
    assert "| d9 | 2.3100 | 2.5000 | -0.1900 |" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "a", "c"], "this run has no model 'c'"),
        (["RUN", "a", "b", "c"], "compare takes RUN MODEL_A MODEL_B, or RUN_1 RUN_2"),
        (["RUN", "nowhere"], "nowhere: no such run"),
        (["nowhere", "a", "b"], "cannot read the record"),
        (
            ["RUN", "a", "b", "--metric", "bits_per_bite"],
            "no score is called 'bits_per_bite' here .did you mean 'bits_per_byte'",
        ),
        (["RUN", "a", "b", "--only", "a"], "--only is for comparing two runs"),
        (["RUN", "RUN", "--only", "c"], "do not both have a model 'c'"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(tmp_path, arguments, said):
    Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES)).write()
    with pytest.raises(UsageError, match=said) as caught:
        print_comparison(*(str(tmp_path) if word == "RUN" else word for word in arguments))
    assert "\n" not in str(caught.value)


def test_a_line_that_quotes_a_record_does_not_speak_to_the_terminal(tmp_path):
    Hand(tmp_path).add("\x1b[2J\u202ename", BITS, bits(*RATES)).write()
    with pytest.raises(UsageError) as caught:
        print_comparison(tmp_path, "a", "b")
    assert str(caught.value).endswith("this run has no model 'a' (known: [2J name)")


def test_runs_without_a_model_in_common_are_refused(tmp_path):
    one = Hand(tmp_path / "1").add("a", BITS, bits(*RATES)).write()
    other = Hand(tmp_path / "2").add("b", BITS, bits(*RATES)).write()
    with pytest.raises(UsageError, match="no model in common"):
        print_comparison(one, other)


def test_comparing_loads_no_torch(tmp_path):
    Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES)).write()
    lines = [
        "import sys, llmbench.cli.main",
        "try: llmbench.cli.main.main()",
        "except SystemExit: print('torch' in sys.modules)",
    ]
    command = [sys.executable, "-c", "\n".join(lines), "compare", str(tmp_path), "a", "b"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.endswith("False\n")
