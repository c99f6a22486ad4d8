"""A Ray cluster of nodes on this machine, kept by a process of its own: Ray changes signals and group of its starter.

Run as a program, it keeps the cluster: it answers each line of stdin with where the cluster is, and ends with stdin.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from commands import environment

VARIABLES = {
    "RAY_AUTH_MODE": "disabled",  # else Ray leaves a token in the home folder
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_memory_monitor_refresh_ms": "0",  # what else this machine does is no reason to end a task
    "RAY_worker_niceness": "0",  # 15 by default: beside anything else, workers hardly run
}
_OBJECT_STORE = 80 * 2**20


class RayCluster:
    """A head and a second node, of one processor each; `nodes`: process numbers of their raylets.

    The addresses are such as only this machine sees, and not 127.0.0.1, which Ray takes for the machine's outer one.
    Everything of it lies in a short folder of its own: a socket's path has an end at about 100 letters.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "log"
        with open(self._log, "w") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env=environment({**VARIABLES, "RAY_TMPDIR": self._folder.name, "HOME": self._folder.name}),
            )  # fmt: skip
        self.address, self.nodes = "", list[int]()
        self.ask("add")

    def ask(self, line: str) -> None:
        """`add` the second node where it lacks, or `remove` it, as a machine that loses its power."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self._log.read_text()
        found = json.loads(answer)
        self.address, self.nodes = found["address"], found["nodes"]

    def close(self) -> None:
        """End all of it."""
        self._process.communicate(timeout=120)
        self._folder.cleanup()


def _kept() -> None:
    from ray.cluster_utils import Cluster

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": _OBJECT_STORE}
    head = {**node, "node_ip_address": "127.0.0.2", "include_dashboard": False}
    try:
        cluster = Cluster(True, head_node_args=head)
    except Exception as error:  # noqa: BLE001 - Ray has no class for it: on a busy machine a raylet may be late
        print(f"the head is started once more: {error}", file=sys.stderr)
        cluster = Cluster(True, head_node_args=head)
    try:
        for line in sys.stdin:
            if line == "add\n" and not cluster.worker_nodes:
                cluster.add_node(**node, node_ip_address="127.0.0.3")
            elif line == "remove\n":
                cluster.remove_node(*cluster.worker_nodes, allow_graceful=False)
            raylets = [each.all_processes["raylet"][0].process.pid for each in cluster.list_all_nodes()]
            answers.write(json.dumps({"address": cluster.address, "nodes": raylets}) + "\n")
            answers.flush()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    _kept()
