"""What a gate tolerates: the words of a suite, of the command line, and refusals of them."""

from __future__ import annotations

import pytest
from support.gates import add_speeds, apply_gate, call_gate, list_states, make_hands, shift
from support.hand_runs import BITS
from support.run_helpers import SUITE, folder

from llmbench.errors import UsageError
from llmbench.plan import suite
from llmbench.results import gate
from llmbench.results.gate import Allowance


def test_what_is_allowed_can_be_a_number_or_a_share_of_the_records_value(tmp_path):
    run, record = make_hands(tmp_path)
    run.add("lstm", BITS, shift(0.1))
    record.add("lstm", BITS, shift(0))
    assert not apply_gate(tmp_path, run, record).ok
    assert apply_gate(tmp_path, run, record, bits_per_byte="0.11").ok
    assert apply_gate(tmp_path, run, record, bits_per_byte="5%").ok  # of 2.02 that is 0.101
    assert not apply_gate(tmp_path, run, record, bits_per_byte="4.9%").ok
    assert apply_gate(tmp_path, run, record, bits_per_byte="0.11").rows[0].allowed == "0.11"


def test_the_records_suite_says_what_is_allowed_and_the_command_line_has_the_last_word(tmp_path):
    of_suite = {
        "name": "by-hand",
        "version": 2,
        "sha256": "0" * 64,
        "gate": {"bits_per_byte": 0.2, "decode_bytes_per_second": "10%"},
    }
    run, record = make_hands(tmp_path, record={"suite": of_suite})
    add_speeds(run, 0.5, "s2")
    add_speeds(record)
    run.add("rnn", BITS, shift(0.1))
    record.add("rnn", BITS, shift(0))
    assert ("rnn", "bits_per_byte", "passed") in list_states(apply_gate(tmp_path, run, record))
    assert ("lstm", "decode_bytes_per_second", "failed") in list_states(
        apply_gate(tmp_path, run, record)
    )
    assert ("rnn", "bits_per_byte", "failed") in list_states(
        apply_gate(tmp_path, run, record, bits_per_byte="0.05")
    )


def test_the_runs_own_suite_cannot_loosen_the_gate(tmp_path):
    of_suite = {
        "name": "by-hand",
        "version": 3,
        "sha256": "1" * 64,
        "gate": {"bits_per_byte": 100.0},
    }
    run, record = make_hands(tmp_path, run={"suite": of_suite})
    assert not apply_gate(
        tmp_path, run.add("lstm", BITS, shift(1)), record.add("lstm", BITS, shift(0))
    ).ok


@pytest.mark.parametrize(
    ("text", "found", "shown"),
    [
        ("0.01", Allowance(0.01), "0.01"),
        ("10%", Allowance(0.1, True), "10 %"),
        (" 2.5 % ", Allowance(0.025, True), "2.5 %"),
        (0, Allowance(0.0), "0"),
    ],
)
def test_losses_are_read(text, found, shown):
    assert gate.parse_allowance(text) == found
    assert str(found) == shown


@pytest.mark.parametrize("text", ["", "%", "ten", "-1", "nan", "inf", "1e400", "10%%"])
def test_what_is_no_loss_is_refused_with_its_place(text):
    with pytest.raises(UsageError, match=r"here: .* is not a tolerance"):
        gate.parse_allowance(text, "here")


@pytest.mark.parametrize(
    ("allow", "said"),
    [
        ("bits_per_byte", "is not NAME=LOSS"),
        ("bits_per_byte=much", "--allow bits_per_byte: 'much' is not a tolerance"),
        ("bits_per_bite=1", "the record has no such score .did you mean 'bits_per_byte'"),
        ("distinct_2=1", "neither less nor more of it is better"),
    ],
)
def test_a_wrong_allowance_is_one_clear_line(tmp_path, allow, said):
    run, record = make_hands(tmp_path)
    for hand in (run, record):
        hand.add("lstm", BITS, shift(0))
        hand.scores.append({**hand.scores[-1], "metric": "distinct_2", "better": None})
        hand.write()
    done = call_gate(tmp_path / "run", "--against", tmp_path / "record", "--allow", allow)
    assert isinstance(done.exception, UsageError)
    assert said.replace(" .did", " (did") in str(done.exception)


def test_a_suite_may_say_what_its_gate_allows(tmp_path):
    place = folder(tmp_path) / "tiny.yaml"
    place.write_text(
        SUITE + 'gate: {bits_per_byte: 0.02, "accuracy:byte": 0.05, decode_bytes_per_second: 10%}\n'
    )
    assert suite.read(str(place)).file.gate == {
        "bits_per_byte": 0.02,
        "accuracy:byte": 0.05,
        "decode_bytes_per_second": "10%",
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "gate: {bits_per_bite: 0.02}",
            (
                r"tiny.yaml:\d+:\d+: no metric is called 'bits_per_bite' \(did you mean"
                r" 'bits_per_byte'"
            ),
        ),
        (
            "gate: {bits_per_byte: lots}",
            r"tiny.yaml:\d+:\d+: 'lots' is not a tolerance",
        ),
        ("gate: {bits_per_byte: -1}", r"tiny.yaml:\d+:\d+: '-1.0' is not a tolerance"),
        ("gate: [1]", r"tiny.yaml:\d+:\d+"),
    ],
)
def test_a_wrong_gate_in_a_suite_is_reported_at_its_line(tmp_path, line, said):
    place = folder(tmp_path) / "tiny.yaml"
    place.write_text(f"{SUITE}{line}\n")
    with pytest.raises(UsageError, match=said):
        suite.read(str(place))
