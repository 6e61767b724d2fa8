"""Checkpoints in 8 and 4 bits: rounded as said, told apart, counted in the bytes that they take."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
import sys
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner
from support import small_checkpoints
from support.checkpoints import draw
from support.run_helpers import folder as run_folder
from support.run_helpers import llmbench, run_json
from support.toys import TEXT
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from llmbench.adapter import BuildContext, Passage, Request
from llmbench.cli.main import cli
from llmbench.config.model_card import CheckpointSpec, Recipe, Stage
from llmbench.conformance import kit
from llmbench.conformance.check import Subject
from llmbench.data.text import Document, Text
from llmbench.errors import ModelError, UsageError
from llmbench.models.pretrained import quantization
from llmbench.models.pretrained.files import locate
from llmbench.models.pretrained.loading import load
from llmbench.models.pretrained.placement import Placement
from llmbench.plan import registry
from llmbench.plan.resolved_model import make_adapter, resolve_model
from llmbench.training.cache import folder_of_training

SCHEMES = ("int8", "int8-dynamic", "int4")
torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None,
    reason="the extra quantize is not installed",
)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A LLaMA whose layers are 64 and 96 wide."""
    folder = small_checkpoints.llama(tmp_path_factory.mktemp("quantised") / "llama")
    before = AutoModelForCausalLM.from_pretrained(folder).config
    config = LlamaConfig(
        vocab_size=before.vocab_size,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=before.bos_token_id,
        eos_token_id=before.eos_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    draw(model, 0.15, 0)
    model.save_pretrained(folder)
    return folder


def make(folder, scheme="", **changes):
    spec = f"hf:{folder}?quantize={scheme}" if scheme else f"hf:{folder}"
    return make_adapter(resolve_model(spec), BuildContext(**changes))


def bits(adapter):
    return next(adapter.score([Passage(TEXT[:300])])).total()


@torchao
def test_int8_is_each_row_rounded_to_steps_of_its_largest_weight(llama):
    whole, rounded = (make(llama, scheme).model for scheme in ("", "int8"))
    for name, weight in whole.named_parameters():
        found = rounded.get_parameter(name)
        if "proj" not in name:
            assert torch.equal(found, weight)
            continue
        dense = found.dequantize()
        step = weight.abs().amax(1, keepdim=True) / 127
        assert float(((dense - weight).abs() / step).max()) < 0.52
        counts = dense / step
        assert float((counts - counts.round()).abs().max()) < 0.6
        assert len(torch.unique(dense[0])) < 256


@torchao
@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_bits_are_those_of_the_rounded_weights_in_float32(llama, tmp_path, scheme):
    """A second way to the same number: the weights written out, and loaded as floats."""
    adapter = make(llama, scheme)
    dense = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    head = adapter.model.lm_head.weight.dequantize()
    dense.config.tie_word_embeddings = False
    dense.lm_head.weight = torch.nn.Parameter(head)
    for name, weight in adapter.model.named_parameters():
        if "proj" in name:
            dense.get_parameter(name).data.copy_(weight.dequantize())
    shutil.copytree(llama, tmp_path / "dense")
    dense.save_pretrained(tmp_path / "dense")
    assert bits(adapter) == pytest.approx(bits(make(tmp_path / "dense")), rel=1e-5)
    assert bits(adapter) != pytest.approx(bits(make(llama)), rel=1e-5)


@torchao
def test_fewer_bits_cost_more(llama):
    """By the root mean square of what rounding changes: a 4-bit step is 16 times as long."""
    whole = make(llama).model
    found = {}
    for scheme in ("int8", "int4"):
        rounded = make(llama, scheme).model
        name = "model.layers.0.mlp.up_proj.weight"
        error = rounded.get_parameter(name).dequantize() - whole.get_parameter(name)
        found[scheme] = float(error.pow(2).mean().sqrt())
    assert 8 < found["int4"] / found["int8"] < 20


@torchao
def test_bytes_are_those_of_numbers_scales_and_what_stays(llama):
    plain, rounded = make(llama).info, make(llama, "int8").info
    model = make(llama).model
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    numbers = sum(m.weight.numel() for m in linear)
    scales = sum(m.out_features for m in linear)
    head = model.lm_head.weight.numel()  # is no longer the embedding
    rest = plain.parameters - numbers + head
    assert plain.weights_bytes == 4 * plain.parameters
    assert numbers + 4 * rest < rounded.weights_bytes <= numbers + 8 * scales + 4 * rest


@torchao
def test_each_scheme_is_another_model_that_says_so(llama):
    infos = {scheme: make(llama, scheme).info for scheme in ("", *SCHEMES)}
    assert len({info.fingerprint for info in infos.values()}) == 4
    assert {info.dtype for info in infos.values()} == {"float32"}
    assert infos[""].quantization is None
    assert infos["int8"].quantization == "int8 (torchao, weight-only)"
    assert infos["int4"].quantization == "int4 (torchao, weight-only, groups of 32)"
    assert [s for s in SCHEMES if "activations" in infos[s].quantization] == ["int8-dynamic"]


@torchao
@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_quantised_model_passes_the_checks(llama, scheme):
    results = list(kit.run(Subject(make(llama, scheme), thorough=False)))
    assert [(r.name, r.came) for r in results if r.bad] == []


@torchao
def test_it_writes_with_its_cache(llama):
    adapter = make(llama, "int8")
    assert adapter.caches
    chunks = list(adapter.generate([Request("The tap", max_tokens=8)]))
    assert max(chunk.tokens for chunk in chunks) == 8


@torchao
@pytest.mark.slow
def test_a_run_has_it_beside_its_parent_with_the_difference_proven(tmp_path, llama):
    place = run_folder(tmp_path)
    shutil.copytree(llama, place / "llama")
    models = ["--model", "hf:llama", "--model", "hf:llama?quantize=int4"]
    done = llmbench("run", "tiny.yaml", *models, "--only", "zlib", "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in run_json(place / "out")["models"]}
    assert rows["llama"]["quantization"] is None
    assert rows["llama-int4"]["quantization"].startswith("int4 (torchao")
    board = (place / "out" / "leaderboard.md").read_text()
    assert "Quantised weights: llama-int4 (int4 (torchao" in board
    compared = llmbench("compare", "out", "llama-int4", "llama", "--format", "json", cwd=place)
    assert "bits_per_byte" in compared.stdout


@torchao
@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_all_layers_of_a_gpt2_are_rounded_though_it_keeps_them_transposed(scheme):
    torch.manual_seed(0)
    sizes = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 32, "vocab_size": 97}
    model = GPT2LMHeadModel(GPT2Config(**sizes, initializer_range=0.3)).eval()
    plain = copy.deepcopy(model)
    quantization.quantise(model, scheme, "cpu", "m")
    dense = copy.deepcopy(plain)
    rounded = 0
    for name, weight in model.named_parameters():
        if "transformer.h." in name and weight.dim() == 2:
            rounded += 1
            dense.get_parameter(name).data.copy_(weight.dequantize().t())
    dense.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.dequantize())
    ids = torch.arange(30)[None]
    found, same, before = (one(ids).logits for one in (model, dense, plain))
    assert rounded == 2 * 4
    torch.testing.assert_close(found, same, rtol=1e-4, atol=1e-4)
    assert float((found - before).abs().max()) > 100 * float((found - same).abs().max())


@torchao
def test_experts_outside_linear_layers_are_refused_and_not_called_rounded():
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 97, "num_local_experts": 4}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 64}
    model = MixtralForCausalLM(MixtralConfig(**sizes, **heads))
    with pytest.raises(UsageError, match=r"\d\d % of its weights would not be rounded.*experts"):
        quantization.quantise(model, "int8", "cpu", "m")


@torchao
@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_in_float64_are_refused(llama, scheme):
    with pytest.raises(UsageError, match=r"float64 cannot be rounded .*dtype=float32"):
        load(locate(str(llama)), "float64", "cpu", quantize=scheme)


def test_a_scheme_may_stand_after_a_hub_id_a_directory_a_card_or_a_baseline(llama, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        f"name: mine\nadapter: huggingface\ncheckpoint: {{id: {llama}}}\n"
    )
    for spec, name in (
        (f"hf:{llama}?quantize=int8", "llama-int8"),
        ("hf:a/b?quantize=int4", "b-int4"),
        (f"{tmp_path}/mine.yaml?quantize=int8-dynamic", "mine-int8-dynamic"),
        ("smollm2-135m?quantize=int8", "smollm2-135m-int8"),
    ):
        card = registry.resolve(spec)
        assert (card.name, card.checkpoint.quantize) == (name, spec.rpartition("=")[2])


def test_a_run_quantises_the_models_that_are_added_to_it(llama, tmp_path, monkeypatch):
    monkeypatch.chdir(run_folder(tmp_path))
    arguments = ["run", "tiny.yaml", "--model", f"hf:{llama}", "--quantize", "int8", "--dry-run"]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.return_value == 0, done.exception
    assert {line.split()[0] for line in done.output.splitlines()} >= {"llama-int8", "zlib"}


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ("zlib?quantize=int8", "zlib: only checkpoints take quantize"),
        ("gpt2?quantize=int7", r"unknown quantize 'int7' \(did you mean 'int8'\?\)"),
        ("hf:a/b?quantize=", r"quantize: give one value"),
        ("hf:a/b?quantize=int8&quantize=int4", r"quantize: give one value"),
        ("hf:a/b?quantize=8", r"unknown quantize '8' \(known: int4, int8, int8-dynamic\)"),
    ],
)
def test_what_cannot_be_quantised_is_said(spec, want):
    with pytest.raises(UsageError, match=want):
        registry.resolve(spec)


def test_training_does_not_depend_on_how_its_result_is_rounded(llama, tmp_path):
    text = Text("train", (Document("d", TEXT),))
    stuff = BuildContext(train=text, cache=tmp_path)
    folders = {
        folder_of_training(
            [Stage("x", CheckpointSpec(id=str(llama), **more), Recipe(steps=1))], stuff
        )
        for more in ({}, {"quantize": "int8"})
    }
    assert len(folders) == 1


def test_without_torchao_it_says_what_to_install(llama, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(
        ModelError, match=r"the package torchao: .*\(pip install 'llmbench\[quantize\]'\)"
    ):
        make(llama, "int8")


def saved_in_few_bits(llama, place, **facts):
    """The same checkpoint, whose config says that its weights are rounded."""
    shutil.copytree(llama, place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "quantization_config": facts}))
    return place


@pytest.mark.parametrize(
    ("facts", "package"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "optimum"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "gptqmodel"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "compressed-tensors", "format": "dense"}, "compressed-tensors"),
    ],
)
def test_a_checkpoint_saved_in_few_bits_names_the_package_that_reads_it(
    llama, tmp_path, facts, package
):
    place = saved_in_few_bits(llama, tmp_path / "few", **facts)
    with pytest.raises(ModelError, match=f"the package {package} .pip install {package}"):
        load(locate(str(place)), "float32", "cpu")


def test_a_checkpoint_saved_in_few_bits_is_not_rounded_again(llama, tmp_path):
    place = saved_in_few_bits(llama, tmp_path / "few", quant_method="gptq", bits=4)
    with pytest.raises(UsageError, match=r"quantised already: 4-bit \(gptq\)"):
        make(place, "int8")


@torchao
def test_int4_refuses_layers_that_do_not_divide_into_groups():
    layers = torch.nn.Sequential(torch.nn.Linear(48, 8))
    with pytest.raises(UsageError, match="whose width is a multiple of 32: 0 is not"):
        quantization.quantise(layers, "int4", "cpu", "m")


@torchao
def test_a_model_without_linear_layers_is_refused():
    with pytest.raises(UsageError, match="no linear layers"):
        quantization.quantise(torch.nn.Embedding(4, 4), "int8", "cpu", "m")


class TestOnCuda:
    """bitsandbytes rounds while transformers loads, which is asked of it and not done here."""

    @pytest.mark.parametrize(
        ("scheme", "facts", "name"),
        [
            ("int8", {"load_in_8bit": True}, "int8 (bitsandbytes, weights and activations)"),
            ("int4", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4 (bitsandbytes)"),
        ],
    )
    def test_transformers_is_asked_for_bitsandbytes(self, monkeypatch, scheme, facts, name):
        monkeypatch.setitem(sys.modules, "bitsandbytes", ModuleType("bitsandbytes"))
        placement = Placement("bfloat16", "cuda:1", scheme)
        asked = placement.make_arguments(LlamaConfig(), "m")
        assert asked["device_map"] == {"": "cuda:1"}
        config = asked["quantization_config"].to_dict()
        assert {key: config[key] for key in facts} == facts
        if scheme == "int4":
            assert config["bnb_4bit_compute_dtype"] == "bfloat16"
        assert placement.name_rounding(LlamaConfig(), "m") == name
        assert placement.needs_whole_import(is_quantised=False)

    def test_the_model_is_neither_moved_nor_rounded_again(self, monkeypatch):
        class Model:
            def eval(self):
                self.evaluating = True

        model = Model()
        placement = Placement("float32", "cuda", "int8")
        assert placement.finish(model, {"device_map": {"": "cuda"}}, "m") is model
        assert model.evaluating

    def test_activations_alone_are_torchaos_there_too(self):
        placement = Placement("float32", "cuda", "int8-dynamic")
        assert "torchao" in placement.name_rounding(LlamaConfig(), "m")
        assert "device_map" not in placement.make_arguments(LlamaConfig(), "m")

    def test_without_bitsandbytes_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "bitsandbytes", None)
        with pytest.raises(ModelError, match=r"bitsandbytes: .*\(pip install bitsandbytes\)"):
            quantization.make_loading_arguments("int8", "cuda", torch.float16, "m")
