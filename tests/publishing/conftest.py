"""A publication that is drawn once, and copied for each test that changes it."""

from __future__ import annotations

import shutil

import pytest
from support.publications import quick_run

from llmbench.publishing.publish import publish


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    place = tmp_path_factory.mktemp("publication")
    return publish(quick_run(place / "run"), place / "out", settings={}).folder


@pytest.fixture
def out(published, tmp_path):
    return shutil.copytree(published, tmp_path / "out")
