"""The clock, moved by hand: what is derived from events, and what a task of speed makes of an
adapter whose every answer takes a known time.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.clock import MS, TEXT, Clock, Typist

from llmbench.adapter import Adapter, Chunk, Request
from llmbench.adapters.encoder_decoder import EncoderDecoderAdapter
from llmbench.adapters.token import TokenAdapter, Tokens
from llmbench.adapters.trivial import UniformBytes
from llmbench.data.text import Document, Text, passage
from llmbench.errors import ModelError, Unsupported, UsageError
from llmbench.tasks.performance.speed import MOST_REPEATS, Speed
from llmbench.tasks.performance.speed_blocks import is_warm
from llmbench.tasks.performance.timeline import (
    Event,
    Timeline,
    listen,
    percentiles,
    throughput,
)


def line(*events, asked=0):
    return Timeline(asked * MS, tuple(Event(at * MS, tokens, size) for at, tokens, size in events))


def test_times_of_an_answer_are_those_of_its_events():
    answer = line((130, 1, 4), (150, 2, 7), (180, 3, 12), asked=100)
    assert answer.time_to_first_token == pytest.approx(0.030)
    assert answer.time_per_output_token == pytest.approx(0.025)  # (180 - 130) / 2
    assert answer.decode_bytes_per_second == pytest.approx(8 / 0.050)
    assert answer.end_to_end_latency == pytest.approx(0.080)
    assert answer.gaps == pytest.approx([0.020, 0.030])


def test_an_answer_of_one_token_has_a_first_text_and_no_rate():
    answer = line((30, 1, 4))
    assert (answer.time_to_first_token, answer.end_to_end_latency) == pytest.approx((0.030, 0.030))
    assert answer.time_per_output_token is None
    assert answer.decode_bytes_per_second is None


def test_an_empty_answer_has_an_end_and_nothing_else():
    answer = line((30, 1, 0))
    assert answer.end_to_end_latency == pytest.approx(0.030)
    assert answer.time_to_first_token is None
    assert answer.time_per_output_token is None
    assert line().end_to_end_latency is None


def test_tokens_before_the_first_text_are_no_part_of_the_rate():
    answer = line((10, 1, 0), (20, 2, 3), (50, 5, 9))
    assert answer.time_to_first_token == pytest.approx(0.020)
    assert answer.time_per_output_token == pytest.approx(0.010)


def test_an_end_that_brings_nothing_counts_for_the_latency_alone():
    answer = line((10, 1, 1), (20, 2, 2), (500, 2, 2))
    assert answer.time_per_output_token == pytest.approx(0.010)
    assert answer.end_to_end_latency == pytest.approx(0.500)


def test_throughput_begins_when_the_last_answer_has_begun():
    found = throughput([line((10, 1, 1), (20, 2, 2), (30, 3, 3)), line((20, 1, 2), (30, 2, 4))])
    assert (found.tokens, found.bytes) == (2, 3)  # between 20 and 30 ms
    assert (found.seconds, found.begun) == pytest.approx((0.010, 0.020))


def test_throughput_of_answers_that_end_when_they_begin_is_not_known():
    assert throughput([line((10, 1, 1)), line((10, 1, 1))]) is None
    assert throughput([line((10, 1, 0))]) is None
    assert throughput([]) is None


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (1, "p50"),
        (28, "p50"),
        (29, "p50 p90"),
        (59, "p50 p90 p95"),
        (298, "p50 p90 p95"),
        (299, "p50 p90 p95 p99"),
    ],
)
def test_a_percentile_is_shown_where_there_are_enough_samples(count, names):
    assert list(percentiles([1.0] * count)) == names.split()


def test_percentiles_of_a_hundred_and_one_values():
    found = percentiles([float(i) for i in range(101)])
    assert found == {"p50": 50, "p90": 90, "p95": 95}
    assert percentiles([]) == {}


def test_listening_stamps_each_piece_of_each_row():
    clock = Clock()
    requests = [
        SimpleNamespace(prompt="ab", forced_text="xyz"),
        SimpleNamespace(prompt="ab", forced_text="xyz"),
    ]
    lines = listen(Typist(clock, call=5, step=10, rows=1), requests, clock)
    assert [
        [(event.at // MS, event.tokens, event.bytes) for event in one.events] for one in lines
    ] == [[(16, 1, 1), (27, 2, 2), (38, 3, 3)]] * 2


def task(clock, **settings):
    spec = Speed.Settings(
        **{
            "task": "speed",
            "prompt_bytes": 40,
            "answer_bytes": 20,
            "blocks": 8,
            "block_seconds": 1.0,
            **settings,
        }
    )
    return Speed(TEXT, spec, seed=3, clock=clock)


def rows(outcome, metric):
    return {row["batch"]: row for row in outcome.scores if row["metric"] == metric}


def test_a_model_of_known_times_is_measured_to_the_digit():
    clock = Clock()
    outcome = task(clock).run(Typist(clock, call=7, prompt=0.5, step=10), lambda *what: None)
    value = {row["metric"]: row["value"] for row in outcome.scores}
    assert value["time_to_first_token"] == pytest.approx(0.037)  # 7 + 40 x 0.5 + 10
    assert value["time_per_output_token"] == pytest.approx(0.010)
    assert value["end_to_end_latency"] == pytest.approx(0.227)
    assert value["decode_bytes_per_second"] == pytest.approx(100)
    assert value["decode_tokens_per_second"] == pytest.approx(100)
    assert value["prefill_bytes_per_second"] == pytest.approx(40 / 0.037)
    assert "prefill_tokens_per_second" not in value  # it shows no tokens of a prompt
    for row in outcome.scores:
        assert (row["low"], row["high"], row["n"]) == (
            pytest.approx(row["value"]),
            pytest.approx(row["value"]),
            8,
        )


def test_a_block_repeats_its_work_for_about_as_long_as_was_asked_and_no_more_than_so_often():
    clock = Clock()
    measured = task(clock)
    assert (
        measured.prepare(Typist(clock, step=10), lambda *what: None)["repeats"] == 5
    )  # of 200 ms in a second
    assert measured.prepare(Typist(clock, step=0.01), lambda *what: None)["repeats"] == MOST_REPEATS
    assert measured.prepare(Typist(clock, step=1000), lambda *what: None)["repeats"] == 1


def test_the_best_batch_is_found_and_measured_beside_one():
    clock = Clock()
    outcome = task(clock, batches=[2, 4, 8]).run(Typist(clock, step=10, rows=5), lambda *what: None)
    rates = {1: 100, 2: 2 / 0.015, 4: 4 / 0.025, 8: 8 / 0.045}
    assert dict(rows(outcome, "decode_bytes_per_second")[1]["facts"]["scan"]) == pytest.approx(
        rates
    )
    found = rows(outcome, "decode_bytes_per_second")
    assert found.keys() == {1, 8}
    assert found[8]["value"] == pytest.approx(rates[8])
    assert found[8]["signature"].endswith("batch=best of 1,2,4,8")


def test_a_batch_without_memory_ends_the_search_and_is_named():
    class Small(Typist):
        def generate(self, requests):
            if len(requests) > 2:
                raise MemoryError
            yield from super().generate(requests)

    clock = Clock()
    facts = task(clock, batches=[2, 4, 8]).prepare(Small(clock), lambda *what: None)
    assert facts["batch"] == 2
    assert facts["refused"] == {"4": "no memory"}


def test_a_curve_over_depths_shows_a_model_that_reads_everything_again():
    class Rereads(Typist):
        def generate(self, requests):
            self.step = 0.1 * len(requests[0].prompt.encode())
            yield from super().generate(requests)

    clock = Clock()
    outcome = task(clock, depths=[100, 400]).run(Rereads(clock), lambda *what: None)
    assert rows(outcome, "decode_bytes_per_second")[1]["depths"] == [
        (100, pytest.approx(0.010)),
        (400, pytest.approx(0.040)),
    ]


def test_events_are_kept_and_numbers_can_be_derived_from_them_again():
    clock = Clock()
    outcome = task(clock).run(Typist(clock, step=10), lambda *what: None)
    assert {event["block"] for event in outcome.events} == set(range(8))
    assert len(outcome.events) == 8 * 5
    for event in outcome.events:
        times = [at for at, _, _ in event["events"]]
        assert times == [10 * MS * (i + 1) for i in range(20)]
    assert outcome.samples[0]["statistics"]["decode_bytes_per_second"] == [pytest.approx(100), 1]


def test_the_cold_start_is_no_part_of_the_measurement():
    class Cold(Typist):
        def generate(self, requests):
            if self.calls == 0:
                self.clock.now += 5000 * MS
            yield from super().generate(requests)

    clock = Clock()
    outcome = task(clock).run(Cold(clock, step=10), lambda *what: None)
    top = rows(outcome, "end_to_end_latency")[1]
    assert top["value"] == pytest.approx(0.2)
    assert top["percentiles"]["p90"] == pytest.approx(0.2)
    assert rows(outcome, "decode_bytes_per_second")[1]["facts"]["cold"][
        "end_to_end_latency"
    ] == pytest.approx(5.2)


def test_warming_up_ends_when_medians_settle_or_time_is_up():
    assert not is_warm([], 99)
    assert not is_warm([5, 4, 3], 0.1)
    assert not is_warm([5, 4, 3, 2, 2, 2], 0.1)
    assert is_warm([5, 2, 2, 2, 2, 2, 2], 0.1)
    assert is_warm([5], 99)


def test_a_model_that_cannot_speak_is_unsupported_and_one_that_says_nothing_at_all_is_wrong():
    class Mute(Typist):
        generate = Adapter.generate

    class Silent(Typist):
        def generate(self, requests):
            return iter(())

    with pytest.raises(Unsupported):
        task(Clock()).run(Mute(Clock()), lambda *what: None)
    with pytest.raises(ModelError, match="no answer"):
        task(Clock()).run(Silent(Clock()), lambda *what: None)


def test_answers_of_one_piece_have_no_rate_and_the_reason_stands_beside_the_rest():
    class AtOnce(Typist):
        def generate(self, requests):
            self.clock.now += 50 * MS
            for row, request in enumerate(requests):
                yield Chunk(row, request.forced_text, len(request.forced_text), "length")

    clock = Clock()
    outcome = task(clock).run(AtOnce(clock), lambda *what: None)
    assert {row["metric"] for row in outcome.scores} == {
        "time_to_first_token",
        "end_to_end_latency",
        "prefill_bytes_per_second",
    }
    assert any(
        "no rate" in row.get("absent", {}).get("decode_bytes_per_second", "")
        for row in outcome.scores
    )


def test_every_model_is_given_the_same_bytes_and_another_seed_gives_others():
    assert task(Clock()).prompt == task(Clock()).prompt
    prompt, answer = passage(TEXT, 3, 40, 20)
    whole = "\n\n".join(document.text for document in TEXT.documents)
    assert (len(prompt), len(answer)) == (40, 20)
    assert (prompt + answer) in whole
    assert (
        len({passage(TEXT, seed, 40)[0] for seed in range(20)}) == 4
    )  # it begins where a document begins
    assert passage(Text("t", (Document("a", "äöü"),)), 0, 3, 9) == (
        "ä",
        "öü",
    )  # never inside a character


def test_an_adapter_that_does_not_heed_what_it_is_fed_is_wrong():
    class Deaf(Typist):
        def generate(self, requests):
            for row, _ in enumerate(requests):
                yield Chunk(row, "ha", 2, "stop")

    with pytest.raises(ModelError, match="fed an answer of 20 bytes and gave 2"):
        task(Clock()).run(Deaf(Clock()), lambda *what: None)


def test_a_text_shorter_than_what_is_asked_for_is_refused():
    with pytest.raises(UsageError, match="are asked for"):
        task(Clock(), prompt_bytes=5000)
    with pytest.raises(UsageError, match="are asked for"):
        task(Clock(), depths=[5000])


@pytest.mark.parametrize("name", ["char-ffn", "word-ffn", "rnn", "lstm", "transformer-decoder"])
def test_a_fed_answer_arrives_to_the_byte_unknown_words_included(name):
    from support import toys

    model = toys.network(name)
    prompt, answer = toys.TEXT[:60], " the kettle hümmed zebras, and «so on»."
    for rows in (1, 3):
        lines = listen(model, [Request(prompt, forced_text=answer)] * rows)
        assert [line.events[-1].bytes for line in lines] == [len(answer.encode())] * rows
        said = [""] * rows
        for chunk in model.generate([Request(prompt, forced_text=answer)] * rows):
            said[chunk.row] += chunk.text
        assert said == [answer] * rows


def test_of_a_source_longer_than_a_model_reads_the_beginning_was_read():
    class Reader(EncoderDecoderAdapter):
        source_context = 4
        info = encode = decode = pair_logits = None

        def encode_source(self, text):
            return list(range(len(text)))

    assert Reader().measure_prompt("abcdefgh") == (4, 4)
    assert Reader().measure_prompt("ab") == (2, 2)


def test_of_a_prompt_longer_than_the_context_only_the_end_was_read():
    class Short(TokenAdapter):
        context = 4
        decode = logits = None

        def encode(self, text):
            return Tokens.of(list(range(len(text))), [c.encode() for c in text])

    assert Short().measure_prompt("abcdef") == (4, 4)
    assert Short().measure_prompt("äb") == (3, 2)
    assert UniformBytes().measure_prompt("äb") == (3, None)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_fed_answer_over_logits_that_are_no_numbers_is_wrong(wrong):
    from support import toys

    class Wrong(toys.Uniform):
        def logits(self, ids):
            logits = super().logits(ids)
            logits[..., 7] = wrong
            return logits

        def prefill(self, ids):
            return ids, self.logits(ids)[:, -1]

    with pytest.raises(ModelError, match="NaN or"):
        list(Wrong().generate([Request("a", forced_text="bc")]))
    assert [chunk.text for chunk in toys.Uniform().generate([Request("a", forced_text="bc")])] == [
        "b",
        "c",
    ]
