"""From rounds to a ratio and its noise, to goals reached or missed, and to the bounds that a gate holds."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.subjects import GIB, SUBJECTS
from fredbench.foundation.errors import UsageError

BOUNDS_FORMAT = "fredbench-speed-bounds"


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Plain over ours, of the rounds: median, extremes, and noise, the distance of the two quartiles.

    Quartiles: of five rounds the second and the fourth, of three the middles between neighbours.
    """

    median: float
    lowest: float
    highest: float
    noise: float


def ratio_of(rounds: Sequence[Mapping[str, float]]) -> Ratio:
    """Of rounds of seconds, `plain` and `ours`. One round has no noise that it could show: it is NaN."""
    ratios = [turn["plain"] / turn["ours"] for turn in rounds]
    noise = float("nan")
    if len(ratios) > 1:
        lower, _, upper = statistics.quantiles(ratios, n=4, method="inclusive")
        noise = upper - lower
    return Ratio(statistics.median(ratios), min(ratios), max(ratios), noise)


def part_ratios(parts: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """Median ratio of every part, of rounds that hold (ours, plain) by part."""
    names = parts[0] if parts else {}
    return {name: statistics.median(part[name][1] / part[name][0] for part in parts) for name in names}


def verdicts(found: Mapping[str, Any]) -> dict[str, tuple[bool, str]]:
    """Every goal of a subject as (reached, what was found); empty where it has none."""
    goal, said = found["goal"], dict[str, tuple[bool, str]]()
    if goal["ratio"] is not None:
        median = ratio_of(found["rounds"]).median
        said["ratio"] = median >= goal["ratio"], f"{median:.2f} of {goal['ratio']:g}"
    if goal["gib"] is not None and found["memory"] is not None:
        held = found["memory"]["peak_bytes"] / GIB
        said["gib"] = held <= goal["gib"], f"{held:.2f} GiB of {goal['gib']:g}"
    if goal["part"] is not None:
        name, least = min(part_ratios(found["parts"]).items(), key=lambda pair: pair[1])
        said["part"] = least >= goal["part"], f"least {least:.1f} ({name}) of {goal['part']:g}"
    return said


def reasons(name: str, said: Mapping[str, tuple[bool, str]]) -> list[str]:
    """What stands in the way of the goals that were missed; "not looked into" where nothing is known."""
    why = SUBJECTS[name].why if name in SUBJECTS else {}
    return [
        f"{text} because: {why.get(goal, 'not looked into')}" for goal, (reached, text) in said.items() if not reached
    ]


def table(subjects: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line a subject, a second one under the default allocator where that was measured, and why goals were missed."""
    titles = f"{'ratio (min..max)':>22s} {'noise':>6s} {'GiB (its own)':>14s}  goal"
    head = f"{'subject':17s} {'ours s':>9s} {'plain s':>9s} {titles}"
    lines = [head, "-" * len(head)]
    for name, found in subjects.items():
        said = verdicts(found)
        lines.append(_line(name, found["rounds"], found["memory"], list(said.values())))
        if found["default_allocator"]:
            lines.append(_line("  default malloc", found["default_allocator"], None, []))
        lines += [f"{'':17s} {text}" for text in (found["what"], found["note"], *reasons(name, said)) if text]
    return lines


def _line(
    name: str, rounds: Sequence[Mapping[str, float]], memory: Mapping[str, int] | None, said: list[tuple[bool, str]]
) -> str:
    ratio = ratio_of(rounds)
    ours, plain = (statistics.median(turn[who] for turn in rounds) for who in ("ours", "plain"))
    spread = f"{ratio.median:.2f} ({ratio.lowest:.2f}..{ratio.highest:.2f})"
    held = ""
    if memory:
        held = f"{memory['peak_bytes'] / GIB:.2f} (+{max(0, memory['peak_bytes'] - memory['floor_bytes']) / GIB:.2f})"
    goals = "; ".join(f"{'reached' if reached else 'MISSED'}: {text}" for reached, text in said)
    return f"{name:17s} {ours:9.4f} {plain:9.4f} {spread:>22s} {ratio.noise:6.2f} {held:>14s}  {goals}".rstrip()


def read_bounds(file: Path) -> dict[str, dict[str, Any]]:
    """Bounds by subject: `ratio`, and the `threads` it was measured with."""
    try:
        document = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file} holds no bounds: {error}", hint="measure and write them with --store-bounds"
        ) from error
    bounds = document.get("bounds") if isinstance(document, dict) else None
    if not isinstance(bounds, dict) or document.get("format") != BOUNDS_FORMAT:
        raise UsageError(f"{file} is no file of bounds", hint=f"its format is {BOUNDS_FORMAT!r}, see --store-bounds")
    for name, bound in bounds.items():
        if not isinstance(bound, dict) or bound.keys() != {"ratio", "threads"} or not bound["ratio"] > 0:
            raise UsageError(f"{file}: the bound of {name} is {bound!r}", hint="a bound has ratio and threads")
    return bounds


def write_bounds(file: Path, subjects: Mapping[str, Mapping[str, Any]], threads: int) -> None:
    """Take the ratios of this run as bounds, less its noise, beside the bounds of other subjects that stand there."""
    bounds = read_bounds(file) if file.is_file() else {}
    for name, found in subjects.items():
        ratio = ratio_of(found["rounds"])
        if not ratio.noise >= 0:
            raise UsageError("one round shows no noise, so it makes no bound", hint="give --rounds 3 or more")
        bounds[name] = {"ratio": round(ratio.median - ratio.noise, 3), "threads": threads}
    document = {"format": BOUNDS_FORMAT, "bounds": dict(sorted(bounds.items()))}
    file.write_text(json.dumps(document, indent=1) + "\n")


def fallen(
    subjects: Mapping[str, Mapping[str, Any]], bounds: Mapping[str, Mapping[str, Any]], threads: int
) -> tuple[list[str], list[str]]:
    """What the gate says: subjects below their bound by more than this run's noise, and those that have none here."""
    below, without = [], []
    for name, found in subjects.items():
        bound, ratio = bounds.get(name), ratio_of(found["rounds"])
        if bound is None or bound["threads"] != threads:
            without.append(name if bound is None else f"{name} (its bound is of {bound['threads']} threads)")
        elif not ratio.median + ratio.noise >= bound["ratio"]:
            said = f"{ratio.median:.2f} ± {ratio.noise:.2f}"
            below.append(f"{name}: {said} lies below its bound {bound['ratio']:.2f}")
    return below, without
