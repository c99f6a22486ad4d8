"""`benchmarks/accelerator.py` at tiny scale on the CPU: what it writes, what it keeps, and that time ends a phase."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from commands import ROOT
from spine import spec_of

from fredbench.foundation.errors import UsageError
from fredbench.testing import small_digits


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    found = importlib.util.spec_from_file_location("accelerator", ROOT / "benchmarks" / "accelerator.py")
    module = importlib.util.module_from_spec(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        patch.setitem(sys.modules, "accelerator", module)
        found.loader.exec_module(module)
    return module


def options_of(folder: Path, *phases: str, **changed: Any) -> argparse.Namespace:
    given = {"minutes": 5.0, "device": "cpu", "threads": 1, "scale": "tiny", "whole": False, "data": None}
    return argparse.Namespace(**{**given, **changed}, out=folder, store=folder / "runs", phases=list(phases))


def session_of(benchmark: ModuleType, folder: Path, *phases: str, **changed: Any) -> Any:
    return benchmark.Session(options_of(folder, *phases, **changed))


def written(folder: Path, phase: str) -> dict[str, Any]:
    text = (folder / f"{phase}.json").read_text()
    assert str(folder) not in text and str(ROOT) not in text
    return json.loads(text)


def test_speed_is_measured_of_every_cell_and_kept(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "_MOST_ITERATIONS", 1)
    benchmark.spend(session_of(benchmark, tmp_path, "speed"))
    found = written(tmp_path, "speed")
    assert found["format"] == "fredbench-benchmark" and found["environment"]["commit"] and found["setting"]
    cells = found["iterations"]
    assert cells.keys() == {f"{o} × {s}" for o in ("tm", "dm", "dc") for s in ("fred", "pixels")}
    assert all(cell["seconds"] > 0 and cell["peak_bytes"] > 0 and cell["published"] for cell in cells.values())
    assert [name for name, cell in cells.items() if not cell["plain"].startswith("no plain")] == ["tm × fred"]
    before = (tmp_path / "speed.json").read_bytes()
    benchmark.spend(session_of(benchmark, tmp_path, "speed"))
    assert (tmp_path / "speed.json").read_bytes() == before and "kept" in capsys.readouterr().out


def test_what_another_commit_or_device_wrote_is_not_kept(benchmark: ModuleType, tmp_path: Path) -> None:
    session = session_of(benchmark, tmp_path, "tests")
    session.keep("tests", {"cut_off": False})
    assert session.is_kept("tests")
    for change in ({"commit": "another"}, {"device_name": "another"}):
        other = session_of(benchmark, tmp_path, "tests")
        other.environment = {**other.environment, **change}
        assert not other.is_kept("tests")
    session.keep("tests", {"cut_off": True})
    assert not session.is_kept("tests")


def test_a_run_is_distilled_scored_and_recorded(benchmark: ModuleType, tmp_path: Path) -> None:
    plan = {"scale": "tiny", "whole": False, "experts": 1, "iterations": 2}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    # Cut off before it began: what is missing is said, and the next session goes on.
    benchmark.spend(session_of(benchmark, tmp_path, "run", minutes=1e-6))
    found = written(tmp_path, "run")
    assert found["cut_off"] and not found["distilled"] and found["missing_expert_epochs"] == 1
    benchmark.spend(session_of(benchmark, tmp_path, "run"))
    found = written(tmp_path, "run")
    assert found["format"] == "fredbench-result" and len(found["rows"]) == 3
    row = next(row for row in found["rows"] if not row["start"] and not row["control"])
    assert (row["method"], row["objective"], row["iterations"], row["clean"]["n"]) == ("fred", "tm", 2, 2)
    assert found["runs"][row["run"]]["spec"]["objective"]["experts"] == 1
    assert session_of(benchmark, tmp_path, "run").is_kept("run")
    with pytest.raises(UsageError, match="plans another run"):
        benchmark.planned(session_of(benchmark, tmp_path, "run", whole=True))


def test_the_plan_fits_the_minutes_and_never_passes_what_is_published(benchmark: ModuleType, tmp_path: Path) -> None:
    plans = {}
    for minutes in (0.05, 1e6):
        folder = tmp_path / str(minutes)
        folder.mkdir()
        plans[minutes] = benchmark.planned(session_of(benchmark, folder, "run", minutes=minutes))
        again = benchmark.planned(session_of(benchmark, folder, "run", minutes=1.0))
        assert again == plans[minutes]
    published = plans[0.05]["published"]
    assert {name: plans[1e6][name] for name in published} == published
    assert all(1 <= plans[0.05][name] <= published[name] for name in published)
    assert plans[0.05]["iterations"] < published["iterations"]


def test_a_pair_on_the_device_is_held_against_the_cpu(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = small_digits()
    found = benchmark.side_by_side(spec_of(pictures), pictures, torch.device("cpu"))
    assert found["moved"] > 0 and found["apart"] == 0 and found["waits"] is None
    monkeypatch.setattr(benchmark, "OBJECTIVES", ["dm"])
    monkeypatch.setattr(benchmark, "PARAMETERIZATIONS", ["pixels", "fred"])

    def side_by_side(spec: Any, pictures: Any, device: Any) -> dict[str, Any]:
        if spec.parameterization == "fred":
            raise RuntimeError("no kernel for this")
        return {"moved": 1.0}

    monkeypatch.setattr(benchmark, "side_by_side", side_by_side)
    pairs = benchmark.pairs(session_of(benchmark, tmp_path, "pairs"))["pairs"]
    assert pairs == {"dm × pixels": {"moved": 1.0}, "dm × fred": {"failed": ["no kernel for this"]}}


def test_time_ends_a_command_and_its_children(benchmark: ModuleType, tmp_path: Path) -> None:
    session = session_of(benchmark, tmp_path, "tests")
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(120)'])"
    began = time.monotonic()
    assert session.command(["-c", child], 2.0) == (None, "ended after 2 s")
    assert time.monotonic() - began < 60
    assert session.command(["-c", "print('made')"], 60.0) == (0, "made\n")
    assert session.command(["-c", "raise SystemExit(3)"], 0.0) == (None, "no time was left")


def test_a_phase_has_its_share_and_what_was_left_over(benchmark: ModuleType, tmp_path: Path) -> None:
    session = session_of(benchmark, tmp_path, "tests", "run", minutes=10.0)
    shares = benchmark.SHARES
    assert abs(sum(shares.values()) - 1) < 1e-9
    first = 600 * shares["tests"] / (shares["tests"] + shares["run"])
    assert session.left("tests") == pytest.approx(first, abs=5) and session.left("run") == pytest.approx(600, abs=5)
