"""`llmbench check`: one model, every check of the kit, and the certificate that is kept for its
weights.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmbench import storage
from llmbench.adapter import Adapter
from llmbench.conformance import certificates, kit
from llmbench.conformance.check import Subject
from llmbench.errors import UsageError
from llmbench.plan.resolved_model import make_adapter
from llmbench.runner import session

# times its limit that a check may take before the program ends: a hang inside foreign code hears no
# alarm
PATIENCE = 2.0


def prove(
    spec: str,
    given: Mapping[str, str],
    only: Sequence[str],
    timeout: float,
    progress: Callable[[str, float, str], None],
    **options: Any,
) -> kit.Report:
    """What `llmbench check --json` prints. The certificate of a whole run of the checks is kept in
    the cache, by fingerprint and device.
    """
    checks = kit.find_checks(only) if only else kit.CHECKS
    model, adapter, stuff = session.load_with_context(spec, given, progress=progress, **options)

    def another() -> Adapter:
        return make_adapter(model, stuff)

    results: list[kit.Result] = []
    with session.model_errors(model.name):
        fingerprint, device = adapter.info.fingerprint, adapter.info.device
        subject = Subject(adapter, another, seed=stuff.seed)
        if subject.obstacle:
            raise UsageError(subject.obstacle, where=model.name)
    rounds = kit.run(subject, checks, timeout)
    for check in checks:
        progress("checking", len(results) / len(checks), check.name)
        alarm = threading.Timer(PATIENCE * timeout, _give_up, (check.name, timeout))
        alarm.daemon = True
        alarm.start()
        results.append(next(rounds))
        alarm.cancel()
    found = kit.report(results, fingerprint, model.name, device)
    states = {proof["state"] for proof in found["certificate"]["levels"].values()}
    if "refused" in states or (
        not only and not any(result.state == "timeout" or result.refused for result in results)
    ):
        storage.write_json(
            certificates.of_weights(stuff.cache, fingerprint, device), found["certificate"]
        )
    adapter.close()
    return found


def _give_up(name: str, timeout: float) -> None:
    sys.stderr.write(
        f"llmbench: the check {name} did not end within {PATIENCE * timeout:g} s and cannot be"
        " stopped; nothing is proven\n"
    )
    sys.stderr.flush()
    os._exit(1)
