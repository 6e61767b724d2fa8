"""A published folder is the one that was published, or it is refused with the file's name."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.publications import seal_again

from llmbench import limits, storage
from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.publishing import manifest


def verify(*arguments):
    return CliRunner().invoke(cli, ["verify", *map(str, arguments)], standalone_mode=False)


@pytest.mark.parametrize(
    "name",
    ["index.html", "run.json", "README.md", "samples/zlib/likelihood.jsonl", "leaderboard.csv"],
)
def test_a_file_that_was_changed_is_refused_by_its_name(out, name):
    raw = (out / name).read_bytes()
    (out / name).write_bytes(raw.replace(b"1", b"2", 1))
    assert (out / name).read_bytes() != raw
    done = verify(out)
    assert isinstance(done.exception, UsageError)
    assert done.exception.where == str(out / name)


def test_a_missing_an_added_and_a_linked_file_are_refused(out):
    page = out / "index.html"
    page.rename(out.parent / "elsewhere.html")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        manifest.open_publication(out)
    assert caught.value.where == str(page)
    page.symlink_to(out.parent / "elsewhere.html")
    with pytest.raises(UsageError, match="a link"):
        manifest.open_publication(out)
    page.unlink()
    (out.parent / "elsewhere.html").rename(page)
    (out / "extra.js").write_text("")
    with pytest.raises(UsageError, match="was not published") as caught:
        manifest.open_publication(out)
    assert caught.value.where == str(out / "extra.js")


def test_a_list_that_is_a_link_is_refused(out):
    file = out / manifest.NAME
    file.rename(out.parent / "elsewhere.json")
    file.symlink_to(out.parent / "elsewhere.json")
    with pytest.raises(UsageError, match="a link") as caught:
        manifest.open_publication(out)
    assert caught.value.where == str(file)


def test_a_list_that_was_changed_is_refused(out):
    file = out / manifest.NAME
    file.write_text(file.read_text().replace('"llmbench": "0', '"llmbench": "1'))
    with pytest.raises(UsageError, match="digest is wrong"):
        manifest.open_publication(out)


def test_a_folder_without_a_list_is_refused(tmp_path):
    done = verify(tmp_path)
    assert "there is no published.json" in str(done.exception)


def test_another_publication_is_refused_if_its_digest_is_given(out, tmp_path):
    known = manifest.open_publication(out).sha256
    assert verify(out, "--sha256", known).return_value == 0
    (out / "README.md").write_text("Trust me.\n")
    seal_again(out)
    assert verify(out).return_value == 0  # a list is no signature
    assert "another publication" in str(verify(out, "--sha256", known).exception)


@pytest.mark.parametrize(
    "name",
    [
        "../up",
        "/etc/passwd",
        "a/../../b",
        "C:\\x",
        "a\\b",
        "a:b",
        "",
        ".",
        "a//b",
        "published.json",
        "a\nb",
        ".git/config",
        "x" * 256,
    ],
)
def test_a_list_may_not_name_a_file_outside_its_folder(name):
    assert not manifest.is_safe_name(name)
    file = {"bytes": 0, "sha256": "0" * 64}
    raw = storage.seal({"published": 1, "llmbench": "0", "files": {"run.json": file, name: file}})
    with pytest.raises(UsageError, match="outside its folder"):
        manifest.parse_manifest(raw.encode(), "here")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"published": 2}, "format 2"),
        ({"files": {}}, "lists no run.json"),
        ({"files": {"run.json": {"bytes": -1, "sha256": "0" * 64}}}, "files.run.json.bytes"),
        ({"files": {"run.json": {"bytes": 1 << 50, "sha256": "0" * 64}}}, "at most"),
        ({"more": 1}, "wrong at more"),
    ],
)
def test_a_list_of_another_kind_is_refused_with_the_place(changes, what):
    file = {"bytes": 0, "sha256": "0" * 64}
    data = {"published": 1, "llmbench": "0", "files": {"run.json": file}, **changes}
    with pytest.raises(UsageError, match=what):
        manifest.parse_manifest(storage.seal(data).encode(), "here")


def test_a_list_of_too_many_files_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "PUBLISHED_FILES", 1)
    file = {"bytes": 0, "sha256": "0" * 64}
    data = {"published": 1, "llmbench": "0", "files": {"run.json": file, "b": file}}
    with pytest.raises(UsageError, match="at most 1"):
        manifest.parse_manifest(storage.seal(data).encode(), "here")


def test_json_says_what_was_checked(out):
    found = json.loads(verify(out, "--json").stdout)
    assert found["holds"] is True
    assert found["samples"] == {
        **{"follow": 6, "intervals": 6, "ranks": 4, "without": 0},
        "contradicted": [],
    }
    assert found["drawn_otherwise"] == []
    assert found["recomputed"] is None
