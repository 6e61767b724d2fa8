"""Gates over runs made by hand: what fails, what passes, and what is not looked at."""

from __future__ import annotations

import json
import math

import pytest
from support.gates import add_speeds, apply_gate, call_gate, list_states, make_hands, shift
from support.hand_runs import ACCURACY, BITS, REPETITION, Hand, bits, right

from llmbench.errors import UsageError
from llmbench.results import gate
from llmbench.results.samples import open_results


@pytest.mark.parametrize(
    ("by", "spread", "state", "why"),
    [
        (-0.3, 0.0, "passed", ""),
        (0.0, 0.0, "passed", ""),
        (0.009, 0.0, "passed", ""),  # proven, and allowed
        (0.011, 0.0, "failed", ""),  # proven, and not allowed
        (0.02, 0.3, "passed", "worse, but not significantly"),  # not allowed, and not proven
        (0.2, 0.1, "failed", ""),
    ],
)
def test_a_score_fails_when_its_loss_is_beyond_what_is_allowed_and_beyond_chance(
    tmp_path, by, spread, state, why
):
    run, record = make_hands(tmp_path)
    found = apply_gate(
        tmp_path, run.add("lstm", BITS, shift(by, spread)), record.add("lstm", BITS, shift(0))
    )
    (one,) = found.rows
    assert (one.state, found.ok) == (state, state == "passed")
    assert one.loss == pytest.approx(by)
    assert one.why.startswith(why)
    assert bool(one.why) == bool(why)


def test_of_accuracy_less_is_a_loss_and_mcnemar_tells_chance(tmp_path):
    record = "1" * 80 + "0" * 20
    for name, answers, state in (
        ("few", "0" * 3 + "1" * 77 + "0" * 20, "passed"),
        ("many", "0" * 12 + "1" * 68 + "0" * 20, "failed"),
    ):
        run, old = Hand(tmp_path / name), Hand(tmp_path / "record")
        found = apply_gate(
            tmp_path,
            run.add("lstm", ACCURACY, right(answers)),
            old.add("lstm", ACCURACY, right(record)),
        )
        assert found.rows[0].state == state
    more = apply_gate(
        tmp_path, Hand(tmp_path / "more").add("lstm", ACCURACY, right("1" * 100)), old
    )
    assert (more.rows[0].state, more.rows[0].loss) == ("passed", pytest.approx(-0.2))


def test_a_missing_model_a_missing_task_and_another_protocol_fail(tmp_path):
    failure = {
        "model": "lstm",
        "task": "choice",
        "reason": "unavailable",
        "message": "no such text",
        "hint": "",
    }
    run, record = make_hands(tmp_path, run={"failures": [failure]})
    run.add("lstm", BITS, shift(0), signature="text=0123;protocol=likelihood/2;limit=none")
    record.add("lstm", BITS, shift(0)).add("lstm", ACCURACY, right("1100")).add(
        "rnn", BITS, shift(0)
    )
    found = apply_gate(tmp_path, run, record)
    assert list_states(found) == [
        ("lstm", "bits_per_byte", "failed"),
        ("lstm", "accuracy", "failed"),
        ("rnn", "bits_per_byte", "failed"),
    ]
    assert [one.why for one in found.rows] == [
        "signatures differ in protocol (likelihood/2 against likelihood/1)",
        "lstm has no such score: unavailable: no such text",
        "rnn has no such score: it was not measured",
    ]


def test_a_model_that_only_the_run_has_is_no_loss(tmp_path):
    run, record = make_hands(tmp_path)
    run.add("lstm", BITS, shift(0)).add("new", BITS, shift(3))
    found = apply_gate(tmp_path, run, record.add("lstm", BITS, shift(0)))
    assert list_states(found) == [("lstm", "bits_per_byte", "passed")]
    assert dict(found.facts)["not in the record"] == "new"


def test_bits_that_became_infinite_fail_and_ones_that_were_pass(tmp_path):
    run, record = make_hands(tmp_path)
    endless = [[math.inf, 100], *shift(0)[1:]]
    run.add("lstm", BITS, endless, value="inf").add("rnn", BITS, shift(0))
    record.add("lstm", BITS, shift(0)).add("rnn", BITS, endless, value="inf")
    found = apply_gate(tmp_path, run, record)
    assert list_states(found) == [
        ("lstm", "bits_per_byte", "failed"),
        ("rnn", "bits_per_byte", "passed"),
    ]
    assert found.rows[0].why == "infinite: no test can be run"
    assert [one.loss for one in found.rows] == [math.inf, None]


def test_an_answer_too_short_to_repeat_itself_fails_no_gate(tmp_path):
    run, record = make_hands(tmp_path)
    shares = [[0.1 + 0.01 * i, 1.0] for i in range(10)]
    found = apply_gate(
        tmp_path,
        run.add("lstm", REPETITION, [[], *shares[1:]]),
        record.add("lstm", REPETITION, shares),
    )
    assert list_states(found) == [("lstm", "repetition_4", "passed")]


def test_a_loss_by_what_is_left_out_is_none_on_the_items_of_both(tmp_path):
    run, record = make_hands(tmp_path)
    run.add("lstm", REPETITION, [*[[0.2, 1.0]] * 10, [1.0, 1.0]])
    record.add("lstm", REPETITION, [*[[0.21, 1.0]] * 10, []])
    (one,) = apply_gate(tmp_path, run, record).rows
    assert (one.state, one.why) == (
        "passed",
        "worse, but not on the items that count on both sides",
    )
    assert one.loss == pytest.approx(3 / 11 - 0.21)


def test_infinitely_much_of_what_is_better_passes_and_is_json(tmp_path):
    run, record = make_hands(tmp_path)
    run.add("lstm", ACCURACY, right("11"), value="inf").write()
    record.add("lstm", ACCURACY, right("11")).write()
    done = call_gate(tmp_path / "run", "--against", tmp_path / "record", "--format", "json")
    assert done.exception is None
    (one,) = json.loads(done.output)["rows"]
    assert (one["state"], one["loss"], one["row"]["a"]) == ("passed", None, "inf")


def test_what_was_infinitely_good_and_no_longer_is_fails_and_is_json(tmp_path):
    run, record = make_hands(tmp_path)
    run.add("lstm", ACCURACY, right("11")).write()
    record.add("lstm", ACCURACY, right("11"), value="inf").write()
    done = call_gate(tmp_path / "run", "--against", tmp_path / "record", "--format", "json")
    (one,) = json.loads(done.output)["rows"]
    assert (done.return_value, one["state"], one["loss"]) == (1, "failed", "inf")


def test_a_loss_whose_noise_cannot_be_known_fails(tmp_path):
    run, record = make_hands(tmp_path)
    run.add("lstm", BITS, shift(0.5))
    record.add("lstm", BITS, shift(0)).write()
    run.write()
    (tmp_path / "run" / "samples" / "lstm" / "likelihood.jsonl").unlink()
    found = gate.gate(open_results(tmp_path / "run"), open_results(tmp_path / "record"), {})
    assert found.rows[0].state == "failed"
    assert found.rows[0].why == "the samples of lstm are missing, so no test is possible"


def test_two_documents_can_prove_no_loss(tmp_path):
    run, record = make_hands(tmp_path)
    found = apply_gate(
        tmp_path, run.add("lstm", BITS, bits(5.0, 5.0)), record.add("lstm", BITS, bits(2.0, 2.0))
    )
    assert found.ok
    assert found.rows[0].why == "worse, but not significantly: p is 0.5"


def test_p_is_corrected_over_all_rows_that_are_looked_at(tmp_path):
    few = "0" * 7 + "1" * 93  # p = 2^-6: below 0.05 alone, not among four
    run, record = make_hands(tmp_path)
    run.add("lstm", ACCURACY, right(few))
    record.add("lstm", ACCURACY, right("1" * 100))
    assert not apply_gate(tmp_path, run, record).ok
    for name in ("a", "b", "c"):
        run.add(name, ACCURACY, right("10" * 50))
        record.add(name, ACCURACY, right("10" * 50))
    assert apply_gate(tmp_path, run, record).ok


def test_speed_is_looked_at_only_where_it_is_allowed_by_name(tmp_path):
    run, record = make_hands(tmp_path)
    add_speeds(run, 0.5, "s2")
    add_speeds(record)
    assert list_states(apply_gate(tmp_path, run, record)) == [("lstm", "bits_per_byte", "passed")]
    found = apply_gate(tmp_path, run, record, decode_bytes_per_second="10%")
    assert list_states(found) == [
        ("lstm", "decode_bytes_per_second", "failed"),
        ("lstm", "bits_per_byte", "passed"),
    ]
    assert found.rows[0].row.test == "Welch"
    assert apply_gate(tmp_path, run, record, decode_bytes_per_second="60%").ok


def test_speed_of_another_machine_is_not_looked_at(tmp_path):
    machine = {"cpu": "Another Processor", "cores": 4, "gpus": [], "threads": 4}
    run, record = make_hands(tmp_path, run={"machine": machine})
    add_speeds(run, 0.5, "s2")
    add_speeds(record)
    found = apply_gate(tmp_path, run, record, decode_bytes_per_second="10%")
    assert list_states(found) == [
        ("lstm", "bits_per_byte", "passed"),
        ("lstm", "decode_bytes_per_second", "skipped"),
    ]
    assert found.rows[1].why == "the record is of another machine"
    assert found.ok


def test_memory_is_measured_once_so_what_is_allowed_alone_decides(tmp_path):
    hands = make_hands(tmp_path)
    for hand, peak in zip(hands, (115, 100), strict=True):
        hand.add("lstm", BITS, shift(0))
        hand.scores.append(
            {
                **hand.scores[-1],
                "task": "memory",
                "metric": "peak_ram",
                "unit": "bytes",
                "value": peak << 20,
            }
        )
    assert apply_gate(tmp_path, *hands, peak_ram="20%").ok
    found = apply_gate(tmp_path, *hands, peak_ram="10%")
    assert (found.rows[0].row.metric, found.rows[0].state, found.rows[0].why) == (
        "peak_ram",
        "failed",
        "measured once, so without a test",
    )


def test_the_command_exits_with_1_and_prints_what_failed_first(tmp_path):
    run, record = make_hands(tmp_path)
    run.add("good", BITS, shift(0)).add("bad|<b>", BITS, shift(1)).write()
    record.add("good", BITS, shift(0)).add("bad|<b>", BITS, shift(0)).write()
    arguments = (tmp_path / "run", "--against", tmp_path / "record")
    done = call_gate(*arguments, "--format", "md")
    assert done.return_value == 1
    assert done.output.startswith("## Gate FAILED: 1 failed, 1 passed, 0 skipped\n")
    row = (
        "| bad\\|\\<b\\> | likelihood | bits\\_per\\_byte | 3.0200 | 2.0200 | +1.0000 \\[+1.0000,"
        " +1.0000\\] | 0.0002 | 0.01 |  |"
    )
    assert (
        done.output.index("### Failed") < done.output.index(row) < done.output.index("### Passed")
    )
    data = json.loads(call_gate(*arguments, "--format", "json").output)
    assert data["passed"] is False
    assert [(one["row"]["model_b"], one["state"]) for one in data["rows"]] == [
        ("bad|<b>", "failed"),
        ("good", "passed"),
    ]
    assert "Gate FAILED" in call_gate(*arguments).output
    assert call_gate(*arguments, "--allow", "bits_per_byte=2").return_value == 0


def test_a_record_of_another_suite_is_refused(tmp_path):
    run, record = make_hands(
        tmp_path, run={"suite": {"name": "other", "version": 1, "sha256": "0" * 64}}
    )
    with pytest.raises(
        UsageError, match="the run is of the suite 'other', the record of 'by-hand'"
    ):
        apply_gate(tmp_path, run.add("lstm", BITS, shift(0)), record.add("lstm", BITS, shift(0)))
