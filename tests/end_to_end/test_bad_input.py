"""Bad input: exit code 2, what is wrong and how to mend it, and nothing half-written."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest
from commands import TINY, Outcome, files_below, invoke, refused, run_in_child, whole_files

DISTILL = ("distill", "digits", "--objective", "dm", "--preset", "quick", "--iterations", "2", *TINY)
IPC = ("--ipc", "1")
PIXELS = ("--parameterization", "pixels")


REFUSALS = {
    "dataset": (("distill", "digitz", *IPC, *TINY), "unknown dataset 'digitz'", "'digits'"),
    "method": ((*DISTILL, *IPC, "--method", "freed"), "unknown method 'freed'", "'fred'"),
    "objective": (("distill", "digits", *IPC, *TINY, "--objective", "md"), "unknown objective 'md'", "dm"),
    "parameterization": ((*DISTILL, *IPC, "--parameterization", "pixel"), "unknown parameterization", "'pixels'"),
    "preset": (("distill", "digits", *IPC, "--preset", "fats"), "fats", "--help"),
    "network": ((*DISTILL, *IPC, "--network", "resnet19"), "unknown network 'resnet19'", "'resnet18'"),
    "test network": ((*DISTILL, *IPC, "--set", "student.network=ml"), "unknown network 'ml'", "mlp"),
    "option": ((*DISTILL, *IPC, "--interations", "3"), "--interations", "--help"),
    "option's value": ((*DISTILL, "--ipc", "one"), "one", "--help"),
    "argument": (("distill",), "DATASET", "--help"),
    "device": ((*DISTILL, *IPC, "--device", "tpu"), "'tpu'", "cuda[:i]"),
    "absent device": ((*DISTILL, *IPC, "--device", "cuda:99"), "'cuda:99'", "CUDA"),
    "threads": ((*DISTILL, *IPC, "--threads", "0"), "--threads", "--help"),
    "ipc 0": ((*DISTILL, "--ipc", "0"), "at least 1, not 0", "--ipc 1"),
    "ipc -3": ((*DISTILL, "--ipc", "-3"), "at least 1, not -3", "--ipc 1"),
    "params -1": ((*DISTILL, "--params", "-1"), "at least 1, not -1", "--params"),
    "no budget": (DISTILL, "budget once", "--ipc"),
    "two budgets": ((*DISTILL, *IPC, "--params", "30720"), "budget once", "--ipc"),
    "params 10": ((*DISTILL, "--params", "10"), "FreD's mask needs at least 2", "raise the budget"),
    "params 10 of pixels": ((*DISTILL, "--params", "10", *PIXELS), "no whole picture", "--params 30720"),
    "k": ((*DISTILL, *IPC, "--set", "parameterization.k=1025"), "1024 frequencies", "at most 1024"),
    "k for one": ((*DISTILL, *IPC, "--set", "parameterization.k=1024"), "needs at least 2", "lower"),
    "ipc of the sky": ((*DISTILL, "--ipc", "100000"), "training pictures", "lower the budget"),
    "iterations": ((*DISTILL, *IPC, "--iterations", "-1"), "0 or more", "start"),
    "key": ((*DISTILL, *IPC, "--set", "parameterization.momentun=0"), "'momentun'", "did you mean 'momentum'"),
    "batch key": ((*DISTILL, *IPC, "--set", "objective.batchreal=3"), "'batchreal'", "'batch_real'"),
    "section": ((*DISTILL, *IPC, "--set", "paremeterization.k=3"), "SECTION.KEY=VALUE", "parameterization"),
    "no value": ((*DISTILL, *IPC, "--set", "parameterization.k"), "SECTION.KEY=VALUE", "parameterization.k=64"),
    "value": ((*DISTILL, *IPC, "--set", "parameterization.k=lots"), "'lots'", "whole number"),
    "huge value": ((*DISTILL, *IPC, "--set", "parameterization.k=1e999"), "1e999", "whole number"),
    "students": ((*DISTILL, *IPC, "--set", "student.students=many"), "'many'", "whole number"),
    "rate": ((*DISTILL, *IPC, "--set", "parameterization.lr=-1"), "rate -1", "positive"),
    "momentum": ((*DISTILL, *IPC, "--set", "parameterization.momentum=2"), "momentum 2", "below 1"),
    "name": ((*DISTILL, *IPC, "--name", "../elsewhere"), "../elsewhere", "letters"),
    "long name": ((*DISTILL, *IPC, "--name", "n" * 300), "name too long", ""),
    "plug-in": (("--plugin", "absent.py", *DISTILL, *IPC), "absent.py", "Python file"),
    "suite": (("corrupt-eval", "--suite", "digits-c"), "unknown suite 'digits-c'", "'digitsc'"),
    "no suite": (("corrupt-eval",), "--suite", "--help"),
    "run": (("corrupt-eval", "--suite", "digitsc", "nowhere"), "no run 'nowhere'", "--store"),
    "no runs": (("corrupt-eval", "--suite", "digitsc"), "no finished run of digits", "fredbench distill digits"),
    "format": (("corrupt-eval", "--suite", "digitsc", "--format", "yaml"), "yaml", "--help"),
    "protocol": (("corrupt-eval", "--suite", "digitsc", "--protocol", "other"), "other", "--help"),
    "folder": (("distill", "folder:/nowhere/at/all", *IPC, *TINY), "/nowhere/at/all", ""),
    "packed": (("distill", "packed:/nowhere/at/all", *IPC, *TINY), "/nowhere/at/all", ""),
    "prefix": (("distill", "floder:x", *IPC, *TINY), "'floder'", "'folder'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_in_words(tmp_path: Path, name: str) -> None:
    arguments, say, hint = REFUSALS[name]
    refused(tmp_path, *arguments, say=say, hint=hint)


def test_unknown_and_missing_commands() -> None:
    error, hint = invoke("distil", "digits").problem()
    assert "unknown command 'distil'" in error and "'distill'" in hint
    for arguments in ((), ("data",)):
        error, hint = invoke(*arguments).problem()
        assert "command" in error and "--help" in hint and len(error) < 100


def test_missing_data_offline_names_the_places(tmp_path: Path) -> None:
    for given, env in ((("--offline",), {}), ((), {"FREDBENCH_OFFLINE": "1"})):
        command = ("distill", "cifar10", *IPC, *[o for o in TINY if o != "--offline"], *given, "--data", tmp_path)
        refused(tmp_path, *command, say="dataset 'cifar10' is not below", hint="data fetch cifar10", env=env)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, read only."""
    made = invoke(*DISTILL, *IPC, "--iterations", "0", "--store", tmp_path_factory.mktemp("store"))
    assert made.code == 0, made.err
    return made.folder


SCORE = ("corrupt-eval", "--suite", "digitsc", "--limit", "10", "--severity", "1", "--threads", "1", "--offline")


def copied(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "runs" / run.name)
    return tmp_path / "runs" / run.name


def garbled(data: bytes) -> dict[str, bytes]:
    (length,) = struct.unpack("<Q", data[:8])
    return {
        "garbage": b"\x00garbage" * 100,
        "empty": b"",
        "cut": data[: len(data) // 2],
        "one byte less": data[:-1],
        "header": data[:8] + data[8 : 8 + length].replace(b"shape", b"shrpe") + data[8 + length :],
    }


@pytest.mark.parametrize("harm", ["garbage", "empty", "cut", "one byte less", "header"])
@pytest.mark.parametrize("named", [False, True])
def test_an_unreadable_artefact_is_refused(run: Path, tmp_path: Path, harm: str, named: bool) -> None:
    folder = copied(run, tmp_path)
    synset = folder / "synset.safetensors"
    synset.write_bytes(garbled(synset.read_bytes())[harm])
    refused(tmp_path, *SCORE, *([folder] if named else []), say=str(synset), hint="distill it again")


def test_an_unfinished_run_is_refused(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    (folder / "result.json").unlink()
    refused(tmp_path, *SCORE, folder, say="is not finished", hint="distill")


def test_a_spec_that_was_edited_is_refused(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    for text in ("nonsense", "", (folder / "spec.toml").read_text().replace("[student]", "[stdent]")):
        (folder / "spec.toml").write_text(text)
        refused(tmp_path, *SCORE, say=str(folder / "spec.toml"))


def test_the_suite_of_another_dataset_is_refused(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    command = ("corrupt-eval", "--suite", "cifar10c", folder, "--offline")
    refused(tmp_path, *command, say="is a set of digits, cifar10c tests cifar10", hint="suite list")


@pytest.mark.parametrize(
    ("more", "say"),
    [(("--limit", "0"), "--limit"), (("--limit", "-5"), "--limit"), (("--severity", "6"), "severities"),
     (("--students", "0"), "--students"), (("--network", "convnett"), "convnett")],
)  # fmt: skip
def test_scoring_that_cannot_be_is_refused(run: Path, tmp_path: Path, more: tuple[str, ...], say: str) -> None:
    copied(run, tmp_path)
    refused(tmp_path, "corrupt-eval", "--suite", "digitsc", "--threads", "1", "--offline", *more, say=say)


@pytest.mark.parametrize("kind", ["the store", "above the store", "the run's folder"])
def test_a_store_that_is_not_writable_is_refused(tmp_path: Path, kind: str) -> None:
    """A file in place of a folder: even the superuser cannot write there."""
    store, more = tmp_path / "runs", ()
    if kind == "the run's folder":
        store.mkdir()
        (store / "taken").write_text("a file")
        more = ("--name", "taken")
    else:
        store.write_text("a file")
    place = store / "deep" if kind == "above the store" else store
    before = files_below(tmp_path)
    error, hint = invoke(*DISTILL, *IPC, "--store", place, *more).problem()
    assert str(place) in error and hint
    assert files_below(tmp_path) == before


LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


def full_disk(tmp_path: Path, size: int, *arguments: object, env: dict[str, str] | None = None) -> Outcome:
    return run_in_child(
        tmp_path / "log", *arguments, "--store", tmp_path / "runs", env=env, prelude=LIMIT.format(size), piped=True
    )


@pytest.mark.parametrize(("size", "fails_at"), [(300, "spec.toml"), (60_000, "state.safetensors")])
def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, size: int, fails_at: str) -> None:
    outcome = full_disk(tmp_path, size, *DISTILL, *IPC)
    error, hint = outcome.problem()
    assert "no space left" in error and fails_at in error and "--store" in hint
    folders = list((tmp_path / "runs").iterdir())
    for folder in folders:
        whole_files(folder)
        assert not list(folder.rglob("*.part")) and not (folder / fails_at).exists()
        assert not (folder / "result.json").exists()
    # With room again, the same command ends well.
    again = invoke(*DISTILL, *IPC, "--store", tmp_path / "runs")
    assert again.code == 0, again.err
    assert [again.folder] == folders


def test_a_disk_that_fills_at_a_checkpoint(tmp_path: Path) -> None:
    env = {"FREDBENCH_CHECKPOINT_SECONDS": "0"}
    error, _ = full_disk(tmp_path, 60_000, *DISTILL, *IPC, env=env).problem()
    assert "no space left" in error and "checkpoint.safetensors" in error
    (folder,) = (tmp_path / "runs").iterdir()
    assert {file.name for file in folder.iterdir()} <= {".lock", "spec.toml", "environment.json", "progress.jsonl"}


def test_a_disk_that_fills_while_students_are_stored(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    outcome = full_disk(tmp_path, 5_000, *SCORE)
    error, _ = outcome.problem()
    assert "no space left" in error and "student-" in error
    assert not list(folder.rglob("*.part")) and not list(folder.rglob("student-*"))


def test_debug_adds_a_traceback_and_keeps_the_code(tmp_path: Path) -> None:
    for arguments, env in ((("--debug", *DISTILL), {}), (DISTILL, {"FREDBENCH_DEBUG": "1"})):
        outcome = invoke(*arguments, "--store", tmp_path / "runs", env=env)
        assert outcome.code == 2 and outcome.out == ""
        assert "Traceback" in outcome.err and outcome.err.splitlines()[-2].startswith("error: ")


def test_refusals_are_not_empty_words(run: Path, tmp_path: Path) -> None:
    """The very command of the refusals, without their fault, works."""
    copied(run, tmp_path)
    scored = invoke(*SCORE, "--students", "1", "--format", "json", "--store", tmp_path / "runs")
    assert scored.code == 0, scored.err
    assert len(json.loads(scored.out)["rows"]) >= 1
