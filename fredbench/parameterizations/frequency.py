"""FreD: only the frequency coefficients that carry a class's variance are stored (Shin et al., NeurIPS 2023).

A class keeps n' = floor(n H W / k) instances of k coefficients a channel, all at the same k positions, so that one
picture's budget buys several pictures. The positions are those of the largest explained variance among the very
pictures that initialise the class, and stay fixed. The file holds the k coefficients and one packed mask a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from fredbench.foundation.config import late
from fredbench.foundation.device import sent
from fredbench.foundation.errors import ArtefactError, BudgetError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.base import Parameterization, State, StoredRole, class_ordered_labels
from fredbench.parameterizations.budget import Budget, Ledger
from fredbench.parameterizations.transforms import Transform, TransformName, transform_named
from fredbench.parameterizations.wavelets import Wavelet
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import OptimiserName, ParameterGroup

__all__ = ["FreD", "FreDConfig", "explained_variance", "pack_mask", "top_positions", "unpack_mask"]


@dataclass(frozen=True)
class FreDConfig:
    """k: coefficients kept a channel; lr, momentum: of the coefficients, which are unnormalised (see `pixel_rate`).

    optimiser: `sgd`, `adam` or `lamb`; final: what is left of the rate at the end of a cosine, 1 for a constant rate.
    transform: `dct` (published), `dft` or `dwt`; wavelet: of the last, `haar` or `db2`.
    """

    k: int = 64
    lr: float = 1e6
    momentum: float = 0.5
    optimiser: OptimiserName = late("sgd")
    final: float = late(1.0)
    transform: TransformName = late("dct")
    wavelet: Wavelet = late("haar")

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k must be at least 1 coefficient a channel, not {self.k}", hint="set parameterization.k")


def explained_variance(coefficients: Float[Tensor, "n c h w"]) -> Float[Tensor, "h w"]:
    """Share of a class's variance that each frequency carries: variance over pictures of the channel mean.

    The sample variance (n - 1) of each position, divided by the sum over positions; float64 whatever the input, so
    that the ranking does not hang on the working precision. The published code's covariance products reduce to this
    diagonal. Raises `UsageError` for a single picture, whose variance is undefined.
    """
    if len(coefficients) < 2:
        raise UsageError(
            "explained variance needs at least two instances a class", hint="lower parameterization.k or raise --ipc"
        )
    variance = coefficients.double().mean(dim=1).var(dim=0, unbiased=True)
    return variance / variance.sum()


def top_positions(ratio: Float[Tensor, "h w"], k: int) -> Int64[Tensor, " k"]:
    """Flat positions h * W + w of the k largest ratios, in descending order; equal ratios keep reading order."""
    return torch.argsort(ratio.flatten(), descending=True, stable=True)[:k]


def pack_mask(positions: Int64[Tensor, "classes k"], size: int) -> UInt8[Tensor, "classes bytes"]:
    """One bit a position (most significant bit first), `size` = H * W of them, padded to whole bytes."""
    mask = np.zeros((len(positions), size), dtype=bool)
    np.put_along_axis(mask, positions.cpu().numpy(), True, axis=1)
    return torch.from_numpy(np.packbits(mask, axis=1))


def unpack_mask(packed: UInt8[Tensor, "classes bytes"], size: int) -> Bool[Tensor, "classes size"]:
    """The inverse of `pack_mask`, as booleans."""
    return torch.from_numpy(np.unpackbits(packed.cpu().numpy(), axis=1, count=size).astype(bool))


class FreD(Parameterization):
    """State: `coefficients` (C, n', ch, k) learned, `positions` (C, k) fixed, ascending."""

    name: ClassVar[str] = "fred"
    Config: ClassVar[type[FreDConfig]] = FreDConfig
    config: FreDConfig

    @property
    def _transform(self) -> Transform:
        return transform_named(self.config.transform, self.config.wavelet)

    def instances(self, budget: Budget) -> int:
        """n' = floor(scalars of a class / (ch k)), that is floor(n H W / k) at n pictures of budget."""
        channels, height, width = budget.shape
        if self.config.k > height * width:
            raise BudgetError(
                f"k = {self.config.k} is more than the {height * width} frequencies of a {height} x {width} picture",
                hint=f"set parameterization.k to at most {height * width}",
            )
        count = budget.per_class // (channels * self.config.k)
        if count < 2:
            raise BudgetError(
                f"{budget.per_class:,} scalars a class buy {count} instance(s) of k = {self.config.k}; "
                "FreD's mask needs at least 2",
                hint="lower parameterization.k or raise the budget",
            )
        return count

    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        """Draws n' real pictures a class, transforms them, and keeps the k positions of their largest variance."""
        count = self.instances(budget)
        coefficients, positions = [], []
        for label in range(budget.classes):
            chosen = real.images(real.draw(label, count, rng.child("class", label)))
            spectrum = self._transform.forward(chosen)
            kept = top_positions(explained_variance(spectrum), self.config.k).sort().values
            coefficients.append(spectrum.flatten(2)[:, :, kept])
            positions.append(kept)
        learned = torch.stack(coefficients).contiguous().requires_grad_()
        labels = class_ordered_labels(budget.classes, count).to(real.device)
        return State({"coefficients": learned}, {"positions": torch.stack(positions)}, labels, budget.shape)

    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        """Inverse transform of the kept coefficients, zeros elsewhere."""
        coefficients, positions = state.learned["coefficients"], state.fixed["positions"]
        count = coefficients.shape[1]
        index = None if index is None else sent(index, coefficients.device)
        labels = state.labels if index is None else state.labels[index]
        flat = coefficients.flatten(0, 1)
        flat = flat if index is None else flat[index]
        channels, height, width = state.shape
        where = positions.repeat_interleave(count, dim=0) if index is None else positions[index // count]
        where = where[:, None, :].expand(-1, channels, -1)
        spectrum = flat.new_zeros(len(flat), channels, height * width).scatter(2, where, flat)
        return self._transform.inverse(spectrum.unflatten(2, (height, width))), labels

    def parameters(self, state: State) -> list[ParameterGroup]:
        """One group: the coefficients, SGD at the published (unnormalised) rate."""
        config, kept = self.config, (state.learned["coefficients"],)
        return [ParameterGroup("coefficients", kept, config.lr, config.momentum, config.optimiser, config.final)]

    def ledger(self, state: State) -> Ledger:
        """C n' ch k scalars; C H W mask bits outside the paper's convention."""
        _, height, width = state.shape
        bits = len(state.fixed["positions"]) * height * width
        return Ledger(params=state.learned["coefficients"].numel(), decoded=len(state), mask_bits=bits)

    def to_tensors(self, state: State) -> dict[str, tuple[Tensor, StoredRole]]:
        """`coefficients` float32 (C, n', ch, k) and `mask` uint8 (C, ceil(H W / 8)), packed bits."""
        _, height, width = state.shape
        mask = pack_mask(state.fixed["positions"], height * width)
        return {"coefficients": (state.learned["coefficients"].detach(), "scalars"), "mask": (mask, "mask-bits")}

    def from_tensors(self, tensors: Mapping[str, Tensor], *, classes: int, shape: tuple[int, int, int]) -> State:
        """Unpacks the mask and checks that it has as many positions a class as there are coefficients."""
        coefficients = tensors["coefficients"]
        channels, height, width = shape
        mask = unpack_mask(tensors["mask"], height * width)
        fits = coefficients.ndim == 4 and coefficients.shape[0] == classes == len(mask)
        if not fits or coefficients.shape[2] != channels or bool((mask.sum(1) != coefficients.shape[3]).any()):
            raise ArtefactError(
                f"coefficients of shape {tuple(coefficients.shape)} and a mask with {mask.sum(1).tolist()} positions "
                f"do not describe {classes} classes of pictures of {shape}",
                hint="the file was altered or cut; distill it again",
            )
        positions = mask.nonzero()[:, 1].reshape(classes, -1)
        labels = class_ordered_labels(classes, coefficients.shape[1])
        return State({"coefficients": coefficients}, {"positions": positions}, labels, shape)
