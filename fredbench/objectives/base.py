"""The protocol of an objective: an iteration is a generator of updates.

An objective yields a scalar; the loop backpropagates it, steps the optimisers, projects the state, and resumes the
objective where it stood. So one step an iteration (DM, TM), a step a class (IDC), ten rounds of step and network
training (DC, DSA) and an open-ended inner loop (CAFE) are all the same to the loop. An objective that computes the
pictures' gradient g itself (constant-memory TM) yields the surrogate <decode(S), g>, whose gradient is g carried
through the parameterization. Walked through all twelve systems in docs/architecture.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.training.batches import RealPictures
from fredbench.training.loop import TrainingRecipe
from fredbench.training.optimisation import ParameterGroup

__all__ = ["Context", "ExpertSource", "Objective", "Synthetic", "Trajectories", "Update", "class_counts"]


@runtime_checkable
class Synthetic(Protocol):
    """The synthetic set as an objective sees it: decoded pictures and labels, never how they are stored.

    Pictures stand in class order, equally many of each class, and for good: what follows from where they stand is
    known without reading labels back from a device (`class_counts`).
    """

    def __len__(self) -> int: ...

    def decode(self, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        """Pictures and labels at `index` (on the CPU; default: all), differentiable down to what is learned."""
        ...

    def alternatives(self) -> Tensor | None:
        """Positions (m, k), int64, whose rows are renderings of one thing, of which a step shows one; None without.

        On the CPU, where batches are drawn from them.
        """
        ...


def class_counts(pictures: int, classes: int) -> list[int]:
    """How many of a synthetic set's `pictures` are of each class."""
    return [pictures // classes] * classes


@runtime_checkable
class Trajectories(Protocol):
    """Weights of networks on their way through training on real data."""

    def __len__(self) -> int: ...

    def weights(self, expert: int, epoch: int) -> Tensor:
        """Flat weights (P,) of an expert after `epoch` epochs (0: its initialisation)."""
        ...


@runtime_checkable
class ExpertSource(Protocol):
    """Gives trajectories, training those that are missing."""

    def __call__(self, count: int, recipe: TrainingRecipe, seed: int) -> Trajectories:
        """`count` experts of the run's own network and data, trained for `recipe.epochs` epochs."""
        ...


@dataclass(frozen=True)
class Context:
    """What the loop hands to an objective once, before step 0; `experts` only where it needs "experts"."""

    real: RealPictures
    network: Callable[[Stream], Network]
    reinitialise: Callable[[Network, Stream], None]
    rng: Stream
    device: torch.device
    experts: ExpertSource | None = None


@dataclass(frozen=True)
class Update:
    """One optimiser step: `loss` is backpropagated by the loop, `report` goes to the progress log.

    rate: factor on every learning rate for this step (CAFE halves its own as it goes on); a factor, not a schedule
    object, so that a checkpoint needs to hold nothing of it. project: whether the state is brought back into its
    feasible set after this step (IDC clamps its canvases only where it draws a new network).
    """

    loss: Tensor
    report: Mapping[str, float | Tensor] = field(default_factory=dict)
    rate: float = 1.0
    project: bool = True


class Objective(ABC):
    """A matching loss. Subclasses set `name`, `Config` (a frozen dataclass) and `needs` (capabilities)."""

    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    needs: ClassVar[frozenset[str]] = frozenset({"class batches"})
    # Forms of labels that it can match (`hard`, `probability`, `centred`), and whether it moves learned ones.
    label_forms: ClassVar[frozenset[str]] = frozenset({"hard"})
    learns_labels: ClassVar[Literal["never", "may", "must"]] = "never"
    # Whether the authors of FreD score sets of whole pictures that it made with students that see them as they are, in
    # their corruption script.
    scored_plain: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def prepare(self, context: Context) -> None:
        """Build what is owned between steps (networks, pools, optimisers). Called once, also before a resume."""

    @abstractmethod
    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        """Yield the updates of one iteration; all draws come from child streams named after `iteration`."""

    @classmethod
    def shortened(cls, config: Any, pictures: int) -> tuple[Any, float]:
        """Settings of a cheaper iteration to estimate from, and how many times as long a whole one takes.

        pictures: how many real ones the training split has.
        """
        return config, 1.0

    @classmethod
    def runs_blocks(cls, config: Any) -> bool:
        """Whether what is matched goes through whole networks, so that how their blocks are run is in it.

        No, unless an objective says so: a reduced precision (`networks.names.REDUCED`) is then refused.
        """
        return False

    @classmethod
    def told(cls, settings: Mapping[str, Any]) -> str:
        """A sentence on the scale of these settings for the log of a run, where numbers mean little without it."""
        return ""

    def memory_advice(self) -> str:
        """What to change when the device's memory is exhausted."""
        return "use a smaller network or a lower budget"

    def parameters(self) -> list[ParameterGroup]:
        """Learned tensors of the objective's own that the loop optimises too (TM's step size)."""
        return []

    def project(self) -> None:  # noqa: B027 - most have no constraint, which is a real answer
        """Bring the objective's own learned tensors back into their feasible set after a step."""

    def step_size(self) -> float | None:
        """The learned step size that students should train with, where there is one."""
        return None

    def to_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold of the objective; nothing where every iteration starts anew."""
        return {}

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up again what `to_tensors` gave."""
        if tensors:
            raise ValueError(f"{self.name} keeps nothing between iterations, got {sorted(tensors)}")
