"""The protocol of a parameterization, and the state that it hands about.

Walked through all twelve systems in docs/architecture.md before it was written; a new one is a new file here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from fredbench.foundation.errors import CompatibilityError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.budget import Budget, Ledger
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import ParameterGroup

__all__ = ["Auxiliary", "Parameterization", "State", "StoredRole", "class_ordered_labels"]

# What a stored tensor counts as when a file is audited: scalars of the paper's #Params, numbers of two bytes of which
# two are one of those, a packed mask's bits, learned labels, a learned step size, the weights of a decoder, or nothing
# (at most a mean and a deviation a channel).
StoredRole = Literal["scalars", "half-scalars", "mask-bits", "labels", "step-size", "decoder", "free"]


@dataclass
class State:
    """What a parameterization works on between `init` and `to_tensors`.

    learned: tensors that optimisers move. fixed: what stays as initialised (masks, positions).
    labels: int64 (N,) in class order, or float (N, classes) where they are soft; learned labels stand in `learned`.
    """

    learned: dict[str, Tensor]
    fixed: dict[str, Tensor]
    labels: Tensor
    shape: tuple[int, int, int]
    extra: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


class Auxiliary(ABC):
    """A term of a parameterization's own beside whatever the objective matches, with what it learns from it (HaBa).

    Bound to one state. The loop adds `loss` to every update and calls `step` after it, both with that update's stream;
    what is owned between steps travels in the checkpoint.
    """

    @abstractmethod
    def loss(self, rng: Stream) -> Tensor:
        """A scalar, differentiable with respect to what the state learns, and to nothing else."""

    @abstractmethod
    def step(self, rng: Stream) -> Mapping[str, float | Tensor]:
        """Move what is owned, never the state; returns what goes to the progress log."""

    @abstractmethod
    def to_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold."""

    @abstractmethod
    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up again what `to_tensors` gave."""


class Parameterization(ABC):
    """Stored tensors and their decoding; configured once, stateless after.

    Subclasses set `name`, `Config` (a frozen dataclass) and `offers` (capabilities that objectives may need).
    """

    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    offers: ClassVar[frozenset[str]] = frozenset({"class batches"})

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def instances(self, budget: Budget) -> int:
        """Decoded pictures a class that fit in `budget`; raises `BudgetError` when not even one does."""

    @abstractmethod
    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        """A state made from real pictures (or noise), within `budget`."""

    @classmethod
    def shortened(cls, config: Any) -> tuple[Any, float]:
        """Settings of a cheaper start to estimate from, and how many times as long a whole one takes.

        Its state has the labels, the `extra` and the tensors of a whole start, these with other values: where a whole
        one takes longer, its tensors are kept in the store and read into those of the cheaper one.
        """
        return config, 1.0

    @abstractmethod
    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        """Pictures (n, ch, H, W) in the student's input space and their labels, at `index` (default: all).

        Differentiable with respect to `state.learned`. `rng` serves decoders that draw. `index` lies on the CPU: a
        decoder that sorts positions would have to read others back, which stops an accelerator's queue.
        """

    def resized(self, state: State, size: tuple[int, int]) -> Tensor:
        """All pictures decoded at another (H, W) than they are learned at, over the same area of the picture.

        Raises `CompatibilityError` for what is stored in pixels, or in frequencies of a fixed number of them.
        """
        raise CompatibilityError(
            f"parameterization {self.name!r} decodes at the resolution that it was trained at alone",
            hint="leave the size out and enlarge the pictures; neural fields (ddif) decode at any",
        )

    def alternatives(self, state: State) -> Int64[Tensor, "m k"] | None:
        """Positions of decoded pictures, on the CPU; a row holds the k renderings of one thing. None: no such rows.

        Where there are some, a student sees one rendering of each, drawn anew every epoch, and a step of trajectory
        matching the same column of all.
        """
        return None

    def shown(self, budget: Budget) -> int:
        """Pictures a class that a student sees in one epoch: those decoded, or one for each row of `alternatives`."""
        return self.instances(budget)

    def auxiliary(self, state: State, rng: Stream) -> Auxiliary | None:
        """The parameterization's own term for this state, where it has one."""
        return None

    @abstractmethod
    def parameters(self, state: State) -> list[ParameterGroup]:
        """The learned tensors, grouped by optimiser settings."""

    def project(self, state: State) -> None:  # noqa: B027 - most have no constraint, which is a real answer
        """Bring the learned tensors back into their feasible set after a step (clamps)."""

    @abstractmethod
    def ledger(self, state: State) -> Ledger:
        """What would be stored, item by item."""

    @abstractmethod
    def to_tensors(self, state: State) -> dict[str, tuple[Tensor, StoredRole]]:
        """The tensors that a synset file holds, with what each counts as."""

    @abstractmethod
    def from_tensors(self, tensors: Mapping[str, Tensor], *, classes: int, shape: tuple[int, int, int]) -> State:
        """The inverse of `to_tensors`; raises `ArtefactError` when shapes contradict each other."""


def class_ordered_labels(classes: int, instances: int | Sequence[int]) -> Tensor:
    """0, 0, .., 1, 1, ..: the fixed hard labels, int64 (N,), of `instances` pictures a class (a number, or each's)."""
    counts = torch.tensor([instances] * classes if isinstance(instances, int) else list(instances))
    return torch.arange(classes).repeat_interleave(counts)
