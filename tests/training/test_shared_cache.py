"""A cache at an address: what was put there is brought back whole, or not at all."""

from __future__ import annotations

import json
import sys
from uuid import uuid4

import pytest

from llmbench import storage
from llmbench.errors import UsageError
from llmbench.plan.plan import Options, plan
from llmbench.training.shared_cache import (
    SharedCache,
    check_caches,
    describe_error,
    is_address,
    split_cache,
)

pytest.importorskip("fsspec", reason="fsspec is not installed")

FILES = {"model.safetensors": b"\0" * 5000, "config.json": b"{}", "lora/README.md": b"a"}


@pytest.fixture(params=["memory", "file", "local"])
def url(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid4().hex}/nets"
    return ("" if request.param == "local" else "file://") + str(tmp_path / "shared")


def make(cache, files=FILES):
    """A network in a machine's own cache."""
    folder = cache / "networks" / ("a" * 32)
    with storage.place_folder(folder) as beside:
        for name, raw in files.items():
            (beside / name).parent.mkdir(exist_ok=True)
            (beside / name).write_bytes(raw)
    return folder


def read(folder):
    names = (f for f in folder.rglob("*") if f.is_file() and f.name != storage.SEAL)
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in names}


def list_objects(shared):
    return [name for name in shared._files.find(shared._root) if "/objects/" in name]


def damage(shared, number, raw=b"x"):
    """Replace an object by other bytes."""
    shared._files.pipe_file(sorted(list_objects(shared))[number], raw)


def test_what_one_machine_puts_another_has(url, tmp_path):
    here = make(tmp_path / "here")
    there = tmp_path / "there" / "networks" / here.name
    assert not SharedCache(url).pull(there)
    SharedCache(url).push(here)
    assert SharedCache(url).pull(there)
    assert read(there) == FILES
    storage.check_folder(there)


def test_nothing_is_left_beside_what_was_put(url, tmp_path):
    shared = SharedCache(url)
    here = make(tmp_path / "here")
    shared.push(here)
    assert len(shared._files.find(shared._root)) == len(FILES) + 1
    assert list(here.parent.iterdir()) == [here]


@pytest.mark.parametrize("number", range(len(FILES)))
@pytest.mark.parametrize("raw", [b"", b"other bytes"])
def test_an_object_that_was_changed_is_refused(url, tmp_path, number, raw):
    shared, here = SharedCache(url), make(tmp_path / "here")
    shared.push(here)
    damage(shared, number, raw)
    there = tmp_path / "there" / "networks" / here.name
    with pytest.raises(storage.Damaged, match="changed since it was written"):
        shared.pull(there)
    assert not there.exists()
    assert list(there.parent.iterdir()) == []


def test_an_object_that_is_gone_is_refused(url, tmp_path):
    shared, here = SharedCache(url), make(tmp_path / "here")
    shared.push(here)
    shared._files.rm_file(list_objects(shared)[0])
    with pytest.raises(storage.Damaged, match="it is missing"):
        shared.pull(tmp_path / "there" / "networks" / here.name)


def test_what_is_put_anew_replaces_what_was_damaged(url, tmp_path):
    shared, here = SharedCache(url), make(tmp_path / "here")
    shared.push(here)
    damage(shared, 0, b"y" * len(sorted(FILES.values())[0]))
    shared.push(here)  # it is there by its name
    with pytest.raises(storage.Damaged):
        shared.pull(tmp_path / "there" / "networks" / here.name)
    shared.push(here, anew=True)
    assert shared.pull(tmp_path / "there" / "networks" / here.name)


def test_half_a_network_is_none(url, tmp_path, monkeypatch):
    shared, here = SharedCache(url), make(tmp_path / "here")
    put, count = shared._put, []

    def stop(file, target):
        count.append(target)
        if len(count) == len(FILES):
            raise KeyboardInterrupt
        put(file, target)

    monkeypatch.setattr(shared, "_put", stop)
    with pytest.raises(KeyboardInterrupt):
        shared.push(here)
    assert not shared.pull(tmp_path / "there" / "networks" / here.name)
    SharedCache(url).push(here)
    assert SharedCache(url).pull(tmp_path / "there" / "networks" / here.name)


def test_a_damaged_folder_is_not_put(url, tmp_path):
    here = make(tmp_path / "here")
    (here / "config.json").write_text("{} ")
    with pytest.raises(storage.Damaged):
        SharedCache(url).push(here)
    assert not SharedCache(url).holds(here)


def test_what_is_too_old_is_not_brought(url, tmp_path):
    here = make(tmp_path / "here")
    SharedCache(url).push(here)
    made = (here / storage.SEAL).stat().st_mtime
    there = tmp_path / "there" / "networks" / here.name
    assert not SharedCache(url).pull(there, since=made + 1)
    assert SharedCache(url).pull(there, since=made - 1)


def forge(shared, here, **changes):
    """Write a list that is sealed rightly, and says something else."""
    name = shared._name_list(here)
    data = json.loads(shared._files.cat_file(name)) | changes
    shared._files.pipe_file(name, storage.seal(data).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {"../../out.json": "0" * 64}},
        {"files": {"/etc/x.json": "0" * 64}},
        {"files": {"model.bin": "0" * 64}},
        {"files": {"code.py": "0" * 64}},
        {"files": {"sealed.json": "0" * 64}},
        {"files": {"config.json": "../config"}},
        {"files": {"config.json": 7}},
        {"files": [1]},
        {"network": "networks/" + "b" * 32},
        {"made": "soon"},
    ],
)
def test_a_list_that_names_what_it_must_not_is_refused(tmp_path, changes):
    shared, here = SharedCache(f"memory://{uuid4().hex}"), make(tmp_path / "here")
    shared.push(here)
    forge(shared, here, **changes)
    with pytest.raises(storage.Damaged):
        shared.pull(tmp_path / "there" / "networks" / here.name)
    assert not (tmp_path / "out.json").exists()


def test_a_list_without_its_seal_is_refused(tmp_path):
    shared, here = SharedCache(f"memory://{uuid4().hex}"), make(tmp_path / "here")
    shared.push(here)
    raw = shared._files.cat_file(shared._name_list(here))
    for cut in (raw[:-10], raw.replace(b"config", b"confix"), b""):
        shared._files.pipe_file(shared._name_list(here), cut)
        with pytest.raises(storage.Damaged):
            shared.pull(tmp_path / "there" / "networks" / here.name)


def test_an_address_that_nothing_opens_is_one_line():
    with pytest.raises(UsageError, match="no cache can be at this address") as told:
        plan("smoke", Options(cache_url="nowhere://x/y"))
    assert "s3://" in told.value.hint


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UsageError, match="needs a library") as told:
        SharedCache("s3://bucket/x")
    assert told.value.hint == "pip install s3fs"
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match="a cache at memory:// needs fsspec") as told:
        SharedCache("memory://x")
    assert told.value.hint == "pip install 'llmbench[cache]'"


def test_a_cache_that_does_not_answer_is_one_line(monkeypatch):
    shared = SharedCache(f"memory://{uuid4().hex}")

    def fail(path):
        raise PermissionError("access denied\nbecause")

    monkeypatch.setattr(type(shared._files), "exists", lambda self, path: fail(path))
    with pytest.raises(UsageError, match="cannot be reached: PermissionError: access denied bec"):
        shared.check()


def test_no_line_says_what_lets_a_person_in():
    with pytest.raises(UsageError, match=r"^nowhere://\*\*\*@host/x: no cache can be") as told:
        SharedCache("nowhere://me:s3cr@t@host/x")
    assert "s3cr" not in str(told.value)
    said = describe_error(OSError("no route to sftp://me:s3cr@t@host:22/x, nor b@c"))
    assert said == "OSError: no route to sftp://***@host:22/x, nor b@c"


def test_a_folder_and_an_address_are_told_apart(tmp_path, monkeypatch):
    assert split_cache(None) == {}
    assert split_cache("s3://b/c") == {"cache_url": "s3://b/c"}
    assert split_cache(tmp_path) == {"cache": tmp_path}
    assert [is_address(s) for s in ("C:/x", "a/b:c/d", "memory://x", "file:///x")] == [
        *(False, False, True, True)
    ]
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not a folder"):
        check_caches(tmp_path / "file", None)
    monkeypatch.setenv("LLMBENCH_CACHE", "s3://b/c")
    with pytest.raises(UsageError, match="LLMBENCH_CACHE: 's3:/b/c' is an address"):
        check_caches(tmp_path, None)
