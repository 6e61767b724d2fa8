"""Checkpoints trained here: ordinary directories, resumable, seeded, whole weights or LoRA."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import small_checkpoints
from support.run_helpers import folder, llmbench, run_json
from support.toys import TEXT
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmbench.adapter import BuildContext, Passage, Request
from llmbench.config.model_card import CheckpointSpec, Lora, NewCheckpoint, Recipe, Stage
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.models.pretrained.files import weights_sha256
from llmbench.plan.resolved_model import make_adapter, resolve_model
from llmbench.storage import is_intact
from llmbench.training import finetuning, trainer
from llmbench.training.cache import find_training_texts, folder_of_training
from llmbench.training.muon import Muon, orthogonal
from llmbench.training.resume import Snapshots, TrainingLog, Work

TRAIN = Text("train", tuple(Document(str(i), TEXT[i * 40 :]) for i in range(4)))
DOMAIN = Text("domain", (Document("d", "Dear tap, I hum at night. Yours, the kettle.\n" * 12),))
RECIPE = Recipe(steps=12, batch=4, length=16, learning_rate=0.01, evaluations=3)
SHAPE = {"n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2}
NEW = Stage("small", CheckpointSpec(new=NewCheckpoint(vocabulary=300, config=SHAPE)), RECIPE)
peft = pytest.mark.skipif(
    importlib.util.find_spec("peft") is None, reason="the extra peft is not installed"
)


def build_context(tmp_path, **changes):
    return BuildContext(**{"train": TRAIN, "cache": tmp_path / "cache", **changes})


def obtain(tmp_path, *stages, **changes):
    return finetuning.obtain(stages, build_context(tmp_path, **changes))


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return small_checkpoints.gpt2(tmp_path_factory.mktemp("checkpoint") / "before", context=32)


def finetune(before, name="further", **spec):
    return Stage(name, CheckpointSpec(id=str(before), **spec), RECIPE)


def test_what_is_trained_here_is_an_ordinary_checkpoint_directory(tmp_path):
    checkpoint, facts = obtain(tmp_path, NEW)
    assert [step for step, _ in facts["curve"]] == [4, 8, 12]
    assert facts["curve"][-1][1] < facts["curve"][0][1] < 8.5
    assert {"config.json", "model.safetensors", "tokenizer.json", "llmbench.json"} <= {
        file.name for file in checkpoint.folder.iterdir()
    }
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(checkpoint.folder),
        AutoTokenizer.from_pretrained(checkpoint.folder),
    )
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"]) == TEXT
    assert type(model).__name__ == "GPT2LMHeadModel"
    adapter = make_adapter(resolve_model(f"hf:{checkpoint.folder}"), BuildContext())
    assert sum(ledger.total() for ledger in adapter.score([Passage(TEXT)])) / len(TEXT) < 7
    assert list(adapter.generate([Request("The", max_tokens=3)]))


def test_it_comes_from_the_cache_the_second_time_and_a_damaged_one_is_made_again(
    tmp_path, monkeypatch
):
    first, facts = obtain(tmp_path, NEW)
    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "_train", lambda *a: pytest.fail("trained again"))
        assert obtain(tmp_path, NEW) == (first, facts)
    weights = first.folder / "model.safetensors"
    good = {
        name: tensor.clone() for name, tensor in load_file(weights).items()
    }  # of the file, not mapped from it
    weights.write_bytes(weights.read_bytes()[:-7])
    assert obtain(tmp_path, NEW)[1]["curve"] == facts["curve"]
    assert all(torch.equal(tensor, good[name]) for name, tensor in load_file(weights).items())


def test_another_seed_text_or_recipe_is_another_checkpoint(tmp_path):
    usual = folder_of_training([NEW], build_context(tmp_path))
    assert folder_of_training([NEW], build_context(tmp_path, seed=1)) != usual
    assert folder_of_training([NEW], build_context(tmp_path, train=DOMAIN)) != usual
    assert folder_of_training([NEW], build_context(tmp_path, device="cuda")) != usual
    assert (
        folder_of_training(
            [Stage("small", NEW.checkpoint, RECIPE.model_copy(update={"steps": 13}))],
            build_context(tmp_path),
        )
        != usual
    )


def test_fine_tuning_goes_on_from_what_it_was_given(tmp_path, before):
    checkpoint, facts = obtain(tmp_path, finetune(before))
    assert facts["curve"][0][0] == 0  # the validation text before the first step
    assert min(bits for _, bits in facts["curve"][1:]) < facts["curve"][0][1]
    old, new = (
        load_file(before / "model.safetensors"),
        load_file(checkpoint.folder / "model.safetensors"),
    )
    assert {name: tensor.shape for name, tensor in old.items()} == {
        name: tensor.shape for name, tensor in new.items()
    }
    assert not torch.equal(old["transformer.wte.weight"], new["transformer.wte.weight"])


def test_a_lineage_is_trained_from_its_first_stage_on(tmp_path):
    further = Stage("further", CheckpointSpec(id="small", learns="domain"), RECIPE)
    checkpoint, facts = obtain(tmp_path, NEW, further, domain=DOMAIN)
    assert folder_of_training([NEW], build_context(tmp_path)).is_dir()
    assert checkpoint.folder == folder_of_training(
        [NEW, further], build_context(tmp_path, domain=DOMAIN)
    )
    assert facts["curve"][0][0] == 0
    assert facts["curve"][-1][1] < facts["curve"][0][1]


def test_which_text_a_stage_learns(tmp_path):
    stages = {
        kind: Stage("x", CheckpointSpec(id="y", learns=kind), RECIPE)
        for kind in ("general", "domain", None)
    }
    stuff = build_context(tmp_path, domain=DOMAIN)
    assert find_training_texts(stages[None], stuff)[0] is TRAIN
    assert find_training_texts(stages["domain"], stuff)[0] is DOMAIN
    assert find_training_texts(stages["domain"], build_context(tmp_path))[0] is TRAIN
    assert find_training_texts(stages["general"], stuff)[0].bytes == 201_630


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("muon", [None, 0.02])
def test_an_interrupted_training_goes_on_and_ends_as_it_would_have(tmp_path, monkeypatch, muon):
    recipe = RECIPE.model_copy(update={"matrix_learning_rate": muon})
    stage = Stage(
        "small",
        NEW.checkpoint.model_copy(
            update={"new": NewCheckpoint(vocabulary=300, config={**SHAPE, "resid_pdrop": 0.3})}
        ),
        recipe,
    )
    whole, facts = finetuning.obtain([stage], BuildContext(train=TRAIN, cache=tmp_path / "whole"))
    real, steps = trainer._learn, []

    def step(*arguments):
        if len(steps) == 9:
            raise Interrupted
        steps.append(1)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_learn", step)
        with pytest.raises(Interrupted):
            obtain(tmp_path, stage)
    assert list((tmp_path / "cache" / "checkpoints").glob("*.partial"))
    steps = [1] * 20  # count the rest from here
    monkeypatch.setattr(trainer, "_learn", lambda *arguments: steps.append(1) or real(*arguments))
    again, resumed = obtain(tmp_path, stage)
    assert len(steps) == 20 + 12 - 8  # the last snapshot was taken after the eighth step
    assert resumed["curve"] == facts["curve"]
    one, other = (load_file(found.folder / "model.safetensors") for found in (whole, again))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert not list((tmp_path / "cache" / "checkpoints").glob("*.partial"))


def test_a_torn_snapshot_is_as_if_there_were_none(tmp_path):
    place = folder_of_training([NEW], build_context(tmp_path)).with_suffix(".partial")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"torn")
    assert (
        obtain(tmp_path, NEW)[1]["curve"]
        == finetuning.obtain([NEW], BuildContext(train=TRAIN, cache=tmp_path / "other"))[1]["curve"]
    )


def test_a_full_disk_costs_a_snapshot_and_not_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "llmbench.training.resume.write_bytes",
        lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    assert obtain(tmp_path, NEW)[1]["steps"] == 12
    assert Snapshots(tmp_path / "none").load(None, None) == 0


@pytest.mark.parametrize(
    ("stage", "want"),
    [
        (
            Stage(
                "x",
                CheckpointSpec(new=NewCheckpoint(vocabulary=300, config={**SHAPE, "n_head": 5})),
                RECIPE,
            ),
            "cannot make the network",
        ),
        (
            Stage("x", CheckpointSpec(id="./nowhere"), RECIPE),
            "there is no such checkpoint directory",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(tmp_path, stage, want):
    with pytest.raises(UsageError, match=want):
        obtain(tmp_path, stage)


def test_without_a_text_there_is_nothing_to_learn(tmp_path, before):
    with pytest.raises(UsageError, match="needs a text"):
        finetuning.obtain([finetune(before)], BuildContext(cache=tmp_path))


def test_a_masked_checkpoint_is_not_fine_tuned_here(tmp_path):
    from llmbench.errors import Unsupported

    with pytest.raises(Unsupported, match="a masked checkpoint is not fine-tuned here"):
        obtain(tmp_path, finetune(small_checkpoints.bert(tmp_path / "bert")))


@peft
def test_lora_trains_few_numbers_and_is_kept_merged_and_apart(tmp_path, before):
    from peft import PeftModel

    checkpoint, facts = obtain(tmp_path, finetune(before, lora=Lora(rank=2, alpha=8)))
    assert facts["curve"][-1][1] < facts["curve"][0][1]
    merged = AutoModelForCausalLM.from_pretrained(checkpoint.folder).eval()
    apart = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(before), checkpoint.folder / "lora"
    ).eval()
    ids = torch.arange(3, 20)[None]
    with torch.inference_mode():
        assert torch.allclose(merged(ids).logits, apart(ids).logits, atol=1e-4)
    assert (
        sum(
            t.numel()
            for t in load_file(checkpoint.folder / "lora" / "adapter_model.safetensors").values()
        )
        < merged.num_parameters() / 5
    )


@peft
def test_a_folder_that_only_holds_lora_is_loaded_onto_its_base(tmp_path, before):
    checkpoint, _ = obtain(tmp_path, finetune(before, lora=Lora(rank=2)))
    whole, apart = (
        make_adapter(resolve_model(f"hf:{place}"), BuildContext())
        for place in (checkpoint.folder, checkpoint.folder / "lora")
    )
    text = [Passage(TEXT[:200])]
    assert next(apart.score(text)).total() == pytest.approx(
        next(whole.score(text)).total(), rel=1e-4
    )
    assert next(apart.score(text)).total() != pytest.approx(
        next(make_adapter(resolve_model(f"hf:{before}"), BuildContext()).score(text)).total()
    )


@peft
@pytest.mark.slow
def test_a_llama_learns_by_lora_in_a_process_of_its_own(tmp_path):
    """transformers was imported there without torch's distributed tensors, which peft needs."""
    small_checkpoints.llama(tmp_path / "llama")
    place = folder(tmp_path)
    (place / "mine.yaml").write_text(
        "name: mine\nadapter: huggingface\ncheckpoint: {id: ./llama, lora: {rank: 2}}\n"
        "recipe: {steps: 2, batch: 2, length: 16, learning_rate: 0.01, evaluations: 1}\n"
    )
    done = llmbench("train", "mine.yaml", "--data", "train=train.txt", cwd=place)
    assert done.returncode == 0, done.stderr
    trained = Path(done.stdout.strip())
    assert (trained / "lora" / "adapter_model.safetensors").is_file()
    scored = llmbench("score", f"hf:{trained / 'lora'}", "valid.txt", cwd=place)
    assert scored.returncode == 0, scored.stderr


def test_lora_without_peft_says_what_to_install(tmp_path, before, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(
        UsageError, match=r"LoRA needs the package peft \(pip install 'llmbench\[peft\]'\)"
    ):
        obtain(tmp_path, finetune(before, lora=Lora()))


@pytest.mark.slow
def test_train_and_run_use_the_same_checkpoint(tmp_path, before):
    place = folder(tmp_path)
    (place / "mine.yaml").write_text(
        f"name: mine\nadapter: huggingface\ncheckpoint: {{id: {before}, learns: domain}}\n"
        "recipe: {steps: 6, batch: 4, length: 16, learning_rate: 0.01, evaluations: 2}\n"
    )
    trained = llmbench(
        "train", "mine.yaml", "--data", "train=train.txt", "--data", "valid=valid.txt", cwd=place
    )
    assert trained.returncode == 0, trained.stderr
    kept = trained.stdout.strip()
    assert "step 0:" in trained.stderr
    done = llmbench(
        "run",
        "tiny.yaml",
        "--model",
        "mine.yaml",
        "--model",
        f"hf:{kept}",
        "--out",
        "out",
        "--only",
        "mine",
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    row = next(row for row in run_json(place / "out")["models"] if row["name"] == "mine")
    assert row["origin"]["weights_sha256"] == weights_sha256(Path(kept))
    assert row["training"]["steps"] == 6
    assert row["overlap"] is None  # what its first weights were learnt from is not known


# Muon
# --------------------------------------------------------------------------------------------------


def test_orthogonal_brings_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((2, 12, 30), (3, 30, 12), (1, 16, 16)):
        matrices = torch.randn(*shape) * torch.tensor([1e-3, 1.0, 50.0])[: shape[0], None, None]
        values = torch.linalg.svdvals(orthogonal(matrices))
        assert values.min() > 0.3
        assert values.max() < 1.3


def test_muon_is_torchs_own_but_for_its_16_bits():
    def trained(cls):
        torch.manual_seed(0)
        parameters = [
            torch.nn.Parameter(torch.randn(shape) * 0.02) for shape in ((24, 8), (8, 24), (24, 8))
        ]
        optimizer = cls(parameters, lr=0.02, weight_decay=0.1)
        for _ in range(5):
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
        return parameters

    for one, other in zip(trained(Muon), trained(torch.optim.Muon), strict=True):
        assert (one - other).norm() < 0.02 * other.norm()


def test_a_snapshot_with_a_flipped_bit_is_as_if_there_were_none(tmp_path):
    rng = np.random.default_rng(0)
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    snapshots = Snapshots(tmp_path / "a.partial")
    log = TrainingLog(1.0, 3, [(1, 8.0), (2, 4.5)])
    snapshots.save(Work(network, [optimizer]), log, 3)
    raw = (tmp_path / "a.partial").read_bytes()
    assert snapshots.load(Work(network, [optimizer]), TrainingLog()) == 3
    for _ in range(100):
        damaged = bytearray(raw)
        damaged[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
        (tmp_path / "a.partial").write_bytes(damaged)
        assert snapshots.load(Work(network, [optimizer]), TrainingLog()) == 0


@pytest.mark.parametrize("name", ["llmbench.json", "config.json", "tokenizer.json", "sealed.json"])
def test_a_changed_file_of_a_trained_checkpoint_trains_it_again(tmp_path, name):
    checkpoint, facts = obtain(tmp_path, NEW)
    file = checkpoint.folder / name
    text = file.read_text(encoding="utf-8")
    digit = next(i for i, c in enumerate(text) if c.isdigit())
    file.write_text(f"{text[:digit]}{(int(text[digit]) + 1) % 10}{text[digit + 1 :]}")
    again, learnt = obtain(tmp_path, NEW)
    assert again.folder == checkpoint.folder
    assert learnt["curve"] == facts["curve"]
    assert is_intact(again.folder)
