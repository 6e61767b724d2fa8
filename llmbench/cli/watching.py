"""A command that loads a model does so in a child process. If native code kills that, as by a
segmentation fault, the program says so in one line.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import click

from llmbench import system
from llmbench.errors import ModelError

WATCHED = ("score", "generate", "check", "judge")  # a run has workers of its own
CAUSES: dict[int, str] = {
    -system.KILLED: "perhaps by the OOM killer: use a smaller model or a shorter context",
    signal.SIGILL: "its engine was built for another processor: build it on this one",
}
FAULT = "a fault of its engine: run it in a suite, in which other models go on"


def watch(arguments: Sequence[str], group: click.Group) -> int | None:
    """Return None in the process that is to run the command, and its exit code in the one that
    waits for it. Only Linux can watch; elsewhere the command runs in this process.

    Raises ModelError, in the process that waits, if a signal killed the other one.
    """
    if sys.platform != "linux" or not arguments or arguments[0] not in WATCHED:
        return None
    waited = {*system.ENDING, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    parent, child = os.getpid(), os.fork()
    if child:
        return _wait(child, waited, arguments, group)
    system.end_with_parent()
    if os.getppid() != parent:  # it died before that
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return None


def _wait(
    child: int, waited: set[signal.Signals], arguments: Sequence[str], group: click.Group
) -> int:
    """Wait for the child, and send it what is sent to this process alone."""
    sent = set[int]()
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        found = signal.sigwaitinfo(waited)
        is_of_a_terminal = found.si_code > 0  # which the child gets, too
        if found.si_signo != signal.SIGCHLD and not is_of_a_terminal:
            os.kill(child, found.si_signo)
        sent.add(found.si_signo)
    code = os.waitstatus_to_exitcode(ended[1])
    if code >= 0:
        return code
    if -code in sent:
        return 128 - code
    raise _describe_death(-code, arguments, group)


def _describe_death(number: int, arguments: Sequence[str], group: click.Group) -> ModelError:
    command = group.commands[arguments[0]]
    # what is wrong with the arguments the child has said
    spec = command.make_context(
        arguments[0], list(arguments[1:]), resilient_parsing=True
    ).params.get("spec")
    return ModelError(
        f"the model's process was killed by the signal {_name(number)}",
        where=str(spec or arguments[0]),
        hint=CAUSES.get(number, FAULT),
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)
