"""DDiF: a picture is a small coordinate network, a neural field, and the networks' weights are what is stored.

Distilling Dataset into Neural Field (ICLR 2025). A field has L layers of d sines and a linear read-out:
h_1 = sin(w0 (W_1 u + b_1)), h_l = sin(w (W_l h_{l-1} + b_l)), x(u) = W_out h_L + b_out, at u, a pixel's (row, column)
between -1 and 1; x is the pixel as networks see it, neither clipped nor scaled (its public code, SynSet/DDiF.py). A
class has as many fields as its budget pays, each fitted to a real picture first. All fields are stacked: a layer of all
of them is one batched matrix product.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fredbench.foundation.device import sent
from fredbench.foundation.errors import ArtefactError, BudgetError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.base import Parameterization, State, StoredRole, class_ordered_labels
from fredbench.parameterizations.budget import Budget, Ledger
from fredbench.parameterizations.fitting import fit, groups
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import OptimiserName, ParameterGroup

__all__ = ["NeuralFields", "NeuralFieldsConfig", "coordinates", "evaluate", "field_shapes"]

# Values of hidden layers held at once: 64 MB of float32, in a step and its gradient.
_AT_ONCE = 1 << 24
# Of the fit, whose fields do not meet: what stays in a processor's cache.
_FITTED_AT_ONCE = {"cpu": 1 << 20}


@dataclass(frozen=True)
class NeuralFieldsConfig:
    """width, layers: d and L; w0, w: frequencies of the first layer and of the others. All four are the decoder.

    lr, optimiser: of all weights; `row-adam` leaves fields alone that a step did not decode. momentum: of `sgd`.
    final: what is left of the rate at the end of a cosine. fit_steps, fit_lr: of Adam, which fits each field to a real
    picture before the first iteration; 0 steps leave random fields.
    """

    width: int = 6
    layers: int = 2
    w0: float = 30.0
    w: float = 10.0
    lr: float = 5e-5
    optimiser: OptimiserName = "row-adam"
    momentum: float = 0.0
    final: float = 1.0
    fit_steps: int = 5000
    fit_lr: float = 5e-4

    def __post_init__(self) -> None:
        if min(self.width, self.layers) < 1 or not all(0 < each < math.inf for each in (self.w0, self.w)):
            raise UsageError(
                f"{self.layers} layers of {self.width} sines at frequencies {self.w0} and {self.w} are no field",
                hint="parameterization.width and .layers are at least 1, .w0 and .w positive",
            )
        if self.fit_steps < 0 or not 0 < self.fit_lr < math.inf:
            raise UsageError(
                f"fields cannot be fitted in {self.fit_steps} steps at rate {self.fit_lr}",
                hint="parameterization.fit_steps is 0 or more, .fit_lr positive",
            )


def field_shapes(width: int, layers: int, channels: int) -> dict[str, tuple[int, ...]]:
    """Shapes of one field's tensors by name, first layer first: `weight_1`, `bias_1`, .., `weight_out`, `bias_out`."""
    inner = {str(layer): (width, 2 if layer == 1 else width) for layer in range(1, layers + 1)}
    shapes = {**inner, "out": (channels, width)}
    return {
        f"{kind}_{name}": shape if kind == "weight" else shape[:1]
        for name, shape in shapes.items()
        for kind in ("weight", "bias")
    }


def coordinates(shape: tuple[int, int], size: tuple[int, int] | None = None) -> Float[Tensor, "2 points"]:
    """(row, column) of the pixels of an (H, W) picture, row by row, float64; the longer side runs from -1 to 1.

    size: of another grid over the same area, whose outer pixels lie a little beyond the ends where it is finer. The
    published code has neither other sizes nor pictures that are no square.
    """
    longest, axes = max(max(shape) - 1, 1), []
    for side, count in zip(shape, size or shape, strict=True):
        place = (torch.arange(count, dtype=torch.float64) + 0.5) * side / count - 0.5
        axes.append((2 * place - (side - 1)) / longest)
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)


def evaluate(
    fields: Mapping[str, Tensor], points: Float[Tensor, "2 points"], *, w0: float, w: float
) -> Float[Tensor, "n c points"]:
    """What stacked fields (n, ...), named as `field_shapes` names them, are at `points`."""
    layers = len(fields) // 2 - 1
    hidden = points.expand(len(fields["bias_out"]), -1, -1)
    for layer in range(1, layers + 1):
        frequency = w0 if layer == 1 else w
        # On the weights, which are fewer than the values: a sixth of a step's time.
        weight, bias = (frequency * fields[f"{kind}_{layer}"] for kind in ("weight", "bias"))
        hidden = torch.sin(torch.baddbmm(bias[..., None], weight, hidden))
    return torch.baddbmm(fields["bias_out"][..., None], fields["weight_out"], hidden)


class NeuralFields(Parameterization):
    """State: the tensors of `field_shapes`, each stacked (N, ...), class after class; `size` (2,) fixed: H and W.

    Weights alone do not say at which resolution they were learned.
    """

    name: ClassVar[str] = "ddif"
    Config: ClassVar[type[NeuralFieldsConfig]] = NeuralFieldsConfig
    config: NeuralFieldsConfig

    def _shapes(self, channels: int) -> dict[str, tuple[int, ...]]:
        return field_shapes(self.config.width, self.config.layers, channels)

    def _cost(self, channels: int) -> int:
        """Scalars of one field: (2 d + d) + (L - 1)(d² + d) + (ch d + ch)."""
        return sum(math.prod(shape) for shape in self._shapes(channels).values())

    def instances(self, budget: Budget) -> int:
        """n' = floor(scalars of a class / scalars of a field)."""
        cost = self._cost(budget.shape[0])
        count = budget.per_class // cost
        if count < 1:
            raise BudgetError(
                f"{budget.per_class:,} scalars a class hold no field of {cost:,}",
                hint=f"give --params {budget.classes * cost} or more, or a smaller parameterization.width",
            )
        return count

    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        """Draws n' real pictures a class and fits a field to each."""
        count = self.instances(budget)
        chosen = [real.draw(label, count, rng.child("class", label)) for label in range(budget.classes)]
        fields = self._drawn(count * budget.classes, budget.shape[0], rng.child("fields"))
        fields = {name: tensor.to(real.device) for name, tensor in fields.items()}
        self._fit(fields, real, torch.cat(chosen))
        labels = class_ordered_labels(budget.classes, count).to(real.device)
        learned = {name: tensor.requires_grad_() for name, tensor in fields.items()}
        size = torch.tensor(budget.shape[1:], dtype=torch.int32, device=real.device)
        return State(learned, {"size": size}, labels, budget.shape)

    @classmethod
    def shortened(cls, config: NeuralFieldsConfig) -> tuple[NeuralFieldsConfig, float]:
        """Four steps of the fit."""
        few = min(config.fit_steps, 4)
        return dataclasses.replace(config, fit_steps=few), config.fit_steps / few if few else 1.0

    def _drawn(self, count: int, channels: int, rng: Stream) -> dict[str, Tensor]:
        """First layer, weight and bias: U(-1/2, 1/2). Later ones: U(-b, b), b = √(6 / d) / w."""
        later = math.sqrt(6 / self.config.width) / self.config.w
        return {
            name: torch.empty(count, *shape).uniform_(-bound, bound, generator=rng.child(name).torch())
            for name, shape in self._shapes(channels).items()
            for bound in (0.5 if name.endswith("_1") else later,)
        }

    def _fit(self, fields: dict[str, Tensor], real: RealPictures, chosen: Tensor) -> None:
        """Each field to its picture as networks see it, in place."""
        height, width = real.shape[1:]
        points = sent(coordinates((height, width)), fields["bias_out"])
        fit(
            fields,
            lambda first, last: real.images(chosen[first:last]),
            lambda part: self._at(part, points).unflatten(2, (height, width)),
            steps=self.config.fit_steps,
            lr=self.config.fit_lr,
            at_once=self._group(height * width, _FITTED_AT_ONCE.get(real.device.type, _AT_ONCE)),
        )

    def _group(self, points: int, values: int) -> int:
        """How many fields have about so many values in their hidden layers."""
        return max(1, values // (points * self.config.width * self.config.layers))

    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        """Evaluates the fields at `index` alone; many of them in groups, which are evaluated anew for the gradient."""
        index = None if index is None else sent(index, state.labels.device)
        labels = state.labels if index is None else state.labels[index]
        learned = state.learned if index is None else {name: state.learned[name][index] for name in self._names(state)}
        fields = {name: learned[name] for name in self._names(state)}
        return self._evaluated(fields, coordinates(state.shape[1:])).unflatten(2, state.shape[1:]), labels

    def _names(self, state: State) -> list[str]:
        # Learned labels stand among what is learned.
        return list(self._shapes(state.shape[0]))

    def _evaluated(self, fields: dict[str, Tensor], points: Tensor) -> Tensor:
        points = sent(points, fields["bias_out"])
        parts = groups(fields, self._group(points.shape[1], _AT_ONCE))
        if len(parts) == 1:
            return self._at(fields, points)
        return torch.cat(
            [checkpoint(self._at, part, points, use_reentrant=False, preserve_rng_state=False) for part in parts]
        )

    def _at(self, fields: dict[str, Tensor], points: Tensor) -> Tensor:
        return evaluate(fields, points, w0=self.config.w0, w=self.config.w)

    def resized(self, state: State, size: tuple[int, int]) -> Tensor:
        """The fields on the pixels of another grid over the same area, (N, ch, *size).

        A coarser grid would alias: it is evaluated at least as finely as that of the training, and averaged.
        """
        finer = max(math.ceil(own / asked) for own, asked in zip(state.shape[1:], size, strict=True))
        grid = (finer * size[0], finer * size[1])
        fields = {name: state.learned[name] for name in self._names(state)}
        pictures = self._evaluated(fields, coordinates(state.shape[1:], grid)).unflatten(2, grid)
        return pictures if finer == 1 else F.avg_pool2d(pictures, finer)

    def parameters(self, state: State) -> list[ParameterGroup]:
        """One group: all weights of all fields."""
        config, fields = self.config, tuple(state.learned[name] for name in self._names(state))
        return [ParameterGroup("fields", fields, config.lr, config.momentum, config.optimiser, config.final)]

    def ledger(self, state: State) -> Ledger:
        """N fields, every weight a scalar; frequencies, depth and width belong to the description."""
        return Ledger(params=len(state) * self._cost(state.shape[0]), decoded=len(state))

    def to_tensors(self, state: State) -> dict[str, tuple[Tensor, StoredRole]]:
        """The tensors of `field_shapes`, float32 (N, ...), and `size` int32 (2,)."""
        stored: dict[str, tuple[Tensor, StoredRole]] = {"size": (state.fixed["size"], "free")}
        return stored | {name: (state.learned[name].detach(), "scalars") for name in self._names(state)}

    def from_tensors(self, tensors: Mapping[str, Tensor], *, classes: int, shape: tuple[int, int, int]) -> State:
        """Checks every tensor against the header's width and depth, and that all classes have equally many fields."""
        count, size, learned = len(tensors["bias_out"]), tensors["size"], {}
        if size.tolist() != list(shape[1:]):
            raise ArtefactError(f"fields learned at {size.tolist()} pixels are not of pictures of {shape}", hint=_HINT)
        for name, wanted in self._shapes(shape[0]).items():
            learned[name] = tensors[name]
            if tuple(learned[name].shape) != (count, *wanted) or not count or count % classes:
                raise ArtefactError(
                    f"{name} has shape {tuple(learned[name].shape)}, not {wanted} for each of {count} fields of "
                    f"{classes} classes",
                    hint=_HINT,
                )
        return State(learned, {"size": size}, class_ordered_labels(classes, count // classes), shape)


_HINT = "the file was altered or cut; distill it again"
