"""The task, with a target that answers by hand-made times."""

from __future__ import annotations

import pytest

from llmbench.adapter import Adapter, ModelInfo
from llmbench.data.text import Document, Text
from llmbench.errors import ModelError, Unsupported, UsageError
from llmbench.inference.serving.load import (
    ClientCost,
    Exchange,
    LoadRun,
    LoadTarget,
    ServerMemory,
)
from llmbench.results.record import Score, key_of
from llmbench.results.rows import LoadFacts
from llmbench.tasks.performance.serving.serving import Serving

MS = 1_000_000
TEXT = Text("test", (Document("0", "The kettle sang of the sea. " * 40),))


class Plain(Adapter):
    """A model of this process."""

    @property
    def info(self):
        return ModelInfo("plain", "", "bytes", None, None, None, "cpu", "f")


class Target(Plain, LoadTarget):
    """Answers after 20 ms, then every 5 ms. late: ms by which each of its sends is late."""

    is_remote = True

    def __init__(self, late=0.0, error="", joules=None):
        self.late, self.error, self.joules, self.loads = late, error, joules, []

    def run_load(self, load, say):
        self.loads.append(load)
        due = load.due or [0.05 * number for number in range(len(load.requests))]
        found = []
        for number, (request, at) in enumerate(zip(load.requests, due, strict=True)):
            say(number + 1)
            begin = round(at * 1000 * MS)
            sent = begin + round(self.late * MS)
            times = [sent + (20 + 5 * i) * MS for i in range(request.max_tokens)]
            pieces = tuple((time, " a") for time in times)
            ended = {"pieces": pieces, "ended": times[-1], "finish": "length", "usage": len(times)}
            found.append(Exchange(begin, sent, **({"error": self.error} if self.error else ended)))
        return LoadRun(found, ClientCost(0.1, 0.01, (0.001,)))

    def measure_server(self):
        return ServerMemory(ram=5 << 20, source="hand")

    def read_energy(self):
        return (None, "no") if self.joules is None else (self.joules * len(self.loads), "hand")


def settings(**given):
    row = {"task": "serving", "requests": 100, "max_tokens": 8, "prompt_bytes": 64, **given}
    return Serving.Settings.model_validate(row)


def run(target, **given):
    task = Serving(TEXT, settings(**given), seed=3)
    outcome = task.run(target, lambda *said: None)
    scores = [Score.model_validate({"model": "m", "task": "t", **row}) for row in outcome.scores]
    return {key_of(score): score for score in scores}, outcome


def test_each_level_has_its_scores_and_percentiles():
    found, outcome = run(Target(), streams=[8], poisson=[50], goodput={"ttft": 0.5})
    ttft = found["serving_ttft:poisson-50"]
    assert ttft.value == pytest.approx(0.020)
    assert ttft.percentiles == {"p50": pytest.approx(0.020), "p90": pytest.approx(0.020)}
    assert found["serving_tpot:closed-8"].value == pytest.approx(0.005)
    facts = found["serving_requests_per_second:poisson-50"].load
    assert isinstance(facts, LoadFacts)
    assert (facts.requests, facts.answered, facts.attained) == (100, 100, 1.0)
    assert facts.client["lag_p99"] == pytest.approx(0.001)
    assert "load=poisson-50" in ttft.signature
    assert found["serving_peak_ram"].value == 5 << 20
    assert len(outcome.events) == 200


def test_a_late_client_counts_into_the_latency_of_an_open_loop_alone():
    found, _ = run(Target(late=9), streams=[1], constant=[50])
    assert found["serving_ttft:constant-50"].value == pytest.approx(0.029)
    assert found["serving_ttft:closed-1"].value == pytest.approx(0.020)


def test_a_level_whose_sends_were_late_is_refused_and_the_others_stand():
    class Uneven(Target):
        def run_load(self, load, say):
            self.late = 30 if load.due and load.due[1] < 0.05 else 0
            return super().run_load(load, say)

    found, _ = run(Uneven(), constant=[10, 100])
    assert "serving_ttft:constant-100" not in found
    refused = found["serving_requests_per_second:constant-10"].absent["constant-100"]
    assert refused.startswith("the client could not keep up: 100 of 100 requests")


def test_a_client_that_was_always_late_measures_nothing():
    with pytest.raises(ModelError, match="the client could not keep up"):
        run(Target(late=30), constant=[100])


def test_a_server_that_only_fails_is_an_error_in_its_words():
    with pytest.raises(ModelError, match="no request was answered: status 503: busy"):
        run(Target(error="status 503: busy"), streams=[2])


def test_a_model_of_this_process_is_unsupported():
    with pytest.raises(Unsupported, match="not behind a server"):
        Serving(TEXT, settings(streams=[1]), 0).run(Plain(), lambda *said: None)


def test_no_two_prompts_of_a_run_begin_alike_and_warm_ups_stand_apart():
    target = Target()
    run(target, streams=[2], poisson=[50], warm_up=4)
    assert [len(load.requests) for load in target.loads] == [4, 100, 4, 100]
    assert [load.due is None for load in target.loads] == [True, True, True, False]
    heads = [request.prompt[:8] for load in target.loads for request in load.requests]
    assert len(set(heads)) == 208


def test_energy_is_that_of_the_load_over_its_tokens():
    found, _ = run(Target(joules=8.0), constant=[10], warm_up=0)
    each = found["serving_joules_per_token:constant-10"]
    assert each.value == pytest.approx(8.0 / 800)
    short, _ = run(Target(joules=8.0), constant=[50], warm_up=0)
    assert "serving_joules_per_token:constant-50" not in short


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "name levels"),
        ({"streams": [2, 2]}, "twice"),
        ({"streams": [1], "goodput": {"tftt": 1.0}}, "unknown limit 'tftt'"),
        ({"streams": [1], "requests": 19}, "greater than or equal to 20"),
        ({"poisson": [0]}, "greater than 0"),
    ],
)
def test_settings_that_measure_nothing_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        settings(**given)


def test_a_text_shorter_than_a_prompt_is_refused():
    with pytest.raises(UsageError, match="fewer than a prompt of 5000"):
        settings(streams=[1], prompt_bytes=5000).check(TEXT)
