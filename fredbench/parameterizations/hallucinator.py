"""HaBa: every class stores bases, and a few hallucinators that all classes share show each of them in several ways.

Liu et al., "Dataset Distillation via Factorization" (NeurIPS 2022), and its public code. A hallucinator is a 3 x 3
convolution without padding, a scale and a shift of every value, and a 3 x 3 transposed convolution back to the size
of a picture; it has no activation. h hallucinators make h pictures of a base, with the label of the base.
Trajectory matching and students see one rendering of each base at a time (`alternatives`), and renderings of one base
are pushed apart by an auxiliary term (see `contrast`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from fredbench.foundation.device import sent
from fredbench.foundation.errors import ArtefactError, BudgetError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.base import Auxiliary, Parameterization, State, StoredRole, class_ordered_labels
from fredbench.parameterizations.budget import Budget, Ledger
from fredbench.parameterizations.contrast import Contrast, ContrastConfig
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import OptimiserName, ParameterGroup

__all__ = ["Hallucination", "HallucinationConfig", "Hallucinator", "hallucinate"]

_KERNEL = 3


@dataclass(frozen=True)
class HallucinationConfig(ContrastConfig):
    """hallucinators: h, how many. lr, momentum: the optimiser of bases and hallucinators, lr_hallucinators: their rate.

    optimiser, final: as of pixels. init: `real` pictures or N(0, 1) `noise`; the hallucinators' weights are random.
    grey: bases of one channel, coloured by the hallucinators, so that a budget holds as many times more of them as a
    picture has channels. count_hallucinators: whether their scalars are within the budget, as slides table 2 has it
    (IPC 2, 11 and 51 hold 1, 10 and 50 bases of CIFAR-10 and the hallucinators); table 1 leaves them out.
    The rest are the settings of the auxiliary term.
    """

    hallucinators: int = 5
    lr: float = 100.0
    lr_hallucinators: float = 100.0
    momentum: float = 0.95
    optimiser: OptimiserName = "sgd"
    final: float = 1.0
    init: Literal["real", "noise"] = "real"
    grey: bool = False
    count_hallucinators: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hallucinators < 1:
            raise UsageError(
                f"{self.hallucinators} hallucinators show no base",
                hint="set parameterization.hallucinators to 1 or more",
            )
        if self.hallucinators == 1 and self.contrast:
            raise UsageError(
                "a single hallucinator leaves no two renderings of a base to push apart",
                hint="set parameterization.contrast=0, or hallucinators to 2 or more",
            )


class Hallucinator(NamedTuple):
    """The weights of one hallucinator from `i` to `c` channels, or of several, stacked along a first axis."""

    encoder_weight: Float[Tensor, "*h c i 3 3"]
    encoder_bias: Float[Tensor, "*h c"]
    scale: Float[Tensor, "*h c inner_height inner_width"]
    shift: Float[Tensor, "*h c inner_height inner_width"]
    decoder_weight: Float[Tensor, "*h c c 3 3"]
    decoder_bias: Float[Tensor, "*h c"]

    @staticmethod
    def shapes(channels: int, shape: tuple[int, int, int]) -> Hallucinator:
        """Shapes of the weights from `channels` to pictures of `shape`, as tensors without content."""
        out, height, width = shape
        inner = (out, height - _KERNEL + 1, width - _KERNEL + 1)
        kernel = (_KERNEL, _KERNEL)
        sizes = ((out, channels, *kernel), (out,), inner, inner, (out, out, *kernel), (out,))
        return Hallucinator(*(torch.empty(size, device="meta") for size in sizes))

    def numel(self) -> int:
        """How many scalars."""
        return sum(tensor.numel() for tensor in self)


def hallucinate(bases: Float[Tensor, "n i h w"], weights: Hallucinator) -> Float[Tensor, "n c h w"]:
    """Every base as one hallucinator shows it: decode(scale * encode(base) + shift)."""
    encoded = F.conv2d(bases, weights.encoder_weight, weights.encoder_bias)
    return F.conv_transpose2d(encoded * weights.scale + weights.shift, weights.decoder_weight, weights.decoder_bias)


def _drawn(shapes: Hallucinator, rng: Stream) -> Hallucinator:
    """Convolutions at torch's default, U(-1/√fan_in, 1/√fan_in); scale 1 and shift 0: a random map, no identity."""
    generator, drawn = rng.torch(), []
    for name, meta in shapes._asdict().items():
        if name in {"scale", "shift"}:
            drawn.append(torch.full(meta.shape, float(name == "scale")))
            continue
        kernel = getattr(shapes, name.replace("bias", "weight"))
        # The second axis is the fan-in of both: torch takes it from a transposed convolution's outputs, too.
        bound = 1 / math.sqrt(kernel[0].numel())
        drawn.append(torch.empty(meta.shape).uniform_(-bound, bound, generator=generator))
    return Hallucinator(*drawn)


class Hallucination(Parameterization):
    """State: `bases` (C, n, i, H, W), and the weights of h hallucinators as `Hallucinator` names and stacks them.

    Of class c, decoded picture s n + j is base j by hallucinator s.
    """

    name: ClassVar[str] = "haba"
    Config: ClassVar[type[HallucinationConfig]] = HallucinationConfig
    config: HallucinationConfig

    def instances(self, budget: Budget) -> int:
        """h renderings of every base that fits."""
        return self.config.hallucinators * self.shown(budget)

    def shown(self, budget: Budget) -> int:
        """Bases a class that fit, the hallucinators counted or not."""
        _, height, width = budget.shape
        if min(height, width) < _KERNEL:
            raise BudgetError(
                f"a hallucinator sees {_KERNEL} x {_KERNEL} values and cannot take a picture of {height} x {width}",
                hint="use another --parameterization",
            )
        beside = self._hallucinators(budget.shape) if self.config.count_hallucinators else 0
        base = self._channels(budget.shape) * height * width
        count = max(0, budget.scalars - beside) // (budget.classes * base)
        if count < 1:
            counted = f" beside {beside:,} of hallucinators" if beside else ""
            raise BudgetError(
                f"{budget.scalars:,} scalars hold no base for each of {budget.classes} classes{counted}",
                hint=f"give --params {budget.classes * base + beside} or more",
            )
        return count

    def _channels(self, shape: tuple[int, int, int]) -> int:
        return 1 if self.config.grey else shape[0]

    def _hallucinators(self, shape: tuple[int, int, int]) -> int:
        """Scalars of all hallucinators."""
        return self.config.hallucinators * Hallucinator.shapes(self._channels(shape), shape).numel()

    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        """Random real pictures (grey: the mean of their channels) or noise as bases, random hallucinators."""
        count, config = self.shown(budget), self.config
        size = (count, self._channels(budget.shape), *budget.shape[1:])
        bases = []
        for label in range(budget.classes):
            stream = rng.child("class", label)
            if config.init == "noise":
                bases.append(torch.randn(size, generator=stream.torch()).to(real.device))
                continue
            pictures = real.images(real.draw(label, count, stream))
            bases.append(pictures.mean(1, keepdim=True) if config.grey else pictures)
        shapes = Hallucinator.shapes(size[1], budget.shape)
        drawn = [_drawn(shapes, rng.child("hallucinator", number)) for number in range(config.hallucinators)]
        weights = Hallucinator(*(torch.stack(parts).to(real.device) for parts in zip(*drawn, strict=True)))
        learned = {"bases": torch.stack(bases), **weights._asdict()}
        return self._state({name: tensor.requires_grad_() for name, tensor in learned.items()}, budget.shape)

    def _state(self, learned: dict[str, Tensor], shape: tuple[int, int, int]) -> State:
        classes, count = learned["bases"].shape[:2]
        labels = class_ordered_labels(classes, count * self.config.hallucinators).to(learned["bases"].device)
        return State(learned, {}, labels, shape)

    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        """Renderings of what `index` asks for only; nothing is drawn, a position names base and hallucinator."""
        bases, weights = state.learned["bases"], _weights(state)
        index = torch.arange(len(state)) if index is None else index.cpu()
        count, number = bases.shape[1], len(weights.scale)
        owner, place = index // (count * number), index % (count * number)
        parts, where = [], []
        for each in range(number):
            inside = (place // count == each).nonzero()[:, 0]
            chosen = bases[sent(owner[inside], bases.device), sent(place[inside] % count, bases.device)]
            parts.append(hallucinate(chosen, Hallucinator(*(tensor[each] for tensor in weights))))
            where.append(inside)
        order = sent(torch.cat(where).argsort(), bases.device)
        return torch.cat(parts)[order], state.labels[sent(index, bases.device)]

    def alternatives(self, state: State) -> Int64[Tensor, "m k"]:
        """A row a base, in class order; column s is hallucinator s."""
        positions = torch.arange(len(state))
        return positions.view(len(state.learned["bases"]), self.config.hallucinators, -1).transpose(1, 2).flatten(0, 1)

    def auxiliary(self, state: State, rng: Stream) -> Auxiliary | None:
        """The contrastive terms, unless their weight is 0."""
        if not self.config.contrast:
            return None
        bases = state.learned["bases"]
        labels = class_ordered_labels(*bases.shape[:2]).to(bases.device)
        return Contrast(
            self.config,
            lambda index: self.decode(state, index)[0],
            self.alternatives(state),
            labels,
            classes=len(bases),
            shape=state.shape,
            dtype=bases.dtype,
            rng=rng,
        )

    def parameters(self, state: State) -> list[ParameterGroup]:
        """Two groups: the bases, and all weights of the hallucinators."""
        config, bases = self.config, (state.learned["bases"],)
        settings = (config.momentum, config.optimiser, config.final)
        return [
            ParameterGroup("bases", bases, config.lr, *settings),
            ParameterGroup("hallucinators", tuple(_weights(state)), config.lr_hallucinators, *settings),
        ]

    def ledger(self, state: State) -> Ledger:
        """Bases count; hallucinators count as a decoder (strict only), or as scalars where they are to."""
        bases, beside = state.learned["bases"].numel(), _weights(state).numel()
        if self.config.count_hallucinators:
            return Ledger(params=bases + beside, decoded=len(state))
        return Ledger(params=bases, decoded=len(state), decoder_scalars=beside)

    def to_tensors(self, state: State) -> dict[str, tuple[Tensor, StoredRole]]:
        """`bases` float32 (C, n, i, H, W), and the weights of `Hallucinator`, float32, stacked (h, ...)."""
        role: StoredRole = "scalars" if self.config.count_hallucinators else "decoder"
        weights = {name: (tensor.detach(), role) for name, tensor in _weights(state)._asdict().items()}
        return {"bases": (state.learned["bases"].detach(), "scalars"), **weights}

    def from_tensors(self, tensors: Mapping[str, Tensor], *, classes: int, shape: tuple[int, int, int]) -> State:
        """Checks the bases against classes and shape, and every weight of the hallucinators against both."""
        channels, bases = self._channels(shape), tensors["bases"]
        whole = bases.ndim == 5 and bases.shape[1] > 0
        if not whole or (bases.shape[0], *bases.shape[2:]) != (classes, channels, *shape[1:]):
            raise ArtefactError(
                f"bases of shape {tuple(bases.shape)} are not those of {classes} classes of pictures of {shape}",
                hint=_HINT,
            )
        learned = {"bases": bases}
        for name, meta in Hallucinator.shapes(channels, shape)._asdict().items():
            learned[name], wanted = tensors[name], (self.config.hallucinators, *meta.shape)
            if tuple(learned[name].shape) != wanted:
                raise ArtefactError(f"{name} has shape {tuple(learned[name].shape)}, not {wanted}", hint=_HINT)
        return self._state(learned, shape)


_HINT = "the file was altered or cut; distill it again"


def _weights(state: State) -> Hallucinator:
    return Hallucinator(*(state.learned[name] for name in Hallucinator._fields))
