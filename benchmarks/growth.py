"""How time and memory of ours grow: a few small sizes of one quantity, the others fixed, and the exponent that fits.

    python -m benchmarks.growth                     # minutes on a quiet machine
    python -m benchmarks.growth --axes ipc steps --threads 1
    python -m benchmarks.growth --tiny              # does it run?

Every point is a process of its own: seconds of an iteration (the least of a few), and the most memory that it held over
what the libraries take (the same work at sizes of moments). The exponent p of s = a n^p is the least-squares line
through the logarithms, printed with the largest distance of a point from it; 1 is linear, 0 is flat. At a fixed budget
fewer coefficients k are more pictures, so that its exponent is negative. Sizes are small and constant costs still show:
the exponents are those of this range. Pictures are random, settings those of the recipes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import most_held, timed
from benchmarks.subjects import Setting, make

ROOT = Path(__file__).resolve().parent.parent
_REPEATS = 3


@dataclasses.dataclass(frozen=True)
class Axis:
    """Points of one quantity: the kind of work, and what each point changes of the base setting."""

    kind: str
    base: dict[str, Any]
    points: dict[int, dict[str, Any]]


def _named(name: str, points: Sequence[int]) -> dict[int, dict[str, Any]]:
    return {point: {name: point} for point in points}


def _widths(points: Sequence[int]) -> dict[int, dict[str, Any]]:
    return {width: {"network": f"convnet-d3-w{width}-in"} for width in points}


_NARROW = {"network": "convnet-d3-w32-in", "dataset": "random", "held": 64, "real": 16}
AXES: dict[str, Axis] = {
    "ipc": Axis("dm", {**_NARROW, "k": 64, "held": 128}, _named("ipc", (1, 2, 4, 8))),
    "k": Axis("dm", {**_NARROW, "held": 128}, _named("k", (16, 32, 64, 128))),
    "classes": Axis("dm", {**_NARROW, "k": 64}, _named("classes", (5, 10, 20, 40))),
    "side": Axis("dm", {**_NARROW, "k": 64, "held": 80, "classes": 4}, _named("side", (16, 32, 64))),
    "width": Axis("dm", {**_NARROW, "k": 64}, _widths((16, 32, 64, 128))),
    "steps": Axis("tm", {**_NARROW, "k": 128}, _named("steps", (2, 4, 8, 16))),
    "students": Axis("students", {**_NARROW, "pictures": 64}, _named("students", (1, 2, 4, 8))),
}


def main() -> int:
    options = parse()
    if options.child:
        print(json.dumps(point(options.kind, Setting(**json.loads(options.child)), options.threads)))
        return 0
    print(f"load average at the start {os.getloadavg()[0]:.2f}; {options.threads} threads")
    for name in options.axes:
        for line in told(name, measured(AXES[name], options)):
            print(line, flush=True)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--axes", nargs="+", choices=tuple(AXES), default=tuple(AXES))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tiny", action="store_true", help="the two smallest points, a narrow network")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(axis: Axis, options: argparse.Namespace) -> dict[int, dict[str, float]]:
    """Seconds, and bytes over the libraries', by point."""
    points = dict(list(axis.points.items())[:2]) if options.tiny else axis.points
    narrow = {"network": "convnet-d3-w4-in"} if options.tiny else {}
    settings = {at: Setting(**{**axis.base, **narrow, **changed}) for at, changed in points.items()}
    floor = child(axis.kind, _floor(axis), options)["peak_bytes"]
    found = {at: child(axis.kind, setting, options) for at, setting in settings.items()}
    return {at: {"seconds": each["seconds"], "bytes": each["peak_bytes"] - floor} for at, each in found.items()}


def _floor(axis: Axis) -> Setting:
    """The axis's work at sizes of moments."""
    small = {"network": "convnet-d2-w4-in", "real": 2, "side": 16, "classes": 2, "pictures": 4, "k": 64, "steps": 1}
    return Setting(**{**axis.base, **small})


def child(kind: str, setting: Setting, options: argparse.Namespace) -> dict[str, float]:
    """Measure a point in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.growth", "--kind", kind, "--threads", str(options.threads)]
    words += ["--child", json.dumps(dataclasses.asdict(setting))]
    variables = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    variables["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, env=variables, cwd=ROOT, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def point(kind: str, setting: Setting, threads: int) -> dict[str, float]:
    """Seconds of a call of ours, the least of a few after one to warm up, and the most memory that was held."""
    import torch

    from fredbench.foundation.allocator import keep_freed_memory

    torch.set_num_threads(threads)
    keep_freed_memory()
    work = make(kind, setting, threads).ours()
    work()
    seconds = min(timed(work, 1) for _ in range(_REPEATS))
    return {"seconds": seconds, "peak_bytes": most_held()}


@dataclasses.dataclass(frozen=True)
class Power:
    """y = factor x^exponent; apart: the largest distance of a point from it, as a factor, 1 for none."""

    factor: float
    exponent: float
    apart: float


def fitted(values: dict[int, float]) -> Power:
    """The power law of least squares in logarithms; at least two positive points."""
    places, logs = [math.log(x) for x in values], [math.log(y) for y in values.values()]
    slope, intercept = statistics.linear_regression(places, logs)
    apart = max(abs(y - slope * x - intercept) for x, y in zip(places, logs, strict=True))
    return Power(math.exp(intercept), slope, math.exp(apart))


def told(name: str, found: dict[int, dict[str, float]]) -> list[str]:
    """The points of an axis and their exponents; memory that does not rise over the libraries' has none."""
    lines = [f"\n{name} ({AXES[name].kind})"]
    for at, each in found.items():
        lines.append(f"  {at:5d}  {each['seconds']:9.4f} s  {each['bytes'] / 2**20:8.1f} MiB over the libraries")
    for what in ("seconds", "bytes"):
        values = {at: each[what] for at, each in found.items()}
        if min(values.values()) > 0:
            power = fitted(values)
            lines.append(f"  {what:7s} ~ {name}^{power.exponent:.2f}  (points within a factor {power.apart:.2f})")
        else:
            lines.append(f"  {what:7s} no exponent: a point is not above what the libraries take")
    return lines


if __name__ == "__main__":
    sys.exit(main())
