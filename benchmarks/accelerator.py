"""Half an hour of a borrowed accelerator, spent well: does it work there, how fast, and how far does FreD × TM get?

    python benchmarks/accelerator.py --out results/accelerator --store runs          # 30 minutes, CIFAR-10 at IPC 1
    python benchmarks/accelerator.py ... --minutes 30                                # again: goes on where it stopped
    python benchmarks/accelerator.py --scale tiny --device cpu --minutes 5 ...       # does it run? (digits)

Phases, each with a share of the minutes; what one leaves over is the next one's:

    tests   the tests of networks, transforms, objectives and storages
    pairs   an iteration of every objective with every storage, on the device and on the CPU: how far apart what is
            learned lies, and on CUDA how often the host waited
    speed   seconds an iteration and peak memory of TM, DM and DC, with FreD and with pixels, at published settings
    plain   `benchmarks/trajectory.py`: TM beside the usual loop; DM's and DC's run on CPUs (`python -m benchmarks`)
    run     FreD × TM (`--method fred`) with as many experts and iterations as the minutes allow, then its students;
            `--whole` asks for the published numbers, in as many sessions as that takes

Every phase writes OUT/PHASE.json with setting, commit and device; what was written at the same commit on the same
device is kept, so a session that was cut off loses at most the phase it was in, and of `run` some seconds: its experts
and its checkpoint stay in the store. How many experts and iterations were chosen stands in OUT/plan.json and stays. A
finished `run.json` has the form of `benchmarks/record.py`, the others that of benchmarks; results/ takes both.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402

from benchmarks.places import add_places  # noqa: E402
from fredbench.datasets import Dataset, load_dataset  # noqa: E402
from fredbench.foundation.config import from_mapping  # noqa: E402
from fredbench.foundation.device import resolve_device, use_threads  # noqa: E402
from fredbench.foundation.environment import environment  # noqa: E402
from fredbench.foundation.errors import CompatibilityError, FredbenchError, UsageError  # noqa: E402
from fredbench.foundation.files import write_json  # noqa: E402
from fredbench.foundation.memory import peak_bytes  # noqa: E402
from fredbench.objectives import OBJECTIVES  # noqa: E402
from fredbench.objectives.trajectory import TMConfig  # noqa: E402
from fredbench.parameterizations import PARAMETERIZATIONS  # noqa: E402
from fredbench.recipes.resolution import Request, resolve  # noqa: E402
from fredbench.runs.assembly import Distillation, expert_spec, real_pictures  # noqa: E402
from fredbench.runs.spec import Spec  # noqa: E402
from fredbench.runs.store import Store  # noqa: E402
from fredbench.testing import small_digits  # noqa: E402
from fredbench.training.experts import FOLDER, ExpertStore, UntrainedExperts  # noqa: E402

SHARES = {"tests": 0.08, "pairs": 0.08, "speed": 0.14, "plain": 0.10, "run": 0.60}
# Of the time of `run`: to train experts, and for the students of the set, of its start and of its control.
EXPERTS, STUDENTS = 0.25, 0.25
MEASURED = [(objective, storage) for objective in ("tm", "dm", "dc") for storage in ("fred", "pixels")]
NO_PLAIN = "no plain loop of {} was measured: those of `python -m benchmarks` run on CPUs"
_MOST_ITERATIONS = 20


@dataclasses.dataclass(frozen=True)
class Scale:
    """What is run: the dataset, how a run is asked for, the tests, and the options of `benchmarks/trajectory.py`."""

    dataset: str
    preset: str
    overrides: dict[str, tuple[str, ...]]
    network: str | None
    tests: tuple[str, ...]
    plain: tuple[str, ...]


SCALES = {
    "published": Scale(
        "cifar10",
        "paper",
        {},
        None,
        (
            "tests/unit",
            "tests/golden",
            "-k",
            "network or transform or trajectory or matching or kernel or augmentation",
        ),
        ("--steps", "10", "--long", "50"),
    ),
    "tiny": Scale(
        "digits",
        "quick",
        {
            "tm": (
                *("objective.steps=2", "objective.expert_epochs=1", "objective.start_epochs=1"),
                *("student.epochs=1", "student.students=2"),
            ),
            "dm": ("objective.batch_real=8",),
            "dc": ("objective.batch_real=4", "objective.rounds=1"),
        },
        "convnet-d2-w4-in",
        ("tests/unit/test_rng.py",),
        (
            *("--width", "8", "--pictures", "20", "--steps", "2", "--long", "3", "--repeats", "1"),
            *("--sections", "time"),
        ),
    ),
}


class Session:
    """The options, the clock and what every file says of itself."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.scale = options, SCALES[options.scale]
        self.device, self.threads = resolve_device(options.device), use_threads(options.threads)
        self.began = time.monotonic()
        self.environment = environment(str(self.device), self.threads)
        self._data: Dataset | None = None

    @property
    def data(self) -> Dataset:
        """The dataset, read when it is first needed."""
        self._data = self._data or load_dataset(self.scale.dataset, root=self.options.data, offline=True)
        return self._data

    def left(self, phase: str) -> float:
        """Seconds that `phase` may take from now on: its share, and what those before it have left over."""
        names = [name for name in SHARES if name in self.options.phases]
        until = sum(SHARES[name] for name in names[: names.index(phase) + 1]) / sum(SHARES[name] for name in names)
        return self.began + 60 * self.options.minutes * until - time.monotonic()

    def spec(self, objective: str, storage: str) -> Spec:
        """The run of a pair at this scale, at IPC 1."""
        request = Request(
            ipc=1,
            objective=objective,
            parameterization=storage,
            preset=self.scale.preset,
            network=self.scale.network,
            overrides=self.scale.overrides.get(objective, ()),
        )
        return resolve(request, self.data, device=str(self.device), threads=self.threads)

    def file(self, phase: str) -> Path:
        return self.options.out / f"{phase}.json"

    def is_kept(self, phase: str) -> bool:
        """Whether the phase's file is of this commit, this device and this scale, and nothing was cut off there."""
        if not self.file(phase).is_file():
            return False
        found = json.loads(self.file(phase).read_text())
        made_in = found.get("environment") or found.get("scored_in")
        same = all(made_in[key] == self.environment[key] for key in ("commit", "device_name", "threads"))
        return (
            same
            and found.get("setting", {"scale": self.options.scale}).get("scale") == self.options.scale
            and (not found.get("cut_off", False))
        )

    def keep(self, phase: str, found: dict[str, Any]) -> None:
        """Write a phase's file; no path and no name of a machine is in it."""
        setting = {"phase": phase, "scale": self.options.scale, "minutes": self.options.minutes}
        document = {"format": "fredbench-benchmark", "setting": setting, "environment": self.environment, **found}
        write_json(self.file(phase), document)

    def command(self, words: list[str], seconds: float, **changes: str) -> tuple[int | None, str]:
        """Exit code, None where the time ended it, and the end of what it wrote."""
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(self.threads), **changes}
        if seconds <= 0:
            return None, "no time was left"
        child = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=variables, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            text, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            # With its own children: one that lives on would hold the device, and the pipe.
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            return None, f"ended after {seconds:.0f} s"
        return child.returncode, text[-2000:]


def tests(session: Session) -> dict[str, Any]:
    """The tests' last line; a failure ends nothing."""
    words = ["-m", "pytest", "-p", "no:cacheprovider", "--maxfail=20", *session.scale.tests]
    code, text = session.command(words, session.left("tests"))
    return {"exit_code": code, "cut_off": code is None, "last_lines": without_paths(text).splitlines()[-5:]}


def pairs(session: Session) -> dict[str, Any]:
    """A step of every pair, at tiny settings, on the device and on the CPU."""
    from spine import spec_of

    pictures, found = small_digits(), {}
    for objective in OBJECTIVES:
        for storage in PARAMETERIZATIONS:
            name = f"{objective} × {storage}"
            if session.left("pairs") <= 0:
                return {"pairs": found, "cut_off": True}
            try:
                spec = spec_of(pictures, objective=objective, parameterization=storage, network="convnet-d2-w8-in")
            except CompatibilityError as error:
                found[name] = {"refused": error.message}
                continue
            try:
                found[name] = side_by_side(spec, pictures, session.device)
            except (FredbenchError, RuntimeError) as error:
                # What does not work is what this phase is there to find.
                found[name] = {"failed": without_paths(str(error)).splitlines()[:3]}
    return {"pairs": found, "cut_off": False}


def side_by_side(spec: Spec, pictures: Dataset, device: torch.device) -> dict[str, Any]:
    """What a first step moves, the largest difference between device and CPU beside it, and the waits of a second."""
    spec = dataclasses.replace(spec, device="cpu")
    here, there = (begun(dataclasses.replace(spec, device=str(d)), pictures, d) for d in ("cpu", device))
    before = {name: tensor.detach().clone() for name, tensor in here.state.learned.items()}
    here.step()
    there.step()
    moved, apart = (
        max(float((one - other.detach().cpu()).abs().max()) for one, other in compared)
        for compared in (
            [(before[name], tensor) for name, tensor in here.state.learned.items()],
            [(tensor.detach(), there.state.learned[name]) for name, tensor in here.state.learned.items()],
        )
    )
    return {"moved": moved, "apart": apart, "waits": waits(there.step) if device.type == "cuda" else None}


def waits(work: Callable[[], object]) -> int:
    """How often CUDA's synchronising calls are made in `work`, as torch counts them."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in caught)


def begun(spec: Spec, pictures: Dataset, device: torch.device | str) -> Distillation:
    """A run in memory; experts are initialisations, on which neither time nor memory depends."""
    meant = expert_spec(spec, pictures)
    return Distillation(spec, pictures, torch.device(device), lambda _: UntrainedExperts(meant))


def speed(session: Session) -> dict[str, Any]:
    """Seconds an iteration, after one to warm up, and the peak of memory."""
    found: dict[str, Any] = {}
    for place, (objective, storage) in enumerate(MEASURED):
        left = session.left("speed")
        if left <= 0:
            return {"iterations": found, "cut_off": True}
        spec = session.spec(objective, storage)
        plain = None if (objective, storage) == ("tm", "fred") else NO_PLAIN.format(f"{objective} × {storage}")
        found[f"{objective} × {storage}"] = {
            **iterations(begun(spec, session.data, session.device), session.device, left / (len(MEASURED) - place)),
            "published": spec.iterations,
            "network": spec.network,
            "plain": plain or "see plain.json",
        }
    return {"iterations": found, "cut_off": False, "memory_of": memory_of(session.device)}


def memory_of(device: torch.device) -> str:
    return "torch's allocations" if device.type == "cuda" else "the whole process, since its start"


def iterations(run: Distillation, device: torch.device, seconds: float) -> dict[str, Any]:
    """Iterations of `run` until the seconds are up, one at least."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    until, taken = time.monotonic() + seconds, list[float]()
    run.step()
    while not taken or (time.monotonic() < until and len(taken) < _MOST_ITERATIONS):
        synchronise(device)
        began = time.perf_counter()
        run.step()
        synchronise(device)
        taken.append(time.perf_counter() - began)
    return {"seconds": statistics.median(taken), "all_seconds": taken, "peak_bytes": peak_bytes(device)}


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def plain(session: Session) -> dict[str, Any]:
    """TM beside its plain transcription, by the benchmark that has it."""
    out = session.options.out / "trajectory.json"
    out.unlink(missing_ok=True)
    words = [str(ROOT / "benchmarks" / "trajectory.py"), "--device", str(session.device), "--out", str(out)]
    words += ["--threads", str(session.threads), *session.scale.plain]
    code, text = session.command(words, session.left("plain"))
    if code is None or not out.is_file():
        return {"cut_off": code is None, "exit_code": code, "last_lines": without_paths(text).splitlines()[-5:]}
    found = json.loads(out.read_text())
    out.unlink()
    return {"exit_code": code, "cut_off": False, "trajectory": found, "others": NO_PLAIN.format("DM and DC")}


def run(session: Session) -> dict[str, Any] | None:
    """FreD × TM as far as it goes; None where it was finished and scored, and the record lies in its place."""
    seconds, plan = session.left("run"), planned(session)
    options, scale = session.options, session.scale
    asked = ["--method", "fred", "--preset", scale.preset, "--iterations", str(plan["iterations"])]
    overrides = (*scale.overrides.get("tm", ()), f"objective.experts={plan['experts']}")
    for override in overrides:
        asked += ["--set", override]
    asked += ["--network", scale.network] if scale.network else []
    where = ["--store", str(options.store), "--device", str(session.device), "--threads", str(session.threads)]
    where += ["--data", str(options.data)] if options.data else []
    request = Request(
        ipc=1,
        method="fred",
        preset=scale.preset,
        iterations=plan["iterations"],
        network=scale.network,
        overrides=overrides,
    )
    spec = resolve(request, session.data, device=str(session.device), threads=session.threads)
    folder = Store(options.store).folder_for(spec)
    words = ["-m", "fredbench", "distill", scale.dataset, "--ipc", "1", *asked, "--offline", "--yes", *where]
    # A second session finds experts and iterations there, so the students' part is kept free in the last one only.
    code, text = session.command(words, seconds * (1 - STUDENTS))
    if folder.finished:
        record = [str(ROOT / "benchmarks" / "record.py"), "--out", str(session.file("run")), *where, folder.path.name]
        session.file("run").unlink(missing_ok=True)
        code, text = session.command(record, session.left("run"))
        if code == 0:
            return None
    lines = folder.progress_file.read_text().splitlines() if folder.progress_file.is_file() else []
    return {
        "plan": plan,
        "cut_off": True,
        "exit_code": code,
        "distilled": folder.finished,
        "missing_expert_epochs": missing_epochs(session, spec),
        "progress": [json.loads(line) for line in lines[-1:]],
        "last_lines": without_paths(text).splitlines()[-5:],
    }


def experts_of(session: Session, spec: Spec) -> tuple[ExpertStore, TMConfig]:
    """The store of the experts that `spec` reads, and the settings that say which."""
    source = ExpertStore(
        session.options.store / FOLDER,
        expert_spec(spec, session.data),
        real_pictures(spec, session.data, session.device),
    )
    return source, from_mapping(TMConfig, spec.objective_settings, where="objective")


def missing_epochs(session: Session, spec: Spec) -> int:
    source, config = experts_of(session, spec)
    return source.missing_epochs(config.experts, config.expert_recipe(), config.expert_seed)


def planned(session: Session) -> dict[str, Any]:
    """How many experts and iterations fit in the time: measured once, then kept, so that the run stays the same one."""
    file, kind = session.options.out / "plan.json", {"scale": session.options.scale, "whole": session.options.whole}
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text())
        if any(found[name] != value for name, value in kind.items()):
            raise UsageError(f"{file} plans another run: {found}", hint="give another --out, or the options it has")
        return found
    spec = session.spec("tm", "fred")
    source, config = experts_of(session, spec)
    published = {"experts": config.experts, "iterations": spec.iterations}
    plan: dict[str, Any] = {**kind, **published, "published": published}
    if not session.options.whole:
        recipe, seconds = config.expert_recipe(), session.left("run")
        epoch = source.seconds_an_epoch(recipe, config.expert_seed)
        step = iterations(begun(spec, session.data, session.device), session.device, 0)["seconds"]
        fits = {
            "experts": int(EXPERTS * seconds / (epoch * recipe.epochs)),
            "iterations": int((1 - EXPERTS - STUDENTS) * seconds / step),
        }
        plan |= {name: max(1, min(published[name], count)) for name, count in fits.items()}
        plan |= {"seconds_an_epoch": epoch, "seconds_an_iteration": step}
    write_json(file, plan)
    return plan


def without_paths(text: str) -> str:
    """`text` without the checkout's folder, the interpreter's and the user's."""
    for path in (ROOT, Path(sys.prefix), Path.home()):
        text = text.replace(str(path), "…")
    return text


PHASES: dict[str, Callable[[Session], dict[str, Any] | None]] = {
    "tests": tests, "pairs": pairs, "speed": speed, "plain": plain, "run": run,
}  # fmt: skip


def main() -> int:
    options = parse()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        spend(Session(options))
    except FredbenchError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 2
    return 0


def spend(session: Session) -> None:
    """Phase after phase, each written as it ends."""
    options = session.options
    for name in options.phases:
        if session.is_kept(name):
            print(f"{name}: kept, of the same commit and device")
            continue
        began = time.monotonic()
        found = PHASES[name](session)
        seconds = time.monotonic() - began
        if found is not None:
            session.keep(name, {**found, "seconds": seconds})
        print(f"{name}: {seconds:.0f} s" + (", cut off" if found and found["cut_off"] else ""), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--minutes", type=float, default=30.0)
    add_places(parser)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--scale", choices=tuple(SCALES), default="published")
    parser.add_argument("--whole", action="store_true", help="the published experts and iterations, over sessions")
    parser.add_argument("--phases", nargs="+", choices=tuple(SHARES), default=tuple(SHARES))
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error("--minutes must be positive")
    options.phases = [name for name in SHARES if name in options.phases]
    for name in ("out", "store", "data"):
        # Children run in the checkout.
        setattr(options, name, getattr(options, name) and getattr(options, name).resolve())
    return options


if __name__ == "__main__":
    sys.exit(main())
