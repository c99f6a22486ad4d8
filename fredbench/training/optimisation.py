"""Optimisers of what is learned: groups, their settings, and their state as tensors for checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from fredbench.foundation.errors import ArtefactError, UsageError

__all__ = ["Lamb", "OptimiserName", "Optimisers", "ParameterGroup", "RowAdam", "cosine"]

OptimiserName = Literal["sgd", "adam", "lamb", "row-adam"]


@dataclass(frozen=True)
class ParameterGroup:
    """Learned tensors that share an optimiser's settings; `name` is unique within a run.

    `final` is what is left of the rate at the end of the run, after half a cosine; 1 keeps it constant.
    """

    name: str
    tensors: tuple[Tensor, ...]
    lr: float
    momentum: float = 0.5
    optimiser: OptimiserName = "sgd"
    final: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf or not 0 <= self.momentum < 1:
            raise UsageError(
                f"the {self.name} cannot be optimised at rate {self.lr} with momentum {self.momentum}",
                hint="the rate must be positive and finite, the momentum at least 0 and below 1",
            )
        if not 0 <= self.final <= 1:
            raise UsageError(
                f"the rate of the {self.name} cannot end at {self.final} of itself",
                hint="give final between 0 and 1; 1 keeps the rate constant",
            )


def cosine(progress: float, final: float) -> float:
    """Half a cosine from 1 at `progress` 0 to `final` at 1: the factor on a rate."""
    return 1.0 if final == 1.0 else final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


class _Tensorwise(torch.optim.Optimizer):
    """An optimiser that moves every tensor by its own gradient and state alone, at one rate."""

    def __init__(self, tensors: Sequence[Tensor], lr: float) -> None:
        super().__init__(tensors, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of every tensor that has a gradient; `closure` is called first, where there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    self._update(tensor, tensor.grad, group["lr"])
        return loss

    def _update(self, tensor: Tensor, gradient: Tensor, lr: float) -> None:
        """Move `tensor`, in place."""
        raise NotImplementedError


class Lamb(_Tensorwise):
    """LAMB without weight decay: Adam's step, rescaled for each tensor to the tensor's own norm.

    u = m / (sqrt(v) + eps) with bias-corrected moments (b1 = .9, b2 = .999, eps = 1e-6), then
    x <- x - lr * ||x|| / ||u|| * u, with factor 1 where either norm is zero (You et al., "Large Batch Optimization
    for Deep Learning", ICLR 2020, Algorithm 2; the constants are those of the library that FRePo uses).
    """

    def _update(self, tensor: Tensor, gradient: Tensor, lr: float) -> None:
        state = self.state[tensor]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["mean"], state["square"] = torch.zeros_like(tensor), torch.zeros_like(tensor)
        state["step"] += 1
        count = float(state["step"])
        state["mean"].lerp_(gradient, 1 - _BETAS[0])
        state["square"].mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        mean = state["mean"] / (1 - _BETAS[0] ** count)
        update = mean / ((state["square"] / (1 - _BETAS[1] ** count)).sqrt() + _EPSILON)
        length, stride = tensor.norm(), update.norm()
        trust = torch.where((length > 0) & (stride > 0), length / stride, torch.ones_like(length))
        tensor.sub_(lr * trust * update)


_BETAS, _EPSILON = (0.9, 0.999), 1e-6


class RowAdam(_Tensorwise):
    """Adam for tensors that stack things (n, ...) of which a step may leave some out: a row is an Adam of its own.

    A row without a gradient, all of it exactly zero, keeps its values, its moments and its count of steps, as a tensor
    whose gradient is None does under `torch.optim.Adam`, where stale moments would move a zero gradient's. Which rows
    those are is never read back. b1 = .9, b2 = .999, eps = 1e-8.
    """

    def _update(self, tensor: Tensor, gradient: Tensor, lr: float) -> None:
        state, rows = self.state[tensor], (len(tensor), *[1] * (tensor.ndim - 1))
        if not state:
            state["steps"] = tensor.new_zeros(rows)
            state["mean"], state["square"] = torch.zeros_like(tensor), torch.zeros_like(tensor)
        moved = (gradient != 0).view(len(tensor), -1).any(1).view(rows)
        state["steps"] += moved
        state["mean"].copy_(torch.where(moved, state["mean"].lerp(gradient, 1 - _BETAS[0]), state["mean"]))
        square = state["square"] * _BETAS[1] + gradient.square() * (1 - _BETAS[1])
        state["square"].copy_(torch.where(moved, square, state["square"]))
        # A row that never moved has taken no step, whose correction would be none.
        taken = state["steps"].clamp_min(1)
        mean, square = state["mean"] / (1 - _BETAS[0] ** taken), state["square"] / (1 - _BETAS[1] ** taken)
        tensor.sub_(torch.where(moved, lr * mean / (square.sqrt() + _ADAM_EPSILON), 0.0))


_ADAM_EPSILON = 1e-8


class Optimisers:
    """One optimiser a group, stepped together, saved and restored as named tensors."""

    def __init__(self, groups: Sequence[ParameterGroup]) -> None:
        self._groups = {group.name: group for group in groups}
        self._by_name = {group.name: _make(group) for group in groups}

    @property
    def follow_length(self) -> bool:
        """Whether some rate follows the length of the whole run, so that none is the beginning of another."""
        return any(group.final != 1.0 for group in self._groups.values())

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimiser in self._by_name.values():
            optimiser.zero_grad(set_to_none=True)

    def step(self, rate: float = 1.0, *, progress: float = 0.0) -> None:
        """One step of every group, at `rate` times where its schedule is after `progress` (0 to 1) of the run."""
        for name, optimiser in self._by_name.items():
            group = self._groups[name]
            for settings in optimiser.param_groups:
                settings["lr"] = group.lr * cosine(progress, group.final) * rate
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
    if group.optimiser == "lamb":
        return Lamb(group.tensors, lr=group.lr)
    if group.optimiser == "row-adam":
        return RowAdam(group.tensors, lr=group.lr)
    return torch.optim.SGD(group.tensors, lr=group.lr, momentum=group.momentum)
