"""`fredbench distill`: what goes where, running again, starting over, names, and the price of a long run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import TINY, Child, invoke, waiting

import fredbench
from fredbench.cli.distill import quick_command
from fredbench.runs.store import RunFolder

DISTILL = ("distill", "digits", "--ipc", "1", "--objective", "dm", "--preset", "quick", *TINY)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def made(store: Path):
    return invoke(*DISTILL, "--iterations", "3", "--store", store)


def test_stdout_holds_the_folder_and_stderr_the_talk(made, store: Path) -> None:
    assert made.code == 0
    assert made.out == f"{made.folder}\n" and made.folder.parent == store
    assert "objective dm, parameterization fred, 3 iterations with convnet-d3-w8-in" in made.err
    assert "budget 30,720 scalars" in made.err and "stored 30,720 scalars (31,040 with masks and all)" in made.err


def test_the_folder_holds_what_the_contract_lists(made) -> None:
    names = {file.name for file in made.folder.iterdir()} - {".lock"}
    assert names == {"spec.toml", "synset.safetensors", "progress.jsonl", "result.json", "environment.json",
                     "state.safetensors"}  # fmt: skip
    result = json.loads((made.folder / "result.json").read_text())
    assert result["ledger"]["params_strict"] == 31_040 and result["iterations"] == 3
    environment = json.loads((made.folder / "environment.json").read_text())
    assert environment["threads"] == 1 and environment["versions"]["torch"] and environment["data"]["digits"]
    lines = [json.loads(line) for line in (made.folder / "progress.jsonl").read_text().splitlines()]
    assert lines[-1]["iteration"] == 3 and lines[-1]["loss"] > 0
    synset = fredbench.load(made.folder)
    synset.verify()
    assert synset.images.shape == (40, 3, 32, 32) and synset.ledger.params == 30_720


@pytest.mark.parametrize(
    ("parameterization", "params", "decoded", "stored"),
    [
        # 100,000 scalars for ten classes of 3 x 32 x 32: three whole pictures each, or canvases, or 13 of 3 x 256.
        ("pixels", 100_000, 30, 92_160),
        ("idc", 100_000, 120, 92_160),
        ("fred", 100_000, 130, 99_840),
        ("fred", 30_719, 30, 23_040),
    ],
)
def test_params_buys_as_many_instances_as_it_pays(
    tmp_path: Path, parameterization: str, params: int, decoded: int, stored: int
) -> None:
    made = invoke("distill", "digits", "--params", params, "--objective", "dm", "--parameterization", parameterization,
                  "--preset", "quick", "--iterations", 0, *TINY, "--store", tmp_path)  # fmt: skip
    assert made.code == 0, made.err
    ledger = fredbench.load(made.folder).ledger
    assert (ledger.params, ledger.decoded) == (stored, decoded)


def test_run_again_it_reports_itself_done_and_touches_nothing(made, store: Path) -> None:
    before = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in made.folder.iterdir()}
    again = invoke(*DISTILL, "--iterations", "3", "--store", store)
    assert (again.code, again.out) == (0, made.out) and "done already; --fresh starts over" in again.err
    assert {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in made.folder.iterdir()} == before


def test_fresh_starts_over_and_ends_in_the_same_bytes(made, store: Path) -> None:
    (made.folder / "cells").mkdir()
    (made.folder / "cells" / "old.safetensors").write_bytes(b"old")
    synset = (made.folder / "synset.safetensors").read_bytes()
    stamp = (made.folder / "result.json").stat().st_mtime_ns
    over = invoke(*DISTILL, "--iterations", "3", "--store", store, "--fresh")
    assert over.code == 0 and over.out == made.out and "done already" not in over.err
    assert (made.folder / "synset.safetensors").read_bytes() == synset
    assert (made.folder / "result.json").stat().st_mtime_ns > stamp and not (made.folder / "cells").exists()


def test_a_name_is_the_folders_and_belongs_to_one_run(tmp_path: Path) -> None:
    named = invoke(*DISTILL, "--iterations", "1", "--store", tmp_path, "--name", "mine")
    assert named.code == 0 and named.folder == tmp_path / "mine"
    first = (tmp_path / "mine" / "synset.safetensors").read_bytes()
    error, hint = invoke(*DISTILL, "--iterations", "2", "--store", tmp_path, "--name", "mine").problem()
    assert "holds another run" in error and "--name" in hint and "--fresh" in hint
    assert (tmp_path / "mine" / "synset.safetensors").read_bytes() == first
    other = invoke(*DISTILL, "--iterations", "2", "--store", tmp_path, "--name", "mine", "--fresh")
    assert other.code == 0 and RunFolder(other.folder).spec().iterations == 2
    assert (tmp_path / "mine" / "synset.safetensors").read_bytes() != first


def test_the_store_comes_from_the_environment_too(tmp_path: Path) -> None:
    made = invoke(*DISTILL, "--iterations", "0", env={"FREDBENCH_STORE": str(tmp_path / "elsewhere")})
    assert made.code == 0 and made.folder.parent == tmp_path / "elsewhere"


def test_settings_reach_the_spec(tmp_path: Path) -> None:
    more = ("--set", "parameterization.k=512", "--set", "student.lr=0.02", "--seed", "7", "--method", "fred")
    made = invoke(*DISTILL, "--iterations", "0", "--store", tmp_path, *more)
    spec = RunFolder(made.folder).spec()
    assert spec.parameterization_settings["k"] == 512 and spec.student.lr == 0.02 and spec.seed == 7
    assert fredbench.load(made.folder).images.shape == (20, 3, 32, 32)


def test_random_is_a_method_like_the_others(tmp_path: Path) -> None:
    tiny = [word for word in TINY if word not in {"objective.batch_real=8"}]
    del tiny[tiny.index("--set")]
    made = invoke(
        "distill", "digits", "--ipc", "2", "--preset", "quick", "--method", "random", *tiny, "--store", tmp_path
    )
    assert made.code == 0, made.err
    spec = RunFolder(made.folder).spec()
    assert spec.is_control and spec.iterations == 0 and fredbench.load(made.folder).images.shape == (20, 3, 32, 32)


def test_a_run_of_days_is_refused_with_the_quick_one_and_goes_on_with_yes(tmp_path: Path) -> None:
    long = (*DISTILL, "--iterations", "1000000000", "--store", tmp_path)
    outcome = invoke(*long)
    error, hint = outcome.problem()
    assert "estimate:" in outcome.err and "would take about" in error and error.count(" h ") == 1
    assert "--yes" in hint and "--preset quick" in hint
    assert list(tmp_path.iterdir()) == []
    child = Child(tmp_path / "log", *long, "--yes", env={"FREDBENCH_CHECKPOINT_SECONDS": "0"})
    for _ in waiting():
        if list(tmp_path.glob("*/checkpoint.safetensors")):
            break
        assert child.alive, child.errors()
    child.kill()
    assert child.outcome().code < 0


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["distill", "cifar10", "--ipc", "1"], "fredbench distill cifar10 --ipc 1 --preset quick"),
        (["distill", "x", "--preset", "paper", "--ipc", "1"], "fredbench distill x --ipc 1 --preset quick"),
        (["distill", "x", "--preset=fair"], "fredbench distill x --preset quick"),
        (["distill", "folder:a b", "--ipc", "1"], "fredbench distill 'folder:a b' --ipc 1 --preset quick"),
    ],
)
def test_the_quick_command_is_the_same_but_quick(arguments: list[str], wanted: str) -> None:
    assert quick_command(arguments) == wanted
