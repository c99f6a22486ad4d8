"""Tasks are handed out when what they need is there; deaths are counted, failures inherited, others' work awaited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from spine import cifar_like, spec_of

from fredbench.execution import schedule
from fredbench.execution.making import MOST_STARTS, Report
from fredbench.execution.plan import Plan, Task
from fredbench.foundation.errors import ArtefactError, UsageError, described, restored
from fredbench.suites.grids import Cell


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
