from __future__ import annotations

import json
import shutil
import tomllib
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from commands import ROOT, invoke

from fredbench.cli import diagnosis
from fredbench.datasets import DATASETS
from fredbench.foundation.device import multiplies_bfloat16
from fredbench.foundation.environment import FLOORS, PACKAGES
from fredbench.foundation.files import write_json
from fredbench.training.timing import pass_seconds


def _findings(*arguments: object) -> dict[str, dict[str, str]]:
    done = invoke("doctor", *arguments, "--format", "json")
    return {finding["what"]: finding for finding in json.loads(done.out)}


def test_a_sound_installation_is_fine_and_nothing_is_left_behind(tmp_path: Path) -> None:
    done = invoke("doctor", "--store", tmp_path / "runs", "--data", tmp_path / "data")
    assert done.code == 0, done.err
    assert "torch" in done.out and "fredbench data fetch cifar10" in done.out
    assert list(tmp_path.iterdir()) == []


def test_every_dataset_is_accounted_for_with_its_fix(tmp_path: Path) -> None:
    found = _findings("--store", tmp_path, "--data", tmp_path)
    topics = {
        name for topic in found if topic.startswith("data: ") for name in topic.removeprefix("data: ").split(", ")
    }
    assert topics == set(DATASETS)
    assert found["data: digits"]["state"] == "ok"
    absent = [finding for topic, finding in found.items() if topic.startswith("data: ") and finding["state"] == "note"]
    assert absent and all(finding["fix"] for finding in absent)


def test_data_that_is_there_is_found_without_decoding(real_data: Path, tmp_path: Path) -> None:
    found = _findings("--store", tmp_path, "--data", real_data)
    assert found["data: cifar10"]["state"] == "ok" and "packed" in found["data: cifar10"]["found"]


def test_broken_data_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "cifar10").mkdir()
    write_json(tmp_path / "cifar10" / "dataset.json", {"name": "cifar10"})
    done = invoke("doctor", "--store", tmp_path, "--data", tmp_path, "--format", "json")
    found = {finding["what"]: finding for finding in json.loads(done.out)}
    assert done.code == 0 and found["data: cifar10"]["state"] == "warning" and found["data: cifar10"]["fix"]


def test_little_space_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40 - 2**20, 2**20))
    done = invoke("doctor", "--store", tmp_path, "--data", tmp_path, "--format", "json")
    found = {finding["what"]: finding for finding in json.loads(done.out)}
    assert done.code == 0 and found["store"]["state"] == "warning" and "--store" in found["store"]["fix"]


def test_a_store_that_cannot_be_written_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(diagnosis.tempfile, "TemporaryFile", refuse)
    done = invoke("doctor", "--store", tmp_path, "--data", tmp_path)
    assert done.code == 1 and "writing to the store" in done.err and "--store" in done.err


def test_a_library_that_does_not_import_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = diagnosis.importlib.import_module

    def fail(name: str) -> object:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return load(name)

    monkeypatch.setattr(diagnosis.importlib, "import_module", fail)
    findings = {finding.topic: finding for finding in diagnosis._packages()}
    assert findings["import cv2"].state == "broken" and "libGL" in findings["import cv2"].found


def test_a_missing_package_is_broken_and_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    have = diagnosis.library_versions
    monkeypatch.setattr(diagnosis, "library_versions", lambda *a: {k: v for k, v in have(*a).items() if k != "timm"})
    findings = {finding.topic: finding for finding in diagnosis._packages()}
    assert findings["timm"].state == "broken" and findings["timm"].fix == "pip install timm"


@pytest.mark.parametrize(
    ("package", "old", "fine"),
    [("opencv-python", "4.6.0.66", "4.10.0.84"), ("torch", "2.5.1+cpu", "2.10.0+cpu"), ("numpy", "1.25.2", "1.26.0")],
)
def test_a_package_below_its_floor_is_broken(
    package: str, old: str, fine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    have = diagnosis.library_versions
    for version, state in ((old, "broken"), (fine, "ok")):
        monkeypatch.setattr(diagnosis, "library_versions", lambda *a, v=version: {**have(*a), package: v})
        finding = {finding.topic: finding for finding in diagnosis._packages()}[package]
        assert finding.state == state and version in finding.found
        assert state == "ok" or finding.fix.startswith(f"pip install '{package}>=")


def test_an_old_opencv_is_found_under_whichever_package_brought_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    have = diagnosis.library_versions
    monkeypatch.setattr(
        diagnosis, "library_versions", lambda *a: {k: v for k, v in have(*a).items() if "opencv" not in k}
    )
    monkeypatch.setattr(cv2, "__version__", "4.5.5")
    assert {finding.topic: finding.state for finding in diagnosis._packages()}["opencv-python"] == "broken"


def test_floors_are_the_requirements() -> None:
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    required = dict(line.split(">=") for line in lines)
    assert {name: required[name] for name in PACKAGES} == FLOORS


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv"])
def test_the_formats_hold_the_findings(tmp_path: Path, form: str) -> None:
    out = invoke("doctor", "--store", tmp_path, "--data", tmp_path, "--format", form).out
    assert "torch" in out and "digits" in out


@pytest.mark.parametrize(("together", "state"), [(0.05, "ok"), (0.11, "note")])
def test_threads_are_measured_and_the_quicker_number_told(
    monkeypatch: pytest.MonkeyPatch, together: float, state: str
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    monkeypatch.setattr("fredbench.training.timing.pass_seconds", lambda threads: 0.1 if threads == 1 else together)
    (found,) = diagnosis._threads()
    assert (found.topic, found.state) == ("threads", state)
    assert "100 ms with 1 thread" in found.found and ("--threads 1" in found.fix) == (state == "note")


@pytest.mark.parametrize("there", [True, False, None])
def test_a_reduced_precision_is_measured_where_the_processor_has_it(
    there: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fredbench.foundation.device.multiplies_bfloat16", lambda: there)
    monkeypatch.setattr(
        "fredbench.training.timing.pass_seconds",
        lambda threads, arithmetic="fused": 0.1 if arithmetic == "fused" else 0.04,
    )
    found = diagnosis._bfloat16()
    assert found.state == "ok" and "arithmetic=fused-bf16" in found.found
    assert ("100 ms in float32, 40 with" in found.found) == bool(there)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("flags\t\t: fpu avx512f amx_bf16 amx_tile\n", True),
        ("flags : sse avx512_bf16\n", True),
        ("Features : fp asimd bf16 i8mm\n", True),
        ("flags : fpu sse avx2\n", False),
        ("processor : 0\n", None),
        (None, None),
    ],
)
def test_what_a_processor_says_of_bfloat16(said: str | None, expected: bool | None, tmp_path: Path) -> None:
    if said is not None:
        (tmp_path / "cpuinfo").write_text(said)
    assert multiplies_bfloat16(tmp_path / "cpuinfo") is expected


def test_a_pass_is_timed_and_the_number_of_threads_left_as_it_was() -> None:
    before = torch.get_num_threads()
    assert 0 < pass_seconds(1) < 10
    assert torch.get_num_threads() == before
