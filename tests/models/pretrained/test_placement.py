"""Checkpoints in shards, in their own number format, and over several devices: the same bits."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
import torch
from support.toys import TEXT
from transformers import AutoModelForCausalLM, LlamaConfig

from llmbench.adapter import BuildContext, Passage, Request
from llmbench.cli import main, options
from llmbench.errors import ModelError, UsageError
from llmbench.hardware import device as hardware_device
from llmbench.hardware import machine, memory
from llmbench.models.pretrained import placement
from llmbench.models.pretrained.placement import Placement
from llmbench.plan import registry
from llmbench.plan.resolved_model import make_adapter, resolve_model
from llmbench.runner.workers import max_batch


def make(spec, **changes):
    return make_adapter(resolve_model(spec), BuildContext(**changes))


def bits(adapter):
    return next(adapter.score([Passage(TEXT[:300])])).total()


def copy(folder, place, **how):
    """The checkpoint, saved again in another way."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=how.pop("dtype", torch.float32))
    model.save_pretrained(place, **how)
    for file in folder.iterdir():
        if not (place / file.name).exists() and file.suffix != ".safetensors":
            (place / file.name).write_bytes(file.read_bytes())
    return place


def test_shards_are_one_checkpoint(folders, tmp_path):
    place = copy(folders["llama"], tmp_path / "shards", max_shard_size="20KB")
    assert len(list(place.glob("*.safetensors"))) > 2
    whole, shards = make(f"hf:{folders['llama']}"), make(f"hf:{place}")
    assert bits(shards) == bits(whole)
    assert shards.info.parameters == whole.info.parameters


def test_a_missing_shard_is_named(folders, tmp_path):
    place = copy(folders["llama"], tmp_path / "shards", max_shard_size="20KB")
    sorted(place.glob("*.safetensors"))[1].unlink()
    with pytest.raises(UsageError, match=r"has no model-00002-of-"):
        make(f"hf:{place}")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_auto_is_the_number_format_of_the_checkpoint(folders, tmp_path, dtype):
    place = copy(folders["llama"], tmp_path / "own", dtype=getattr(torch, dtype))
    own, named = (make(f"hf:{place}", dtype=name) for name in ("auto", dtype))
    assert own.info.dtype == dtype
    assert own.info.fingerprint == named.info.fingerprint
    assert bits(own) == bits(named)


def test_auto_is_float32_for_what_is_no_checkpoint(tmp_path):
    model = make("uniform-bytes", dtype="auto")
    assert bits(model) == pytest.approx(8 * len(TEXT[:300].encode()))


class TestOverSeveralDevices:
    """accelerate's own hooks, between RAM and disk: this needs no GPU."""

    @pytest.fixture
    def spread(self, folders, monkeypatch, tmp_path):
        """The LLaMA with its second layer on the disk."""
        pytest.importorskip("accelerate")
        names = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk"}
        names |= {"model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
        before = Placement.make_arguments

        def make_arguments(self, config, where):
            found = before(self, config, where)
            if self.device_map is None:
                return found
            assert found["device_map"] == "auto"
            return {**found, "device_map": names, "offload_folder": str(tmp_path / "offload")}

        monkeypatch.setattr(Placement, "make_arguments", make_arguments)
        return make(f"hf:{folders['llama']}?device_map=auto")

    def test_bits_are_those_of_one_device(self, folders, spread):
        assert spread.loaded.is_spread
        assert bits(spread) == pytest.approx(bits(make(f"hf:{folders['llama']}")), rel=1e-6)

    def test_it_writes_what_it_writes_on_one_device(self, folders, spread):
        request = Request("The tap", max_tokens=12)
        texts = [
            "".join(chunk.text for chunk in adapter.generate([request]))
            for adapter in (spread, make(f"hf:{folders['llama']}"))
        ]
        assert texts[0] == texts[1]

    def test_the_record_says_what_lies_where(self, folders, spread):
        info, whole = spread.info, make(f"hf:{folders['llama']}").info
        devices = info.origin["devices"]
        assert set(devices) == {"cpu", "disk"}
        assert sum(devices.values()) == info.weights_bytes == whole.weights_bytes
        assert "devices" not in whole.origin
        assert info.device == "cpu"


def test_auto_on_one_device_is_that_device(folders):
    pytest.importorskip("accelerate")
    adapter = make(f"hf:{folders['llama']}?device_map=auto")
    assert not adapter.loaded.is_spread
    assert bits(adapter) == pytest.approx(bits(make(f"hf:{folders['llama']}")), rel=1e-6)


def test_without_accelerate_it_says_what_to_install(folders, monkeypatch):
    monkeypatch.setattr(placement.util, "find_spec", lambda name: None)
    with pytest.raises(
        ModelError, match=r"needs the package accelerate \(pip install 'llmbench\[large\]'\)"
    ):
        Placement("float32", "cuda", device_map="auto").make_arguments(LlamaConfig(), "m")


def test_the_name_stays_and_a_wrong_map_is_refused(folders):
    card = registry.resolve("gpt2?device_map=auto")
    assert (card.name, card.checkpoint.device_map) == ("gpt2", "auto")
    both = registry.resolve("gpt2?quantize=int8&device_map=auto")
    assert (both.name, both.checkpoint.quantize) == ("gpt2-int8", "int8")
    with pytest.raises(UsageError, match=r"unknown device_map 'cuda' \(known: auto\)"):
        registry.resolve("hf:a/b?device_map=cuda")
    with pytest.raises(UsageError, match=r"zlib: only checkpoints take device_map"):
        registry.resolve("zlib?device_map=auto")


def test_the_options_of_a_command_become_the_specs():
    assert options.extend_spec("hf:x", quantize=None, device_map=None) == "hf:x"
    assert (
        options.extend_spec("hf:x?bos=3", quantize="int8", device_map="auto")
        == "hf:x?bos=3&quantize=int8&device_map=auto"
    )


class FakeGpu:
    """A GPU of which the driver tells little."""

    def __init__(self, device):
        self.number, self.absent = int(device[-1]), {}
        if self.number:
            self.absent["process"] = "NVML does not see this process"

    def begin(self):
        self.begun = True

    def read(self):
        found = {"allocated": 10 + self.number, "reserved": 20, "process": 5}
        return {name: size for name, size in found.items() if name not in self.absent}


def test_memory_is_summed_over_all_gpus(monkeypatch):
    monkeypatch.setattr(memory, "Gpu", FakeGpu)
    gpus = memory.Gpus(["cuda:0", "cuda:1", "cuda:2"])
    gpus.begin()
    assert gpus.read() == {"allocated": 33, "reserved": 60}
    assert gpus.absent == {"process": "NVML does not see this process"}


@pytest.mark.parametrize(
    ("device", "devices", "want"),
    [
        ("cpu", None, type(None)),
        ("cuda:0", None, FakeGpu),
        ("cuda:0", {"cuda:0": 1, "cuda:1": 1}, memory.Gpus),
        ("cuda:0", {"cuda:0": 1, "cpu": 1}, FakeGpu),
    ],
)
def test_the_largest_batch_is_measured_on_all_devices_of_a_model(
    monkeypatch, device, devices, want
):
    monkeypatch.setattr(memory, "Gpu", FakeGpu)
    info = SimpleNamespace(device=device, origin=devices and {"devices": devices})
    assert isinstance(max_batch._find_gpu(info), want)


@pytest.mark.parametrize("command", ["score", "run"])
def test_mps_where_there_is_none_is_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    (tmp_path / "text.txt").write_text("A text.")
    more = {"score": ["zlib", str(tmp_path / "text.txt")], "run": ["quick"]}[command]
    monkeypatch.setattr(sys, "argv", ["llmbench", command, *more, "--device", "mps"])
    with pytest.raises(SystemExit) as caught:
        main.main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert "mps" in err.lower()
    assert "--device cpu" in err


def test_mps_is_a_device_where_torch_has_it(monkeypatch):
    monkeypatch.setattr(hardware_device, "has_mps", lambda: True)
    assert hardware_device.pick_device("mps") == "mps"
    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    machine.check_device("mps")


def test_the_fine_tuned_smollm2_begins_with_the_fetched_one():
    stages = resolve_model("smollm2-135m-finetuned").stages
    (stage,) = stages
    assert (stage.checkpoint.id, stage.checkpoint.lora.rank) == ("fetch:smollm2", 8)
    assert json.loads(json.dumps(stage.recipe.model_dump()))["steps"] == 40
