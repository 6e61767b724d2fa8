"""Log-probabilities of a server are used if they are those of its model, else refused by name."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import real
from support import small_checkpoints
from support.fake_servers import FakeServer, Traps

from llmbench.adapter import Passage, Request, Window
from llmbench.adapters.servers.echo import Echo, Unusable
from llmbench.adapters.servers.logarithms import judge_base
from llmbench.conformance import kit
from llmbench.conformance.check import Subject
from llmbench.errors import Unsupported

LONG = " ".join(small_checkpoints.TEXTS) * 2
PASSAGES = [
    *(Passage(text, id=str(i)) for i, text in enumerate((*small_checkpoints.TEXTS, LONG))),
    Passage(" hummed aloud.", context="The new tap came and"),
    Passage("said nothing", context="The kettle ", add_bos=False),
    Passage("It had.", score_eos=True),
]


@pytest.mark.parametrize("rule", ["half", "rolling", 7])
def test_bits_through_a_server_are_those_of_the_model(tiny, connect, rule):
    folder, model = tiny
    with FakeServer(model, context=66) as server:
        adapter = connect(server, tokenizer=str(folder))
        got = list(adapter.score(PASSAGES, Window(rule)))
        want = list(model.score(PASSAGES, Window(rule)))
    assert adapter.context == model.context == 64
    for one, other in zip(got, want, strict=True):
        assert one.id == other.id
        assert np.array_equal(one.end, other.end)
        assert np.allclose(one.bits, other.bits, rtol=0, atol=1e-9)
        assert one.total() == pytest.approx(other.total(), abs=1e-6)


def test_the_first_token_is_charged_after_bos_alone(tiny, connect):
    folder, model = tiny
    with FakeServer(model, context=66) as server:
        (ledger,) = connect(server, tokenizer=str(folder)).score([Passage("k")])
        asked = [body["prompt"] for body in server.asked if body.get("echo")]
    row = model.next_distribution("")[1]
    (id,) = model.encode("k").ids.tolist()
    assert ledger.total() == pytest.approx(-math.log2(row[id]), abs=1e-6)
    assert asked[-1] == [*model.bos_ids, id]


def test_a_prompt_to_score_is_never_a_string(tiny, connect):
    folder, model = tiny
    with FakeServer(model, context=66) as server:
        list(connect(server, tokenizer=str(folder)).score(PASSAGES))
        asked = [body["prompt"] for body in server.asked if "logprobs" in body]
    assert asked
    assert all(isinstance(prompt, list) for prompt in asked)


TRAPS = [
    (Traps(late_row=True), "may be read one row too late"),
    (Traps(ignores_echo=True), "it ignores 'echo': only what it writes has one"),
    (Traps(ignores_logprobs=True), "it ignores 'logprobs'"),
    (Traps(stale=True), "or from a cache"),
    (Traps(noise=0.4), "nats"),
    (Traps(refuses_ids=400), "it refuses token ids: prompt must be a string"),
    (Traps(refuses_ids=500), "it refuses token ids: the server answered 500"),
    (Traps(refuses_echo=True), "it refuses 'echo'"),
    (Traps(truncates=12), "it cuts prompts"),
    (Traps(token_ids=False), "it could not be verified: the ids of only 0 tokens"),
    (Traps(only_chat=True), "the chat API gives no log-probabilities"),
    (Traps(odd_id=10**30), "it wrote the id 1000000000000000000000000000000, and there are 320"),
    (Traps(odd_id=-1), "it wrote the id -1"),
    (Traps(odd_id="7"), "it wrote the id '7'"),
]


@pytest.mark.parametrize(("traps", "cause"), TRAPS, ids=[cause for _, cause in TRAPS])
def test_a_server_that_cannot_be_believed_is_refused_by_name(tiny, connect, traps, cause):
    folder, model = tiny
    with FakeServer(model, traps=traps, context=66) as server:
        adapter = connect(server, tokenizer=str(folder))
        with pytest.raises(Unsupported) as error:
            list(adapter.score([Passage("The tap")]))
        said = list(adapter.generate([Request("The tap", max_tokens=5)]))
    assert cause in error.value.what
    assert cause in str(adapter.info.origin["likelihood"])
    assert not adapter.can_score
    assert said[-1].finish is not None


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """The folder of a GPT-2 with a context of 700, and the model in float64."""
    folder = small_checkpoints.gpt2(tmp_path_factory.mktemp("served") / "long", context=700)
    return folder, small_checkpoints.load(folder, dtype="float64")


@pytest.mark.parametrize(
    ("traps", "cause"),
    [
        (Traps(zeros_from=200), "nats"),
        (Traps(least=-5.6), "share the lowest log-probability"),
    ],
)
def test_a_server_that_lies_about_long_or_unlikely_texts_is_found_out(long, connect, traps, cause):
    folder, model = long
    with FakeServer(model, traps=traps, context=702) as server:
        adapter = connect(server, tokenizer=str(folder))
        with pytest.raises(Unsupported, match=cause):
            list(adapter.score([Passage("The tap")]))


def test_an_honest_server_passes_the_long_probe(long, connect):
    folder, model = long
    with FakeServer(model, context=702) as server:
        (got,) = connect(server, tokenizer=str(folder)).score([Passage("The tap")])
        asked = max(len(body["prompt"]) for body in server.asked if body.get("echo"))
    (want,) = model.score([Passage("The tap")])
    assert got.total() == pytest.approx(want.total(), abs=1e-6)
    assert asked > 600


def test_without_a_tokenizer_nothing_is_scored(tiny, connect):
    with FakeServer(tiny[1]) as server, pytest.raises(Unsupported, match="own tokenizer"):
        list(connect(server).score([Passage("The tap")]))


def test_another_models_tokenizer_is_found_out(tiny, connect, tmp_path):
    other = small_checkpoints.llama(tmp_path / "llama")
    with FakeServer(tiny[1], context=66) as server:
        adapter = connect(server, tokenizer=str(other))
        with pytest.raises(Unsupported, match="its tokenizer is not the one that was given"):
            list(adapter.score([Passage("The tap")]))


@pytest.mark.parametrize(
    "traps", [Traps(first=0.0), Traps(first=None), Traps(usage_off=3), Traps(noise=0.01)]
)
def test_what_does_not_matter_is_let_pass_and_told(tiny, connect, traps):
    folder, model = tiny
    with FakeServer(model, traps=traps, context=66) as server:
        adapter = connect(server, tokenizer=str(folder))
        (got,), (want,) = (list(m.score([Passage(LONG)])) for m in (adapter, model))
    assert got.total() == pytest.approx(want.total(), rel=5e-4 if traps.noise else 1e-9)
    origin = adapter.info.origin
    assert origin["tokens_compared"] == 36
    assert (origin["mean_difference_nats"] > 1e-3) == bool(traps.noise)
    assert (origin["usage"] == "plausible") == (not traps.usage_off)


def test_a_tolerance_of_ones_own_is_kept_to(tiny, connect):
    folder, model = tiny
    with FakeServer(model, traps=Traps(noise=0.01), context=66) as server:
        adapter = connect(server, tokenizer=str(folder), tolerance=1e-3)
    assert adapter.connection.proof.cause


def test_a_flat_model_whose_rows_are_alike_is_not_believed(tiny, connect):
    folder, model = tiny
    flat = FakeServer(model, context=66)
    flat.rows = lambda ids: np.full((len(ids), 320), -math.log(320))
    with flat as server:
        adapter = connect(server, tokenizer=str(folder))
    assert "could not be verified" in adapter.connection.proof.cause


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ([None, -1.0, None], "token 2 of 3 has none"),
        ([None, 0.5, -1.0], "a probability above 1"),
        ([None, -1.0, math.nan], "token 2 of 3 has none"),
        ([None, -1.0, "-1"], "token 2 of 3 has none"),
        ([None, -1.0], "2 for a prompt of 3 tokens"),
        ([None, -1.0, -1.0, -1.0, -1.0], "5 for a prompt of 3 tokens"),
    ],
)
def test_an_answer_without_a_number_for_each_token_is_refused(tiny, connect, values, cause):
    with FakeServer(tiny[1]) as server:
        connection = connect(server).connection
    echo = Echo(connection.client, connection.dialect)
    with pytest.raises(Unusable) as error:
        echo.parse({"choices": [{"logprobs": {"token_logprobs": values}}]}, [0, 1, 2])
    assert cause in error.value.what


def test_prompt_logprobs_are_read_by_their_own_ids(tiny, connect):
    with FakeServer(tiny[1]) as server:
        connection = connect(server).connection
    echo = Echo(connection.client, connection.dialect, "prompt_logprobs")
    rows = [None, {"7": {"logprob": -1.5}, "9": {"logprob": -0.1}}, {"8": {"logprob": -9999.0}}]
    found = echo.parse({"choices": [{"prompt_logprobs": rows}]}, [0, 7, 8])
    assert found[1:].tolist() == [-1.5, -math.inf]
    with pytest.raises(Unusable, match="token 2 of 3 has none"):
        echo.parse({"choices": [{"prompt_logprobs": rows}]}, [0, 7, 5])


def test_checks_pass_through_a_server_or_say_what_is_hidden(tiny, connect):
    folder, model = tiny
    with FakeServer(model, context=66) as server:
        subject = Subject(connect(server, tokenizer=str(folder)), thorough=False)
        names = ["byte-coverage", "single-bos", "chain-rule", "normalised"]
        found = {one.name: one for one in kit.run(subject, kit.find_checks(names))}
    assert found["byte-coverage"].state == found["chain-rule"].state == "passed"
    assert found["single-bos"].reason == "its tokens cannot be seen"
    assert found["normalised"].reason == "it shows no next-token distribution"


@pytest.mark.slow
def test_a_server_earns_what_was_seen_and_no_more(tiny, connect):
    folder, model = tiny
    with FakeServer(model, context=66) as server:
        adapter = connect(server, tokenizer=str(folder))
        checks = kit.find_checks(kit.SAMPLED)
        results = list(kit.run(Subject(adapter, thorough=False), checks))
    levels = kit.certificate(results, adapter.info.fingerprint)["levels"]
    assert levels["A1"]["state"] == "earned", levels["A1"]
    assert levels["A2"]["state"] == "not tested"
    assert "no next-token distribution" in levels["A2"]["why"]


@pytest.fixture(scope="module")
def stories():
    """The folder of a LLaMA that was trained on stories, and the model."""
    folder = real("stories260K-hf")
    return folder, small_checkpoints.load(folder)


@pytest.mark.parametrize(
    ("base", "tops", "cause"),
    [
        (math.e, 20, ""),
        (math.e, 5, ""),
        (2, 20, "its logarithms may be to base 2"),
        (10, 5, "its logarithms are to another base than e, such as 10"),
    ],
)
def test_logarithms_to_another_base_are_found_out(stories, connect, base, tops, cause):
    folder, model = stories
    with FakeServer(model, traps=Traps(base=base, tops=tops), context=130) as server:
        adapter = connect(server, tokenizer=str(folder))
        proof = adapter.connection.proof
        asked = {body["logprobs"] for body in server.asked if "return_token_ids" in body}
    assert asked == ({20} if tops == 20 else {20, 5})
    assert proof.cause.endswith(cause)
    assert bool(proof.cause) == bool(cause)
    if not cause:
        said = adapter.info.origin["base_of_logarithms"]
        assert said.startswith(f"e: the likeliest {tops} tokens' probabilities sum to ")


def test_sums_of_probabilities_tell_the_base_of_logarithms():
    row = [0.4, 0.3, 0.1, 0.1, 0.05]
    natural, binary, decimal = ([math.log(p, base) for p in row] for base in (math.e, 2, 10))
    low, high = (sum(p ** (1 / math.log(base)) for p in row) for base in (2, 10))
    assert judge_base([natural[:4]])[1].startswith("taken for e: the server does not give")
    assert judge_base([natural]) == (
        "",
        "e: the likeliest 5 tokens' probabilities sum to 0.950 at most, and to"
        f" {sum(p ** math.log(2) for p in row):.3f} if they were to base 2",
    )
    assert f"sum to {low:.3g} at most" in judge_base([binary])[0]
    assert f"sum to {high:.3g}: its logarithms are to another" in judge_base([decimal])[0]


def test_text_that_a_server_writes_tells_ids_if_its_tokenizer_is_plain(connect):
    folder = real("stories260K-hf")
    model = small_checkpoints.load(folder)
    with FakeServer(model, traps=Traps(token_ids=False), context=514) as server:
        adapter = connect(server, tokenizer=str(folder))
        (got,) = adapter.score([Passage("Once upon a time, there was a kettle.")])
    (want,) = model.score([Passage("Once upon a time, there was a kettle.")])
    assert got.total() == pytest.approx(want.total(), abs=1e-5)
