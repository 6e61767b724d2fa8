"""Checkpoints before they are loaded: found, refused, or unavailable, each in one clear line and
without torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from support import small_checkpoints

from llmbench.data import hub
from llmbench.errors import Unavailable, UsageError
from llmbench.models.pretrained import files as pretrained_files
from llmbench.models.pretrained.files import Checkpoint, locate, verify
from llmbench.plan import registry
from llmbench.plan.resolved_model import resolve_model


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return small_checkpoints.gpt2(tmp_path_factory.mktemp("checkpoint") / "my-gpt")


@pytest.fixture
def folder(whole, tmp_path):
    """A copy that may be spoilt."""
    copy = tmp_path / "my-gpt"
    copy.mkdir()
    for file in whole.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def refused(folder, **given):
    with pytest.raises(UsageError) as caught:
        verify(Checkpoint(str(folder), folder), **given)
    return str(caught.value)


def test_a_whole_checkpoint_is_let_through(folder):
    assert verify(Checkpoint("x", folder))["model_type"] == "gpt2"


def test_a_directory_without_config(folder):
    (folder / "config.json").unlink()
    assert "has no config.json (name the directory that save_pretrained wrote)" in refused(folder)


def test_the_directory_above_the_checkpoint_is_recognised(folder):
    assert "did you mean" in refused(folder.parent)
    assert f"{folder.parent.name}/my-gpt" in refused(folder.parent)


def test_a_torn_config_says_where(folder):
    (folder / "config.json").write_text('{"model_type": "gpt2",\n "n_embd": ')
    assert "config.json:2:12: not JSON" in refused(folder)


def test_a_directory_without_tokenizer(folder):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert "has no tokenizer (save it there: tokenizer.save_pretrained(DIRECTORY))" in refused(
        folder
    )


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_weights(folder, keep):
    weights = folder / "model.safetensors"
    raw = weights.read_bytes()
    weights.write_bytes(raw[:keep])
    said = refused(folder)
    assert "model.safetensors" in said
    assert (
        f"truncated: {len(raw) - 1} bytes of {len(raw)}" if keep == -1 else "header cannot be read"
    ) in said


def test_weights_with_bytes_behind_them(folder):
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"more")
    assert "4 bytes too long" in refused(folder)


def test_pickled_weights_alone_are_refused_with_the_way_out(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    said = refused(folder)
    assert "only there as pytorch_model.bin, which may run code" in said
    assert "take a revision with safetensors" in said


def test_a_missing_shard_is_named(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}})
    )
    assert "has no model-00001-of-00002.safetensors" in refused(folder)


def test_an_index_that_leads_out_of_the_folder_is_refused(folder):
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "../../etc/passwd"}})
    )
    assert "names no shards beside it" in refused(folder)


def test_code_of_the_checkpoints_own_runs_only_when_the_card_says_so(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "evil.Model"}})
    )
    assert "wants to run Python code of its own" in refused(folder)
    assert verify(Checkpoint("x", folder), trust_remote_code=True)


@pytest.mark.parametrize("id", ["./nowhere", "/no/such/dir", "a/b/c", "~/nowhere-at-all"])
def test_a_path_that_is_not_there(id):
    with pytest.raises(UsageError, match="there is no such checkpoint directory"):
        locate(id)


@pytest.mark.parametrize("id", ["a b", "gpt2; rm -rf", "a//b", "ünï"])
def test_what_is_neither_path_nor_id(id):
    with pytest.raises(UsageError, match=r"neither a directory nor a hub id|no such checkpoint"):
        locate(id)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hub"


def test_an_id_that_is_not_cached_is_unavailable_with_the_command_that_fetches_it(cache):
    with pytest.raises(Unavailable) as caught:
        locate("openai-community/gpt2", fetch=True)
    assert caught.value.what == "the weights are not on this machine"
    assert 'hf download openai-community/gpt2 --include "*.json"' in caught.value.hint
    assert "--revision v1" in pretrained_files.fetch_command("a/b", "v1")


def cached(cache, name, whole, commit="0123456789abcdef0123456789abcdef01234567"):
    place = cache / f"models--{name}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    (place / "snapshots").mkdir()
    (place / "snapshots" / commit).symlink_to(whole)
    return commit


def test_a_cached_id_is_found_with_its_commit(cache, whole):
    commit = cached(cache, "me--my-gpt", whole)
    found = locate("me/my-gpt")
    assert found.commit == commit
    assert verify(found)
    assert locate("me/my-gpt", revision=commit).folder == found.folder
    with pytest.raises(Unavailable):
        locate("me/my-gpt", revision="v2")


def test_gpt2_is_found_under_its_older_id_too(cache, whole):
    cached(cache, "gpt2", whole)
    assert locate("openai-community/gpt2").id == "openai-community/gpt2"
    with pytest.raises(Unavailable):
        locate("someone/gpt2")


def test_the_specs_that_name_checkpoints(whole, monkeypatch):
    monkeypatch.chdir(whole.parent)
    card = registry.resolve("hf:my-gpt")
    assert (card.name, card.adapter, card.checkpoint.id) == ("my-gpt", "huggingface", str(whole))
    assert registry.resolve("hf:openai-community/gpt2").name == "gpt2"
    assert registry.resolve("hf:./my-gpt").checkpoint.id == str(whole)


def test_a_card_names_a_directory_beside_itself(whole):
    (whole.parent / "card.yaml").write_text(
        "name: mine\nadapter: huggingface\ncheckpoint: {id: ./my-gpt}\n"
    )
    assert registry.resolve(str(whole.parent / "card.yaml")).checkpoint.id == str(whole)


def test_every_stage_of_a_lineage_is_named():
    assert [stage.name for stage in resolve_model("nano-gpt2-finetuned").stages] == [
        "nano-gpt2",
        "nano-gpt2-finetuned",
    ]
    only = resolve_model("gpt2-finetuned").stages
    assert [(stage.name, stage.checkpoint.id) for stage in only] == [
        ("gpt2-finetuned", "openai-community/gpt2")
    ]


def test_the_answer_unavailable_takes_under_a_second_and_no_torch(cache):
    line = (
        "import sys; from llmbench.cli.main import main; sys.argv[1:] = ['score', 'gpt2',"
        " 'x.txt']\ntry: main()\nfinally: print('torch' in sys.modules)"
    )
    (cache.parent / "x.txt").write_text("A text.")
    begun = time.process_time(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", line], cwd=cache.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "hf download openai-community/gpt2" in done.stderr
    assert done.stdout.strip() == "False"
    assert time.perf_counter() > begun[1]  # how long it takes is measured by a benchmark


def test_nothing_is_asked_of_the_hub_when_it_is_offline(cache):
    assert hub.offline()
    assert not hub.reachable()
