"""GSDD: a picture is a sum of Gaussians of two dimensions, each of a colour, without order or background.

Gaussian splatting for dataset distillation, its public code (j-cyoung/GSDatasetDistillation), here as a dense sum in
plain torch: every Gaussian at every sample, where the public kernel leaves out tiles beyond three deviations (there
a Gaussian of opacity 1 is below .0111). A pixel is the mean of four samples, and
sample = sum_g a_g c_g,  a = min(1, o exp(-e)),  e = (p - m)^T S^-1 (p - m) / 2,  S = L L^T + I / 12,
with m the centre and L = [[l1 + .5, 0], [l2, l3 + .5]] in pixels; what is below 1/255 is dropped. Pictures are of
[0, 1] and normalised when decoded, so the file holds mean and deviation as well.

Every number is kept in bfloat16, two bytes, which decoding in a run rounds to as well (the gradient passes). The
published budget is in bytes: a Gaussian of RGB is 18, so that a set holds twice as many scalars as its budget of
float32 has. `params` counts bytes / 4, as published; `params_strict` counts every scalar.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fredbench.foundation.device import sent
from fredbench.foundation.errors import ArtefactError, BudgetError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.base import Auxiliary, Parameterization, State, StoredRole, class_ordered_labels
from fredbench.parameterizations.budget import Budget, Ledger
from fredbench.parameterizations.fitting import fit, groups
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import OptimiserName, ParameterGroup

__all__ = ["Barrier", "GaussianSplats", "GaussianSplatsConfig", "render"]

# Values of Gaussians at samples held at once: 16 MB of float32 where a processor's cache is to be of use.
_AT_ONCE = {"cpu": 1 << 20}
_AT_ONCE_ELSEWHERE = 1 << 26
# Samples a pixel and axis; a pixel's own variance; where centres end, of a picture from -1 to 1.
_SAMPLES = 2
_PIXEL_VARIANCE = 1 / 12
_BORDER = 0.999
# The published fit halves the rate of centres so often.
_HALVED_AFTER = 20_000


@dataclass(frozen=True)
class GaussianSplatsConfig:
    """gaussians: M, in every picture. precision: `bfloat16` (published) or `float32`. cut: what is below is dropped.

    lr, optimiser: of all four groups of numbers; momentum: of `sgd`; final: what is left of the rate at the end of a
    cosine. barrier: weight of the term that keeps centres from the border, 0 for none. fit_steps, fit_lr: of Adam,
    which fits each picture to a real one before the first iteration; 0 steps leave random Gaussians.
    """

    gaussians: int = 85
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    cut: float = 1 / 255
    lr: float = 1e-3
    optimiser: OptimiserName = "adam"
    momentum: float = 0.0
    final: float = 1.0
    barrier: float = 0.1
    fit_steps: int = 50_000
    fit_lr: float = 0.1

    def __post_init__(self) -> None:
        if self.gaussians < 1 or not 0 <= self.cut < 1:
            raise UsageError(
                f"{self.gaussians} Gaussians that are dropped below {self.cut} show nothing",
                hint="parameterization.gaussians is at least 1, .cut at least 0 and below 1",
            )
        if self.fit_steps < 0 or not 0 < self.fit_lr < math.inf or not 0 <= self.barrier < math.inf:
            raise UsageError(
                f"a fit of {self.fit_steps} steps at rate {self.fit_lr} and a barrier of {self.barrier} cannot be",
                hint="parameterization.fit_steps and .barrier are 0 or more, .fit_lr positive",
            )


def render(
    splats: Mapping[str, Tensor], shape: tuple[int, int], size: tuple[int, int] | None = None, *, cut: float = 1 / 255
) -> Float[Tensor, "n c h w"]:
    """Pictures of (H, W) = `shape`, neither clipped nor normalised, of `centres` (n, M, 2), (x, y) in [-1, 1];
    `spreads` (n, M, 3), `colours` (n, M, ch), `opacities` (n, M).

    size: of another grid over the same area; Gaussians stay as large in the picture. The clamp of a at 1 lets the
    gradient pass; dropped samples have none, so that a Gaussian of opacity below `cut` is dead for good.
    """
    height, width = shape
    rows, columns = (
        sent((torch.arange(_SAMPLES * count, dtype=torch.float64) + 0.5) * side / (_SAMPLES * count), splats["centres"])
        for side, count in zip(shape, size or shape, strict=True)
    )
    x, y = ((splats["centres"][..., axis] + 1) * side / 2 for axis, side in enumerate((width, height)))
    dx, dy = columns - x[..., None], rows - y[..., None]
    first, slope, second = splats["spreads"].unbind(-1)
    first, second = first + 0.5, second + 0.5
    xx, yy = first**2 + _PIXEL_VARIANCE, slope**2 + second**2 + _PIXEL_VARIANCE
    xy = first * slope
    determinant = xx * yy - xy**2
    along, across, mixed = ((each / determinant)[..., None] for each in (-yy / 2, -xx / 2, xy))
    # The exponent, (along dx + mixed dy) dx + across dy², as a product of what depends on the row and on the column
    # only: a third of the time of three products of whole grids, and of their gradients.
    of_rows = torch.stack((along.expand_as(dy), mixed * dy, across * dy**2), dim=-1)
    of_columns = torch.stack((dx**2, dx, torch.ones_like(dx)), dim=-2)
    # Far below any cut; numbers without a normal form would take ten times as long.
    exponent = (of_rows @ of_columns).clamp_min(-80)
    raw = splats["opacities"][..., None, None] * torch.exp(exponent)
    alpha = F.threshold(raw, cut, 0.0)
    alpha = alpha - (alpha.detach() - 1).clamp_min_(0)
    return F.avg_pool2d(torch.einsum("nmhw,nmc->nchw", alpha, splats["colours"]), _SAMPLES)


class Barrier(Auxiliary):
    """weight * mean(-log(1 - u²)) over all coordinates of all centres; it learns nothing of its own."""

    def __init__(self, weight: float, centres: Tensor) -> None:
        self._weight, self._centres = weight, centres

    def loss(self, rng: Stream) -> Tensor:
        """As the class says; u is clamped where the logarithm would end."""
        inside = self._centres.clamp(-1 + 1e-6, 1 - 1e-6)
        return -self._weight * torch.log1p(-inside.square()).mean()

    def step(self, rng: Stream) -> Mapping[str, float | Tensor]:
        """Nothing moves."""
        return {}

    def to_tensors(self) -> dict[str, Tensor]:
        """Nothing is kept."""
        return {}

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes nothing up."""
        if tensors:
            raise ArtefactError(f"a barrier keeps nothing, got {sorted(tensors)}", hint="start over with --fresh")


_NAMES = ("centres", "spreads", "colours", "opacities")


class GaussianSplats(Parameterization):
    """State: what `render` takes, stacked (N, M, ...), class after class; fixed `statistics` (2, ch), `size` (2,).

    What optimisers move is float32, whatever the precision of what is stored and shown.
    """

    name: ClassVar[str] = "gsdd"
    Config: ClassVar[type[GaussianSplatsConfig]] = GaussianSplatsConfig
    config: GaussianSplatsConfig

    @property
    def _halves(self) -> bool:
        return self.config.precision == "bfloat16"

    def _cost(self, channels: int) -> int:
        """Numbers of a picture: a Gaussian's are 2 + 3 + ch + 1."""
        return self.config.gaussians * (6 + channels)

    def instances(self, budget: Budget) -> int:
        """n' = floor(bytes of a class / bytes of a picture), a budget's scalar being four bytes."""
        cost, share = self._cost(budget.shape[0]), 2 if self._halves else 1
        count = share * budget.scalars // (budget.classes * cost)
        if count < 1:
            raise BudgetError(
                f"{4 * budget.scalars:,} bytes hold no picture of {4 // share * cost:,} bytes for each of "
                f"{budget.classes} classes",
                hint=f"give --params {math.ceil(budget.classes * cost / share)} or more, or fewer "
                "parameterization.gaussians",
            )
        return count

    @classmethod
    def shortened(cls, config: GaussianSplatsConfig) -> tuple[GaussianSplatsConfig, float]:
        """Two steps of the fit."""
        few = min(config.fit_steps, 2)
        return dataclasses.replace(config, fit_steps=few), config.fit_steps / few if few else 1.0

    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        """Draws n' real pictures a class and fits Gaussians to each, drawn: U(-1, 1) centres, U(0, 1), opacity 1."""
        count, size = self.instances(budget), (budget.shape[1], budget.shape[2])
        chosen = torch.cat([real.draw(label, count, rng.child("class", label)) for label in range(budget.classes)])
        splats = {
            name: tensor.to(real.device) for name, tensor in self._drawn(len(chosen), budget.shape[0], rng).items()
        }
        fit(
            splats,
            lambda first, last: real.pixels[sent(chosen[first:last], real.device)].float() / 255,
            lambda part: self._rendered(part, size, size),
            steps=self.config.fit_steps,
            lr=self.config.fit_lr,
            at_once=self._group(size, real.device),
            halving={"centres": _HALVED_AFTER},
            project=_within_border,
        )
        statistics = torch.tensor([real.mean, real.std], dtype=torch.float32, device=real.device)
        fixed = {"statistics": statistics, "size": torch.tensor(size, dtype=torch.int32, device=real.device)}
        labels = class_ordered_labels(budget.classes, count).to(real.device)
        return State({name: tensor.requires_grad_() for name, tensor in splats.items()}, fixed, labels, budget.shape)

    def _drawn(self, count: int, channels: int, rng: Stream) -> dict[str, Tensor]:
        number = self.config.gaussians
        drawn = {
            name: torch.rand((count, number, last), generator=rng.child(name).torch())
            for name, last in (("centres", 2), ("spreads", 3), ("colours", channels))
        }
        return {**drawn, "centres": 2 * drawn["centres"] - 1, "opacities": torch.ones(count, number)}

    def _group(self, size: tuple[int, int], device: torch.device) -> int:
        """How many pictures are rendered at once."""
        values = self.config.gaussians * _SAMPLES**2 * size[0] * size[1]
        return max(1, _AT_ONCE.get(device.type, _AT_ONCE_ELSEWHERE) // values)

    def _rendered(self, splats: Mapping[str, Tensor], shape: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Pictures of what would be stored: rounded to its precision, through which gradients pass rounded alike."""
        return render(
            {name: self._rounded(tensor) for name, tensor in splats.items()}, shape, size, cut=self.config.cut
        )

    def _rounded(self, tensor: Tensor) -> Tensor:
        return tensor.to(torch.bfloat16).to(tensor.dtype) if self._halves else tensor

    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        """Renders what `index` asks for only, and normalises; many in groups, rendered anew for the gradient."""
        index = None if index is None else sent(index, state.labels.device)
        labels = state.labels if index is None else state.labels[index]
        splats = {name: state.learned[name] if index is None else state.learned[name][index] for name in _NAMES}
        return self._normalised(splats, state, (state.shape[1], state.shape[2])), labels

    def _normalised(self, splats: dict[str, Tensor], state: State, size: tuple[int, int]) -> Tensor:
        shape, group = (state.shape[1], state.shape[2]), self._group(size, state.labels.device)
        parts = groups(splats, group)
        if len(parts) == 1:
            pictures = self._rendered(splats, shape, size)
        else:
            pictures = torch.cat([self._again(part, shape, size) for part in parts])
        mean, deviation = state.fixed["statistics"].to(pictures.dtype)[:, :, None, None]
        normalised: Tensor = (pictures - mean) / deviation
        return normalised

    def _again(self, splats: dict[str, Tensor], shape: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """As `_rendered`, whose grids are not kept but made anew for the gradient."""
        pictures: Tensor = checkpoint(
            self._rendered, splats, shape, size, use_reentrant=False, preserve_rng_state=False
        )
        return pictures

    def resized(self, state: State, size: tuple[int, int]) -> Tensor:
        """The Gaussians on the pixels of another grid over the same area, (N, ch, *size).

        A coarser grid would alias: it is rendered at least as finely as that of the training, and averaged.
        """
        finer = max(math.ceil(own / asked) for own, asked in zip(state.shape[1:], size, strict=True))
        splats = {name: state.learned[name] for name in _NAMES}
        pictures = self._normalised(splats, state, (finer * size[0], finer * size[1]))
        return pictures if finer == 1 else F.avg_pool2d(pictures, finer)

    def auxiliary(self, state: State, rng: Stream) -> Auxiliary | None:
        """The barrier at the border, unless its weight is 0."""
        return Barrier(self.config.barrier, state.learned["centres"]) if self.config.barrier else None

    def parameters(self, state: State) -> list[ParameterGroup]:
        """One group: all numbers of all Gaussians, at one rate."""
        config, splats = self.config, tuple(state.learned[name] for name in _NAMES)
        return [ParameterGroup("splats", splats, config.lr, config.momentum, config.optimiser, config.final)]

    def project(self, state: State) -> None:
        """Clamps centres to ±.999."""
        _within_border(state.learned)

    def ledger(self, state: State) -> Ledger:
        """Every number a scalar; of two bytes, two are one of `params`."""
        numbers = len(state) * self._cost(state.shape[0])
        if not self._halves:
            return Ledger(params=numbers, decoded=len(state))
        return Ledger(params=math.ceil(numbers / 2), decoded=len(state), half_scalars=numbers)

    def to_tensors(self, state: State) -> dict[str, tuple[Tensor, StoredRole]]:
        """`centres`, `spreads`, `colours`, `opacities`, bfloat16 or float32; `statistics` float32, `size` int32."""
        role: StoredRole = "half-scalars" if self._halves else "scalars"
        kind = torch.bfloat16 if self._halves else torch.float32
        stored: dict[str, tuple[Tensor, StoredRole]] = {
            name: (state.fixed[name], "free") for name in ("statistics", "size")
        }
        return stored | {name: (state.learned[name].detach().to(kind), role) for name in _NAMES}

    def from_tensors(self, tensors: Mapping[str, Tensor], *, classes: int, shape: tuple[int, int, int]) -> State:
        """Checks shapes, the precision and the size against the header; what is moved again is float32."""
        count, size, statistics = len(tensors["opacities"]), tensors["size"], tensors["statistics"]
        last = {"centres": (2,), "spreads": (3,), "colours": shape[:1], "opacities": ()}
        kind = torch.bfloat16 if self._halves else torch.float32
        for name in _NAMES:
            wanted = (count, self.config.gaussians, *last[name])
            if tuple(tensors[name].shape) != wanted or tensors[name].dtype != kind or not count or count % classes:
                raise ArtefactError(
                    f"{name} has shape {tuple(tensors[name].shape)} of {tensors[name].dtype}, not {wanted} of {kind}, "
                    f"for {classes} classes",
                    hint=_HINT,
                )
        if size.tolist() != list(shape[1:]) or tuple(statistics.shape) != (2, shape[0]):
            raise ArtefactError(
                f"Gaussians learned at {size.tolist()} pixels, with statistics of shape {tuple(statistics.shape)}, are "
                f"not of pictures of {shape}",
                hint=_HINT,
            )
        learned = {name: tensors[name].float() for name in _NAMES}
        return State(
            learned, {"statistics": statistics, "size": size}, class_ordered_labels(classes, count // classes), shape
        )


_HINT = "the file was altered or cut; distill it again"


def _within_border(splats: Mapping[str, Tensor]) -> None:
    splats["centres"].clamp_(-_BORDER, _BORDER)
