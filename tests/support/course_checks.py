"""What the tests of every importer ask: the course's own loss, and the certificate."""

from __future__ import annotations

import math

import torch

from llmbench import Passage
from llmbench.adapter import BuildContext
from llmbench.conformance import kit
from llmbench.conformance.check import Subject
from llmbench.plan.resolved_model import make_adapter, resolve_model
from support.courses import measure_loss

TEXT = "Nothing, quoth jazzy Puck."


def load(spec):
    return make_adapter(resolve_model(spec), BuildContext())


def find_losses(model, network, text=TEXT):
    """Nats a token of a text: those that llmbench charges, and those of the course."""
    (ledger,) = model.score([Passage(text)])
    ids = [*model.bos_ids, *model.encode(text).ids.tolist()]
    assert 12 < len(ids) <= 25
    nats = ledger.total() * math.log(2) / (len(ids) - len(model.bos_ids))
    return nats, measure_loss(network.eval(), torch.tensor([ids]))


def find_failed(spec):
    """The conformance checks that did not pass and were not skipped."""
    results = kit.run(Subject(load(spec), make=lambda: load(spec)))
    assert sum(result.state == "passed" for result in results) > 10
    return [(r.name, r) for r in results if r.state not in ("passed", "skipped")]
