"""The main job as a newcomer runs it, of this checkout beside another one: distill, then corrupt-eval, in turns.

    python benchmarks/main_job.py --against ../older --out results/main-job-speed.json
    python benchmarks/main_job.py --against ../older --iterations 24 --epochs 8 --limit 100     # less of everything
    python benchmarks/main_job.py --against . --eager                                 # this one's own layers instead
    python benchmarks/main_job.py --against ../older --scoring --limit 10000          # only scores, of wide students

    fredbench distill cifar10 --ipc 1 --objective dm --preset quick
    fredbench corrupt-eval --suite cifar10c --limit 1000

Both are run as commands, each in a store of its own, with one thread, with two, and with two beside a process that
computes without pause; each is run once before, small, so that nothing is compiled while the clock runs. Seconds are
wall time with all that a command does, starting Python included; which checkout begins changes from round to round, of
which there are two or more. Beside the sums stand the accuracies of the last round, so that it can be seen that both
did the same job. --data or `FREDBENCH_DATA` say where CIFAR-10 lies.

--scoring: the second command alone, of a random choice of pictures whose five students of width 128 (an epoch each)
were trained before the clock runs; 76 domains.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fredbench.datasets import data_root  # noqa: E402
from fredbench.foundation.environment import environment, without_places  # noqa: E402
from fredbench.foundation.files import write_json  # noqa: E402

CELLS = {"one thread": (1, False), "two threads": (2, False), "two threads, one core busy": (2, True)}
_WIDE = "convnet-d3-w128-in"
_EAGER = ("--set", "run.arithmetic=eager", "--set", "student.arithmetic=eager")
_BUSY = "import numpy\na = numpy.random.rand(512, 512)\nwhile True: a @ a"


def main() -> None:
    options = parse()
    sides = {"this": (ROOT, ()), "other": (options.against.resolve(), _EAGER if options.eager else ())}
    for checkout, settings in sides.values():
        job(checkout, settings, 1, options, iterations=1, limit=10, epochs=1)
    found: dict[str, Any] = {
        "format": "fredbench-benchmark",
        "format_version": 1,
        "benchmark": "the main job beside another checkout's",
        "setting": setting(options),
        "environment": without_places(environment("cpu", 2)),
        "other": {"commit": commit(options.against), "settings": list(_EAGER[1::2]) if options.eager else []},
        "loads": {},
        "cells": {},
    }
    print(f"{found['setting']}; load {os.getloadavg()[0]:.2f} at the start\n\n" + "\n".join(heading()), flush=True)
    for name in options.cells:
        threads, is_busy = CELLS[name]
        found["loads"][name] = os.getloadavg()[0]
        with busy() if is_busy else contextlib.nullcontext():
            turns = [
                {side: job(*sides[side], threads, options) for side in (list(sides) if turn % 2 else list(sides)[::-1])}
                for turn in range(options.rounds)
            ]
        found["cells"][name] = turns
        print("\n".join(lines(name, turns)), flush=True)
        if options.out:
            write_json(options.out, found)


def setting(options: argparse.Namespace) -> str:
    """What was done how often, in words."""
    if options.scoring:
        return (
            f"CIFAR-10-C, five students of {_WIDE}, 76 domains of {options.limit} pictures, "
            f"{options.rounds} round(s) in turns"
        )
    return (
        f"CIFAR-10, IPC 1, DM, preset quick, {options.iterations or 'all'} iterations, "
        f"{options.epochs or 'all'} epochs of students, --limit {options.limit}, {options.rounds} round(s) in turns"
    )


def job(
    checkout: Path,
    settings: tuple[str, ...],
    threads: int,
    options: argparse.Namespace,
    *,
    iterations: int | None = None,
    limit: int | None = None,
    epochs: int | None = None,
) -> dict[str, float]:
    """Seconds of the commands, and the accuracies that the last gave, in %."""
    with tempfile.TemporaryDirectory() as store:
        common = ["--threads", str(threads), "--store", store, "--device", "cpu", "--offline"]
        score = ["corrupt-eval", "--suite", "cifar10c", "--format", "json", *common]
        told = [*score, "--limit", str(limit or options.limit)]
        seconds: dict[str, float] = {}
        if options.scoring:
            chosen = ["distill", "cifar10", "--ipc", "1", "--method", "random", "--preset", "quick", *settings]
            command(checkout, [*chosen, "--set", "student.epochs=1", *common], options)
            wide = ["--network", _WIDE, "--students", "5"]
            command(checkout, [*score, "--limit", "10", *wide], options)
            told += wide
        else:
            distill = ["distill", "cifar10", "--ipc", "1", "--objective", "dm", "--preset", "quick", *settings]
            iterations, epochs = iterations or options.iterations, epochs or options.epochs
            distill += ["--iterations", str(iterations)] if iterations else []
            distill += ["--set", f"student.epochs={epochs}"] if epochs else []
            seconds["distill"], _ = command(checkout, [*distill, *common], options)
        seconds["corrupt-eval"], said = command(checkout, told, options)
    # The lines below are those of its start and of the control.
    row = json.loads(said)["rows"][0]
    return {**seconds, "clean": row["clean"]["mean"], "corrupted": row["average"]["mean"]}


def command(checkout: Path, words: list[str], options: argparse.Namespace) -> tuple[float, str]:
    """Wall seconds of a fredbench command of that checkout, and what it wrote."""
    variables = {**os.environ, "PYTHONPATH": str(checkout), "FREDBENCH_DATA": str(data_root(options.data).resolve())}
    variables.pop("OMP_NUM_THREADS", None)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "fredbench", *words],
        env=variables,
        cwd=checkout,
        check=False,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"fredbench {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return seconds, done.stdout


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Within, a process multiplies matrices with one thread."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", _BUSY], env=variables)
    try:
        yield
        if process.poll() is not None:
            raise SystemExit(f"the busy process ended by itself with {process.returncode}: nothing was busy")
    finally:
        process.kill()
        process.wait()


def commit(checkout: Path) -> str:
    """Of a checkout, as git names it."""
    words = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def heading() -> list[str]:
    return ["| | command | this | other | this of other | clean, corrupted % |", "|---|---|---|---|---|---|"]


def lines(name: str, turns: list[dict[str, dict[str, float]]]) -> list[str]:
    """A line a command, and their sum: means over rounds, and the accuracies of both."""
    found = []
    commands = [each for each in ("distill", "corrupt-eval") if each in turns[0]["this"]]
    for parts in [*([each] for each in commands), commands] if len(commands) > 1 else [commands]:
        this, other = (sum(turn[side][p] for turn in turns for p in parts) / len(turns) for side in ("this", "other"))
        told = (
            ", ".join(f"{side} {turns[-1][side]['clean']:.1f} {turns[-1][side]['corrupted']:.1f}" for side in turns[-1])
            if parts == commands
            else ""
        )
        found.append(f"| {name} | {' + '.join(parts)} | {this:.0f} s | {other:.0f} s | {this / other:.2f} | {told} |")
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="another checkout")
    parser.add_argument("--eager", action="store_true", help="the other one layer by layer")
    parser.add_argument("--scoring", action="store_true", help="only the scores of wide students")
    parser.add_argument("--cells", nargs="+", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--iterations", type=int, help="of distilling; the preset's by default")
    parser.add_argument("--epochs", type=int, help="of students; the preset's by default")
    parser.add_argument("--limit", type=int, default=1000, help="test pictures of each domain")
    parser.add_argument("--rounds", type=int, default=2, help="an even number: each side begins as often")
    parser.add_argument("--data", type=Path, help="folder of datasets")
    parser.add_argument("--out", type=Path, help="write all numbers as JSON")
    options = parser.parse_args()
    if options.rounds < 2 or options.rounds % 2:
        parser.error("--rounds is an even number")
    return options


if __name__ == "__main__":
    main()
