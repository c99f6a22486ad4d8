"""The process that measures one subject, and nothing else: `python -m benchmarks.measuring WHAT SUBJECT ...`.

time: ours and the yardstick in turns, a round each, in one process under one allocator. memory: the most that a process
holds which does ours alone. floor: the same at sizes of moments, which is what the libraries take. The last line
written is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.subjects import SUBJECTS, Setting, make, tiny

# A turn takes that long at least: shorter work is repeated.
_TURN_SECONDS = 0.3
# A call that takes longer is not made a second time for its memory.
_LONG_SECONDS = 60.0


def main() -> None:
    options = parse()
    import torch

    torch.set_num_threads(options.threads)
    if options.allocator == "raised":
        from fredbench.foundation.allocator import keep_freed_memory

        keep_freed_memory()
    subject = SUBJECTS[options.subject]
    small = tiny(subject.kind, subject.setting.arithmetic)
    if options.what != "time":
        setting = small if options.tiny or options.what == "floor" else subject.whole
        found = memory(subject.kind, setting, options.threads)
    else:
        setting = small if options.tiny else subject.setting
        found = in_turns(subject.kind, setting, options.threads, options.rounds)
    print(json.dumps(found))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "memory", "floor"))
    parser.add_argument("subject", choices=tuple(SUBJECTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--allocator", choices=("raised", "default"), default="raised")
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


def in_turns(kind: str, setting: Setting, threads: int, rounds: int) -> dict[str, Any]:
    """Seconds a unit of ours and of the yardstick, round by round; what goes first takes turns too."""
    pair = make(kind, setting, threads)
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    if kind == "corruptions":
        parts = [pair.round() for _ in range(rounds)]
        sums = [[sum(seconds) for seconds in zip(*part.values(), strict=True)] for part in parts]
        return {**found, "rounds": [{"ours": a, "plain": b} for a, b in sums], "unit": pair.unit, "parts": parts}
    works = {"ours": pair.ours(), "plain": pair.plain()}
    # The first calls fill caches and choose algorithms; the second ones say how often a turn repeats.
    shortest = min(min(timed(work, 1) for _ in range(2)) for work in works.values())
    repeated = max(1, math.ceil(_TURN_SECONDS / shortest))
    turns = []
    for number in range(rounds):
        order = list(works) if number % 2 == 0 else list(works)[::-1]
        seconds = {name: timed(works[name], repeated) / pair.per for name in order}
        turns.append({name: seconds[name] for name in works})
    return {**found, "rounds": turns, "unit": pair.unit, "resolved": resolved(pair)}


def resolved(pair: Any) -> dict[str, Any]:
    """The settings that ours ran with, as the recipes gave them."""
    said = pair.spec.to_mapping()
    return {section: said[section] for section in ("objective", "parameterization", "student")} | {
        "network": pair.spec.network
    }


def timed(work: Callable[[], object], repeated: int) -> float:
    """Seconds of a call, the mean of `repeated`."""
    began = time.perf_counter()
    for _ in range(repeated):
        work()
    return (time.perf_counter() - began) / repeated


def memory(kind: str, setting: Setting, threads: int) -> dict[str, Any]:
    """The most that this process held in two iterations of ours, or one where that takes long."""
    work = make(kind, setting, threads).ours()
    if timed(work, 1) < _LONG_SECONDS:
        work()
    return {"peak_bytes": most_held()}


def most_held() -> int:
    """The most memory that was resident in this process.

    Of /proc: the figure of getrusage begins, in a child, at what its parent held when it was started.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import torch

    from fredbench.foundation.memory import peak_bytes

    return peak_bytes(torch.device("cpu"))


if __name__ == "__main__":
    main()
