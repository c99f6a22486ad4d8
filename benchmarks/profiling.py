"""Where the time of a subject goes: `python -m benchmarks.profiling SUBJECT`, ours, or the yardstick with --plain.

    python -m benchmarks.profiling dm-32 --threads 2
    python -m benchmarks.profiling dm-32 --tiny       # does it run?

Shares of the wall time of a call, by what torch says of its operators (an operator's own time, its children left out;
with several threads, what the caller waited for it): the optimiser; convolutions, and the products that Winograd's are
made of; other products of matrices; copies and layouts; functions that are not torch's own, with what they compute
outside of its operators, such as fused blocks; norms and elementwise work. What is left of the wall time is Python,
waiting, and what runs outside torch: with several threads that is scoring and DM's real pictures, whole batches that
other threads take, of which the profiler sees nothing; --threads 1 shows them. The profiler itself takes time: the same
call without it stands above. Page faults and system time are of that call, by getrusage.

Operations of convolutions are counted by torch in the yardstick, whose operators are all torch's; a multiplication and
an addition are two. They are what the direct sums ask for, whatever ours does to get there. The peak is the best of a
few of torch's convolutions in float32, measured now, on as many threads.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.subjects import SUBJECTS, make, tiny
from fredbench.foundation.allocator import keep_freed_memory

# Words in an operator's name, a group each; the first that has one takes it.
GROUPS: dict[str, tuple[str, ...]] = {
    "optimiser": ("Optimizer.", "_foreach_", "_fused_sgd", "_fused_adam"),
    "convolutions": ("conv", "mkldnn_reorder", "_linear_pointwise"),
    "matrix products": ("addmm", "aten::mm", "bmm", "matmul", "linear", "einsum", "baddbmm"),
    "copies": (
        *("copy", "clone", "contiguous", "aten::cat", "stack", "aten::to", "fill", "zero", "index", "gather"),
        *("scatter", "repeat", "pad", "empty", "flip", "resize", "reshape", "select_backward", "slice_backward"),
    ),
}
_OWN = "own functions"
# A function in Python that autograd knows: torch's own nodes end in a digit, its operators have a namespace.
_FUNCTION = re.compile(r"_?[A-Z][A-Za-z]*")
_REST, _OUTSIDE = "norms, elementwise", "Python, waiting"


def main() -> int:
    options = parse()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    subject = SUBJECTS[options.subject]
    setting = tiny(subject.kind, subject.setting.arithmetic) if options.tiny else subject.setting
    pair = make(subject.kind, setting, options.threads)
    ours, plain = pair.ours(), pair.plain()
    work = plain if options.plain else ours
    work(), work()
    spent = bare(work)
    print(f"{options.subject}, {'the yardstick' if options.plain else 'ours'}: {subject.what}; {subject.note}")
    print(f"load average {os.getloadavg()[0]:.2f}; {options.threads} threads; {spent.wall:.4f} s a call")
    for line in [*shares_told(work), *faults_told(spent)]:
        print(line)
    if subject.kind != "corruptions":
        print(arithmetic_told(plain, spent.wall))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profiling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("subject", choices=tuple(SUBJECTS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--plain", action="store_true", help="the yardstick in place of ours")
    parser.add_argument("--tiny", action="store_true", help="sizes of moments")
    return parser.parse_args()


@dataclasses.dataclass(frozen=True)
class Spent:
    """Of a call without a profiler: seconds of wall, of the processor's own code and of the system's, page faults."""

    wall: float
    user: float
    system: float
    faults: int


def bare(work: Callable[[], object]) -> Spent:
    """One call."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    return Spent(
        wall, after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime, after.ru_minflt - before.ru_minflt
    )


def shares(work: Callable[[], object]) -> tuple[float, dict[str, float]]:
    """Seconds of a call under the profiler, and seconds by group; they add up to it."""
    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as found:
        began = time.perf_counter()
        work()
        wall = time.perf_counter() - began
    seconds = dict.fromkeys((*GROUPS, _OWN, _REST), 0.0)
    for event in found.events():
        seconds[group_of(event)] += event.self_cpu_time_total / 1e6
    return wall, {**seconds, _OUTSIDE: max(0.0, wall - sum(seconds.values()))}


def group_of(event: Any) -> str:
    """The group of an operator; all that an optimiser calls is the optimiser's."""
    above = event
    while above is not None:
        if above.name.startswith("Optimizer.step"):
            return "optimiser"
        above = above.cpu_parent
    if _FUNCTION.fullmatch(event.name):
        return _OWN
    for group, words in GROUPS.items():
        if any(word in event.name for word in words):
            return group
    return _REST


def shares_told(work: Callable[[], object]) -> list[str]:
    """A line a group, as a share of the wall time under the profiler."""
    wall, seconds = shares(work)
    lines = [f"under the profiler {wall:.4f} s, of which"]
    return [*lines, *(f"  {name:20s} {100 * each / wall:5.1f} %  {each:8.4f} s" for name, each in seconds.items())]


def faults_told(spent: Spent) -> list[str]:
    """Page faults, and what the system spent on them and on all else."""
    touched = spent.faults * resource.getpagesize() / 2**20
    return [
        f"page faults {spent.faults}, {touched:.0f} MiB touched anew; system time {spent.system:.3f} s, "
        f"{100 * spent.system / spent.wall:.1f} % of the wall time; own time {spent.user:.3f} s"
    ]


def arithmetic_told(plain: Callable[[], object], wall: float) -> str:
    """What the convolutions of the work ask for, and how near to the machine's peak a call comes."""
    count, peak = convolution_operations(plain), peak_operations()
    return (
        f"convolutions ask for {count / 1e9:.2f} GFLOP, {count / wall / 1e9:.1f} GFLOP/s over the whole call: "
        f"{100 * count / wall / peak:.1f} % of the {peak / 1e9:.1f} GFLOP/s that convolutions reach here in float32"
    )


def convolution_operations(work: Callable[[], object]) -> int:
    """Floating-point operations of all convolutions in a call, forward and backward, as torch counts its operators."""
    with FlopCounterMode(display=False) as counter:
        work()
    counted = counter.get_flop_counts().get("Global", {})
    return sum(number for operator, number in counted.items() if "conv" in str(operator))


def peak_operations(seconds: float = 0.3) -> float:
    """Operations a second of the quickest of a few float32 convolutions, each tried for that long."""
    best = 0.0
    for pictures, channels, side in ((64, 128, 16), (128, 128, 16), (64, 256, 16), (256, 128, 8)):
        images, weight = torch.randn(pictures, channels, side, side), torch.randn(channels, channels, 3, 3)
        count, until = 2 * pictures * channels**2 * 9 * side**2, time.perf_counter() + seconds
        with torch.no_grad():
            while time.perf_counter() < until:
                began = time.perf_counter()
                torch.nn.functional.conv2d(images, weight, padding=1)
                best = max(best, count / (time.perf_counter() - began))
    return best


if __name__ == "__main__":
    sys.exit(main())
