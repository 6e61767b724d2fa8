"""A release: its version is the tag's, its notes the changelog's, and what is built installs."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
NOTES = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-12-24\n\n### Added\n\n- Much.\n"


@pytest.fixture
def release():
    return runpy.run_path(str(ROOT / ".github" / "prepare_release.py"))


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "llmbench").mkdir()
    for name in ("llmbench/__init__.py", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(NOTES)
    return tmp_path


@pytest.mark.parametrize("version", ["1.2.0", "1.2.0rc1"])
def test_a_tag_becomes_the_version_and_its_section_the_notes(release, checkout, version):
    assert release["prepare"](checkout, f"v{version}") == "### Added\n\n- Much."
    assert f'\n__version__ = "{version}"\n' in (checkout / "llmbench/__init__.py").read_text()
    citation = yaml.safe_load((checkout / "CITATION.cff").read_text())
    assert citation["version"] == version


@pytest.mark.parametrize(
    "tag", ["1.2.0", "v1.2", "v1.2.0.dev1", "v01.2.0", "v1.2.0-rc1", "vx; rm -rf"]
)
def test_a_tag_that_is_no_version_is_refused(release, checkout, tag):
    with pytest.raises(SystemExit, match="not a version"):
        release["prepare"](checkout, tag)


def test_a_version_without_a_dated_section_is_refused(release, checkout):
    for section in ("## [1.3.0]\n", "## [1.3.0] - soon\n", ""):
        (checkout / "CHANGELOG.md").write_text(NOTES + section)
        with pytest.raises(SystemExit, match=r"no section for 1\.3\.0"):
            release["prepare"](checkout, "v1.3.0")
    assert '"1.3.0"' not in (checkout / "llmbench/__init__.py").read_text()


def test_the_changelog_has_the_form_of_keep_a_changelog():
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    heads = [line for line in lines if line.startswith("#")]
    assert heads[:2] == ["# Changelog", "## [Unreleased]"]
    version = r"## \[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}"
    sections: list[list[str]] = []
    for head in heads[1:]:
        if head.startswith("### "):
            sections[-1].append(head.removeprefix("### "))
        else:
            assert head == "## [Unreleased]" or re.fullmatch(version, head), head
            sections.append([])
    for kinds in sections:
        assert set(kinds) <= KINDS
        assert len(kinds) == len(set(kinds))


def test_the_workflow_publishes_what_it_tried_and_keeps_no_token():
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert jobs["pypi"]["needs"] == "build"
    assert jobs["pypi"]["permissions"] == {"id-token": "write"}
    assert jobs["pypi"]["environment"]["name"] == "pypi"
    assert "secrets." not in text
    assert "password" not in text
    runs = [step.get("run", "") for step in jobs["build"]["steps"]]
    (build,) = (at for at, run in enumerate(runs) if "python -m build" in run)
    (prepare,) = (at for at, run in enumerate(runs) if "prepare_release.py" in run)
    (install,) = (at for at, run in enumerate(runs) if 'pip install "$file"' in run)
    assert prepare < build < install
    assert not any("${{" in run for run in runs)  # a tag's name is never part of a script


def test_the_readme_says_what_is_true_before_and_after_a_release():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "If no section has a date, nothing has been released yet" in text
    assert "not on PyPI" not in text


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--no-build-isolation", *arguments], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sdist_and_wheel_are_of_the_tag_hold_the_same_and_install(release, tmp_path):
    place, dist = tmp_path / "checkout", tmp_path / "dist"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    (place / "CHANGELOG.md").write_text(NOTES)
    release["prepare"](place, "v1.2.0rc1")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(place)]
    subprocess.run(build, check=True, capture_output=True)
    sdist, wheel = dist / "llmbench-1.2.0rc1.tar.gz", dist / "llmbench-1.2.0rc1-py3-none-any.whl"
    assert sorted(dist.iterdir()) == sorted([sdist, wheel])
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    inside = {name.removeprefix("llmbench/") for name in packed}
    assert {name for name in packed if name not in names} == {
        f"llmbench/{name}" for name in inside if name.startswith(("suites/", "baselines/"))
    }
    assert {"README.md", "LICENSE", "CHANGELOG.md", "suites/quick.yaml", "docs/index.md"} <= names
    for number, file in enumerate((sdist, wheel)):
        site = tmp_path / f"site{number}"
        pip("--target", str(site), str(file))
        code = "import llmbench; from llmbench.plan.shipped import names; print(llmbench.__file__)"
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; print(llmbench.__version__, len(names('suites')))"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(site), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        where, said = done.stdout.splitlines()
        assert where.startswith(str(site))
        assert said == f"1.2.0rc1 {len(list((ROOT / 'suites').glob('*.yaml')))}"
