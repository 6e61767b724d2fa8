"""What tests share: the folder of real data (skipping where it is absent), and a cache of their own."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models of tests are tiny: two threads would wait for each other more than they compute

import pytest  # torch reads that when it is loaded

SHARED = Path(__file__).parents[2] / "shared" / "data"
LONG = (  # files by the minutes that they take, the longest first
    *("test_runner", "test_checkpoint_runs", "test_conformance", "test_resume", "test_memory", "test_rounds", "test_hub", "test_architecture"),
    *("test_finetuning", "test_examples", "test_page", "test_packing", "test_docs", "test_storyworld", "test_batch_fit", "test_lm_eval_bridge"),
    *("test_wikitext_lm_eval", "test_package", "test_continuation"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that two workers end at about the same time (they take files in this order: --no-loadscope-reorder)."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints trained by tests stay among tests, and are shared between them."""
    base = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("LLMBENCH_CACHE", str(base))


@pytest.fixture
def shakespeare() -> Path:
    return real("tinyshakespeare/input.txt")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small checkpoint of every kind, by name."""
    import small_checkpoints

    place = tmp_path_factory.mktemp("checkpoints")
    return {name: make(place / name) for name, make in small_checkpoints.MAKERS.items()}


@pytest.fixture(scope="session")
def models(folders):
    """The same, loaded."""
    import small_checkpoints

    return {name: small_checkpoints.load(folder) for name, folder in folders.items()}


def real(name: str) -> Path:
    """A file of real data, or a skip that says which is missing."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"real data not here: {path}")
    return path
