"""What is happening to a grid, read from its store alone: what is done, what runs where, what failed and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fredbench.execution.making import Maker, record_of
from fredbench.execution.plan import Task
from fredbench.foundation.errors import FredbenchError, restored
from fredbench.foundation.locks import Holder, holder_of, now

__all__ = ["Standing", "standings"]

State = Literal["done", "runs", "failed", "begun", "waits", "to do"]


@dataclass(frozen=True)
class Standing:
    """A task as the store has it: `begun` was cut off, `waits` needs others first. seconds: that it has run by now."""

    task: Task
    state: State
    holder: Holder | None = None
    seconds: float | None = None
    problem: FredbenchError | None = None


def standings(maker: Maker) -> list[Standing]:
    """Every task of a grid in the order of its plan; nothing is made, and nobody is disturbed."""
    done: dict[str, bool] = {}
    found = []
    for name, task in maker.plan.tasks.items():
        done[name] = maker.done(task)
        found.append(_standing(maker, task, done))
    return found


def _standing(maker: Maker, task: Task, done: dict[str, bool]) -> Standing:
    if done[task.name]:
        return Standing(task, "done")
    holder = holder_of(maker.folder / f"{task.name}.lock")
    if holder is not None:
        return Standing(task, "runs", holder, round(max(0.0, now() - holder.since), 1))
    record = record_of(maker.folder, task.name)
    if record is not None and record.problem is not None:
        return Standing(task, "failed", Holder(record.host, record.pid, record.at), problem=restored(record.problem))
    if record is not None:
        return Standing(task, "begun", Holder(record.host, record.pid, record.at))
    return Standing(task, "to do" if all(done.get(need, False) for need in task.needs) else "waits")
