"""Optimisers of what is learned: groups, their settings, and their state as tensors for checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fredbench.errors import ArtefactError, UsageError

__all__ = ["Optimisers", "ParameterGroup"]


@dataclass(frozen=True)
class ParameterGroup:
    """Learned tensors that share an optimiser's settings; `name` is unique within a run."""

    name: str
    tensors: tuple[Tensor, ...]
    lr: float
    momentum: float = 0.5
    optimiser: Literal["sgd", "adam"] = "sgd"

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf or not 0 <= self.momentum < 1:
            raise UsageError(
                f"the {self.name} cannot be optimised at rate {self.lr} with momentum {self.momentum}",
                hint="the rate must be positive and finite, the momentum at least 0 and below 1",
            )


class Optimisers:
    """One optimiser a group, stepped together, saved and restored as named tensors."""

    def __init__(self, groups: Sequence[ParameterGroup]) -> None:
        self._by_name = {group.name: _make(group) for group in groups}
        self._rates = {group.name: group.lr for group in groups}

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimiser in self._by_name.values():
            optimiser.zero_grad(set_to_none=True)

    def step(self, rate: float = 1.0) -> None:
        """One step of every group, at `rate` times the group's own learning rate."""
        for name, optimiser in self._by_name.items():
            for settings in optimiser.param_groups:
                settings["lr"] = self._rates[name] * rate
            optimiser.step()

    def to_tensors(self) -> dict[str, Tensor]:
        """Moments and step counts as `group.position.entry`."""
        tensors = {}
        for name, optimiser in self._by_name.items():
            for position, entries in optimiser.state_dict()["state"].items():
                for entry, value in entries.items():
                    if isinstance(value, Tensor):
                        tensors[f"{name}.{position}.{entry}"] = value
        return tensors

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `to_tensors`, on optimisers made from the same groups."""
        states: dict[str, dict[int, dict[str, Tensor]]] = {name: {} for name in self._by_name}
        for key, value in tensors.items():
            name, position, entry = key.rsplit(".", 2)
            if name not in states:
                raise ArtefactError(
                    f"the checkpoint holds optimiser state of an unknown group {name!r}",
                    hint="start over with --fresh",
                )
            states[name].setdefault(int(position), {})[entry] = value
        for name, optimiser in self._by_name.items():
            whole = optimiser.state_dict()
            optimiser.load_state_dict({"state": states[name], "param_groups": whole["param_groups"]})


def _make(group: ParameterGroup) -> torch.optim.Optimizer:
    if group.optimiser == "adam":
        return torch.optim.Adam(group.tensors, lr=group.lr)
    return torch.optim.SGD(group.tensors, lr=group.lr, momentum=group.momentum)
