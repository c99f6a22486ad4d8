"""Trajectory matching against what users run today: seconds a step and peak memory of one iteration.

The setting is FreD's CIFAR-10 at IPC 1: 160 decoded pictures of 64 coefficients a channel, ConvNetD3 of width 128,
augmentation on. Pictures, weights and targets are random: neither time nor memory depends on them.

    python benchmarks/trajectory.py                       # all of it; minutes, on a quiet machine
    python benchmarks/trajectory.py --width 8 --pictures 20 --long 6 --repeats 1     # does it run?
    python benchmarks/trajectory.py --gate                # exit 1 where a goal is missed

Methods. `exact`, `tesla`, `autograd`: ours. `exact compiled`: with objective.compiled. `plain`: the usual way in our
own words (`benchmarks/yardsticks/trajectory.py`): whole coefficient tensors, masked, through two dense transforms; a
network of stock layers; a parameter vector unrolled by autograd. `plain as shipped`: the same under autograd's anomaly
detection, which the published script switches on.

Times are of one iteration over its steps, interleaved in one process, best and median ratio over the repeats; memory
is the peak resident set of a process of its own, imports included (on an accelerator: torch's peak there). What
unrolls cannot run 50 steps in the memory of a small machine: it is measured at 2, 4 and 8, and its straight line is
extended, said so.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fredbench.foundation.environment import environment  # noqa: E402

OURS, PLAIN = ("exact", "tesla", "autograd"), ("plain", "plain as shipped")
CLASSES, SIZE, KEPT = 10, (32, 32), 64
# Goals: memory of `exact` in GB, eager and compiled; ratios of time, plain over exact; growth of memory.
GOALS = {"eager GB": 1.2, "compiled GB": 2.0, "as shipped": 1.5, "anomaly off": 1.2, "compiled": 2.0, "flat": 1.1}


def main() -> int:
    options = parse()
    if options.child:
        child(options)
        return 0
    found: dict[str, Any] = {
        "format": "fredbench-benchmark",
        "setting": {k: v for k, v in vars(options).items() if k not in {"child", "method", "out", "gate"}},
        "environment": environment(options.device, options.threads),
    }
    if "time" in options.sections:
        allocators = ("default", "raised") if options.device == "cpu" else ("default",)
        found["time"] = {name: spawn(options, "time", allocator=name) for name in allocators}
        print_times(found["time"], options)
    if "memory" in options.sections:
        found["memory"] = measure_memory(options)
        print_memory(found["memory"], options)
    verdicts = judge(found, options)
    for line, _ in verdicts:
        print(line)
    if options.out:
        options.out.write_text(json.dumps({**found, "verdicts": verdicts}, indent=1) + "\n")
    return int(options.gate and not all(held for _, held in verdicts))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--pictures", type=int, default=160, help="a multiple of 10")
    parser.add_argument("--steps", type=int, default=4, help="steps of the timed iterations")
    parser.add_argument("--long", type=int, default=50, help="steps of the long iterations, for memory")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=0, help="pictures in one graph; 0: the product's own choice")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compiled", action="store_true", help="the compiled gradients as well (minutes more)")
    parser.add_argument("--sections", nargs="+", choices=("time", "memory"), default=("time", "memory"))
    parser.add_argument("--gate", action="store_true", help="exit 1 where a goal is missed")
    parser.add_argument("--out", type=Path, help="write all numbers as JSON")
    parser.add_argument("--child", choices=("time", "memory"), help=argparse.SUPPRESS)
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--allocator", default="default", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pictures % CLASSES or options.pictures < 2 * CLASSES:
        parser.error("--pictures must be a multiple of 10, 20 or more")
    return options


# The parent: starts processes and prints.


def spawn(options: argparse.Namespace, what: str, *, allocator: str = "default", **changes: Any) -> Any:
    """Run a measurement in a process of its own and read its numbers."""
    values = {**vars(options), **changes, "allocator": allocator}
    command = [sys.executable, __file__, "--child", what]
    for name in ("width", "pictures", "steps", "repeats", "threads", "chunk", "device", "allocator", "method"):
        if values.get(name) is not None:
            command += [f"--{name}", str(values[name])]
    if values.get("compiled"):
        command.append("--compiled")
    variables = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=variables, check=False)
    if done.returncode:
        return {"failed": done.returncode}
    return json.loads(done.stdout.splitlines()[-1])


def measure_memory(options: argparse.Namespace) -> dict[str, dict[int, Any]]:
    """Peak memory by method and number of steps."""
    short, long = sorted({2, options.steps, 2 * options.steps}), [options.steps, options.long]
    plan = {"exact": long, "tesla": long, "autograd": short, "plain": short}
    if options.compiled:
        plan["exact compiled"] = long
    found: dict[str, dict[int, Any]] = {}
    for method, steps in plan.items():
        for number in steps:
            found.setdefault(method, {})[number] = spawn(options, "memory", method=method, steps=number)
    return found


def print_times(found: dict[str, Any], options: argparse.Namespace) -> None:
    print(f"\nSeconds a step, best of {options.repeats}, {options.threads} threads, {options.steps} steps an iteration")
    for allocator, result in found.items():
        print(f"  allocator {allocator}: {result.get('failed', '') and 'failed'}")
        for method, values in result.get("seconds", {}).items():
            ratio = result["ratio to exact"][method]
            print(f"    {method:18s} {min(values):8.3f}   {ratio:5.2f} x exact (median of the rounds)")


def print_memory(found: dict[str, dict[int, Any]], options: argparse.Namespace) -> None:
    print("\nPeak memory of the whole process (GB), and seconds a step")
    for method, by_steps in found.items():
        for steps, result in by_steps.items():
            text = f"failed ({result['failed']})" if "failed" in result else f"{result['bytes'] / 1e9:6.2f}"
            seconds = f"{result['seconds']:8.3f} s" if "seconds" in result else ""
            print(f"    {method:18s} {steps:3d} steps {text} {seconds}")
        if method in {"autograd", "plain"}:
            at = projected(by_steps, options.long)
            print(f"    {method:18s} {options.long:3d} steps {at / 1e9:6.2f} (projected on a straight line, not run)")


def projected(by_steps: dict[int, Any], steps: int) -> float:
    """The least-squares line through the measured points, at `steps`."""
    points = [(number, result["bytes"]) for number, result in by_steps.items() if "bytes" in result]
    if len(points) < 2:
        return float("nan")
    slope, intercept = statistics.linear_regression(*zip(*points, strict=True))
    return slope * steps + intercept


def judge(found: dict[str, Any], options: argparse.Namespace) -> list[tuple[str, bool]]:
    """The goals, each with whether it was reached; those that were not measured are left out."""
    verdicts = []

    def verdict(what: str, value: float, goal: float, *, most: bool) -> None:
        held = value <= goal if most else value >= goal
        sign = "at most" if most else "at least"
        verdicts.append((f"{'reached' if held else 'MISSED '}: {what} {value:.2f}, goal {sign} {goal}", held))

    print()
    ratios = found.get("time", {}).get("default", {}).get("ratio to exact", {})
    if ratios:
        verdict("plain as shipped / exact", ratios["plain as shipped"], GOALS["as shipped"], most=False)
        verdict("plain, anomaly detection off / exact", ratios["plain"], GOALS["anomaly off"], most=False)
    if "exact compiled" in ratios:
        compiled = ratios["plain as shipped"] / ratios["exact compiled"]
        verdict("plain as shipped / exact compiled", compiled, GOALS["compiled"], most=False)
    for method, goal in (("exact", "eager GB"), ("exact compiled", "compiled GB")):
        memory = found.get("memory", {}).get(method, {})
        if {options.steps, options.long} <= memory.keys() and all("bytes" in m for m in memory.values()):
            long, short = memory[options.long]["bytes"], memory[options.steps]["bytes"]
            verdict(f"GB of {method} at {options.long} steps", long / 1e9, GOALS[goal], most=True)
            verdict(
                f"memory of {method}, {options.long} over {options.steps} steps", long / short, GOALS["flat"], most=True
            )
    return verdicts


# The child: measures, in a process that has nothing but the measurement.


def child(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(options.threads)
    if options.allocator == "raised":
        from fredbench.foundation.allocator import keep_freed_memory

        keep_freed_memory()
    device = torch.device(options.device)
    if options.child == "memory":
        iteration = method_named(options.method, options, device)
        iteration(min(2, options.steps))
        seconds = timed(iteration, options.steps, device)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device)
        print(json.dumps({"bytes": peak, "seconds": seconds}))
        return
    names = [*OURS, *(["exact compiled"] if options.compiled else []), *PLAIN]
    methods = {name: method_named(name, options, device) for name in names}
    for iteration in methods.values():
        iteration(options.steps)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name, iteration in methods.items():
            seconds[name].append(timed(iteration, options.steps, device))
    ratios = {
        name: statistics.median(a / b for a, b in zip(values, seconds["exact"], strict=True))
        for name, values in seconds.items()
    }
    print(json.dumps({"seconds": seconds, "ratio to exact": ratios}))


def timed(iteration: Callable[[int], None], steps: int, device: Any) -> float:
    """Seconds a step of one iteration."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    began = time.perf_counter()
    iteration(steps)
    wait()
    return (time.perf_counter() - began) / steps


def method_named(name: str, options: argparse.Namespace, device: Any) -> Callable[[int], None]:
    """An iteration of `steps` steps: from what is stored to its gradient."""
    if name in PLAIN:
        return plain(options, device, anomalies=name == "plain as shipped")
    return ours(options, device, name.partition(" ")[0], compiled=name.endswith("compiled"))


def ours(options: argparse.Namespace, device: Any, gradient: str, *, compiled: bool) -> Callable[[int], None]:
    import torch

    from fredbench import networks
    from fredbench.foundation.rng import Stream
    from fredbench.objectives import Context
    from fredbench.objectives.trajectory import TMConfig, TrajectoryMatching
    from fredbench.parameterizations.base import State, class_ordered_labels
    from fredbench.parameterizations.frequency import FreD, FreDConfig
    from fredbench.training.experts import UntrainedExperts
    from fredbench.training.loop import TrainingRecipe
    from fredbench.training.trajectories import ExpertSpec

    name, generator = f"convnet-d3-w{options.width}-in", Stream(0).child("benchmark").torch()
    count = options.pictures // CLASSES
    coefficients = torch.randn(CLASSES, count, 3, KEPT, generator=generator) * 30
    positions = torch.stack([torch.randperm(SIZE[0] * SIZE[1], generator=generator)[:KEPT] for _ in range(CLASSES)])
    learned = {"coefficients": coefficients.to(device).requires_grad_()}
    labels = class_ordered_labels(CLASSES, count).to(device)
    state = State(learned, {"positions": positions.sort(1).values.to(device)}, labels, (3, *SIZE))
    fred = FreD(FreDConfig(KEPT))

    class Decoded:
        def __len__(self) -> int:
            return len(state)

        def decode(self, index: Any = None, rng: Any = None) -> tuple[Any, Any]:
            return fred.decode(state, index, rng)

        def alternatives(self) -> None:
            return None

    def network(stream: Stream) -> networks.Network:
        return networks.build(name, classes=CLASSES, size=SIZE, rng=stream).to(device)

    spec = ExpertSpec("none", "", "", name, CLASSES, (3, *SIZE), TrainingRecipe(), 0, device.type, options.threads)
    objective = TrajectoryMatching(TMConfig(gradient=gradient, chunk=options.chunk, compiled=compiled, experts=1))
    # No real picture is looked at: the experts are initialisations.
    objective.prepare(Context(None, network, networks.initialise, Stream(0), device, UntrainedExperts(spec)))

    def iteration(steps: int) -> None:
        objective.config = dataclasses.replace(objective.config, steps=steps)
        learned["coefficients"].grad = None
        for update in objective.iterate(0, Decoded()):
            update.loss.backward()

    return iteration


def plain(options: argparse.Namespace, device: Any, *, anomalies: bool) -> Callable[[int], None]:
    import torch

    from benchmarks.yardsticks import trajectory
    from benchmarks.yardsticks.networks import convnet
    from benchmarks.yardsticks.pictures import Frequencies

    generator, count = torch.Generator().manual_seed(0), options.pictures // CLASSES
    network = convnet(3, options.width, SIZE[0], CLASSES).to(device)
    start = trajectory.flat(network)
    target = start + 0.01 * torch.randn(len(start), generator=generator).to(device)
    coefficients = torch.randn(CLASSES, count, 3, KEPT, generator=generator) * 30
    positions = torch.stack([torch.randperm(SIZE[0] * SIZE[1], generator=generator)[:KEPT] for _ in range(CLASSES)])
    stored = Frequencies.of(coefficients, positions, SIZE[0]).to(device)
    labels = torch.arange(CLASSES).repeat_interleave(count).to(device)
    rate = torch.tensor(0.01, device=device, requires_grad=True)
    called = trajectory.Flat(network)

    def iteration(steps: int) -> None:
        stored.learned.grad = rate.grad = None
        with torch.autograd.set_detect_anomaly(anomalies, check_nan=anomalies):
            pictures = stored()
            found = trajectory.loss(called, start, target, rate, steps, lambda _: pictures, labels, generator)
            found.backward()

    return iteration


if __name__ == "__main__":
    sys.exit(main())
