from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from commands import interpret, invoke

from fredbench.corruptions import KNOWN as CORRUPTIONS
from fredbench.datasets import DATASETS
from fredbench.networks import NETWORKS
from fredbench.objectives import OBJECTIVES
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.recipes.methods import METHODS
from fredbench.suites.reading import names_of

KNOWN: dict[str, list[str]] = {
    "datasets": [*DATASETS, "folder:PATH", "packed:PATH"],
    "methods": list(METHODS),
    "objectives": list(OBJECTIVES),
    "parameterizations": list(PARAMETERIZATIONS),
    "networks": list(NETWORKS),
    "corruptions": list(CORRUPTIONS),
    "suites": names_of("corruptions", "grid"),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_every_name_is_listed_once_with_what_it_is(kind: str) -> None:
    done = invoke("list", kind, "--format", "json")
    assert done.code == 0 and done.err == ""
    records = json.loads(done.out)
    assert [next(iter(record.values())) for record in records] == KNOWN[kind]
    assert all(str(list(record.values())[1]) for record in records)


@pytest.mark.parametrize("kind", KNOWN)
def test_a_thing_is_one_line(kind: str) -> None:
    lines = invoke("list", kind).out.splitlines()
    assert len(lines) == 2 + len(KNOWN[kind])
    assert len(list(csv.reader(io.StringIO(invoke("list", kind, "--format", "csv").out)))) == 1 + len(KNOWN[kind])


def test_runs_say_what_they_are_and_how_far(copied_run: Path) -> None:
    store = copied_run.parent
    (store / "broken").mkdir()
    (store / "broken" / "spec.toml").write_text("not a spec")
    records = {r["run"]: r for r in json.loads(invoke("list", "runs", "--store", store, "--format", "json").out)}
    assert records["tiny"]["state"] == "finished" and records["tiny"]["iterations"] == 2
    assert records["broken"]["state"] == "unreadable"
    (copied_run / "result.json").unlink()
    assert "unfinished" in invoke("list", "runs", "--store", store).out


def test_an_empty_store_is_said_on_stderr(tmp_path: Path) -> None:
    done = invoke("list", "runs", "--store", tmp_path / "none", "--format", "json")
    assert done.code == 0 and json.loads(done.out) == [] and "no runs" in done.err
    assert not (tmp_path / "none").exists()


def test_an_unknown_kind_is_refused() -> None:
    assert "colours" in invoke("list", "colours").problem()[0]


@pytest.mark.parametrize("kind", ["suites", "corruptions", "methods", "networks"])
def test_listing_names_waits_for_no_heavy_library(kind: str) -> None:
    """Only in a fresh interpreter can be seen what is imported; each of these takes a second or more to load."""
    import subprocess
    import sys

    from commands import ROOT, environment

    script = (
        "import sys\nfrom fredbench.cli import cli\n"
        "heavy = ('torch', 'pandas', 'scipy', 'matplotlib', 'timm', 'sklearn', 'numba', 'cv2')\n"
        "try:\n    cli.main(args=['list', sys.argv[1]], prog_name='fredbench')\n"
        "except SystemExit:\n    print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, kind], capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=100
    )
    assert done.stdout.splitlines()[-1] == "[]", (kind, done.stdout, done.stderr)


@pytest.mark.parametrize("command", ["report", "show", "export", "verify", "evaluate", "list", "suite", "doctor"])
def test_every_help_ends_in_two_runnable_examples(command: str) -> None:
    lines = invoke(command, "--help").out.rstrip().splitlines()
    assert lines[-3].strip() == "Examples:"
    assert all(line.strip().startswith(f"fredbench {command}") for line in lines[-2:])


def test_it_runs_as_a_program() -> None:
    done = interpret("list", "methods", "--format", "csv")
    assert done.code == 0 and done.out.startswith("method,")


def test_what_departs_on_one_dataset_is_listed_once_and_told_to_that_datasets_runs() -> None:
    rows = {row["method"]: row for row in json.loads(invoke("list", "methods", "--format", "json").out)}
    assert rows["tm"]["note"] == "; ".join(METHODS.get("tm").notes()) and rows["random"]["note"] == ""
    assert rows["fred"]["note"].count("mirrors digits") == 1  # one sentence, though it holds for two datasets
    assert METHODS.get("fred").notes("cifar10") == [] and "CIFAR-100" in METHODS.get("fred").notes("cifar100")[0]
    assert (
        METHODS.get("tm").notes("svhn")[0] == METHODS.get("tm").note
        and "mirrors digits" in METHODS.get("tm").notes("svhn")[1]
    )


def test_networks_that_take_a_size_are_listed_with_what_keeps_the_others_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fredbench.networks import fitting

    names = ["convnet", "lenet", "timm:resnet10t", "timm:test_maxvit", "timm:halonet26t", "timm:vit_large_patch16_224"]
    assert set(names) <= set(fitting.candidates()) and len(fitting.candidates()) > 500
    monkeypatch.setattr(fitting, "candidates", lambda: names)
    done = invoke("list", "networks", "--fits", 28, "--channels", 1, "--most", 20, "--format", "json")
    assert done.code == 0 and "3 of 5 take them; 1 are larger" in done.err
    said = {row["network"]: row for row in json.loads(done.out)}
    assert [name for name in said if said[name]["takes 28 px"] == "yes"] == ["convnet", "lenet", "timm:resnet10t"]
    assert said["convnet"]["parameters"] == 317_706 and "timm:vit_large_patch16_224" not in said
    assert "ZeroDivisionError" in said["timm:test_maxvit"]["takes 28 px"]
    assert "AssertionError" in said["timm:halonet26t"]["takes 28 px"]


def test_only_networks_fit_a_size() -> None:
    error, hint = invoke("list", "methods", "--fits", 32).problem()
    assert "--fits" in error and "list networks --fits 32" in hint
