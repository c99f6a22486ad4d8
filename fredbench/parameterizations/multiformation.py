"""IDC's multi-formation: one stored canvas is cut into tiles, and every tile is enlarged to a whole picture.

Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization" (ICML 2022), section 3 and the public
Synthesizer. Canvases are kept in [0, 1] and normalised when decoded, so the file holds mean and deviation as well.
A factor f makes f² pictures of a canvas (`single`: four at f = 2); `multi` decodes with every factor up to f (five at
f = 2, the increment that the tables print); `bound` mixes factors so that a class has at most `bound` pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from fredbench.foundation.config import late
from fredbench.foundation.device import sent
from fredbench.foundation.errors import ArtefactError, BudgetError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.base import Parameterization, State, StoredRole, class_ordered_labels
from fredbench.parameterizations.budget import Budget, Ledger
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import OptimiserName, ParameterGroup

__all__ = ["Formation", "MultiFormation", "MultiFormationConfig", "cut", "enlarge", "formations", "mosaic"]

Mode: TypeAlias = Literal["single", "multi", "bound"]
# What a canvas is padded with where the factor does not divide its sides: middle grey.
_GREY = 0.5


@dataclass(frozen=True)
class MultiFormationConfig:
    """factor, mode, bound: how canvases are decoded. lr, momentum: of the canvases, in [0, 1].

    init: `tiles` (every tile a shrunken real picture), `real` (whole pictures) or `noise` (uniform in [0, 1]).
    optimiser: `sgd`, `adam` or `lamb`; final: what is left of the rate at the end of a cosine, 1 for a constant rate.
    """

    factor: int = 2
    mode: Mode = "single"
    bound: int = 128
    lr: float = 5e-3
    momentum: float = 0.5
    init: Literal["tiles", "real", "noise"] = "tiles"
    optimiser: OptimiserName = late("sgd")
    final: float = late(1.0)

    def __post_init__(self) -> None:
        if self.factor < 1 or self.bound < 1:
            raise UsageError(
                f"a factor of {self.factor} and a bound of {self.bound} decode nothing",
                hint="both are at least 1; factor 1 is IDC-I",
            )


class Formation(NamedTuple):
    """Canvases [first, last) of a class, decoded with `factor`: factor² pictures each, all of tile 0 first."""

    factor: int
    first: int
    last: int

    @property
    def decoded(self) -> int:
        """Pictures that it makes."""
        return self.factor**2 * (self.last - self.first)


def formations(canvases: int, factor: int, mode: Mode, bound: int) -> list[Formation]:
    """How the `canvases` of a class are decoded, in the order of the output.

    `bound`: one picture is reserved for every canvas; then, from the largest factor down, as many of the canvases
    left take it as the rest of the bound allows, and what is left at the end stays whole.
    """
    if mode == "single":
        return [Formation(factor, 0, canvases)]
    if mode == "multi":
        return [Formation(each, 0, canvases) for each in range(1, factor + 1)]
    plan, first, decoded = list[Formation](), 0, 0
    for each in range(factor, 0, -1):
        left = canvases - first
        count = left if each == 1 else max(0, min((bound - decoded - left) // each**2, left))
        if count:
            plan.append(Formation(each, first, first + count))
            first, decoded = first + count, decoded + plan[-1].decoded
    return plan


def cut(canvases: Float[Tensor, "n c h w"], factor: int) -> Float[Tensor, "tiles n c hh ww"]:
    """factor² tiles of each canvas, in reading order, of ⌈side / factor⌉ pixels; grey beyond the canvas."""
    count, channels, height, width = canvases.shape
    rows, columns = -(-height // factor), -(-width // factor)
    padded = F.pad(canvases, (0, columns * factor - width, 0, rows * factor - height), value=_GREY)
    grid = padded.view(count, channels, factor, rows, factor, columns)
    return grid.permute(2, 4, 0, 1, 3, 5).reshape(factor**2, count, channels, rows, columns)


def enlarge(tiles: Float[Tensor, "n c hh ww"], size: tuple[int, int]) -> Float[Tensor, "n c h w"]:
    """Tiles at `size`, bilinearly, pixel centres at halves (align_corners off)."""
    return F.interpolate(tiles, size, mode="bilinear", align_corners=False)


def mosaic(images: Float[Tensor, "m c h w"], factor: int) -> Float[Tensor, "n c h w"]:
    """Canvases whose tiles are `images` shrunk to nearest neighbours: tile t of canvas i is image t n + i.

    m = factor² n. Tiles that the canvas's border cuts are drawn as far as they go.
    """
    count, (height, width) = len(images) // factor**2, images.shape[2:]
    rows, columns = -(-height // factor), -(-width // factor)
    small = F.interpolate(images, (rows, columns), mode="nearest")
    grid = small.view(factor, factor, count, images.shape[1], rows, columns).permute(2, 3, 0, 4, 1, 5)
    return grid.reshape(count, images.shape[1], factor * rows, factor * columns)[..., :height, :width].contiguous()


class MultiFormation(Parameterization):
    """State: `canvases` (C, n, ch, H, W) in [0, 1] learned, `statistics` (2, ch) fixed: mean and deviation."""

    name: ClassVar[str] = "idc"
    Config: ClassVar[type[MultiFormationConfig]] = MultiFormationConfig
    config: MultiFormationConfig

    def instances(self, budget: Budget) -> int:
        """Decoded pictures a class: what the formations make of the canvases that fit."""
        return sum(formation.decoded for formation in self._plan(self._canvases(budget)))

    def _canvases(self, budget: Budget) -> int:
        if budget.whole_pictures < 1:
            raise BudgetError(
                f"{budget.scalars:,} scalars hold no whole canvas for each of {budget.classes} classes",
                hint=f"give --params {budget.classes * budget.picture} or more, or --ipc 1",
            )
        if self.config.factor > min(budget.shape[1:]):
            raise BudgetError(
                f"a canvas of {budget.shape[1]} x {budget.shape[2]} cannot be cut by a factor of {self.config.factor}",
                hint=f"set parameterization.factor to at most {min(budget.shape[1:])}",
            )
        return budget.whole_pictures

    def _plan(self, canvases: int) -> list[Formation]:
        return formations(canvases, self.config.factor, self.config.mode, self.config.bound)

    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        """`tiles` draws factor² real pictures a canvas, `real` one; neither draws a picture twice in a class."""
        count, factor = self._canvases(budget), self.config.factor if self.config.init == "tiles" else 1
        canvases = []
        for label in range(budget.classes):
            stream = rng.child("class", label)
            if self.config.init == "noise":
                canvases.append(torch.rand((count, *budget.shape), generator=stream.torch()).to(real.device))
                continue
            chosen = real.draw(label, count * factor**2, stream)
            pixels = real.pixels[chosen.to(real.device)].float() / 255
            canvases.append(mosaic(pixels, factor))
        learned = torch.stack(canvases).requires_grad_()
        statistics = torch.tensor([real.mean, real.std], dtype=torch.float32, device=real.device)
        return self._state(learned, statistics, budget.shape)

    def _state(self, canvases: Tensor, statistics: Tensor, shape: tuple[int, int, int]) -> State:
        classes, count = canvases.shape[:2]
        decoded = sum(formation.decoded for formation in self._plan(count))
        labels = class_ordered_labels(classes, decoded).to(canvases.device)
        return State({"canvases": canvases}, {"statistics": statistics}, labels, shape)

    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        """Cuts and enlarges what `index` asks for only, and normalises."""
        canvases, statistics = state.learned["canvases"], state.fixed["statistics"]
        index = torch.arange(len(state)) if index is None else index.cpu()
        decoded = len(state) // len(canvases)
        owner, place = index // decoded, index % decoded
        parts, where, start = [], [], 0
        for formation in self._plan(canvases.shape[1]):
            inside = ((place >= start) & (place < start + formation.decoded)).nonzero()[:, 0]
            parts.append(_tiles_at(canvases, formation, owner[inside], place[inside] - start))
            where.append(inside)
            start += formation.decoded
        pictures = torch.cat(parts)[sent(torch.cat(where).argsort(), canvases.device)]
        mean, deviation = statistics.to(pictures.dtype)[:, :, None, None]
        return (pictures - mean) / deviation, state.labels[sent(index, canvases.device)]

    def parameters(self, state: State) -> list[ParameterGroup]:
        """One group: the canvases."""
        config, canvases = self.config, (state.learned["canvases"],)
        return [ParameterGroup("canvases", canvases, config.lr, config.momentum, config.optimiser, config.final)]

    def project(self, state: State) -> None:
        """Clamps canvases to [0, 1]."""
        state.learned["canvases"].clamp_(0, 1)

    def ledger(self, state: State) -> Ledger:
        """C n ch H W scalars; resizing has no weights, mean and deviation belong to the description."""
        return Ledger(params=state.learned["canvases"].numel(), decoded=len(state))

    def to_tensors(self, state: State) -> dict[str, tuple[Tensor, StoredRole]]:
        """`canvases` float32 (C, n, ch, H, W) and `statistics` float32 (2, ch)."""
        return {
            "canvases": (state.learned["canvases"].detach(), "scalars"),
            "statistics": (state.fixed["statistics"], "free"),
        }

    def from_tensors(self, tensors: Mapping[str, Tensor], *, classes: int, shape: tuple[int, int, int]) -> State:
        """Checks the canvases against classes and shape, and that there is a mean and a deviation a channel."""
        canvases, statistics = tensors["canvases"], tensors["statistics"]
        fits = canvases.ndim == 5 and canvases.shape[0] == classes and canvases.shape[1] > 0
        if not fits or tuple(canvases.shape[2:]) != shape or tuple(statistics.shape) != (2, shape[0]):
            raise ArtefactError(
                f"canvases of shape {tuple(canvases.shape)} and statistics of {tuple(statistics.shape)} do not "
                f"describe {classes} classes of pictures of {shape}",
                hint="the file was altered or cut; distill it again",
            )
        return self._state(canvases, statistics, shape)


def _tiles_at(
    canvases: Float[Tensor, "k n c h w"], formation: Formation, owner: Int64[Tensor, " m"], place: Int64[Tensor, " m"]
) -> Float[Tensor, "m c h w"]:
    """Pictures `place` of a formation of class `owner` (both on the CPU), enlarged, not normalised."""
    chosen = canvases[:, formation.first : formation.last]
    classes, count = chosen.shape[:2]
    tiles = cut(chosen.reshape(classes * count, *chosen.shape[2:]), formation.factor)
    tile, canvas = (sent(part, canvases.device) for part in (place // count, owner * count + place % count))
    picked = tiles[tile, canvas]
    return enlarge(picked, (canvases.shape[3], canvases.shape[4]))
