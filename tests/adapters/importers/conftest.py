"""The tokenizer of the tests of importers."""

from __future__ import annotations

import pytest
from support.small_checkpoints import END, byte_level
from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A directory with a byte-level BPE of 320 ids."""
    folder = tmp_path_factory.mktemp("tokenizer")
    made = PreTrainedTokenizerFast(tokenizer_object=byte_level(), bos_token=END, eos_token=END)
    made.save_pretrained(folder)
    return folder
