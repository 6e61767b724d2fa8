"""What the engine uses of Ray, in this process: machines that are told what to be."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

from llmbench.runner.engine import ray_engine


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        self.cause = cause


class RayActorError(RayError):
    pass


class ActorUnavailableError(RayActorError):
    pass


class OutOfMemoryError(RayError):
    pass


class GetTimeoutError(RayError, TimeoutError):
    pass


ERRORS = (
    RayError,
    OutOfMemoryError,
    RayTaskError,
    RayActorError,
    ActorUnavailableError,
    GetTimeoutError,
)


def describe_node(id, cpus=2, gpus=0, memory=8 << 30, name=""):
    """A machine, as ray.nodes() tells of it."""
    return {
        "NodeID": id,
        "Alive": True,
        "NodeManagerHostname": name or id,
        "Resources": {"CPU": float(cpus), "GPU": float(gpus), "memory": float(memory)},
    }


class FakeRay(ModuleType):
    """rows: of ray.nodes(). answers: node's id -> what its machine is, or an error. actors: those
    that were made. says: what a new actor says.
    """

    def __init__(self, *rows, here):
        super().__init__("ray")
        self.rows, self.here, self.answers, self.actors = list(rows), here, {}, []
        self.begun, self.killed, self.refuses = [], [], None
        self.is_up, self.says = False, {}

    def install(self, monkeypatch):
        inner = ModuleType("ray._private.worker")
        inner.print_to_stdstream = print
        errors = ModuleType("ray.exceptions")
        vars(errors).update({error.__name__: error for error in ERRORS})
        strategies = ModuleType("ray.util.scheduling_strategies")
        strategies.NodeAffinitySchedulingStrategy = lambda node_id, soft: node_id
        modules = {
            "ray": self,
            "ray.exceptions": errors,
            "ray._private": ModuleType("ray._private"),
            "ray._private.worker": inner,
            "ray.util": ModuleType("ray.util"),
            "ray.util.scheduling_strategies": strategies,
        }
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(ray_engine, "knock", lambda address: None)
        return self

    def is_initialized(self):
        return self.is_up

    def init(self, address=None, **options):
        self.begun.append(address)
        if self.refuses is not None and address in self.refuses:
            raise self.refuses[address]
        self.is_up = True

    def shutdown(self):
        self.is_up = False

    def nodes(self):
        return self.rows

    def remote(self, thing):
        return SimpleNamespace(options=lambda **options: _Made(self, thing, options))

    def wait(self, waited, num_returns, timeout):
        return waited, []

    def get(self, waited, timeout=None):
        found = waited()
        if isinstance(found, BaseException):
            raise found
        return found

    def kill(self, actor, no_restart):
        self.killed.append(actor)


class _Made:
    def __init__(self, ray, thing, options):
        self._ray, self._thing, self._options = ray, thing, options

    def remote(self, *arguments):
        node = self._options["scheduling_strategy"]
        if not isinstance(self._thing, type):
            return lambda: self._ray.answers.get(node, self._ray.here)
        actor = FakeActor(node, arguments, self._options, self._ray.says)
        self._ray.actors.append(actor)
        return actor


class FakeActor:
    """An agent. says: what each of its methods gives, or raises."""

    def __init__(self, node, arguments, options, says):
        self.node, self.arguments, self.options = node, arguments, options
        self.says = dict(says)

    def __getattr__(self, method):
        return SimpleNamespace(remote=lambda *arguments: lambda: self.says.get(method, "/scratch"))
