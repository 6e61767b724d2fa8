"""A Ray cluster on this machine, and the death of any of its nodes with all its processes."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress

import psutil

from llmbench.runner.process import MARKER

SMALL = {"object_store_memory": 100 << 20}
MARK = "LLMBENCH_TEST_OF_RAY"  # in the environment of all that the cluster and its runs start
END_SECONDS = 60.0  # for processes to end after what they belong to


class Nodes:
    """Some nodes with a core each, and a head with none, to which runs are connected. `last`: the
    node that was added last.
    """

    def __init__(self, count=2, **head):
        """Mark all that this process starts from now on, and start. head: settings of the head."""
        os.environ[MARK] = self.mark = secrets.token_hex(8)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        self.count, self.settings = count, head
        self.start()

    def start(self):
        """Start a cluster, the first or one in place of one that was killed."""
        from ray.cluster_utils import Cluster

        logging.getLogger("ray").setLevel(logging.ERROR)
        head = {"num_cpus": 0, "include_dashboard": False, **self.settings, **SMALL}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.fill()

    @property
    def engine(self):
        """What --engine takes."""
        return f"ray:{self.cluster.address}"

    @property
    def living(self):
        """The nodes with a core whose raylet runs: other processes of a node may outlive it."""
        return [node for node in self.cluster.worker_nodes if is_alive(node)]

    def fill(self):
        """Have as many nodes again as there were."""
        self.cluster.worker_nodes = set(self.living)
        while len(self.cluster.worker_nodes) < self.count:
            self.last = self.cluster.add_node(num_cpus=1, **SMALL)

    def kill(self, node, whole=True):
        """kill -9 of a node's raylet; if `whole`, also of all other processes of the node."""
        kill_all(list_processes(node) if whole else list_processes(node)[:1])
        self.cluster.worker_nodes.discard(node)

    def kill_head(self, whole=True):
        """kill -9 of the head; if `whole`, of all nodes at the same time."""
        nodes = [self.cluster.head_node, *(self.cluster.worker_nodes if whole else ())]
        kill_all([process for node in nodes for process in list_processes(node)])

    def shut_down(self):
        """End what is left of the cluster and of all that was started on it."""
        for node in self.cluster.list_all_nodes():
            node.kill_all_processes(check_alive=False, allow_graceful=False)
        self.cluster.head_node, self.cluster.worker_nodes = None, set()
        psutil.wait_procs(self.list_workers(), timeout=END_SECONDS)

    def list_workers(self):
        """The processes of workers, and of what these have started, on all nodes."""
        return [process for process in psutil.process_iter() if self._is_of_worker(process)]

    def _is_of_worker(self, process):
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            return environment.get(MARK) == self.mark and MARKER in environment
        return False


def list_processes(node):
    """The processes of a node that run, its raylet first."""
    started = node.all_processes.get("raylet", []) + [
        info for name, infos in node.all_processes.items() if name != "raylet" for info in infos
    ]
    found = []
    for info in started:
        with suppress(psutil.Error):
            process = psutil.Process(info.process.pid)
            found += [process, *process.children(recursive=True)]
    return found


def kill_all(processes: Sequence[psutil.Process]):
    """kill -9 of processes, as one loses a machine."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=END_SECONDS)


def is_alive(node):
    """Whether the raylet of a node runs."""
    raylets = node.all_processes.get("raylet", [])
    return bool(raylets) and all(info.process.poll() is None for info in raylets)
