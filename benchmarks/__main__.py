"""How fast fredbench is beside the usual implementations: what users run today, measured in turns with ours.

    python -m benchmarks                                  # all subjects; most of an hour on a quiet machine
    python -m benchmarks --short                          # the small ones, in minutes
    python -m benchmarks --subjects dm-32 dc-32 --threads 2 --out benchmarks/results/NAME.json
    python -m benchmarks --short --gate                   # exit 1 where a ratio fell below its stored bound
    python -m benchmarks --tiny --rounds 1                # does it run?

Every subject has a process of its own in which ours and its yardstick (`benchmarks/yardsticks`, held to ours by
`tests/unit/test_yardsticks.py`) do the same work in turns: same pictures, weights, settings and draws, under glibc's
raised thresholds, as the product sets them; --default-allocator adds a line without. The ratio is the median of the
rounds' ratios, plain over ours; noise is the distance of their quartiles. Memory is the most that a process held that
did ours alone, all libraries included; in brackets, what of it is above the same work at sizes of moments. Pictures are
random and experts are initialisations: neither time nor memory depends on them. Settings are the published ones, from
fredbench's recipes; where less is timed, it says so below the line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import judging, kept
from benchmarks.subjects import SUBJECTS, Goal, tiny
from fredbench.foundation.environment import environment, without_places
from fredbench.foundation.errors import FredbenchError, UsageError

ROOT = Path(__file__).resolve().parent.parent
BOUNDS = Path(__file__).resolve().parent / "bounds.json"
_ROUNDS, _SHORT_ROUNDS = 5, 3


def main() -> int:
    options = parse()
    try:
        return run(options)
    except FredbenchError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 2


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subjects", nargs="+", choices=tuple(SUBJECTS), metavar="NAME", help=", ".join(SUBJECTS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, help=f"default {_ROUNDS}, with --short {_SHORT_ROUNDS}")
    parser.add_argument("--short", action="store_true", help="the small subjects, fewer rounds")
    parser.add_argument("--tiny", action="store_true", help="sizes of moments, to see that it runs; goals mean nothing")
    parser.add_argument("--default-allocator", action="store_true", help="a line under glibc's default allocator too")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory out")
    parser.add_argument("--gate", action="store_true", help="exit 1 where a ratio is below its bound")
    parser.add_argument("--bounds", type=Path, default=BOUNDS, help="file of bounds")
    parser.add_argument("--store-bounds", action="store_true", help="take this run's ratios less noise as bounds")
    parser.add_argument("--out", type=Path, help="write all numbers as JSON")
    options = parser.parse_args()
    options.rounds = options.rounds or (_SHORT_ROUNDS if options.short else _ROUNDS)
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads are 1 or more")
    return options


def run(options: argparse.Namespace) -> int:
    """Measure, print, write; the exit code."""
    names = options.subjects or [name for name, subject in SUBJECTS.items() if subject.small or not options.short]
    bounds = judging.read_bounds(options.bounds) if options.gate else {}
    if options.tiny and (options.gate or options.store_bounds):
        raise UsageError("sizes of moments say nothing of speed", hint="leave out --tiny, or --gate and --store-bounds")
    about, load = without_places(environment("cpu", options.threads)), os.getloadavg()
    print(opening(about, load))
    subjects = {}
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        subjects[name] = measured(name, options)
    print("\n".join(judging.table(subjects)))
    if options.out:
        setting = {name: getattr(options, name) for name in ("threads", "rounds", "tiny", "short")}
        document = {"format": kept.FORMAT, "format_version": kept.VERSION, "setting": setting, "load": list(load)}
        kept.write(options.out, {**document, "environment": about, "subjects": subjects})
    if options.store_bounds:
        judging.write_bounds(options.bounds, subjects, options.threads)
    return gate(subjects, bounds, options) if options.gate else 0


def opening(about: dict[str, Any], load: tuple[float, ...]) -> str:
    """What the numbers below were measured on."""
    versions = ", ".join(f"{name} {about['versions'][name]}" for name in ("fredbench", "python", "torch", "numpy"))
    return (
        f"{about['device_name']}, {about['cores']} cores, {about['threads']} threads, "
        f"{about['instruction_sets'].get('torch', '?')}; {versions}; commit {about['commit']}\n"
        f"load average at the start {load[0]:.2f}, {load[1]:.2f}, {load[2]:.2f} "
        "(what else runs here disturbs the ratios: look at their noise)\n"
    )


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All numbers of a subject, each from a process of its own."""
    subject = SUBJECTS[name]
    timed = child("time", name, options)
    again = child("time", name, options, "--allocator", "default") if options.default_allocator else {"rounds": []}
    memory = None
    if not options.no_memory:
        held, floor = (child(what, name, options)["peak_bytes"] for what in ("memory", "floor"))
        memory = {"peak_bytes": held, "floor_bytes": floor}
    small = tiny(subject.kind, subject.setting.arithmetic)
    return {
        "what": subject.what,
        "note": subject.note,
        "unit": timed["unit"],
        "load": timed["load"],
        "setting": dataclasses.asdict(small if options.tiny else subject.setting),
        "whole": dataclasses.asdict(small if options.tiny else subject.whole),
        "resolved": timed.get("resolved", {}),
        "rounds": timed["rounds"],
        "default_allocator": again["rounds"],
        "parts": timed.get("parts", []),
        "memory": memory,
        "goal": dataclasses.asdict(Goal() if options.tiny else subject.goal),
    }


def child(what: str, name: str, options: argparse.Namespace, *more: str) -> dict[str, Any]:
    """Run a measurement in a process of its own and read its numbers."""
    words = [sys.executable, "-m", "benchmarks.measuring", what, name, "--threads", str(options.threads), *more]
    words += ["--rounds", str(options.rounds), *(["--tiny"] if options.tiny else [])]
    variables = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    variables["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, env=variables, cwd=ROOT, check=False)
    if done.returncode:
        raise UsageError(
            f"measuring {what} of {name} ended with status {done.returncode}",
            hint="its own message stands above; -9 is the system's answer to exhausted memory",
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def gate(subjects: dict[str, Any], bounds: dict[str, Any], options: argparse.Namespace) -> int:
    """0 where every bounded subject held, 1 where one fell or none has a bound."""
    below, without = judging.fallen(subjects, bounds, options.threads)
    for line in below:
        print(f"FALLEN: {line}")
    if without:
        print(f"no bound is stored for {', '.join(without)}")
    if len(without) == len(subjects):
        print("nothing was held: measure bounds with --store-bounds")
        return 1
    if not below:
        print(f"held: {len(subjects) - len(without)} of {len(subjects)} subjects have a bound, and are not below it")
    return int(bool(below))


if __name__ == "__main__":
    sys.exit(main())
