"""fast_import loads checkpoints without torch's compiler and restores everything afterwards."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support import small_checkpoints

from llmbench.models.pretrained.fast_import import fast_import

CODE = """
import sys
from llmbench.plan.resolved_model import make_adapter, resolve_model
from llmbench.adapter import BuildContext, Passage, Request
model = make_adapter(resolve_model("hf:{folder}"), BuildContext())
bits = [ledger.bits.tolist() for ledger in model.score([Passage("The kettle said nothing.")])]
list(model.generate([Request("The", max_tokens=3), Request("The kettle", max_tokens=3)]))
heavy = [
    "torch._dynamo", "scipy.optimize", "pandas", "sklearn", "datasets",
    "torch.distributed.tensor",
]
import torch
if torch.__version__ < (2, 15):  # from then on flex_attention imports it, which transformers needs
    heavy.append("sympy")
print(sorted(name for name in heavy if name in sys.modules))
{more}
"""
AFTER = """
import torch
assert torch.distributed.is_available()
from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
assert TransformGetItemToIndex.__module__.startswith("torch._dynamo")
assert type(sys.modules["torch._dynamo"]).__name__ == "module"
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2)).tolist() == [2.0, 2.0]
from transformers import masking_utils
with masking_utils.TransformGetItemToIndex():
    assert torch.arange(3)[torch.tensor(1)] == 1
from transformers import core_model_loading
assert core_model_loading.re.compile("a").pattern == "a"
with torch.device("meta"):
    assert torch.arange(3).is_meta
linear = torch.nn.Linear(3, 3)
assert linear.weight.abs().sum() > 0
"""


def run(code, **variables):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )


@pytest.mark.parametrize("family", [pytest.param("gpt2", marks=pytest.mark.slow), "llama"])
def test_unused_modules_are_not_loaded_and_work_afterwards(family, tmp_path):
    folder = getattr(small_checkpoints, family)(tmp_path)
    done = run(CODE.format(folder=folder, more=AFTER))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("family", [pytest.param("gpt2", marks=pytest.mark.slow), "llama"])
def test_the_switch_loads_the_compiler_and_changes_no_number(family, tmp_path):
    folder = getattr(small_checkpoints, family)(tmp_path)
    code = CODE.format(folder=folder, more="print(bits)")
    fast, plain = run(code), run(code, LLMBENCH_FAST_IMPORT="0")
    assert plain.returncode == 0, plain.stderr
    assert "torch._dynamo" not in fast.stdout
    assert "torch._dynamo" in plain.stdout
    assert fast.stdout.splitlines()[-1] == plain.stdout.splitlines()[-1]


def test_patterns_are_compiled_when_used_and_rename_as_before():
    from transformers.core_model_loading import WeightRenaming

    def rename():
        return WeightRenaming(r"(\d+)\.old", r"\1.new").rename_source_key("layers.7.old.weight")

    with fast_import():
        late = rename()
    assert late == rename()
    assert late[0] == "layers.7.new.weight"
