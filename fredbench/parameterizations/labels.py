"""Labels as a property of the state: hard or soft, fixed or learned, for every parameterization alike.

A parameterization knows class-ordered hard labels only. `labelled` wraps it and puts soft ones in their place, among
what is learned or what is fixed; decoding hands them out by itself, since it reads `State.labels`. Learned labels are
stored and counted under the strict convention (methods' own tables leave them out of #Params); fixed soft labels
follow from the class order and are neither stored nor counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.base import Auxiliary, Parameterization, State, StoredRole
from fredbench.parameterizations.budget import Budget, Ledger
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import OptimiserName, ParameterGroup

__all__ = ["LabelConfig", "Labelled", "labelled", "project_to_simplex", "soft_labels"]


@dataclass(frozen=True)
class LabelConfig:
    """form: `hard` class numbers, `probability` rows or `centred` ones (one-hot - 1/C, for squared losses).

    learned: whether an optimiser moves them (soft ones only), with `lr`, `momentum`, `optimiser` and `final`.
    divisor: centred labels are divided by it at the start (FRePo: sqrt(C / 10)).
    """

    form: Literal["hard", "probability", "centred"] = "hard"
    learned: bool = False
    divisor: float = 1.0
    lr: float = 1e-3
    momentum: float = 0.0
    optimiser: OptimiserName = "adam"
    final: float = 1.0

    def __post_init__(self) -> None:
        if self.learned and self.form == "hard":
            raise UsageError("hard labels cannot be learned", hint="set labels.form=centred or probability")
        if not self.divisor > 0:
            raise UsageError(f"labels cannot be divided by {self.divisor}", hint="give a positive labels.divisor")


def soft_labels(labels: Int64[Tensor, " n"], classes: int, config: LabelConfig) -> Float[Tensor, "n classes"]:
    """The rows that `config` starts from: one-hot, or (one-hot - 1/C) / divisor."""
    one_hot = F.one_hot(labels, classes).float()
    return one_hot if config.form == "probability" else (one_hot - 1 / classes) / config.divisor


def project_to_simplex(rows: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
    """The nearest probabilities to each row: max(y - t, 0), with t such that the row sums to 1."""
    descending = rows.sort(dim=1, descending=True).values
    counts = torch.arange(1, rows.shape[1] + 1, device=rows.device)
    shifts = (descending.cumsum(1) - 1) / counts
    last = ((descending > shifts) * counts).argmax(1, keepdim=True)
    return (rows - shifts.gather(1, last)).clamp_min(0)


def labelled(parameterization: Parameterization, config: LabelConfig) -> Parameterization:
    """`parameterization` with labels after `config`; itself where they are hard."""
    return parameterization if config.form == "hard" else Labelled(parameterization, config)


class Labelled(Parameterization):
    """Another parameterization with soft labels: `State.labels` is `learned["labels"]` or `fixed["labels"]`."""

    def __init__(self, inner: Parameterization, config: LabelConfig) -> None:
        super().__init__(config)
        self.inner = inner

    def instances(self, budget: Budget) -> int:
        """As without labels: they are outside the paper's budget."""
        return self.inner.instances(budget)

    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        """The inner state with its class-ordered labels made soft."""
        state = self.inner.init(real, budget, rng)
        rows = soft_labels(state.labels, budget.classes, self.config).to(state.labels.device)
        return self._with(state, rows.requires_grad_(self.config.learned))

    def _with(self, state: State, rows: Tensor) -> State:
        learned, fixed = dict(state.learned), dict(state.fixed)
        (learned if self.config.learned else fixed)["labels"] = rows
        # The very tensor that is optimised, so that decoding follows it.
        return dataclasses.replace(state, learned=learned, fixed=fixed, labels=rows)

    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        """As without; labels are the soft rows, differentiable where they are learned."""
        return self.inner.decode(state, index, rng)

    def resized(self, state: State, size: tuple[int, int]) -> Tensor:
        """As without."""
        return self.inner.resized(state, size)

    def alternatives(self, state: State) -> Int64[Tensor, "m k"] | None:
        """As without; every rendering has a label of its own."""
        return self.inner.alternatives(state)

    def shown(self, budget: Budget) -> int:
        """As without."""
        return self.inner.shown(budget)

    def auxiliary(self, state: State, rng: Stream) -> Auxiliary | None:
        """As without; it knows classes, not labels."""
        return self.inner.auxiliary(state, rng)

    def parameters(self, state: State) -> list[ParameterGroup]:
        """The inner groups, and one of labels where they are learned."""
        config, groups = self.config, self.inner.parameters(state)
        if config.learned:
            rows = (state.learned["labels"],)
            groups = [
                *groups,
                ParameterGroup("labels", rows, config.lr, config.momentum, config.optimiser, config.final),
            ]
        return groups

    def project(self, state: State) -> None:
        """The inner constraints; learned probabilities stay probabilities."""
        self.inner.project(state)
        if self.config.learned and self.config.form == "probability":
            state.learned["labels"].copy_(project_to_simplex(state.learned["labels"]))

    def ledger(self, state: State) -> Ledger:
        """The inner ledger with N * C label scalars where they are learned."""
        count = state.labels.numel() if self.config.learned else 0
        return dataclasses.replace(self.inner.ledger(state), label_scalars=count)

    def to_tensors(self, state: State) -> dict[str, tuple[Tensor, StoredRole]]:
        """The inner tensors and, where they are learned, `labels` float32 (N, C)."""
        stored = self.inner.to_tensors(state)
        if self.config.learned:
            stored["labels"] = (state.learned["labels"].detach(), "labels")
        return stored

    def from_tensors(self, tensors: Mapping[str, Tensor], *, classes: int, shape: tuple[int, int, int]) -> State:
        """Checks that there is one row of `classes` numbers for each picture."""
        rest = {name: tensor for name, tensor in tensors.items() if name != "labels"}
        state = self.inner.from_tensors(rest, classes=classes, shape=shape)
        if not self.config.learned:
            return self._with(state, soft_labels(state.labels, classes, self.config))
        rows = tensors["labels"]
        if tuple(rows.shape) != (len(state), classes) or not rows.is_floating_point():
            raise ArtefactError(
                f"labels of shape {tuple(rows.shape)} are not {len(state)} rows of {classes} classes",
                hint="the file was altered or cut; distill it again",
            )
        return self._with(state, rows)
