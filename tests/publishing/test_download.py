"""A published folder is read from an address, within limits and from one host."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from support.publications import Quiet, serve

from llmbench import limits
from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.publishing.download import download


def test_what_is_at_an_address_is_checked_like_a_folder(out):
    with serve(out) as address:
        for place in (address, f"{address}index.html", address.rstrip("/")):
            done = CliRunner().invoke(cli, ["verify", place], standalone_mode=False)
            assert (done.exception, done.return_value) == (None, 0), done.exception
    assert "files: 11, each as it was published" in done.stdout


def test_a_file_that_was_changed_is_refused_by_its_address(out, tmp_path):
    (out / "samples/zlib/likelihood.jsonl").write_text("{}\n")
    with serve(out) as address, pytest.raises(UsageError, match="it was changed") as caught:
        download(address, tmp_path / "there")
    assert caught.value.where == f"{address}samples/zlib/likelihood.jsonl"


def test_no_byte_more_than_the_list_says_is_kept(out, tmp_path):
    page = out / "index.html"
    page.write_bytes(page.read_bytes() + b"x" * 10_000)
    size = page.stat().st_size - 10_000
    with serve(out) as address, pytest.raises(UsageError, match="it was changed"):
        download(address, tmp_path / "there")
    assert (tmp_path / "there" / "index.html").stat().st_size <= size


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("http://example.org/x", "only https"),
        ("ftp://example.org/x", "only https"),
        ("file:///etc/", "only https"),
        ("https://", "only https"),
        ("https://me:pass@example.org/", "no name, password"),
        ("https://example.org/?a=1", "no name, password"),
        ("http://127.0.0.1.example.org/", "only https"),
        ("http://[::1/", "not an address"),
    ],
)
def test_other_addresses_are_refused_before_anything_is_asked(tmp_path, address, what):
    with pytest.raises(UsageError, match=what) as caught:
        download(address, tmp_path)
    assert "pass" not in caught.value.where


def test_a_redirect_to_another_host_is_not_followed(out, tmp_path):
    class Elsewhere(Quiet):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", "http://localhost:9/published.json")
            self.end_headers()

    with serve(out, Elsewhere) as address, pytest.raises(UsageError, match="another host"):
        download(address, tmp_path / "there")


def test_a_redirect_on_the_same_host_is_followed(out, tmp_path):
    class Moved(Quiet):
        def do_GET(self):
            if self.path.startswith("/old/"):
                self.send_response(301)
                self.send_header("Location", self.path.removeprefix("/old"))
                self.end_headers()
            else:
                super().do_GET()

    with serve(out, Moved) as address:
        download(f"{address}old/", tmp_path / "there")
    assert (tmp_path / "there" / "run.json").read_bytes() == (out / "run.json").read_bytes()


def test_a_list_without_end_is_refused(out, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MANIFEST_BYTES", 100)
    with serve(out) as address, pytest.raises(UsageError, match="more than 100 bytes"):
        download(address, tmp_path / "there")


def test_an_address_where_nothing_is_says_so(tmp_path):
    with serve(tmp_path) as address, pytest.raises(UsageError, match="the server answers 404"):
        download(address, tmp_path / "there")
    with pytest.raises(UsageError, match="cannot be read"):
        download(address, tmp_path / "there")
