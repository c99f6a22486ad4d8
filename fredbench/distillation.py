"""THE outer loop, one for all methods: step, log, checkpoint, resume.

An iteration's draws come from streams named after it, so a run that was killed and taken up again at a checkpoint
makes the same bits as one that was not.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from fredbench import coresets, networks
from fredbench.budget import Budget, Ledger
from fredbench.config import from_mapping
from fredbench.datasets import Dataset, carve_validation
from fredbench.environment import environment, library_versions
from fredbench.errors import ArtefactError, DataError, ResourceError, UsageError
from fredbench.experts import FOLDER as EXPERTS
from fredbench.experts import ExpertStore
from fredbench.files import sha256_of, storage_errors, write_bytes, write_json
from fredbench.memory import exhaustion_told
from fredbench.objectives import OBJECTIVES, Context, ExpertSource, Objective
from fredbench.optimisation import Optimisers
from fredbench.parameterizations import PARAMETERIZATIONS, Parameterization, State
from fredbench.pictures import RealPictures
from fredbench.progress import Progress
from fredbench.rng import Stream
from fredbench.spec import Spec
from fredbench.store import RunFolder
from fredbench.synset import Synset
from fredbench.training import TrainingRecipe
from fredbench.trajectories import ExpertSpec

__all__ = ["Distillation", "checkpoint_seconds", "expert_spec", "real_pictures", "run"]

ExpertsFor = Callable[[RealPictures], ExpertSource]

CHECKPOINT_SECONDS = 5.0
CHECKPOINT_VARIABLE = "FREDBENCH_CHECKPOINT_SECONDS"
_LOG_EVERY = 10


def real_pictures(spec: Spec, dataset: Dataset, device: torch.device) -> RealPictures:
    """The training pictures that `spec` distils from: all, or all but the validation split."""
    if dataset.fingerprint != spec.fingerprint:
        raise DataError(
            f"{dataset.name} differs from the data this run was made of "
            f"({dataset.fingerprint[:12]} against {spec.fingerprint[:12]})",
            hint="point --data at the data of the run",
        )
    split = dataset.train if spec.split == "train" else carve_validation(dataset.train)[0]
    return RealPictures(
        split.images,
        split.labels,
        mean=dataset.mean,
        std=dataset.std,
        classes=len(dataset.classes),
        device=device,
    )


def expert_spec(spec: Spec, dataset: Dataset) -> ExpertSpec:
    """The experts that `spec` trains and reads; recipe and seed are its objective's to say."""
    return ExpertSpec(
        dataset=dataset.title,
        fingerprint=spec.fingerprint,
        split=spec.split,
        network=spec.network,
        classes=len(dataset.classes),
        shape=(dataset.channels, *dataset.size),
        recipe=TrainingRecipe(),
        seed=spec.seed,
        device=torch.device(spec.device).type,
        threads=spec.threads,
    )


@dataclass
class _Synthetic:
    """The synthetic set as objectives see it."""

    parameterization: Parameterization
    state: State

    def __len__(self) -> int:
        return len(self.state)

    def decode(self, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        return self.parameterization.decode(self.state, index, rng)


class Distillation:
    """One run in memory: the parts that `spec` names, at some iteration."""

    def __init__(self, spec: Spec, dataset: Dataset, device: torch.device, experts: ExpertsFor | None = None) -> None:
        """`experts` makes the source of experts, where the objective needs one."""
        self.spec, self.iteration = spec, 0
        rng = Stream(spec.seed)
        self.real = real = real_pictures(spec, dataset, device)
        budget = Budget(spec.budget, len(dataset.classes), real.shape)
        kind = PARAMETERIZATIONS.get(spec.parameterization)
        config = from_mapping(kind.Config, spec.parameterization_settings, where="parameterization")
        self.parameterization = kind(config)
        network = self._builder(dataset, device)
        self.state = (
            self._choose(real, budget, network, rng)
            if spec.is_choice
            else self.parameterization.init(real, budget, rng.child("init"))
        )
        budget.check(self.parameterization.ledger(self.state))
        self.objective = self._prepare_objective(network, rng, device, experts) if spec.iterations else None
        groups = self.parameterization.parameters(self.state)
        self.optimisers = Optimisers([*groups, *(self.objective.parameters() if self.objective else [])])

    def _builder(self, dataset: Dataset, device: torch.device) -> Callable[[Stream], networks.Network]:
        def network(stream: Stream) -> networks.Network:
            return networks.build(
                self.spec.network,
                channels=dataset.channels,
                classes=len(dataset.classes),
                size=dataset.size,
                rng=stream,
            ).to(device)

        return network

    def _choose(
        self, real: RealPictures, budget: Budget, network: Callable[[Stream], networks.Network], rng: Stream
    ) -> State:
        config = from_mapping(coresets.CONFIGS[self.spec.method], self.spec.objective_settings, where="objective")
        return coresets.choose(self.spec.method, config, real, budget, network, rng)

    def _prepare_objective(
        self,
        network: Callable[[Stream], networks.Network],
        rng: Stream,
        device: torch.device,
        experts: ExpertsFor | None,
    ) -> Objective:
        kind = OBJECTIVES.get(self.spec.objective)
        objective = kind(from_mapping(kind.Config, self.spec.objective_settings, where="objective"))
        given = experts(self.real) if experts is not None and "experts" in kind.needs else None
        objective.prepare(Context(self.real, network, networks.initialise, rng.child("objective"), device, given))
        return objective

    @property
    def ledger(self) -> Ledger:
        """What the synset would store now."""
        learned = self.objective is not None and self.objective.step_size() is not None
        return replace(self.parameterization.ledger(self.state), step_size_scalars=int(learned))

    def step(self) -> dict[str, float | Tensor]:
        """One iteration: every update of the objective, each followed by a step and a projection."""
        if self.objective is None:
            raise ValueError("a run of zero iterations has no steps")
        report: dict[str, float | Tensor] = {}
        with exhaustion_told(torch.device(self.spec.device), self.objective.memory_advice):
            for update in self.objective.iterate(self.iteration, _Synthetic(self.parameterization, self.state)):
                self.optimisers.zero_grad()
                update.loss.backward()
                self.optimisers.step(update.rate)
                if update.project:
                    self._project()
                report.update(update.report)
        self.iteration += 1
        return report

    @torch.no_grad()
    def _project(self) -> None:
        self.parameterization.project(self.state)
        if self.objective is not None:
            self.objective.project()

    def to_tensors(self) -> dict[str, Tensor]:
        """A checkpoint: iteration, learned and fixed tensors, optimisers, and what the objective owns."""
        tensors = {"iteration": torch.tensor(self.iteration)}
        tensors |= {f"learned/{k}": v.detach() for k, v in self.state.learned.items()}
        tensors |= {f"fixed/{k}": v for k, v in self.state.fixed.items()}
        tensors |= {f"optimiser/{k}": v for k, v in self.optimisers.to_tensors().items()}
        owned = self.objective.to_tensors() if self.objective else {}
        tensors |= {f"objective/{k}": v for k, v in owned.items()}
        return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint of the same spec."""
        sections: dict[str, dict[str, Tensor]] = {"learned": {}, "fixed": {}, "optimiser": {}, "objective": {}}
        for name, tensor in tensors.items():
            section, slash, key = name.partition("/")
            if slash:
                sections[section][key] = tensor
        with torch.no_grad():
            for owner, section in ((self.state.learned, "learned"), (self.state.fixed, "fixed")):
                for key, own in owner.items():
                    own.copy_(sections[section][key])
        self.optimisers.from_tensors(sections["optimiser"])
        if self.objective is not None:
            self.objective.from_tensors(sections["objective"])
        self.iteration = int(tensors["iteration"])

    def synset(self, dataset: Dataset) -> Synset:
        """The artefact as of now, in its feasible set."""
        self._project()
        spec = self.spec
        step_size = self.objective.step_size() if self.objective else None
        description = {
            "dataset": {
                # Not the name: that of a folder of pictures holds its path.
                "name": dataset.title,
                "fingerprint": spec.fingerprint,
                "classes": list(dataset.classes),
                "shape": [dataset.channels, *dataset.size],
                "partial": dict(dataset.partial),
                "split": spec.split,
            },
            "method": spec.method,
            "objective": spec.objective,
            "objective_settings": dict(spec.objective_settings),
            "parameterization": {"name": spec.parameterization, "settings": dict(spec.parameterization_settings)},
            "network": spec.network,
            "ipc": spec.ipc,
            "budget": spec.budget,
            "iterations": self.iteration,
            "preset": spec.preset,
            "seed": spec.seed,
            "normalization": {"kind": "mean-std", "mean": list(dataset.mean), "std": list(dataset.std)},
            "pixel_space": "normalized",
            "labels": {"kind": "hard", "learned": False, "order": "class"},
            "step_size": step_size,
            "student": spec.to_mapping()["student"],
            "spec_sha256": spec.digest(),
            "versions": library_versions(("torch", "numpy", "safetensors")),
        }
        return Synset.pack(self.parameterization, self.state, description)


def run(spec: Spec, dataset: Dataset, folder: RunFolder, *, fresh: bool = False) -> bool:
    """Make the run of `spec` in `folder`, or take it up where it stopped; False when it was done already.

    Everything that can be refused is refused before the folder is touched.
    """
    if folder.finished and not fresh:
        return False
    began, every = time.monotonic(), checkpoint_seconds()
    root = folder.path.parent / EXPERTS
    distillation = Distillation(
        spec, dataset, torch.device(spec.device), lambda real: ExpertStore(root, expert_spec(spec, dataset), real)
    )
    with folder.lock(), storage_errors(folder.path):
        if fresh:
            folder.clear()
        folder.write_spec(spec)
        data = {dataset.name: dataset.fingerprint}
        write_json(folder.environment_file, {**environment(spec.device, spec.threads), "data": data})
        spent = _resume(distillation, folder)
        with _log(folder, distillation.iteration) as log:
            _iterate(distillation, folder, log, began - spent, every)
        distillation.synset(dataset).save(folder.synset_file)
        folder.write_result(_result(distillation, folder, time.monotonic() - began + spent))
        folder.checkpoint_file.unlink(missing_ok=True)
    return True


def _resume(distillation: Distillation, folder: RunFolder) -> float:
    """Load the checkpoint where there is one; returns the seconds spent before."""
    if not folder.checkpoint_file.is_file():
        return 0.0
    try:
        tensors = safetensors.torch.load(folder.checkpoint_file.read_bytes())
        seconds = float(tensors.pop("seconds"))
        distillation.from_tensors(tensors)
    except (safetensors.SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise ArtefactError(
            f"{folder.checkpoint_file} cannot be taken up: {error}", hint="start over with --fresh"
        ) from error
    return seconds


def checkpoint_seconds() -> float:
    """Seconds between two checkpoints: FREDBENCH_CHECKPOINT_SECONDS, 0 for one after every iteration, or 5.

    What a run makes does not depend on it.
    """
    text = os.environ.get(CHECKPOINT_VARIABLE) or str(CHECKPOINT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UsageError(f"{CHECKPOINT_VARIABLE} = {text!r} is no time", hint="give seconds, 0 or more")
    return seconds


def _iterate(distillation: Distillation, folder: RunFolder, log: _Log, began: float, every: float) -> None:
    total = distillation.spec.iterations
    saved = time.monotonic()
    with Progress(f"distilling {folder.path.name}", total, start=distillation.iteration) as progress:
        while distillation.iteration < total:
            report = distillation.step()
            if distillation.iteration % _LOG_EVERY == 0 or distillation.iteration == total:
                values = {name: float(value) for name, value in report.items()}
                _refuse_divergence(values, distillation.iteration)
                log.write(distillation.iteration, values)
                progress.note = " ".join(f"{name} {value:.4g}" for name, value in values.items())
            progress.advance()
            if time.monotonic() - saved >= every and distillation.iteration < total:
                log.flush()
                tensors = distillation.to_tensors()
                tensors["seconds"] = torch.tensor(time.monotonic() - began, dtype=torch.float64)
                write_bytes(folder.checkpoint_file, safetensors.torch.save(tensors))
                saved = time.monotonic()


def _refuse_divergence(values: Mapping[str, float], iteration: int) -> None:
    """Stop a run whose numbers left the finite ones; what was stored before stays."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise ResourceError(
                f"the run diverged: {name} is {value} at iteration {iteration}",
                hint="lower the rate, as in --set parameterization.lr=..., which makes a run of its own",
            )


class _Log:
    """progress.jsonl: appended as the run goes on."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, iteration: int, values: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"iteration": iteration, **values}) + "\n")

    def flush(self) -> None:
        self._file.flush()


@contextlib.contextmanager
def _log(folder: RunFolder, iteration: int) -> Iterator[_Log]:
    """Open the log with the lines up to `iteration` kept, so that a resumed run logs nothing twice."""
    kept = []
    if folder.progress_file.is_file():
        for line in folder.progress_file.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # the last line of a killed run may be cut
                if json.loads(line)["iteration"] <= iteration:
                    kept.append(line)
    write_bytes(folder.progress_file, "".join(f"{line}\n" for line in kept).encode())
    with open(folder.progress_file, "a", encoding="utf-8") as file:
        yield _Log(file)


def _result(distillation: Distillation, folder: RunFolder, seconds: float) -> dict[str, Any]:
    spec = distillation.spec
    return {
        "method": spec.method,
        "dataset": spec.dataset,
        "iterations": distillation.iteration,
        "ledger": distillation.ledger.to_mapping(),
        "budget": spec.budget,
        "synset_sha256": sha256_of(folder.synset_file),
        "seconds": round(seconds, 3),
        "device": spec.device,
    }
