"""How far a grid is: a line for each task that is not done, and counts of all."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence

from fredbench.execution.status import Standing
from fredbench.report.simple import simple_table

__all__ = ["status_table"]

_HEAD = ("task", "state", "where", "process", "since", "for", "why")


def status_table(standings: Sequence[Standing], form: str) -> str:
    """The table in a format; JSON and CSV hold all tasks, the others those that run, failed or were cut off."""
    if form == "json":
        return json.dumps([_plain(each) for each in standings], indent=1)
    shown = [each for each in standings if form == "csv" or each.state in {"runs", "failed", "begun"}]
    body = simple_table(_HEAD, [_line(each) for each in shown], form)
    if form in {"csv", "latex"}:
        return body
    counts = Counter(each.state for each in standings)
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    return "\n".join([*([body, ""] if shown else []), f"{len(standings)} tasks: {told}"])


def _line(each: Standing) -> Sequence[object]:
    holder = each.holder
    since = "" if holder is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
    ran = "" if each.seconds is None else f"{each.seconds:.0f} s"
    where, process = ("", "") if holder is None else (holder.host, holder.pid)
    return each.task.label, each.state, where, process, since, ran, "" if each.problem is None else str(each.problem)


def _plain(each: Standing) -> dict[str, object]:
    holder = each.holder
    return {
        "task": each.task.label,
        "name": each.task.name,
        "kind": each.task.kind,
        "state": each.state,
        "host": None if holder is None else holder.host,
        "pid": None if holder is None else holder.pid,
        "since": None if holder is None else holder.since,
        "seconds": each.seconds,
        "error": None if each.problem is None else each.problem.message,
        "hint": None if each.problem is None else each.problem.hint,
    }
