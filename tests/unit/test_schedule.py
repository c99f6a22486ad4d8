"""Tasks are handed out when what they need is there; deaths are counted, failures inherited, others' work awaited."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from spine import cifar_like, spec_of

from fredbench.execution import on_slurm, schedule
from fredbench.execution.making import MOST_STARTS, TASKS, Maker, Report, record_of
from fredbench.execution.on_slurm import OnSlurm
from fredbench.execution.plan import Plan, Task
from fredbench.execution.processes import Processes
from fredbench.execution.request import GridRequest
from fredbench.foundation.errors import ArtefactError, LockedError, UsageError, described, restored
from fredbench.runs.store import Store
from fredbench.suites.grids import Cell, Resources


class Scripted:
    """An executor that answers as it is told, and notes what ran side by side."""

    def __init__(self, slots: int, answers: dict[str, list[str]]) -> None:
        self.slots, self.answers = slots, answers
        self.running: list[str] = []
        self.order: list[str] = []
        self.most = 0

    def submit(self, task: Any) -> None:
        self.running.append(task.name)
        self.order.append(task.name)
        self.most = max(self.most, len(self.running))

    def wait(self, seconds: float) -> Sequence[Report]:
        name = self.running.pop(0)
        state: Any = self.answers.get(name, ["made"]).pop(0) if self.answers.get(name) else "made"
        return [Report(name, state, ArtefactError("broken", hint="mend") if state == "failed" else None, "host")]

    def close(self) -> None:
        pass


SPEC = spec_of(cifar_like(), iterations=0)
CELL = Cell("cifar-like", 1, "quick", 0)


def plan(**needs: str) -> Plan:
    tasks = {name: Task("run", name, name, SPEC, CELL, needs=tuple(each.split())) for name, each in needs.items()}
    return Plan((), tasks, ())


def states(found: list[Report]) -> dict[str, str]:
    assert len({report.task for report in found}) == len(found), "told once"
    return {report.task: report.state for report in found}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_WAIT_SECONDS", 0.001)


DIAMOND = {"expert": "", "run": "expert", "one": "run", "two": "run", "scores": "one two"}


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_needs_come_first_and_slots_are_kept(slots: int) -> None:
    executor = Scripted(slots, {})
    found = states(list(schedule.carried_out(plan(**DIAMOND), executor, lambda task: False)))
    assert found == dict.fromkeys(DIAMOND, "made") and executor.most == min(slots, 2)
    assert executor.order.index("expert") < executor.order.index("run") and executor.order[-1] == "scores"


def test_what_only_done_tasks_read_is_not_made() -> None:
    executor = Scripted(2, {})
    found = states(list(schedule.carried_out(plan(**DIAMOND), executor, lambda task: task.name == "run")))
    assert executor.order == ["one", "two", "scores"] and found["expert"] == found["run"] == "found"


def test_a_failure_ends_what_needs_it_and_nothing_else() -> None:
    executor = Scripted(2, {"one": ["failed"]})
    found = list(schedule.carried_out(plan(**DIAMOND, other=""), executor, lambda task: False))
    failed = dict.fromkeys(["one", "scores"], "failed")
    assert states(found) == {**dict.fromkeys(["expert", "run", "two", "other"], "made"), **failed}
    assert {report.problem.message for report in found if report.problem} == {"broken"}


def test_a_death_is_made_good_a_bounded_number_of_times(capsys: pytest.CaptureFixture[str]) -> None:
    executor = Scripted(1, {"one": ["died", "busy", "died"], "two": ["died"] * 9})
    found = list(schedule.carried_out(plan(one="", two=""), executor, lambda task: False))
    assert states(found) == {"one": "made", "two": "failed"} and executor.order.count("two") == MOST_STARTS
    problem = next(report.problem for report in found if report.problem)
    assert f"died, {MOST_STARTS} times" in problem.message and "again" in problem.hint
    said = capsys.readouterr().err
    assert said.count("one: the process that made it died; it is made again") == 2 and "made by host" in said


def test_what_is_not_admitted_is_never_begun() -> None:
    def admitted(task: Any) -> None:
        if task.name == "run":
            raise UsageError("too long", hint="--yes")

    executor = Scripted(2, {})
    found = states(list(schedule.carried_out(plan(**DIAMOND), executor, lambda task: False, admitted)))
    assert executor.order == ["expert"] and found["scores"] == "failed"


def test_reports_travel_as_data() -> None:
    report = Report("a", "failed", UsageError("what", hint="how"), "host")
    again = Report.from_mapping(report.to_mapping())
    assert type(again.problem) is UsageError and str(again.problem) == "what (how)" and again.holder == "host"
    assert str(restored({**described(UsageError("x")), "error": "Plugged"})) == "x"


def test_ends_that_a_task_came_further_in_are_no_deaths() -> None:
    """As by a time limit that is shorter than a run: it goes on at its checkpoint, as often as it takes."""
    marks = iter(["0", "1", "2", "3", "4", "4", "4", "4"])
    executor = Scripted(1, {"one": ["died"] * 7})
    found = list(schedule.carried_out(plan(one=""), executor, lambda task: False, mark=lambda task: next(marks)))
    assert states(found) == {"one": "failed"} and executor.order.count("one") == 4 + MOST_STARTS


class Doing(Maker):
    """Makes tasks by what it is told to do in them."""

    def __init__(self, root: Path, does: Callable[[], None], **needs: str) -> None:
        grid_run: Any = SimpleNamespace(
            store=Store(root), grid=SimpleNamespace(resources=Resources()), failures_told=lambda spec: nullcontext()
        )
        self.grid_run, self.plan, self.folder = grid_run, plan(**needs), root / TASKS
        self.does, self.made = does, set[str]()

    def done(self, task: Task) -> bool:
        return task.name in self.made

    def _do(self, task: Task, *, timed: bool) -> None:
        self.does()
        self.made.add(task.name)


class KilledError(BaseException):
    """In place of the end of a process."""


def ends(error: BaseException) -> Callable[[], None]:
    def does() -> None:
        raise error

    return does


def test_what_another_holds_for_long_is_asked_for_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as the network that two choices of pictures share: to be late for it is no failure, and no start."""
    maker = Doing(tmp_path, ends(LockedError("another process trains the network", hint="wait")), one="")
    (task,) = maker.plan.tasks.values()
    for _ in range(MOST_STARTS + 1):
        report = maker.make(task)
        assert report.state == "busy" and record_of(maker.folder, "one") is None
    late = [lambda: None, ends(LockedError("another process trains the network"))]
    maker.does = lambda: late.pop()()
    assert states(list(schedule.carried_out(maker.plan, schedule.Here(maker), maker.done))) == {"one": "made"}
    assert "one waits: another process trains the network" in capsys.readouterr().err


def test_a_new_command_tells_no_old_failure_and_keeps_what_is_known_of_the_time(tmp_path: Path) -> None:
    maker = Doing(tmp_path, ends(KilledError()), one="", two="")
    one, two = maker.plan.tasks.values()
    with pytest.raises(KilledError):
        maker.make(one)
    maker.does = ends(ArtefactError("broken"))
    assert maker.make(one).state == maker.make(two).state == "failed"
    assert all(record_of(maker.folder, name).problem for name in ("one", "two"))  # type: ignore[union-attr]
    maker.forgive()
    kept = record_of(maker.folder, "one")
    assert kept is not None and kept.problem is None and kept.interrupted and not kept.starts
    assert record_of(maker.folder, "two") is None


def test_starts_are_counted_anew_where_a_checkpoint_moved(tmp_path: Path) -> None:
    maker = Doing(tmp_path, ends(KilledError()), one="")
    (task,) = maker.plan.tasks.values()
    file = maker.grid_run.store.folder_for(task.spec).checkpoint_file
    file.parent.mkdir(parents=True)
    for iteration in range(MOST_STARTS + 2):
        file.write_text("x" * iteration)
        with pytest.raises(KilledError):
            maker.make(task)
    for _ in range(MOST_STARTS - 1):
        with pytest.raises(KilledError):
            maker.make(task)
    report, record = maker.make(task), record_of(maker.folder, "one")
    assert report.state == "failed" and report.problem and f"died, {MOST_STARTS} times" in report.problem.message
    assert record is not None and record.problem, "who looks at the store alone must learn of it"


def test_a_command_that_ends_takes_nothing_from_one_that_begins(tmp_path: Path) -> None:
    maker = Doing(tmp_path, lambda: None, one="")
    maker.folder.mkdir(parents=True)
    folders = [tmp_path / name for name in ("features", "starts")]
    for folder in folders:
        folder.mkdir()
        for left in (".network-a.lock", ".network-a.safetensors.x.part"):
            (folder / left).touch()
            os.utime(folder / left, (0, 0))
    maker.tidy()
    assert maker.folder.is_dir() and all(list(folder.iterdir()) == [] for folder in folders)


class Job:
    job_id = "1"

    def done(self) -> bool:
        return True


def test_jobs_that_a_time_limit_ends_fail_nothing_while_they_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_slurm, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(OnSlurm, "__init__", lambda self: None)
    maker = Doing(tmp_path, ends(KilledError()), one="", two="")
    one, two = maker.plan.tasks.values()
    executor: Any = OnSlurm()  # type: ignore[call-arg]
    executor._maker, executor._tasks, executor._jobs, executor._kind = maker, {}, [], "slurm"
    executor._marks = {}
    executor._queue = lambda: executor._jobs.append(Job())

    def round_of(marks: str) -> dict[str, str]:
        moved = iter(marks)
        monkeypatch.setattr(maker, "mark", lambda task: next(moved))
        executor.submit(one)
        executor.submit(two)
        return states(executor.wait(0.0))

    maker.note(one, ArtefactError("broken"))
    maker.forgive()
    assert round_of("aabb") == {"one": "busy", "two": "busy"}
    assert round_of("bbbb") == {"one": "died", "two": "died"}
    maker.note(one, ArtefactError("too long"))
    assert round_of("bbbb") == {"one": "failed", "two": "died"}
    maker.made.add("one")
    assert round_of("bbbb") == {"one": "made", "two": "died"}


@pytest.mark.parametrize(("given", "card", "shown"), [
    (None, None, "010"), (None, 1, "111"), ("3,5", None, "353"), ("3,5", 1, "555"),
])  # fmt: skip
def test_workers_see_the_card_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, given: str | None, card: int | None, shown: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    executor = Processes(GridRequest("smoke", "runs", device="cuda", card=card), 3)
    assert "".join(executor._device(number) for number in (1, 2, 3)) == shown


@pytest.mark.parametrize("line", ['{"task": "on', "7", "{}"])
def test_a_worker_whose_answer_is_cut_counts_as_dead(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """It lives on here, as one that cannot be understood any more: without an end of it the driver waits for ever."""
    code = f"import sys, time; print({line!r}, flush=True); time.sleep(60)"
    started = subprocess.Popen

    def other(command: list[str], **options: Any) -> Any:
        return started([sys.executable, "-c", code], **options)

    monkeypatch.setattr(subprocess, "Popen", other)
    executor = Processes(GridRequest("smoke", "runs"), 1)
    (task,) = plan(one="").tasks.values()
    executor.submit(task)
    assert states(list(executor.wait(30.0))) == {"one": "died"} and not executor._workers
