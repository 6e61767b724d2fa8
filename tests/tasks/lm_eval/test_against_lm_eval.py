"""Every value of every item is that of lm-eval's own evaluator, for the same checkpoint."""

from __future__ import annotations

import math

import pytest
from support import small_checkpoints
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

pytest.importorskip("lm_eval")
pytest.importorskip("lm_eval.models.huggingface")
from support.lm_eval_tasks import TASKS, ask_llmbench, ask_lm_eval, write_tasks

OURS = {  # lm-eval's name of a metric, and ours in samples
    "acc": "accuracy",
    "acc_norm": "accuracy:char",
    "acc_bytes": "accuracy:byte",
    "exact_match": "exact_match",
}
FILTERS = {"none": "", "strict-match": "", "flexible-extract": ":flexible-extract"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    import datasets

    base = tmp_path_factory.mktemp("lm-eval")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(base / "cache"))
        yield write_tasks(base / "tasks")


def make_checkpoint(base, has_bos):
    """A checkpoint whose context is so short that five examples are cut."""
    small_checkpoints.gpt2(base, context=96)
    if has_bos:  # its tokenizer puts one before a text
        tokenizer = AutoTokenizer.from_pretrained(base)
        end = small_checkpoints.END
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{end} $A", special_tokens=[(end, tokenizer.bos_token_id)]
        )
        tokenizer.save_pretrained(base)
    return base


@pytest.mark.parametrize(("shots", "has_bos"), [(0, False), (5, False), (5, True)])
def test_every_item_has_the_values_of_lm_eval(tmp_path, place, shots, has_bos):
    folder = make_checkpoint(tmp_path / "model", has_bos)
    model = small_checkpoints.load(folder)
    assert model.adds_bos == has_bos
    names = [name for name in TASKS if name != "my_rolling" or not shots]
    theirs = ask_lm_eval(folder, place, names, shots)
    for name in names:
        ours = ask_llmbench(model, place, name, shots)
        by_id = {sample["id"]: sample for sample in ours.samples}
        for sample in theirs["samples"][name]:
            own = by_id[str(sample["doc_id"])]
            assert own["input"] == sample["arguments"][0][0]
            check_item(name, own, sample)
        check_totals(theirs["results"][name], ours.scores)
        if shots:
            assert ours.scores[0]["cut"] > 0


def check_item(name, own, sample):
    """Compare what both say of an item: likelihoods, metrics by filter, and the answer."""
    suffix = FILTERS[sample["filter"]]
    for metric in {*sample["metrics"]} & OURS.keys():
        assert own["statistics"][OURS[metric] + suffix][0] == sample[metric]
    replies = [of_request[0] for of_request in sample["resps"]]
    if name == "my_choice":
        nats = [-bits * math.log(2) for bits in own["bits"]]
        assert nats == pytest.approx([reply[0] for reply in replies], rel=1e-5)
    if name == "my_word":
        bits, one = own["statistics"]["word_perplexity"]
        assert one == 1.0
        assert -bits * math.log(2) == pytest.approx(replies[0][0], rel=1e-5)
    if name == "my_rolling":
        bits, size = own["statistics"]["bits_per_byte"]
        assert (-bits * math.log(2), size) == pytest.approx(sample["bits_per_byte"], rel=1e-5)
        assert own["statistics"]["word_perplexity"][1] == sample["word_perplexity"][1]
    if name == "my_number":
        assert own["output"] == replies[0]


def check_totals(theirs, scores):
    """Compare the task's scores."""
    found = {(row["metric"], row.get("variant", "")): row["value"] for row in scores}
    same = {**OURS, "perplexity": "word_perplexity"}
    for key, value in theirs.items():
        metric, comma, filter = key.partition(",")
        if comma and "_stderr" not in metric:
            name, _, variant = (same.get(metric, metric) + FILTERS[filter]).partition(":")
            own = found[name, f":{variant}" if variant else ""]
            assert own == pytest.approx(value, rel=1e-5)
    assert len(found) == sum("," in key and "_stderr" not in key for key in theirs)


def test_a_group_has_lm_evals_average_and_its_members_beneath(tmp_path, place):
    folder = small_checkpoints.gpt2(tmp_path / "model", context=96)
    theirs, model = (
        ask_lm_eval(folder, place, ["my_group"])["results"],
        small_checkpoints.load(folder),
    )
    members = {name: theirs[name] for name in ("my_few", "my_many")}
    mean = sum(row["acc,none"] for row in members.values()) / 2
    for group, name, value in (
        ("my_group", "accuracy", theirs["my_group"]["acc,none"]),
        ("my_mean", "acc_macro", mean),
    ):
        first, *rest = ask_llmbench(model, place, group).scores
        assert (first["metric"], first["n"]) == (name, 20)
        assert first["value"] == pytest.approx(value, rel=1e-12)
        assert first["low"] < first["value"] < first["high"]
        found = {row.get("variant"): row["value"] for row in rest}
        for member, row in members.items():
            assert found[f":{member}"] == row["acc,none"]
            assert found[f":char:{member}"] == row["acc_norm,none"]
