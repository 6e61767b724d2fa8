"""What tests share: the folder of real data (skipping where it is absent), and a cache of their
own.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # the models of tests are tiny: two threads would wait for each other more than they compute

import pytest  # torch reads that when it is loaded

TESTS = Path(__file__).parent
SHARED = Path(__file__).parents[2] / "shared" / "data"
LONG = (  # files by the minutes that they take, the longest first
    *(
        "runner/test_run",
        "runner/test_run_checkpoints",
        "conformance/test_certificates",
        "conformance/test_kit",
        "runner/test_resume",
        "tasks/performance/test_memory",
        "runner/test_interleaving",
        "data/test_hub",
        "adapters/test_adapter_facts",
        "leaderboard/test_hostile_text",
        "test_notebooks",
        "runner/test_hostile_models",
        "models/pretrained/test_fast_import",
        "conformance/test_decorator",
        "conformance/test_check_command",
    ),
    *(
        "test_architecture",
        "training/test_finetuning",
        "test_examples",
        "leaderboard/test_html_page",
        "inference/test_packing",
        "test_docs",
        "data/test_storyworld",
        "tasks/performance/test_max_batch",
    ),
    *(
        "integrations/test_lm_eval",
        "tasks/test_wikitext_lm_eval",
        "test_package",
        "tasks/test_continuation",
    ),
)


def pytest_configure() -> None:
    """Give each of several test processes a core of its own, and so one thread to the models that
    it starts: threads of two processes that share cores wait for each other in a spin.
    """
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if number and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(number) % len(cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that two workers end at about the same time (they take files in
    this order: --no-loadscope-reorder).
    """
    order = {TESTS / f"{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints trained by tests stay among tests, and are shared between them."""
    base = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("LLMBENCH_CACHE", str(base))


@pytest.fixture(scope="session", autouse=True)
def _forked_workers() -> None:
    """Workers of runs in this process are forked, and import nothing."""
    from support import forks

    forks.fork_workers()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this test starts is a new process that imports what it needs, as a user's is."""
    monkeypatch.setenv("LLMBENCH_TESTS_FRESH", "1")


@pytest.fixture
def cases() -> Path:
    """The folder of small inputs that once went wrong."""
    folder = SHARED.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"small inputs not here: {folder}")
    return folder


@pytest.fixture
def shakespeare() -> Path:
    return real("tinyshakespeare/input.txt")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small checkpoint of every kind, by name."""
    from support import small_checkpoints

    place = tmp_path_factory.mktemp("checkpoints")
    return {name: make(place / name) for name, make in small_checkpoints.MAKERS.items()}


@pytest.fixture(scope="session")
def models(folders):
    """The same, loaded."""
    from support import small_checkpoints

    return {name: small_checkpoints.load(folder) for name, folder in folders.items()}


def real(name: str) -> Path:
    """A file of real data, or a skip that says which is missing."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"real data not here: {path}")
    return path
