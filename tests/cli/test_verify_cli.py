from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
from commands import invoke

from fredbench.foundation.files import canonical_json


def _results(out: str) -> dict[str, str]:
    return {check["check"]: check["result"] for check in json.loads(out)}


def _rewrite(run: Path, *, header: dict[str, Any] | None = None, flip: str | None = None) -> None:
    """Write the synset anew with other header entries, or with one byte of a tensor turned."""
    file = run / "synset.safetensors"
    with safetensors.safe_open(file, framework="pt") as opened:
        old = json.loads(opened.metadata()["fredbench"])
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    if flip is not None:
        tensors[flip].flatten()[0] += 1
    file.write_bytes(safetensors.torch.save(tensors, metadata={"fredbench": canonical_json({**old, **(header or {})})}))


def test_a_whole_run_holds(tiny_run: Path) -> None:
    done = invoke("verify", tiny_run, "--format", "json")
    assert done.code == 0, done.err
    results = _results(done.out)
    assert set(results.values()) == {"ok"}
    assert results.keys() >= {
        "header's checksum", "tensors' checksum", "ledger: params", "ledger: mask bits", "within the budget",
        "decoding", "spec.toml's digest", "dataset's fingerprint", "finished", "synset.safetensors's checksum",
    }  # fmt: skip


def test_a_run_is_found_by_name_and_a_bare_file_by_path(tiny_run: Path) -> None:
    by_name = invoke("verify", "tiny", "--store", tiny_run.parent, "--format", "json")
    bare = invoke("verify", tiny_run / "synset.safetensors", "--format", "json")
    assert by_name.code == bare.code == 0
    assert "finished" in _results(by_name.out) and "finished" not in _results(bare.out)


def test_the_formats_parse(tiny_run: Path) -> None:
    records = list(csv.DictReader(io.StringIO(invoke("verify", tiny_run, "--format", "csv").out)))
    assert records and {"check", "claimed", "found", "result"} == records[0].keys()
    assert invoke("verify", tiny_run, "--format", "markdown").out.startswith("| check")


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({"header": {"iterations": 3}}, {"header's checksum", "iterations"}),
        ({"header": {"budget": 100}}, {"header's checksum", "within the budget"}),
        ({"flip": "coefficients"}, {"tensors' checksum"}),
        ({"flip": "mask"}, {"tensors' checksum", "decoding"}),
        ({"header": {"spec_sha256": "0" * 64}}, {"header's checksum", "spec.toml's digest"}),
    ],
    ids=["iterations", "budget", "coefficient", "mask", "spec"],
)
def test_an_altered_artefact_fails(copied_run: Path, change: dict[str, Any], failing: set[str]) -> None:
    _rewrite(copied_run, **change)
    done = invoke("verify", copied_run, "--format", "json")
    assert done.code == 1 and "error:" in done.err and "hint:" in done.err and "Traceback" not in done.err
    wrong = {check for check, result in _results(done.out).items() if result == "MISMATCH"}
    # The file's checksum, and what holds all of the header against the file, fail with whatever was altered.
    assert failing <= wrong and "synset.safetensors's checksum" in wrong
    assert wrong <= failing | {"synset.safetensors's checksum", "header against file"}


def test_a_claim_of_fewer_scalars_is_found_out(copied_run: Path) -> None:
    with safetensors.safe_open(copied_run / "synset.safetensors", framework="pt") as opened:
        ledger = json.loads(opened.metadata()["fredbench"])["ledger"]
    _rewrite(copied_run, header={"ledger": {**ledger, "params": 1000}})
    done = invoke("verify", copied_run, "--format", "json")
    assert done.code == 1 and _results(done.out)["ledger: params"] == "MISMATCH"


def test_another_spec_beside_the_artefact_fails(copied_run: Path) -> None:
    spec = copied_run / "spec.toml"
    spec.write_text(spec.read_text().replace("seed = 0", "seed = 1"))
    done = invoke("verify", copied_run, "--format", "json")
    assert done.code == 1 and _results(done.out)["spec.toml's digest"] == "MISMATCH"


def test_an_unfinished_run_fails(copied_run: Path) -> None:
    (copied_run / "result.json").unlink()
    done = invoke("verify", copied_run, "--format", "json")
    assert done.code == 1 and _results(done.out)["finished"] == "MISMATCH"


@pytest.mark.parametrize("damage", ["cut", "text", "absent", "headless", "result"])
def test_what_cannot_be_read_is_refused_with_code_2(copied_run: Path, damage: str) -> None:
    file = copied_run / "synset.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1000])
    elif damage == "text":
        file.write_text("no tensors here")
    elif damage == "absent":
        file.unlink()
    elif damage == "headless":
        file.write_bytes(safetensors.torch.save(safetensors.torch.load(file.read_bytes())))
    else:
        (copied_run / "result.json").write_text("{")
    error, _ = invoke("verify", copied_run).problem()
    assert "result.json" in error if damage == "result" else "synset" in error


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        invoke("verify", path, "--store", tmp_path / "store").problem()


def test_a_header_without_its_parts_is_refused(copied_run: Path) -> None:
    _rewrite(copied_run, header={"dataset": {"name": "digits"}})
    invoke("verify", copied_run).problem()


def test_a_moved_artefact_still_holds(tiny_run: Path, tmp_path: Path) -> None:
    moved = shutil.copy(tiny_run / "synset.safetensors", tmp_path / "elsewhere.safetensors")
    assert invoke("verify", moved).code == 0
