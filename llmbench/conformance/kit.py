"""Proof that an adapter tells the truth: runs the checks, and says which certificate they earn.

A1: the ledger is consistent. A2: probabilities are normalised and do not look ahead. A3: a sample
is coded with the model's probabilities and decoded from them alone. A certificate is earned by
checks that passed, never by ones that raised, ran out of time or were skipped.

In a project's own tests:

    @conformance(MyModel, expected_failures={"greedy": "it samples on purpose"})
    def test_my_model(check):
        check()
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypedDict

from llmbench import limits, system
from llmbench.adapter import Adapter, Progress
from llmbench.conformance.certificates import LEVELS, CertificateRow, ProofRow, Proven, version
from llmbench.conformance.check import Check, Failed, Skip, Subject
from llmbench.conformance.checks import (
    context,
    decoding,
    generation,
    isolation,
    ledger,
    noise,
    probability,
    reproducibility,
    source,
)
from llmbench.errors import (
    Exit,
    OutOfMemory,
    Unavailable,
    Unsupported,
    UsageError,
    describe_exit,
    did_you_mean,
    drop_folders,
    hold_exits,
    is_out_of_memory,
)

CHECKS: tuple[Check, ...] = (
    *ledger.CHECKS,
    *isolation.CHECKS,
    *probability.CHECKS,
    *context.CHECKS,
    *source.CHECKS,
    *generation.CHECKS,
    *reproducibility.CHECKS,
    *noise.CHECKS,
    *decoding.CHECKS,
)
NOISE = "engine-noise"
SAMPLED = tuple(check.name for check in CHECKS if (check.earns or check.bars) in ("A1", "A2"))
BUSY = "a busy machine, or a hang; it proves nothing: try again, or give a larger --timeout"
AGAIN = "a busy machine, a slow model, or a hang: run again, and it goes on with this check"
SLOW = "a slow model, or a busy machine; it proves nothing: run again, and it goes on from here"
GOES_ON = (BUSY, SLOW)  # what another run may answer
LARGE = "a large model; it proves nothing: give a larger --timeout"

WORDS = {
    "passed": "passed",
    "skipped": "is skipped",
    "error": "raised",
    "timeout": "ran out of time",
}
State = Literal["passed", "failed", "error", "timeout", "skipped"]


@dataclass(frozen=True)
class Result:
    """What came of a check. `tried`: what it tried, where it passed; `sent`, `came`, `cause`: see
    checks.Failed; `reason`: why it was skipped.
    """

    name: str
    rule: str
    state: State
    seconds: float
    tried: str = ""
    sent: str = ""
    came: str = ""
    cause: str = ""
    reason: str = ""
    # a skip where the adapter would not, or an error that is the machine's: it proves nothing
    # either way
    refused: bool = False
    measured: float | None = None  # a number that came of it

    @property
    def is_answer(self) -> bool:
        """Whether asking again would say the same: it is neither late nor refused."""
        return self.state != "timeout" and not self.refused

    @property
    def bad(self) -> bool:
        return self.state in ("failed", "error", "timeout")


class Report(TypedDict):
    """What `llmbench check --json` prints. `checks`: a mapping for each Result."""

    model: str
    fingerprint: str
    checks: list[Mapping[str, object]]
    certificate: CertificateRow


class Late(BaseException):
    """A check took too long. No Exception, so that no `except Exception` in a model swallows it."""


def find_checks(names: Sequence[str]) -> list[Check]:
    """Checks by name; UsageError for a name that there is not."""
    known = {check.name: check for check in CHECKS}
    for name in names:
        if name not in known:
            raise UsageError(f"there is no check {name!r}", hint=did_you_mean(name, known))
    return [check for check in CHECKS if check.name in names]


def run(
    subject: Subject, checks: Sequence[Check] = CHECKS, timeout: float = limits.CHECK_SECONDS
) -> Iterator[Result]:
    """Yield the result of each check as soon as it is known. Nothing that an adapter does ends
    this, but Ctrl-C does. `timeout`: seconds for each check.
    """
    for check in checks:
        begun = time.perf_counter()
        result = _run_check(check, subject, timeout)
        yield replace(result, seconds=time.perf_counter() - begun)


def sample(
    adapter: Adapter,
    timeout: float,
    report: Progress,
    before: Mapping[str, Result] | None = None,
    keep: Callable[[Sequence[Result]], None] = lambda results: None,
) -> list[Result]:
    """What a run proves of a model, on smaller samples.

    report: told each check before it.
    before: what an earlier proof of the same weights found, by check.
    keep: given what is known after each check.

    Checks that had to wait for too long, whatever the model did meanwhile, are not begun: they ran
    out of time, and the next proof goes on with them.
    """
    checks, known = find_checks(SAMPLED), before or {}
    subject = Subject(adapter, thorough=False)
    results: list[Result] = []
    begun = time.monotonic()
    for check in checks:
        report("checking", len(results) / len(checks), check.name)
        if check.name in known:
            results.append(known[check.name])
        elif time.monotonic() - begun > limits.PROOF_WALL_SECONDS:
            results.append(_leave_for_later(check))
        else:
            results += run(subject, [check], timeout)
        keep(results)
    return results


def _leave_for_later(check: Check) -> Result:
    came = f"not begun: the checks before it took more than {limits.PROOF_WALL_SECONDS:g} s"
    return Result(check.name, check.rule, "timeout", 0.0, came=came, cause=SLOW)


def _run_check(check: Check, subject: Subject, timeout: float) -> Result:
    """The result of one check, its seconds not yet filled in."""
    passed = Result(check.name, check.rule, "passed", 0.0)
    begun, worked = time.perf_counter(), time.process_time()
    try:
        with hold_exits(), system.raise_after(timeout, Late):
            if subject.obstacle:
                return _tell_obstacle(passed, subject)
            tried = check.function(subject)
        if time.perf_counter() - begun > timeout:  # the alarm was swallowed, or there was none
            raise Late
        return replace(passed, tried=str(tried), measured=getattr(tried, "value", None))
    except Skip as skip:
        return replace(passed, state="skipped", reason=str(skip), refused=skip.refused)
    except Unsupported as error:
        return replace(passed, state="skipped", reason=f"refused: {error}", refused=True)
    except Failed as error:
        return replace(passed, state="failed", sent=error.sent, came=error.came, cause=error.cause)
    except Late:
        seconds = time.process_time() - worked
        came = f"no answer within {timeout:g} s, in {seconds:.0f} s of processor time"
        cause = BUSY if seconds < timeout / 2 else LARGE
        return replace(passed, state="timeout", came=came, cause=cause)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit in an adapter, too
        frame = traceback.extract_tb(error.__traceback__)[-2 if isinstance(error, Exit) else -1]
        said = describe_exit(error) or f"{type(error).__name__}: {error}"
        came = f"{said} ({frame.filename}:{frame.lineno})"
        machine = is_out_of_memory(error) or isinstance(error, OutOfMemory | Unavailable)
        return replace(
            passed,
            state="error",
            came=" ".join(came.split()),
            cause="this machine, not the adapter"
            if machine
            else "the adapter raised where it should answer",
            refused=machine,
        )


def _tell_obstacle(result: Result, subject: Subject) -> Result:
    """What keeps every check from being run, told with the first of them; it proves nothing."""
    if subject.told:
        return replace(result, state="skipped", reason="as above", refused=True)
    subject.told = True
    cause = "the model is not ready to be checked"
    return replace(result, state="error", came=subject.obstacle, cause=cause, refused=True)


def certificate(results: Sequence[Result], fingerprint: str, device: str = "cpu") -> CertificateRow:
    """What the results prove, as the record has it: for each level its state, why, what was tried
    and how long that took.

    earned: the checks that it needs passed, and so did those of the levels below; none that bars it
    failed, or was refused an answer. refused: a check failed or raised. not tested: a check was
    skipped, ran out of time or of memory, or was not run.
    """
    found = {result.name: result for result in results}
    levels: dict[str, ProofRow] = {}
    below: Proven = "earned"
    for level in LEVELS:
        needs = [check.name for check in CHECKS if check.earns == level]
        bars = [check.name for check in CHECKS if check.bars == level]
        asked = [found[name] for name in (*needs, *bars) if name in found]
        state, why = _judge(level, below, needs, bars, found)
        levels[level] = {
            "state": state,
            "why": drop_folders(why)[:500],
            "tried": [f"{one.name}: {one.tried}" for one in asked if one.state == "passed"],
            "seconds": round(sum(one.seconds for one in asked), 3),
        }
        below = state
    measured = found[NOISE].measured if NOISE in found else None
    return {
        "version": version(),
        "fingerprint": fingerprint,
        "device": device,
        "levels": levels,
        "noise": measured or 0.0,
    }


def _judge(
    level: str,
    below: Proven,
    needs: Sequence[str],
    bars: Sequence[str],
    found: Mapping[str, Result],
) -> tuple[Proven, str]:
    """The state of a level, and why it is not earned. `below`: the state of the level below;
    `needs`, `bars`: the checks that must pass, and that must not fail; `found`: results by check.
    """
    asked = [found[name] for name in (*needs, *bars) if name in found]
    lower = LEVELS[LEVELS.index(level) - 1]
    for result in asked:
        if result.state in ("failed", "error") and not result.refused:
            return "refused", f"{result.name}: {result.came}"
    if below == "refused":
        return "refused", f"{lower} is refused"
    for name in (*needs, *bars):
        if name not in found:
            return "not tested", f"{name}: not run"
    unproven = [found[name] for name in needs if found[name].state == "skipped"]
    unproven += [result for result in asked if result.state == "timeout" or result.refused]
    for result in unproven:
        again = f" ({AGAIN})" if result.cause in GOES_ON else ""
        return "not tested", f"{result.name}: {result.reason or result.came}{again}"
    return below, "" if below == "earned" else f"{lower} is not tested"


def report(results: Sequence[Result], fingerprint: str, model: str, device: str = "cpu") -> Report:
    """What `llmbench check --json` prints."""
    proven = certificate(results, fingerprint, device)
    return {
        "model": model,
        "fingerprint": fingerprint,
        "checks": [asdict(r) for r in results],
        "certificate": proven,
    }


def words(result: Result) -> str:
    """A failure in lines."""
    lines = [
        f"{result.name}: {result.rule}",
        f"  sent: {result.sent}",
        f"  came: {result.came}",
        f"  likely cause: {result.cause}",
    ]
    return "\n".join(line for line in lines if not line.endswith(": "))
