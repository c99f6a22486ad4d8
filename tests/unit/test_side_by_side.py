"""Several processes, threads and libraries side by side: threads are checked, locks wait, errors arrive whole."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import importlib
import inspect
import multiprocessing
import os
import pickle
import pkgutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest
import torch
from commands import ROOT, environment
from spine import real, set_of, spec_of

import fredbench
from fredbench.evaluation.students import StudentPlan
from fredbench.foundation import errors
from fredbench.foundation.device import check_threads
from fredbench.foundation.errors import FredbenchError, StorageError, UnknownNameError, UsageError
from fredbench.foundation.files import atomic_path, remove_abandoned, write_json
from fredbench.foundation.locks import claimed
from fredbench.foundation.rng import Stream
from fredbench.runs import distillation
from fredbench.runs.store import Store


def kinds() -> list[type[FredbenchError]]:
    """Every error of the package, wherever it is defined."""
    for module in pkgutil.walk_packages(fredbench.__path__, "fredbench."):
        if module.name != "fredbench.__main__":
            importlib.import_module(module.name)
    found: list[type[FredbenchError]] = [FredbenchError]
    for kind in found:
        found += [sub for sub in kind.__subclasses__() if sub not in found and sub.__module__.startswith("fredbench")]
    return found


def made(kind: type[FredbenchError]) -> FredbenchError:
    if kind is UnknownNameError:
        return UnknownNameError("dataset", "cifar1", ["cifar10"])
    assert list(inspect.signature(kind).parameters) == ["message", "hint"], f"{kind} needs a case here"
    return kind("what and where", hint="do this")


class Another(errors.DataError):
    """A plug-in's own, with other arguments and more to say."""

    def __init__(self, place: Path, count: int) -> None:
        super().__init__(f"{count} at {place}", hint="mend it")
        self.count = count


def same(found: BaseException, given: FredbenchError) -> bool:
    return type(found) is type(given) and str(found) == str(given) and found.__dict__ == given.__dict__


def test_every_error_survives_pickling_with_its_message_and_hint() -> None:
    every = [made(kind) for kind in kinds()]
    assert len(every) >= 10
    for error in [*every, Another(Path("here"), 3)]:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert same(pickle.loads(pickle.dumps(error, protocol)), error)


def raise_it(error: FredbenchError) -> None:
    raise error


def test_errors_arrive_from_a_pool_of_processes_and_do_not_break_it() -> None:
    context = multiprocessing.get_context("forkserver")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        for error in (made(UnknownNameError), made(errors.ResourceError), Another(Path("here"), 3)):
            arrived = pool.submit(raise_it, error).exception(timeout=100)
            assert arrived is not None and same(arrived, error)


@pytest.fixture
def dataset() -> fredbench.datasets.Dataset:
    return set_of(2, (8, 8))


def test_a_run_an_expert_and_a_student_refuse_another_number_of_threads(dataset: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = store.folder_for(spec := spec_of(dataset))
    distillation.run(spec, dataset, run)
    assert torch.get_num_threads() == 1
    other = dataclasses.replace(spec, threads=2)
    trajectories = dataclasses.replace(spec_of(dataset, objective="tm"), threads=2)
    plan = StudentPlan(
        tmp_path,
        "a set",
        spec.network,
        spec.student,
        Stream(0),
        2,
        (3, 8, 8),
        torch.device("cpu"),
        2,
        lambda: real(dataset),
    )

    def distil(asked: Any) -> None:
        distillation.run(asked, dataset, store.folder_for(asked))

    before = sorted(tmp_path.rglob("*"))
    for work in (lambda: distil(other), lambda: distil(trajectories), plan.ensure, plan.load):
        with pytest.raises(UsageError, match="2 CPU threads, torch uses 1") as caught:
            work()
        assert "torch.set_num_threads(2)" in caught.value.hint
    assert sorted(tmp_path.rglob("*")) == before


def test_experts_by_themselves_refuse_too(dataset: Any, tmp_path: Path) -> None:
    from fredbench.runs.assembly import expert_spec
    from fredbench.training.experts import ExpertStore
    from fredbench.training.loop import TrainingRecipe

    spec = dataclasses.replace(spec_of(dataset), threads=3)
    recipe = TrainingRecipe(epochs=1, momentum=0.0, schedule="constant", augmentation="none")
    with pytest.raises(UsageError, match="3 CPU threads"):
        ExpertStore(tmp_path, expert_spec(spec, dataset), real(dataset))(1, recipe, 0)
    assert not list(tmp_path.iterdir())


def test_the_threads_of_the_thread_that_works_count() -> None:
    """torch keeps a number for each thread that has computed; the main one's is not that of a pool."""
    found: list[str] = []

    def work() -> None:
        torch.set_num_threads(2)
        check_threads(2)
        try:
            check_threads(1)
        except UsageError as error:
            found.append(error.message)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert len(found) == 1 and "1 CPU thread, torch uses 2" in found[0]
    torch.set_num_threads(1)
    check_threads(1)


def test_fewer_threads_than_asked_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    check_threads(4)
    monkeypatch.setenv("OMP_THREAD_LIMIT", "2")
    with pytest.raises(UsageError, match="OMP_THREAD_LIMIT=2"):
        check_threads(4)


@pytest.mark.parametrize(
    ("first", "given", "wanted"),
    [("", None, "PASSIVE"), ("", "ACTIVE", "ACTIVE"), ("import torch; ", None, "None"), ("", "", "")],
)
def test_the_passive_wait_policy_holds_for_whoever_imports_fredbench_before_torch(
    first: str, given: str | None, wanted: str
) -> None:
    variables = {name: value for name, value in environment().items() if name != "OMP_WAIT_POLICY"}
    if given is not None:
        variables["OMP_WAIT_POLICY"] = given
    code = f"{first}import fredbench, os; print(os.environ.get('OMP_WAIT_POLICY'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=variables, timeout=100
    )
    assert done.stdout.strip() == wanted, done.stderr


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes a file below `tmp_path`, and lives until it is told to end."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom fredbench.foundation.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1]) / 'student-abc.safetensors') as part:\n"
        "    part.write_bytes(b'half')\n    print(part, flush=True)\n    sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT,
    ) as process:  # fmt: skip
        yield process
        if process.poll() is None:
            process.kill()


def test_what_a_live_process_is_writing_stays_and_what_a_dead_one_left_goes(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    assert holder.stdout is not None and holder.stdin is not None
    part = Path(holder.stdout.readline().strip())
    old = tmp_path / ".student-old.safetensors.x1.00000000.part"
    old.write_bytes(b"cut")
    os.utime(old, (0, 0))
    foreign = tmp_path / ".student-new.safetensors.x2.00000000.part"  # of another host: no lock shows here
    foreign.write_bytes(b"half")
    (tmp_path / ".folder.part").mkdir()
    remove_abandoned(tmp_path)
    assert part.exists() and foreign.exists() and not old.exists() and (tmp_path / ".folder.part").is_dir()
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.wait(60) == 0 and (tmp_path / "student-abc.safetensors").read_bytes() == b"half"


def test_what_a_killed_process_was_writing_goes(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert holder.stdout is not None
    part = Path(holder.stdout.readline().strip())
    holder.kill()
    holder.wait(60)
    assert part.exists()
    remove_abandoned(tmp_path)
    assert not part.exists()


def test_a_claimed_folder_keeps_what_others_write_into_it(tmp_path: Path) -> None:
    """Seconds of an evaluation are written into a run's folder without its lock."""
    with atomic_path(tmp_path / "seconds.json") as part:
        part.write_text("{}")
        with claimed(tmp_path, "writing", "wait"):
            assert part.exists()
    assert (tmp_path / "seconds.json").read_text() == "{}"


def test_a_new_file_that_was_taken_for_abandoned_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    lock, calls = fcntl.flock, []

    def late(handle: int, operation: int) -> None:
        if not calls:
            calls.append(handle)
            for left in tmp_path.glob(".*.part"):
                left.unlink()
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    write_json(tmp_path / "a.json", {"a": 1})
    assert calls and [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def unknown(handle: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unknown)
    part = tmp_path / ".a.x.part"
    part.write_text("perhaps alive")
    remove_abandoned(tmp_path)
    write_json(tmp_path / "a.json", {})
    assert part.exists() and (tmp_path / "a.json").exists()


def test_a_lock_waits_says_so_and_gives_up_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FREDBENCH_LOCK_SECONDS", "0.2")
    other = filelock.FileLock(tmp_path / ".lock", thread_local=False)
    gives_up = pytest.raises(StorageError, match=r"another process is writing .* 0\.2 s after")
    with other, gives_up as caught, claimed(tmp_path, "writing", "wait for it"):
        pytest.fail("two hold the folder")
    said = capsys.readouterr().err
    assert "waiting" in said and "0.2 s" in said and "FREDBENCH_LOCK_SECONDS" in said and caught.value.hint
    monkeypatch.setenv("FREDBENCH_LOCK_SECONDS", "60")
    other.acquire()
    threading.Timer(0.3, lambda: other.release(force=True)).start()
    began = time.monotonic()
    with claimed(tmp_path, "writing", "wait for it"):
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_a_time_to_wait_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FREDBENCH_LOCK_SECONDS", text)
    with pytest.raises(UsageError, match="FREDBENCH_LOCK_SECONDS"), claimed(tmp_path / "x", "writing", "wait"):
        pytest.fail("held")
    assert not (tmp_path / "x").exists()


def test_a_run_that_another_process_finished_meanwhile_is_not_made_again(
    dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(dataset)
    folder, twin = (Store(tmp_path / name).folder_for(spec) for name in ("a", "b"))
    distillation.run(spec, dataset, twin)
    folder.path.parent.mkdir()
    prepare = distillation.Distillation

    def meanwhile(*given: Any, **named: Any) -> Any:
        made = prepare(*given, **named)
        if not folder.path.exists():
            twin.path.rename(folder.path)
        return made

    monkeypatch.setattr(distillation, "Distillation", meanwhile)
    assert distillation.run(spec, dataset, folder) is False and folder.finished


def test_two_grids_on_one_store_both_end_well(tmp_path: Path) -> None:
    grid = tmp_path / "two.toml"
    grid.write_text(
        'kind = "grid"\nname = "two"\ntitle = "Two"\nmethods = ["dm"]\n\n[[datasets]]\nname = "digits"\nipcs = [1]\n'
        'preset = "quick"\nscored_on = "digitsc"\nlimit = 10\nseverities = [3]\nstudents = 1\niterations = 2\n'
        'network = "convnet-d2-w4-in"\nset = ["student.epochs=1", "objective.batch_real=8"]\n'
    )
    command = [sys.executable, "-m", "fredbench", "suite", "run", str(grid), "--store", str(tmp_path / "runs")]
    command += ["--threads", "1", "--format", "json", "--offline"]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started: list[Any] = [subprocess.Popen(command, **piped, env=environment(), cwd=ROOT) for _ in range(2)]
    ended = [process.communicate(timeout=240) for process in started]
    assert [process.returncode for process in started] == [0, 0], [err for _, err in ended]
    assert not list((tmp_path / "runs").rglob("*.part"))
