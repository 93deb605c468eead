"""A real Ray cluster of two nodes on this machine, the second of which can be killed and replaced."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 3, "object_store_memory": 200 * 2**20}
"""Room for both image generators and a labeller on either node."""


class TwoNodes:
    """Used as a context. The first node stays: with it the cluster would go."""

    def __init__(self) -> None:
        self._cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        self.mend()

    def __enter__(self) -> TwoNodes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.shutdown()

    @property
    def address(self) -> str:
        """Where drivers find the cluster."""
        return str(self._cluster.address)

    def mend(self) -> None:
        """Gives the cluster its second node, where it has none."""
        if not self._cluster.worker_nodes:
            self._cluster.add_node(**NODE)
            self._cluster.wait_for_nodes()

    def kill_node(self) -> None:
        """SIGKILL to all processes of the second node."""
        for node in list(self._cluster.worker_nodes):
            self._cluster.remove_node(node, allow_graceful=False)

    def actors(self) -> list[int]:
        """The processes in which Ray runs actors of a driver; Ray names them ``ray::`` and the actor's class."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    command, parent = (entry / "cmdline").read_bytes(), (entry / "stat").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                is_ours = int(parent.rpartition(")")[2].split()[1]) in self._raylets()
                if command.startswith(b"ray::") and b"IDLE" not in command and is_ours:
                    found.append(int(entry.name))
        return found

    def _raylets(self) -> set[int]:
        nodes = [self._cluster.head_node, *self._cluster.worker_nodes]
        return {started.process.pid for node in nodes for started in node.all_processes["raylet"]}
