"""Runs on disk: found by name or path, locked while written, cleared in an order that no kill can turn."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from spine import cifar_like, distillation_of, spec_of

from fredbench.foundation.errors import ArtefactError, StorageError, UsageError
from fredbench.runs import distillation, store
from fredbench.runs.store import RunFolder, Store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of zero iterations, read only."""
    dataset = cifar_like()
    root = tmp_path_factory.mktemp("store")
    spec = spec_of(dataset, iterations=0, overrides=("parameterization.k=64",))
    folder = Store(root).folder_for(spec)
    distillation.run(spec, dataset, folder)
    return folder


@pytest.fixture
def copied(made: RunFolder, tmp_path: Path) -> Store:
    shutil.copytree(made.path, tmp_path / "runs" / made.path.name)
    return Store(tmp_path / "runs")


def test_a_finished_run_holds_what_the_contract_lists(made: RunFolder) -> None:
    names = {file.name for file in made.path.iterdir()}
    assert names == {"spec.toml", "synset.safetensors", "progress.jsonl", "result.json", "environment.json"}
    assert made.finished and made.spec().folder_name() == made.path.name
    result = made.result()
    assert result["ledger"]["params"] == 30_720 and result["iterations"] == 0


def test_runs_are_found_by_name_and_by_path(copied: Store, made: RunFolder) -> None:
    name = made.path.name
    assert copied.find(name).path == copied.root / name
    assert copied.find(str(copied.root / name)).path == copied.root / name
    assert [run.path.name for run in copied.runs()] == [name]
    assert [run.path for run in copied.finished("cifar-like")] == [copied.root / name]
    assert copied.finished("digits") == []
    for missing in ("nothing", "", "..", str(copied.root)):
        with pytest.raises(UsageError, match="no run"):
            copied.find(missing)


def test_an_unfinished_run_is_not_finished(copied: Store) -> None:
    (run,) = copied.runs()
    for name in ("result.json", "synset.safetensors"):
        data = (run.path / name).read_bytes()
        (run.path / name).unlink()
        assert not run.finished and copied.finished("cifar-like") == []
        (run.path / name).write_bytes(data)
    assert run.finished


def test_a_name_taken_by_another_run_is_refused_unless_it_is_replaced(copied: Store, made: RunFolder) -> None:
    spec = made.spec()
    other = dataclasses.replace(spec, seed=9)
    assert copied.folder_for(spec, made.path.name).path == copied.root / made.path.name
    with pytest.raises(UsageError, match="holds another run") as caught:
        copied.folder_for(other, made.path.name)
    assert "--fresh" in caught.value.hint
    assert copied.folder_for(other, made.path.name, replace=True).path == copied.root / made.path.name
    assert not copied.folder_for(other).path.exists()


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/a", "a/", "../a"])
def test_a_name_that_is_no_folder_name_is_refused(made: RunFolder, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no folder name"):
        Store(tmp_path).folder_for(made.spec(), name)


def test_a_lock_is_for_one_and_is_given_back(copied: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREDBENCH_LOCK_SECONDS", "0.1")
    (run,) = copied.runs()
    (run.path / ".synset.safetensors.x.part").write_text("left by a kill")
    with run.lock():
        assert not list(run.path.glob(".*.part"))
        with pytest.raises(StorageError, match="another process"), RunFolder(run.path).lock():
            pytest.fail("two hold the lock")
    with run.lock():
        pass
    with pytest.raises(ValueError), run.lock():
        raise ValueError
    with run.lock():
        pass


def test_unreadable_specs_and_results_say_so(copied: Store) -> None:
    (run,) = copied.runs()
    for content in (b"", b"\xff\xfe", b"[run]\nseed = 1\n", b"no toml"):
        run.spec_file.write_bytes(content)
        with pytest.raises(ArtefactError, match=r"spec\.toml"):
            run.spec()
    run.result_file.write_text("{")
    with pytest.raises(ArtefactError, match=r"result\.json"):
        run.result()
    run.spec_file.unlink()
    with pytest.raises(ArtefactError, match="no run"):
        run.spec()


def test_clearing_forgets_all_but_the_lock_that_is_held(copied: Store) -> None:
    (run,) = copied.runs()
    run.students.mkdir()
    (run.students / "student-x.safetensors").write_text("x")
    with run.lock():
        run.clear()
        assert [file.name for file in run.path.iterdir()] == [".lock"]
    assert list(run.path.iterdir()) == []
    RunFolder(copied.root / "absent").clear()


def test_a_clearing_that_is_cut_short_never_leaves_a_finished_run_of_another_spec(
    copied: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each removal: not finished, and either of its own spec or empty."""
    (run,) = copied.runs()
    spec, unlink, removed = run.spec(), Path.unlink, []

    def noted(path: Path, **named: bool) -> None:
        unlink(path, **named)
        removed.append(path.name)
        assert not run.finished
        assert not run.spec_file.is_file() or run.spec() == spec
        if not run.spec_file.is_file():
            assert [file.name for file in run.path.iterdir()] == []

    monkeypatch.setattr(store.Path, "unlink", noted)
    run.clear()
    assert len(removed) == 5


def test_a_file_in_place_of_the_store_is_refused(made: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    for root in (tmp_path / "runs", tmp_path / "runs" / "deep"):
        with pytest.raises(StorageError, match="cannot write"):
            distillation_of(cifar_like(), iterations=0, folder=Store(root).folder_for(made.spec()))
    assert (tmp_path / "runs").read_text() == "a file"


def test_a_run_whose_data_changed_is_not_taken_up(made: RunFolder) -> None:
    from fredbench.foundation.errors import DataError

    other = dataclasses.replace(made.spec(), fingerprint="0" * 64)
    with pytest.raises(DataError, match="differs from the data this run was made of"):
        distillation.run(other, cifar_like(), RunFolder(made.path / "x"))
