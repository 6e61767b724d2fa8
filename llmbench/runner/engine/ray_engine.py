"""Workers on the machines of a Ray cluster.

Ray starts an agent for each worker and carries what passes between them. The model itself runs in a
plain process, as it does here: Ray is not loaded in it.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from llmbench.errors import UsageError
from llmbench.plan.plan import Options
from llmbench.runner.engine.agent import Agent, describe_machine
from llmbench.runner.engine.engine import Place
from llmbench.runner.engine.remote import Gone, RemoteWorker

START_SECONDS = 120.0  # for an agent to start: a machine that is busy with other work is left alone
LOOK_SECONDS = 120.0  # for machines to say what they are, which imports llmbench there
ANSWER_SECONDS = 10.0  # for the head of a cluster to take a connection
# of Ray, to join a cluster whose head took a connection: each takes 40 seconds, and Ray makes 20
TRIES = "2"
CALL_SECONDS = 600.0  # in a call; a worker reads its job when it has imported what it needs
STORE_BYTES = 256 << 20  # of shared memory of a cluster that is started here; a piece has 8 MiB
CALLS = 4  # of an agent at once: a wait for events, and others meanwhile


@dataclass(frozen=True)
class Needs:
    """What each worker has to itself. cpus: None for all of its machine; memory: bytes, 0 for any
    amount.
    """

    cpus: int | None = None
    gpus: int = 0
    memory: int = 0

    def count_places(self, node: Node) -> int:
        """Return how many workers a machine has room for."""
        cpus = node.cpus if self.cpus is None else self.cpus
        rooms = [
            have // need
            for have, need in (
                (node.cpus, cpus),
                (node.gpus, self.gpus),
                (node.memory, self.memory),
            )
            if need
        ]
        return min(rooms, default=0)

    def __str__(self) -> str:
        parts = [f"{self.cpus or 1} CPUs"]
        parts += [f"{self.gpus} GPUs"] if self.gpus else []
        parts += [f"{self.memory / 1e9:.1f} GB"] if self.memory else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Node:
    """A machine of a cluster. `memory`: in bytes, that Ray gives to work."""

    id: str
    machine: str
    cpus: int
    gpus: int
    memory: int

    def __str__(self) -> str:
        return f"{self.machine} has {self.cpus} CPUs, {self.gpus} GPUs, {self.memory / 1e9:.1f} GB"


class RayEngine:
    """Starts workers on a cluster. `refused`: machines that no worker is started on -> why."""

    def __init__(self, ray: Any, needs: Needs, is_own: bool = False):
        """`ray`: the module, connected to a cluster; `is_own`: `close` takes leave of that.

        Raises UsageError if no machine can have a worker.
        """
        self._ray, self._needs, self._is_own = ray, needs, is_own
        self._nodes: dict[str, Node] = {}
        self._others: set[str] = set()  # ids of machines with other versions
        self._lock = threading.RLock()
        self.refused: dict[str, str] = {}
        found = self._list_nodes()
        if not any(map(needs.count_places, found)):
            raise UsageError(
                f"no machine of the cluster has room for a worker ({needs}): "
                + "; ".join(map(str, found)),
                hint="give each worker less: --threads, or fewer GPUs or less memory",
            )
        self._add(found)
        if not self.places:
            whys = [f"{name}: {why}" for name, why in self.refused.items()]
            raise UsageError(
                "no machine of the cluster can have a worker: " + "; ".join(whys),
                hint="install the same Python, llmbench and libraries on all of them",
            )

    @classmethod
    def connect(
        cls, address: str | None, threads: int | None = None, *, gpus: int = 0, memory: int = 0
    ) -> RayEngine:
        """Connect to a cluster.

        Args:
            address: HOST:PORT from a machine of the cluster, ray://HOST:PORT from any other; None
                for the cluster that this machine is part of, or else for one of this machine alone.
            threads: of each worker; None for all cores of its machine.
            gpus: of each worker.
            memory: bytes of each worker, which Ray counts and does not enforce.

        Raises UsageError if Ray is not installed, if there is no such cluster, or if its machines
        have no room or other versions.
        """
        ray = load_ray()
        is_own = not ray.is_initialized()
        if is_own:
            join_cluster(ray, address)
        try:
            return cls(ray, Needs(threads, gpus, memory), is_own)
        except BaseException:
            if is_own:
                ray.shutdown()
            raise

    @property
    def places(self) -> Sequence[Place]:
        """Where workers can be started now."""
        with self._lock:
            return [
                Place(node.machine, number, memory=node.memory)
                for node in self._nodes.values()
                for number in range(self._needs.count_places(node))
            ]

    def refresh(self) -> None:
        """Look for machines that came, came back or went."""
        try:
            found = self._list_nodes()
        except Exception:  # Ray raises what it likes when the head of a cluster is gone
            found = []
        with self._lock:
            alive = {node.id for node in found}
            self._nodes = {id: node for id, node in self._nodes.items() if id in alive}
        self._add([n for n in found if n.id not in self._nodes and n.id not in self._others])

    def measure(self, place: Place) -> int:
        """Return 0: nobody is asked."""
        return 0

    def start(
        self, place: Place, log: Path, options: Options, modules: Sequence[str] = ()
    ) -> RemoteWorker:
        """Start a worker in a place. Raises OSError if its machine is gone or busy with other
        work.
        """
        node = self._find(place)
        cpus = node.cpus if self._needs.cpus is None else self._needs.cpus
        slim = replace(options, models=(), named={}, threads=cpus)
        wanted: dict[str, Any] = {
            "num_cpus": cpus,
            "num_gpus": self._needs.gpus,
            **({"memory": self._needs.memory} if self._needs.memory else {}),
            "max_concurrency": CALLS,
            "max_restarts": 0,
            "scheduling_strategy": self._bind(node),
        }
        actor = self._ray.remote(Agent).options(**wanted)
        name = f"{log.parent.name}/{log.name}"
        agent = actor.remote(name, slim, tuple(modules), Path.cwd(), not self._needs.gpus)
        link = RayLink(self, node, agent)
        try:
            link.call("find_folder", timeout=START_SECONDS)
        except Gone:
            self.drop(node, at_once=True)
            link.close()
            raise
        return RemoteWorker(link, log)

    def close(self) -> None:
        """Take leave of the cluster; one that was started for this run ends."""
        if self._is_own:
            self._ray.shutdown()
        self._is_own = False  # once: what is connected to later is another's

    def drop(self, node: Node, at_once: bool) -> None:
        """Start nothing on a machine any more, if it is gone. at_once: without asking Ray."""
        if not at_once:
            with suppress(Exception):  # it is asked of a cluster that may be gone as a whole
                at_once = node.id not in {found.id for found in self._list_nodes()}
        if at_once:
            with self._lock:
                self._nodes.pop(node.id, None)

    def get(self, waited: Any, timeout: float) -> Any:
        """Return what a call gives; see ray.get."""
        return self._ray.get(waited, timeout=timeout)

    def end(self, actor: Any) -> None:
        """End an actor."""
        with suppress(Exception):  # it has ended, or the cluster has
            self._ray.kill(actor, no_restart=True)

    def _find(self, place: Place) -> Node:
        with self._lock:
            for node in self._nodes.values():
                if node.machine == place.machine:
                    return node
        raise Gone(f"the machine {place.machine} is not in the cluster any more")

    def _bind(self, node: Node) -> Any:
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        return strategies.NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)

    def _list_nodes(self) -> list[Node]:
        """The machines of the cluster. Those with the same name are told apart by their ids."""
        rows = sorted(
            (row for row in self._ray.nodes() if row["Alive"]),
            key=lambda row: (row["NodeManagerHostname"], row["NodeID"]),
        )
        names = [str(row["NodeManagerHostname"]) for row in rows]
        return [
            Node(
                row["NodeID"],
                name if names.count(name) == 1 else f"{name}-{row['NodeID'][:6]}",
                int(row["Resources"].get("CPU", 0)),
                int(row["Resources"].get("GPU", 0)),
                int(row["Resources"].get("memory", 0)),
            )
            for row, name in zip(rows, names, strict=True)
        ]

    def _add(self, nodes: Sequence[Node]) -> None:
        """Add machines with room, if what is installed there is what is installed here."""
        nodes = [node for node in nodes if self._needs.count_places(node)]
        here, task = describe_machine(), self._ray.remote(describe_machine)
        asked = {
            task.options(
                num_cpus=0, max_retries=0, scheduling_strategy=self._bind(node)
            ).remote(): node
            for node in nodes
        }
        if asked:
            self._ray.wait(list(asked), num_returns=len(asked), timeout=LOOK_SECONDS)
        for answer, node in asked.items():
            try:
                why = compare(here, self._ray.get(answer, timeout=0.1))
                self._others |= {node.id} if why else set()
            except (
                Exception
            ) as error:  # llmbench is not there, or does not import, or nobody answers
                why = f"llmbench does not start there: {_say(error)}"
            with self._lock:
                self.refused.pop(node.machine, None)
                if why:
                    self.refused[node.machine] = why
                else:
                    self._nodes[node.id] = node


class RayLink:
    """The way to an agent that is an actor of a cluster; see remote.Link."""

    def __init__(self, engine: RayEngine, node: Node, actor: Any):
        self.machine = node.machine
        self._engine, self._node, self._actor = engine, node, actor

    def call(self, method: str, *arguments: object, timeout: float | None = None) -> Any:
        errors = importlib.import_module("ray.exceptions")
        try:
            waited = attrgetter(method)(self._actor).remote(*arguments)
            return self._engine.get(waited, timeout or CALL_SECONDS)
        except errors.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, OSError | ValueError) else error from None
        except errors.GetTimeoutError:
            self._engine.drop(self._node, at_once=True)
            raise Gone("it does not answer") from None
        except (errors.RayError, ConnectionError) as error:
            unsure = isinstance(error, errors.ActorUnavailableError)
            self._engine.drop(self._node, at_once=unsure)
            if isinstance(error, errors.OutOfMemoryError) or "low on memory" in str(error):
                raise Gone("Ray ended a worker because memory ran out", "out_of_memory") from None
            raise Gone(_say(error)) from None

    def close(self) -> None:
        self._engine.end(self._actor)


def load_ray() -> Any:
    """Return the module. Raises UsageError if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", TRIES)
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UsageError(
            f"a Ray cluster needs Ray: {error}", hint="pip install 'llmbench[ray]'"
        ) from None


def join_cluster(ray: Any, address: str | None) -> None:
    """Connect this process to a cluster. Raises UsageError if there is no such cluster."""
    silence(address)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is not None:
            knock(address)
        try:
            ray.init(address=address or "auto", **quiet)
        except ConnectionError:
            if address is not None:
                raise
            ray.init(
                address="local", include_dashboard=False, object_store_memory=STORE_BYTES, **quiet
            )
    except Exception as error:  # Ray raises what it likes
        raise UsageError(
            f"no cluster answers: {_say(error)}",
            where=address or "ray",
            hint="on a machine of the cluster: HOST:6379; on another one: ray://HOST:10001",
        ) from None


def knock(address: str) -> None:
    """Raise OSError unless somebody takes connections at an address, such as ray://HOST:PORT."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    socket.create_connection((host, int(port)), ANSWER_SECONDS).close()


def silence(address: str | None) -> None:
    """Keep off the terminal what Ray prints whatever it is told: of machines that die, on stdout,
    where results go.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    inner: Any = importlib.import_module("ray._private.worker")
    inner.print_to_stdstream = ignore
    if (address or "").startswith("ray://"):
        with suppress(ImportError, AttributeError):  # no name that Ray promises
            logs: Any = importlib.import_module("ray.util.client.logsclient")
            logs.LogstreamClient.stdstream = ignore


def ignore(*_: object, **__: object) -> None:
    """Do nothing."""


def compare(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Return what is not the same on two machines, in words; "" if all is."""
    odd = [name for name, version in here.items() if there.get(name) != version]
    if not odd:
        return ""
    if odd == ["the code of llmbench"]:
        return "it has other code of llmbench"
    return f"it has {odd[0]} {there.get(odd[0])}, and this machine {here[odd[0]]}"


def _say(error: BaseException) -> str:
    """The line of an error that says why: Ray writes a page, with the cause at its end or before
    what follows from it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = [line for line in lines if " because " in line] or lines[-1:]
    return (why[0] if why else type(error).__name__)[:300]
