"""What is decided before Ray is asked for anything: what fits on which nodes, and who answers at an address."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fredbench.execution import on_ray
from fredbench.execution.on_ray import OnRay, fitting, unmet
from fredbench.execution.request import GridRequest
from fredbench.foundation.errors import ResourceError, StorageError, UsageError
from fredbench.suites.grids import Resources

SMALL, LARGE = {"CPU": 4.0, "memory": 8e9}, {"CPU": 16.0, "GPU": 2.0, "memory": 64e9}


@pytest.mark.parametrize(("wanted", "fit"), [
    ({"CPU": 1.0}, 20), ({"CPU": 3.0}, 6), ({"CPU": 17.0}, 0), ({"CPU": 1.0, "GPU": 1.0}, 2),
    ({"CPU": 1.0, "GPU": 0.5}, 4), ({"CPU": 1.0, "GPU": 3.0}, 0), ({"CPU": 2.0, "memory": 16e9}, 4),
    ({"CPU": 8.0, "GPU": 0.1}, 2),
])  # fmt: skip
def test_a_task_fits_on_one_node_as_a_whole(wanted: dict[str, float], fit: int) -> None:
    assert fitting([SMALL, LARGE], wanted) == fit
    assert fitting([], wanted) == 0


def test_what_no_node_has_is_said_with_what_there_is() -> None:
    problem = unmet([SMALL, LARGE], {"CPU": 2.0, "GPU": 4.0, "memory": 5e9})
    assert "2 CPU (of 16 CPU), 4 GPU (of 2 GPU), 5.0 GB of memory (of 64.0 GB of memory)" in problem.message
    assert "[resources]" in problem.hint


class NoRay(SimpleNamespace):
    """Ray as it must not be used."""

    def init(self, **options: Any) -> None:
        raise AssertionError("a cluster was asked for")

    def shutdown(self) -> None:
        pass


def test_what_this_machine_lacks_is_refused_before_a_cluster_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(on_ray, "_ray", NoRay)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    request = GridRequest("smoke", str(tmp_path), threads=1)
    with pytest.raises(ResourceError, match=r"1 GPU \(of 0 GPU\)"):
        OnRay(request, Resources(num_gpus=1.0), address=None, workers=None)
    with pytest.raises(ResourceError, match="9999 CPU"):
        OnRay(GridRequest("smoke", str(tmp_path), threads=9999), Resources(), address="local", workers=None)
    assert list(tmp_path.iterdir()) == []


def test_nobody_at_an_address_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray itself asks for 14 minutes."""
    monkeypatch.setattr(on_ray, "_ray", NoRay)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setattr(on_ray, "_outer", lambda ray, host: host)
        with pytest.raises(UsageError, match=f"cannot join the Ray cluster at {address}") as caught:
            OnRay(GridRequest("smoke", str(tmp_path), threads=1), Resources(), address=address, workers=None)
    assert "ray start --head" in caught.value.hint


def test_a_machine_that_does_not_see_the_store_or_computes_otherwise_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lock"
    file.write_text("mine")
    seen = {"file": str(file), "text": "mine", "versions": on_ray._versions(), "processor": on_ray._processor()}
    on_ray._check_place(seen)
    assert capsys.readouterr().err == ""
    for text in ("another's", None):
        with pytest.raises(StorageError, match="does not see the store"):
            on_ray._check_place({**seen, "text": text} if text else {**seen, "file": str(tmp_path / "none")})
    with pytest.raises(UsageError, match=f"python {sys.version.split()[0]}"):
        on_ray._check_place({**seen, "versions": "torch 1.0"})
    for _ in range(2):
        on_ray._check_place({**seen, "processor": "the instructions SSE"})
    assert capsys.readouterr().err.count("may differ in its last bits") == 1
