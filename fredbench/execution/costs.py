"""What a grid would take on this machine: seconds of every task that is not made, memory and disk, before any is.

A step of each kind of cell is measured, an epoch of each kind of student, the prediction of a picture; all else is
arithmetic. Measuring stops after a while: budgets that were not reached are scaled from the nearest of the same system
by their pictures, and say so; a system of which nothing was measured has no estimate, and is named.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial

from fredbench import networks
from fredbench.execution.inline import GridRun
from fredbench.execution.making import Maker
from fredbench.execution.plan import Task
from fredbench.foundation.config import from_mapping
from fredbench.foundation.files import canonical_json
from fredbench.foundation.memory import peak_bytes
from fredbench.foundation.rng import Stream
from fredbench.networks import Network, fused
from fredbench.networks.names import Arithmetic
from fredbench.objectives import coresets
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.parameterizations.budget import Budget
from fredbench.runs.assembly import expert_spec, real_pictures
from fredbench.runs.estimation import step_seconds
from fredbench.runs.preprocessing import FOLDER as FITS
from fredbench.runs.spec import Spec
from fredbench.training.batches import RealPictures
from fredbench.training.loop import TrainingRecipe
from fredbench.training.timing import Few, epoch_seconds, prediction_seconds

__all__ = ["Cost", "Costs"]

MEASURING_SECONDS = 60.0
# A prediction keeps the class as int16, confidence and log-likelihood as float32.
_BYTES_A_PREDICTION = 10
# A run keeps its set and, to go on from, what is learned with the moments of its optimiser.
_COPIES_OF_A_SET = 3


@dataclass(frozen=True)
class Cost:
    """Seconds of a task and bytes of what it keeps. scaled: from another budget of the same system."""

    seconds: float
    disk: float = 0.0
    scaled: bool = False


@dataclass
class Costs:
    """Costs of the tasks of `maker`'s grid. Each kind is measured when it is first asked for.

    limit: seconds of measuring steps after which no further kind of them is measured. memory: peak bytes of what was
    measured, on the CPU that of the whole process.
    """

    maker: Maker
    limit: float = MEASURING_SECONDS
    memory: int = 0
    _known: dict[Hashable, float] = field(default_factory=dict)
    _steps: dict[Hashable, dict[int, tuple[float, float]]] = field(default_factory=dict)
    _stepped: dict[Hashable, tuple[float, float]] = field(default_factory=dict)
    _pictures: dict[str, RealPictures] = field(default_factory=dict)

    @property
    def grid_run(self) -> GridRun:
        """The grid."""
        return self.maker.grid_run

    def of(self, task: Task) -> Cost | None:
        """What `task` takes; nothing where it is made, None where nothing like it could be measured."""
        if self.maker.done(task):
            return Cost(0.0)
        found = {"expert": self._expert, "run": self._run, "student": self._student, "scores": self._scores}[task.kind](
            task
        )
        self.memory = max(self.memory, peak_bytes(self.grid_run.device))
        return found

    def by_cell(self) -> list[Cost | None]:
        """What each cell of the plan takes beyond the cells above it; None where a part of it has no estimate."""
        self._measure_steps()
        counted: set[str] = set()
        found: list[Cost | None] = []
        for names in self.maker.plan.parts:
            own = [name for name in dict.fromkeys(names) if name not in counted]
            counted.update(own)
            costs = [self.of(self.maker.plan.tasks[name]) for name in own]
            known = [cost for cost in costs if cost is not None]
            seconds, disk = math.fsum(c.seconds for c in known), math.fsum(c.disk for c in known)
            whole = Cost(seconds, disk, any(c.scaled for c in known))
            found.append(whole if len(known) == len(costs) else None)
        return found

    def _measure_steps(self) -> None:
        """Small budgets first, and of these the runs of many iterations: their steps are short, and weigh most."""
        runs = [task for task in self.maker.plan.tasks.values() if task.kind == "run" and task.spec.iterations]
        for task in sorted(runs, key=lambda task: (task.spec.budget, -task.spec.iterations)):
            if not task.spec.is_choice and not self.maker.done(task):
                self._step(task.spec)

    def _expert(self, task: Task) -> Cost:
        meant = expert_spec(task.spec, self.grid_run.dataset)
        key = ("expert", meant.network, task.recipe.batch_size, task.recipe.augmentation, task.recipe.arithmetic)
        seconds = self._once(key, lambda: epoch_seconds(meant.blank, self._real(task.spec), task.recipe))
        weights = self._once(("weights", meant.network), lambda: _scalars(meant.blank))
        return Cost(seconds * task.recipe.epochs, 4.0 * weights * (task.recipe.epochs + 1))

    def _run(self, task: Task) -> Cost | None:
        spec = task.spec
        disk = 4.0 * _COPIES_OF_A_SET * spec.budget
        if spec.is_choice and not spec.is_control:
            recipe = from_mapping(coresets.FeatureConfig, spec.objective_settings, where="objective").recipe()
            recipe = replace(recipe, arithmetic=spec.arithmetic)
            # One network serves all budgets; it is counted with the first of them.
            key = ("features", spec.method, spec.network, recipe.epochs, recipe.arithmetic)
            first = key not in self._known
            seconds = self._once(key, lambda: self._epoch(spec, spec.network, recipe, None) * recipe.epochs)
            return Cost(seconds if first else 0.0, disk)
        if not spec.iterations:
            return Cost(0.0, disk)
        step = self._step(spec)
        return None if step is None else Cost(step[0] * spec.iterations, disk, step[1])

    def _step(self, spec: Spec) -> tuple[float, bool] | None:
        """Seconds of an iteration, and whether they are scaled from another budget."""
        # Augmentation takes next to nothing beside the networks: one measurement serves CAFE with it and without.
        settings = {key: value for key, value in spec.objective_settings.items() if key != "augmentation"}
        parts = (spec.objective, spec.parameterization, spec.network, spec.arithmetic)
        same = (*parts, spec.budget, canonical_json(settings))
        measured = self._steps.setdefault((spec.method, *parts), {})
        # What measuring another budget took says whether this one fits into what is left.
        likely = max((took * spec.budget / budget for budget, (_, took) in measured.items()), default=0.0)
        if same not in self._stepped and likely < self.limit - sum(took for _, took in self._stepped.values()):
            began = time.monotonic()
            seconds = step_seconds(_unwhitened(spec), self.grid_run.dataset, self.grid_run.store.root)
            self._stepped[same] = seconds, time.monotonic() - began
        if same in self._stepped:
            measured[spec.budget] = self._stepped[same]
            return measured[spec.budget][0], False
        if not measured:
            return None
        nearest = min(measured, key=lambda budget: abs(budget - spec.budget))
        return measured[nearest][0] * spec.budget / nearest, True

    def _student(self, task: Task) -> Cost:
        evaluation, spec = self.grid_run.evaluation_of(task.cell, task.protocol), task.spec
        recipe, seen = evaluation.recipe_at(spec, None), self._seen(spec)
        # Whole batches take the same time however many there are.
        size = min(seen, recipe.batch_size)
        key = ("student", task.network, size, recipe.augmentation, recipe.batch_size, recipe.arithmetic)
        seconds = self._once(key, lambda: self._epoch(spec, task.network, recipe, size))
        return Cost(seconds * seen / size * recipe.epochs, 4.0 * self._weights(task.network))

    def _scores(self, task: Task) -> Cost:
        evaluation, spec = self.grid_run.evaluation_of(task.cell, task.protocol), task.spec
        domains, total = evaluation.domains, 0
        for name in domains.names():
            severities = len(domains.severities) if name in domains.suite.corruptions else 1
            total += len(domains.indices_of(name)) * severities
        seconds = 0.0
        count = evaluation.students or spec.students
        for network in evaluation.networks or (spec.student_network,):
            measured = partial(self._prediction, spec, network)
            each = self._once(("predict", network, spec.student.arithmetic), measured)
            seconds += count * total * each
        return Cost(seconds, float(_BYTES_A_PREDICTION * count * total))

    def _epoch(self, spec: Spec, network: str, recipe: TrainingRecipe, count: int | None) -> float:
        real = self._real(spec)
        pictures = real if count is None else Few(real, count)
        return epoch_seconds(self._blank(network, recipe.arithmetic), pictures, recipe, count)

    def _prediction(self, spec: Spec, network: str) -> float:
        return prediction_seconds(self._blank(network, spec.student.arithmetic), self._real(spec))

    def _seen(self, spec: Spec) -> int:
        """Pictures that a student sees an epoch."""
        data = self.grid_run.dataset
        budget = Budget(spec.budget, len(data.classes), (data.channels, *data.size))
        kind = PARAMETERIZATIONS.get(spec.parameterization)
        config = from_mapping(kind.Config, spec.parameterization_settings, where="parameterization")
        return kind(config).shown(budget) * len(data.classes)

    def _blank(self, network: str, arithmetic: Arithmetic) -> Callable[[Stream], Network]:
        data = self.grid_run.dataset

        def made(rng: Stream) -> Network:
            built = networks.build(network, channels=data.channels, classes=len(data.classes), size=data.size, rng=rng)
            built.arithmetic = fused.arithmetic_of(built, arithmetic)
            return built

        return made

    def _weights(self, network: str) -> int:
        return int(self._once(("weights", network), lambda: _scalars(self._blank(network, "eager"))))

    def _real(self, spec: Spec) -> RealPictures:
        if spec.split not in self._pictures:
            fits = self.grid_run.store.root / FITS
            plain = _unwhitened(spec)
            self._pictures[spec.split] = real_pictures(plain, self.grid_run.dataset, self.grid_run.device, fits=fits)
        return self._pictures[spec.split]

    def _once(self, key: Hashable, measured: Callable[[], float]) -> float:
        if key not in self._known:
            self._known[key] = measured()
        return self._known[key]


def _scalars(blank: Callable[[Stream], Network]) -> float:
    return float(sum(tensor.numel() for tensor in blank(Stream(0)).state_dict().values()))


def _unwhitened(spec: Spec) -> Spec:
    """The same of pictures as they are: whitening them takes its time once, and no step another for it."""
    return replace(spec, data_settings={**spec.data_settings, "whitening": "none"})
