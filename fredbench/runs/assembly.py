"""One run in memory: the parts that a spec names, put together; one step of them, their checkpoint, their artefact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from fredbench.objectives import coresets
from fredbench import networks
from fredbench.parameterizations.budget import Budget, Ledger
from fredbench.foundation.config import from_mapping, to_mapping
from fredbench.datasets import Dataset
from fredbench.foundation.environment import library_versions
from fredbench.foundation.errors import DataError
from fredbench.foundation.memory import exhaustion_told
from fredbench.objectives import OBJECTIVES, Context, ExpertSource, Objective
from fredbench.training.optimisation import Optimisers
from fredbench.parameterizations import PARAMETERIZATIONS, LabelConfig, Parameterization, State, labelled
from fredbench.training.batches import RealPictures
from fredbench.foundation.rng import Stream
from fredbench.runs.preprocessing import described, fit_of, training_split
from fredbench.runs.records import description
from fredbench.runs.spec import Spec
from fredbench.runs.starts import kept_start
from fredbench.runs.synset import Synset
from fredbench.training.kept import KeptNetworks
from fredbench.training.loop import TrainingRecipe, train
from fredbench.training.trajectories import ExpertSpec

__all__ = ["Distillation", "expert_spec", "real_pictures"]

ExpertsFor = Callable[[RealPictures], ExpertSource]


def real_pictures(
    spec: Spec, dataset: Dataset, device: torch.device, *, fits: Path | None = None
) -> RealPictures:
    """The training pictures that `spec` distils from: all, or all but the validation split, prepared as it asks.

    fits: the folder of a store in which whitenings are kept; without one they are fitted anew.
    """
    if dataset.fingerprint != spec.fingerprint:
        raise DataError(
            f"{dataset.name} differs from the data this run was made of "
            f"({dataset.fingerprint[:12]} against {spec.fingerprint[:12]})",
            hint="point --data at the data of the run",
        )
    split = training_split(dataset, spec.split)
    _check_classes(split.labels, dataset)
    normalization = described(spec.data_settings, dataset, spec.split)
    return RealPictures(
        split.images,
        split.labels,
        mean=normalization["mean"],
        std=normalization["std"],
        classes=len(dataset.classes),
        device=device,
        whitening=fit_of(normalization, dataset, fits),
    )


def _check_classes(labels: Int64[np.ndarray, " n"], dataset: Dataset) -> None:
    """Every class needs a picture: a synthetic set has rows of all classes, and each is matched to its own."""
    counts = np.bincount(labels, minlength=len(dataset.classes))
    empty = [repr(name) for name, count in zip(dataset.classes, counts, strict=True) if not count]
    if empty:
        shown = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        raise DataError(
            f"{dataset.name} has no training pictures of {len(empty)} of its {len(dataset.classes)} classes: {shown}",
            hint="bring pictures of them, or take these classes out of the data (its test pictures too)",
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
        recipe=TrainingRecipe(arithmetic=spec.arithmetic),
        seed=spec.seed,
        device=torch.device(spec.device).type,
        threads=spec.threads,
        data=dict(spec.data_settings),
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

    def alternatives(self) -> Tensor | None:
        return self.parameterization.alternatives(self.state)


class Distillation:
    """One run in memory: the parts that `spec` names, at some iteration."""

    def __init__(
        self,
        spec: Spec,
        dataset: Dataset,
        device: torch.device,
        experts: ExpertsFor | None = None,
        *,
        fits: Path | None = None,
        features: Path | None = None,
        starts: Path | None = None,
    ) -> None:
        """`experts` makes the source of experts, where the objective needs one; `fits`: see `real_pictures`.

        features, starts: the folders of a store in which the networks are kept that pictures are chosen by, and the
        starts that take long; without them these are made anew.
        """
        self.spec, self.iteration = spec, 0
        # Spent before, on a start that was read.
        self.start_seconds = 0.0
        rng = Stream(spec.seed)
        self.real = real = real_pictures(spec, dataset, device, fits=fits)
        budget = Budget(spec.budget, len(dataset.classes), real.shape)
        kind = PARAMETERIZATIONS.get(spec.parameterization)
        config = from_mapping(kind.Config, spec.parameterization_settings, where="parameterization")
        labels = from_mapping(LabelConfig, spec.label_settings, where="labels")
        self.parameterization = labelled(kind(config), labels)
        network = self._builder(dataset, device)
        self.state = (
            self._choose(real, budget, network, rng, features)
            if spec.is_choice
            else self._start(config, labels, budget, rng.child("init"), starts)
        )
        budget.check(self.parameterization.ledger(self.state))
        self.objective = self._prepare_objective(network, rng, device, experts) if spec.iterations else None
        self.auxiliary = (
            self.parameterization.auxiliary(self.state, rng.child("auxiliary")) if spec.iterations else None
        )
        groups = self.parameterization.parameters(self.state)
        self.optimisers = Optimisers([*groups, *(self.objective.parameters() if self.objective else [])])

    def _builder(self, dataset: Dataset, device: torch.device) -> Callable[[Stream], networks.Network]:
        def network(stream: Stream) -> networks.Network:
            built = networks.build(
                self.spec.network,
                channels=dataset.channels,
                classes=len(dataset.classes),
                size=dataset.size,
                rng=stream,
            ).to(device)
            built.arithmetic = self.spec.arithmetic
            return built

        return network

    def _choose(
        self,
        real: RealPictures,
        budget: Budget,
        network: Callable[[Stream], networks.Network],
        rng: Stream,
        features: Path | None,
    ) -> State:
        config = from_mapping(coresets.config_of(self.spec.method), self.spec.objective_settings, where="objective")
        kept = train if features is None else KeptNetworks(features, self.spec.network, self._trained_on(real))
        return coresets.choose(self.spec.method, config, real, budget, network, rng, kept)

    def _start(self, config: Any, labels: LabelConfig, budget: Budget, rng: Stream, starts: Path | None) -> State:
        """The parameterization's start; where making it takes long, it is made once in a store."""
        kind = PARAMETERIZATIONS.get(self.spec.parameterization)
        shorter, times = kind.shortened(config)

        def make() -> State:
            return self.parameterization.init(self.real, budget, rng)

        if starts is None or times == 1:
            return make()
        spec = self.spec
        determined_by = {
            **self._made_of(self.real),
            "parameterization": [spec.parameterization, to_mapping(config)],
            "labels": to_mapping(labels),
            "budget": spec.budget,
            "stream": [rng.seed, *rng.path],
            # One set of pixels may be known under two names, with the literature's statistics and with its own.
            "statistics": [list(self.real.mean), list(self.real.std)],
            "torch": torch.__version__,
        }
        state, self.start_seconds = kept_start(
            starts, determined_by, make, lambda: labelled(kind(shorter), labels).init(self.real, budget, rng)
        )
        return state

    def _trained_on(self, real: RealPictures) -> dict[str, Any]:
        """All but recipe and stream that determines a network trained on the run's real pictures."""
        return {**self._made_of(real), **networks.versions(self.spec.network)}

    def _made_of(self, real: RealPictures) -> dict[str, Any]:
        """Which real pictures the run has, and what computes."""
        spec = self.spec
        return {
            "fingerprint": spec.fingerprint,
            "split": spec.split,
            "data": dict(spec.data_settings),
            "classes": real.classes,
            "shape": list(real.shape),
            "device": torch.device(spec.device).type,
            "threads": spec.threads,
        }

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
    def follows_length(self) -> bool:
        """Whether some rate depends on how many iterations the run has."""
        return self.optimisers.follow_length

    @property
    def ledger(self) -> Ledger:
        """What the synset would store now."""
        learned = self.objective is not None and self.objective.step_size() is not None
        return replace(self.parameterization.ledger(self.state), step_size_scalars=int(learned))

    @property
    def synthetic(self) -> _Synthetic:
        """The set as an objective sees it."""
        return _Synthetic(self.parameterization, self.state)

    def step(self) -> dict[str, float | Tensor]:
        """One iteration: every update of the objective, each followed by a step and a projection.

        A parameterization's own term is added to each, and takes a step of its own after it.
        """
        if self.objective is None:
            raise ValueError("a run of zero iterations has no steps")
        report: dict[str, float | Tensor] = {}
        device = torch.device(self.spec.device)
        # For networks that draw as they go (dropout): a resumed run draws the same, and no other byte moves.
        lent = Stream(self.spec.seed).child("network", self.iteration).lent(device)
        with lent, exhaustion_told(device, self.objective.memory_advice):
            updates = self.objective.iterate(self.iteration, self.synthetic)
            for number, update in enumerate(updates):
                rng = Stream(self.spec.seed).child("auxiliary", self.iteration, number)
                self.optimisers.zero_grad()
                (update.loss if self.auxiliary is None else update.loss + self.auxiliary.loss(rng)).backward()
                self.optimisers.step(update.rate, progress=self.iteration / self.spec.iterations)
                if update.project:
                    self._project()
                report.update(update.report)
                if self.auxiliary is not None:
                    report.update(self.auxiliary.step(rng))
        self.iteration += 1
        return report

    @torch.no_grad()
    def _project(self) -> None:
        self.parameterization.project(self.state)
        if self.objective is not None:
            self.objective.project()

    def to_tensors(self) -> dict[str, Tensor]:
        """A checkpoint: iteration, learned and fixed tensors, optimisers, what objective and auxiliary term own."""
        tensors = {"iteration": torch.tensor(self.iteration)}
        tensors |= {f"learned/{k}": v.detach() for k, v in self.state.learned.items()}
        tensors |= {f"fixed/{k}": v for k, v in self.state.fixed.items()}
        tensors |= {f"optimiser/{k}": v for k, v in self.optimisers.to_tensors().items()}
        owned = self.objective.to_tensors() if self.objective else {}
        tensors |= {f"objective/{k}": v for k, v in owned.items()}
        beside = self.auxiliary.to_tensors() if self.auxiliary else {}
        tensors |= {f"auxiliary/{k}": v for k, v in beside.items()}
        return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint of the same spec."""
        names = ("learned", "fixed", "optimiser", "objective", "auxiliary")
        sections: dict[str, dict[str, Tensor]] = {name: {} for name in names}
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
        if self.auxiliary is not None:
            self.auxiliary.from_tensors(sections["auxiliary"])
        self.iteration = int(tensors["iteration"])

    def snapshot(self, dataset: Dataset) -> Synset:
        """The artefact that the run would be if it ended now; the run itself goes on as if nobody had asked.

        An artefact is in its feasible set and a run between two steps need not be, so what is brought there is put
        back bit for bit.
        """
        owned = self.objective.parameters() if self.objective else []
        moved = [*self.state.learned.values(), *(tensor for group in owned for tensor in group.tensors)]
        before = [tensor.detach().clone() for tensor in moved]
        made = self.synset(dataset)
        # Of its own memory: the artefact of a run on the CPU shares the run's.
        kept = Synset({name: tensor.clone() for name, tensor in made.tensors.items()}, made.header)
        with torch.no_grad():
            for tensor, value in zip(moved, before, strict=True):
                tensor.copy_(value)
        return kept

    def synset(self, dataset: Dataset) -> Synset:
        """The artefact as of now, in its feasible set."""
        self._project()
        step_size = self.objective.step_size() if self.objective else None
        said = description(self.spec, dataset, iterations=self.iteration, step_size=step_size)
        return Synset.pack(self.parameterization, self.state, said)
