"""What a run will cost, from one measured step of it, before anything is made."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fredbench.runs.assembly import Distillation, expert_spec
from fredbench.foundation.config import from_mapping, to_mapping
from fredbench.datasets import Dataset
from fredbench.training.experts import FOLDER, ExpertStore, UntrainedExperts
from fredbench.foundation.memory import peak_bytes
from fredbench.foundation.rng import Stream
from fredbench.objectives import OBJECTIVES
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.parameterizations.budget import Budget
from fredbench.runs.preprocessing import FOLDER as FITS
from fredbench.runs.preprocessing import training_split
from fredbench.runs.spec import Spec

__all__ = ["Estimate", "duration", "estimate", "step_seconds", "too_long", "worth_estimating"]

LONG_SECONDS = 6 * 3600
_FEW_ITERATIONS = 50
# Of a step that long, what the first one takes beyond the others does not show.
_WARM_SECONDS = 2.0


@dataclass(frozen=True)
class Estimate:
    """Seconds of an iteration, of all iterations, of the experts still to be trained; bytes of memory at the peak.

    start: seconds before the first iteration, where a parameterization is fitted to pictures.
    """

    iteration: float
    iterations: float
    experts: float
    memory: int
    start: float = 0.0

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.start + self.iterations + self.experts


def estimate(spec: Spec, dataset: Dataset, store: Path) -> Estimate:
    """The cost of `spec` in the store of runs at `store`; experts are neither trained nor read.

    One step is measured, after one to warm up unless that took long; an objective whose steps are long gives a shorter
    one to scale from (`Objective.shortened`). The memory is the peak of what was measured, on the CPU that of the whole
    process.
    """
    kind, device = OBJECTIVES.get(spec.objective), torch.device(spec.device)
    config = from_mapping(kind.Config, spec.objective_settings, where="objective")
    trial, seconds, start = _timed_step(spec, dataset, store)
    meant = expert_spec(spec, dataset)
    experts = 0.0
    if "experts" in kind.needs:
        source = ExpertStore(store / FOLDER, meant, trial.real)
        recipe, seed = config.expert_recipe(), config.expert_seed
        missing = source.missing_epochs(config.experts, recipe, seed)
        experts = missing * source.seconds_an_epoch(recipe, seed) if missing else 0.0
    return Estimate(seconds, seconds * spec.iterations, experts, peak_bytes(device), start)


def step_seconds(spec: Spec, dataset: Dataset, store: Path) -> float:
    """Seconds of an iteration, as `estimate` measures them; experts and the start are left out."""
    return _timed_step(spec, dataset, store)[1]


def _timed_step(spec: Spec, dataset: Dataset, store: Path) -> tuple[Distillation, float, float]:
    """A run of a cheaper start and a shorter step, the seconds of a whole step, and those of the whole start."""
    stored = PARAMETERIZATIONS.get(spec.parameterization)
    begun = from_mapping(stored.Config, spec.parameterization_settings, where="parameterization")
    cheaper, times = stored.shortened(begun)
    kind, device = OBJECTIVES.get(spec.objective), torch.device(spec.device)
    config = from_mapping(kind.Config, spec.objective_settings, where="objective")
    shortened, factor = kind.shortened(config, len(training_split(dataset, spec.split)))
    meant = expert_spec(spec, dataset)
    trial = Distillation(
        replace(spec, objective_settings=to_mapping(shortened), parameterization_settings=to_mapping(cheaper)),
        dataset,
        device,
        lambda _: UntrainedExperts(meant),
        fits=store / FITS,
    )
    start = _timed_start(trial, spec, times) if times > 1 else 0.0
    for _ in range(2):
        began = time.perf_counter()
        trial.step()
        _wait(device)
        seconds = time.perf_counter() - began
        if seconds > _WARM_SECONDS:
            break
    return trial, seconds * factor, start


def _timed_start(trial: Distillation, spec: Spec, times: float) -> float:
    """Seconds of a start that takes `times` as long as the trial's own, which is made once more."""
    budget = Budget(spec.budget, trial.real.classes, trial.real.shape)
    began = time.perf_counter()
    trial.parameterization.init(trial.real, budget, Stream(spec.seed).child("init"))
    _wait(torch.device(spec.device))
    return (time.perf_counter() - began) * times


def worth_estimating(spec: Spec) -> bool:
    """Whether a run may be long: one of many iterations, or with experts to train."""
    if spec.iterations == 0:
        return False
    return spec.iterations >= _FEW_ITERATIONS or "experts" in OBJECTIVES.get(spec.objective).needs


def too_long(spec: Spec, cost: Estimate) -> bool:
    """Whether a run of that cost is started only when asked twice: above six hours without an accelerator."""
    return torch.device(spec.device).type == "cpu" and cost.seconds > LONG_SECONDS


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
