"""Checkpoints load without torch's compiler and without what only losses and images need;
afterwards everything is there again.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import small_checkpoints

CODE = """
import sys
from llmbench import registry
from llmbench.adapter import BuildContext, Passage, Request
model = registry.make(registry.resolve("hf:{folder}"), BuildContext())
list(model.score([Passage("The kettle said nothing.")]))
list(model.generate([Request("The", max_tokens=3), Request("The kettle", max_tokens=3)]))
heavy = ("torch._dynamo", "scipy.optimize", "pandas", "sklearn", "datasets", "torch.distributed.tensor", "sympy")
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
from torch.fx.experimental.symbolic_shapes import guard_or_false
assert type(sys.modules["torch.fx.experimental.symbolic_shapes"]).__name__ == "module"
import sympy.polys
assert sympy.expand((sympy.Symbol("x") + 1) ** 2).subs("x", 2) == 9 and sympy.__file__
linear = torch.nn.Linear(3, 3)
assert linear.weight.abs().sum() > 0
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "family", ["gpt2", "llama"]
)  # the second asks torch for ranges of numbers while it is empty
def test_nothing_is_loaded_that_scoring_does_not_use_and_all_of_it_works_later(family, tmp_path):
    folder = getattr(small_checkpoints, family)(tmp_path)
    done = run(CODE.format(folder=folder, more=AFTER))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_part_of_sympy_that_is_asked_for_while_checkpoints_load_is_the_real_one():
    code = """
from llmbench.models.pretrained.fast_import import light_imports
with light_imports():
    import sympy
    assert not isinstance(1, sympy.Basic) and not hasattr(sympy, "__file__")
    stand_in = sympy
    import sympy.polys
    assert sympy.polys.Poly(sympy.Symbol("x")).degree() == 1
    assert isinstance(sympy.Symbol("x"), stand_in.Basic) and stand_in.Symbol is sympy.Symbol
import sympy
assert sympy.__file__ and isinstance(sympy.Integer(1), stand_in.Basic)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
