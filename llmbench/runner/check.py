"""`llmbench check`: one model, every check of the kit, and the certificate that is kept for its
weights.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from os import _exit  # the very one: a model's calls of it are held up
from typing import Any

from llmbench import limits, storage
from llmbench.adapter import Adapter, Progress
from llmbench.config.fingerprints import identifies_weights
from llmbench.conformance import certificates, kit
from llmbench.conformance.check import Check, Subject
from llmbench.conformance.unfinished import OF_CHECK, Unfinished
from llmbench.errors import UsageError
from llmbench.plan.resolved_model import make_adapter
from llmbench.runner import session

SILENCE = 20.0  # seconds after which a check that is still running is named on stderr


class Proof:
    """A model that is loaded to be checked.

    What was found is kept from check to check. If some checks gave no answer (the machine was busy,
    the program was stopped), the next proof of the same weights goes on from there.
    """

    def __init__(
        self,
        spec: str,
        given: Mapping[str, str],
        only: Sequence[str],
        timeout: float,
        progress: Progress,
        **options: Any,
    ):
        """Load the model of a SPEC. UsageError if it is not ready to be checked."""
        self.checks = kit.find_checks(only) if only else list(kit.CHECKS)
        self.whole, self.timeout = not only, timeout
        model, adapter, stuff = session.load_with_context(spec, given, progress=progress, **options)

        def another() -> Adapter:
            return make_adapter(model, stuff)

        self.name, self.adapter, self.results = model.name, adapter, list[kit.Result]()
        self.subject = Subject(adapter, another, seed=stuff.seed)
        with session.model_errors(model.name):
            self.fingerprint, self.device = adapter.info.fingerprint, adapter.info.device
            if self.subject.obstacle:
                raise UsageError(self.subject.obstacle, where=model.name)
        self.place = certificates.of_weights(stuff.cache, self.fingerprint, self.device)
        self.unfinished = Unfinished(
            stuff.cache, OF_CHECK, self.fingerprint, self.device, self.subject.seed
        )

    def run(self) -> Iterator[kit.Result]:
        """Yield the result of each check as soon as it is known."""
        before = self.unfinished.read() if self.whole else {}
        for check in self.checks:
            result = before.get(check.name) or self._run(check)
            self.results.append(result)
            if self.whole:
                self.unfinished.write(self.results)
            yield result
        self._finish()

    def report(self) -> kit.Report:
        """What `llmbench check --json` prints."""
        return kit.report(self.results, self.fingerprint, self.name, self.device)

    def _run(self, check: Check) -> kit.Result:
        alarm = threading.Timer(
            limits.CHECK_PATIENCE * self.timeout, _give_up, (check.name, self.timeout)
        )
        alarm.daemon = True
        alarm.start()
        done = threading.Event()
        threading.Thread(target=_name_slow, args=(check.name, done), daemon=True).start()
        try:
            (result,) = kit.run(self.subject, [check], self.timeout)
        finally:
            done.set()
            alarm.cancel()
        return result

    def _finish(self) -> None:
        """Keep the certificate if it is one; forget what was kept on the way."""
        complete = all(result.is_answer for result in self.results)
        certificate = self.report()["certificate"]
        states = {proof["state"] for proof in certificate["levels"].values()}
        is_kept = "refused" in states or (self.whole and complete)
        if is_kept and identifies_weights(self.fingerprint):
            storage.write_sealed(self.place, certificate)
        if self.whole and complete:
            self.unfinished.remove()
        with session.model_errors(self.name):
            self.adapter.close()


def _name_slow(name: str, done: threading.Event) -> None:
    """Say every SILENCE seconds that a check is still running."""
    begun = time.monotonic()
    while not done.wait(SILENCE):
        sys.stderr.write(f"  {name}: running for {time.monotonic() - begun:.0f} s\n")
        sys.stderr.flush()


def _give_up(name: str, timeout: float) -> None:
    sys.stderr.write(
        f"llmbench: the check {name} did not end within {limits.CHECK_PATIENCE * timeout:g} s and"
        " cannot be stopped; nothing is proven (`llmbench check` again goes on from there)\n"
    )
    sys.stderr.flush()
    _exit(1)
