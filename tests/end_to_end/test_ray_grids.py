"""Grids on a Ray cluster of two nodes: the bytes of one process, whoever is lost on the way.

They need the extra `ray`, and no network. What takes time is a fresh process for each set that is made, so whoever
loses something begins with half of the grid there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from commands import Child
from ray_cluster import VARIABLES, RayCluster
from shared_grid import (
    Group,
    check_equal,
    end_all,
    kill_a_worker,
    killed_and_run_again,
    made_again,
    stopped_worker,
    write_grid,
)

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (pip install 'fredbench[ray]')"),
    pytest.mark.skipif(sys.platform != "linux", reason="two nodes on one machine need the addresses of Linux"),
]


@pytest.fixture(scope="module")
def kept_cluster() -> Iterator[RayCluster]:
    cluster = RayCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(kept_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    """Both of its nodes are there, whatever a test before did to one; no command of a test lives on."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    kept_cluster.ask("add")
    yield kept_cluster
    end_all()


def on(cluster: RayCluster) -> tuple[str, ...]:
    return "--executor", "ray", "--address", cluster.address


def test_two_nodes_make_what_one_process_makes(moments: Path, alone: Any, cluster: RayCluster, tmp_path: Path) -> None:
    run = Group(moments, tmp_path / "runs", tmp_path / "log", *on(cluster))
    check_equal(tmp_path / "runs", alone, run.rows())


def test_a_killed_worker_is_made_good(
    moments: Path, alone: Any, begun: Path, cluster: RayCluster, tmp_path: Path
) -> None:
    run = Group(moments, begun, tmp_path / "log", *on(cluster))
    kill_a_worker(begun, run, cluster.nodes[0])
    check_equal(begun, alone, run.rows())


def test_a_lost_node_is_made_good(moments: Path, alone: Any, begun: Path, cluster: RayCluster, tmp_path: Path) -> None:
    """With what it is in the middle of, as a machine that loses its power."""
    run = Group(moments, begun, tmp_path / "log", *on(cluster))
    worker = stopped_worker(begun, run, cluster.nodes[1])
    cluster.ask("remove")
    os.kill(worker, signal.SIGKILL)
    made_again(run)
    check_equal(begun, alone, run.rows())


def test_a_killed_command_goes_on_when_it_is_given_again(
    moments: Path, alone: Any, begun: Path, cluster: RayCluster, tmp_path: Path
) -> None:
    killed_and_run_again(moments, alone, begun.parent, 1, 0, *on(cluster))


def test_an_interrupt_leaves_no_lock(moments: Path, begun: Path, cluster: RayCluster, tmp_path: Path) -> None:
    run = Group(moments, begun, tmp_path / "log", *on(cluster))
    os.kill(stopped_worker(begun, run, cluster.nodes[0]), signal.SIGCONT)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.process.wait(60) == 130, run.said()
    assert not list(begun.rglob("*.lock"))


def test_a_device_that_no_node_has_is_refused(moments: Path, cluster: RayCluster, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text((moments.parent / "two.toml").read_text())
    grid = write_grid(tmp_path, tmp_path / "two.toml", resources={"num_gpus": 1})
    seconds = []
    for attempt in range(3):  # that the machine is busy with something else is no matter of ours
        began = time.monotonic()
        command = ("suite", "run", grid, "--store", tmp_path / "runs", "--threads", 1, "--offline", *on(cluster))
        asked = Child(tmp_path / f"scratch-{attempt}", *command)
        code = asked.outcome().code
        seconds.append(time.monotonic() - began)
        lines = asked.errors().splitlines()
        assert code == 2 and "no node of the cluster ever has what one task asks for" in lines[-2], asked.errors()
        assert "1 GPU (of 0 GPU)" in lines[-2] and lines[-1].startswith("hint: ask for less")
        assert not list((tmp_path / "runs").rglob("*.*"))
        if min(seconds) < 10:
            return
    raise AssertionError(f"refused after {seconds} s")
