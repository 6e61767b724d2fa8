"""What changes the name under which a trained network or a certificate is kept."""

from __future__ import annotations

import shutil

import pytest

import llmbench
from llmbench.config import source_code
from llmbench.conformance import certificates
from llmbench.training import cache


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of llmbench that can be edited."""
    place = tmp_path / "llmbench"
    shutil.copytree(
        llmbench.__path__[0], place, ignore=lambda _, names: [n for n in names if n[-4:] == ".pyc"]
    )
    monkeypatch.setattr(source_code, "PACKAGE", place)
    monkeypatch.setattr(certificates, "PACKAGE", place)
    return place


def keys(package):
    """The code's part of the keys: of each kind of training, and of certificates."""
    certificates.version.cache_clear()
    try:
        adapters = ("network", "masked_network", "seq2seq_network")
        return {
            **{
                name: cache.digest_training_code([package / "adapters" / f"{name}.py"])
                for name in adapters
            },
            "finetuning": cache.digest_training_code([package / "training" / "finetuning.py"]),
            "certificate": certificates.version(),
        }
    finally:
        certificates.version.cache_clear()


def changed(package, file, edit):
    """The keys that an edit of one file changes."""
    before = keys(package)
    place = package / file
    place.write_text(edit(place.read_text()))
    after = keys(package)
    return {name for name in before if before[name] != after[name]}


TRAINED = {"network", "masked_network", "seq2seq_network", "finetuning"}


def test_words_in_the_trainer_retrain_nothing(package):
    def reword(text):
        head, _, rest = text.partition('"""')[2].partition('"""')
        assert head
        return f'"""Other words."""{rest}\n# and a comment\n'

    assert changed(package, "training/trainer.py", reword) == set()


@pytest.mark.parametrize(
    ("file", "want"),
    [
        ("training/trainer.py", TRAINED),
        ("training/muon.py", TRAINED),
        ("training/masked_lm.py", {"masked_network"}),
        ("training/seq2seq_lm.py", {"seq2seq_network"}),
        ("training/finetuning.py", {"finetuning"}),
        ("inference/batching.py", TRAINED | {"certificate"}),
        ("inference/generation.py", {"certificate"}),
        ("conformance/checks/ledger.py", {"certificate"}),
        ("models/tokenizers/vocabulary.py", {"network", "certificate"}),
        ("leaderboard/board.py", set()),
        ("results/record.py", set()),
        ("cli/main.py", set()),
        ("errors.py", set()),
    ],
)
def test_code_changes_the_keys_of_what_it_decides(package, file, want):
    assert changed(package, file, lambda text: f"{text}\n_added = 1\n") == want
