"""ConvNet-D, the network of the distillation literature, with its variants as data."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import get_args

from jaxtyping import Float
from torch import Tensor, nn

from fredbench.foundation.errors import UsageError
from fredbench.networks.base import ConvolutionalNetwork, Signature
from fredbench.networks.layers import Activation, Norm, Pooling, activation_layer, norm_layer, pooling_layer

__all__ = ["ConvNet", "ConvNetConfig", "default_depth"]

_NORMS = get_args(Norm)
_ACTIVATIONS = get_args(Activation)
_POOLINGS = get_args(Pooling)


def default_depth(size: tuple[int, int]) -> int:
    """Blocks used at a picture size: as many as leave the shorter side about four pixels, one at least.

    D3 at 28 and 32 px, D4 at 64, D5 at 128, D6 at 256: a last map of 4×4, as published. By the shorter side, since
    every block halves both: an elongated picture ends in an elongated map.
    """
    return max(1, round(math.log2(min(size) / 4)))


@dataclass(frozen=True)
class ConvNetConfig:
    """What `convnet-d3-w128-in` says: `depth` blocks of [3×3 convolution, norm, activation, 2×2 pooling]."""

    depth: int = 3
    width: int = 128
    norm: Norm = "in"
    activation: Activation = "relu"
    pooling: Pooling = "avg"

    def __post_init__(self) -> None:
        if self.depth < 1 or self.width < 1:
            raise UsageError(
                f"a ConvNet of depth {self.depth} and width {self.width} cannot be built",
                hint="both are at least 1, as in convnet-d3-w128-in",
            )
        if self.norm == "gn" and self.width % 4:
            raise UsageError(
                f"group norm has 4 groups, which do not divide width {self.width}",
                hint="choose a width that is a multiple of 4, or another norm",
            )

    @classmethod
    def parse(cls, name: str, size: tuple[int, int]) -> ConvNetConfig:
        """Read a name such as `convnet-d3-w128-in`, `convnet-d4-w64-bn-swish-max` or `convnet`.

        Parts left out take the literature's values: depth by `size`, width 128, instance norm, ReLU, average
        pooling. Raises `UsageError` naming the part that cannot be read.
        """
        found: dict[str, int | str] = {}
        for part in name.split("-")[1:]:
            key, value = _read_part(name, part)
            if key in found:
                raise UsageError(f"network {name!r} states its {key} twice", hint=_GRAMMAR)
            found[key] = value
        return cls(**{"depth": default_depth(size), **found})  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """The canonical name: depth, width, norm, then activation and pooling where they are unusual."""
        parts = [f"convnet-d{self.depth}-w{self.width}-{self.norm}"]
        parts += [self.activation] if self.activation != "relu" else []
        parts += [self.pooling] if self.pooling != "avg" else []
        return "-".join(parts)


_GRAMMAR = (
    "convnet[-dDEPTH][-wWIDTH][-NORM][-ACTIVATION][-POOLING] with "
    f"NORM {'|'.join(_NORMS)}, ACTIVATION {'|'.join(_ACTIVATIONS)}, POOLING {'|'.join(_POOLINGS)}"
)


def _read_part(name: str, part: str) -> tuple[str, int | str]:
    if number := re.fullmatch(r"([dw])([0-9]{1,5})", part):
        return {"d": "depth", "w": "width"}[number[1]], int(number[2])
    for key, known in (("norm", _NORMS), ("activation", _ACTIVATIONS), ("pooling", _POOLINGS)):
        if part in known:
            return key, part
    raise UsageError(f"cannot read {part!r} in network {name!r}", hint=_GRAMMAR)


class ConvNet(ConvolutionalNetwork):
    """`config.depth` blocks of convolution, norm, activation and pooling, then a linear layer.

    Source: ConvNet of the official DC, DSA, DM, MTT and FreD code; names and order of the state dict are
    theirs.
    """

    def __init__(self, config: ConvNetConfig, signature: Signature) -> None:
        super().__init__(config.name, signature)
        self.config = config
        if config.pooling != "nopool":
            self.check_halvings(config.depth)
        self.features, size = _blocks(config, signature)
        self.classifier = nn.Linear(config.width * size[0] * size[1], signature.classes)

    def feature_maps(self, images: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Each block's map after its activation and before its pooling, then the last block's pooled map.

        With depth 3 these are f1, f2, f3 and f4 of CAFE; f5 is the last one flattened, which feeds the head.
        """
        activation = type(activation_layer(self.config.activation))
        maps: list[Tensor] = []
        current = images
        for layer in self.features:
            current = layer(current)
            if isinstance(layer, activation):
                maps.append(current)
        return [*maps, current]


def _blocks(config: ConvNetConfig, signature: Signature) -> tuple[nn.Sequential, tuple[int, int]]:
    """The convolutional part and the height and width of its last map."""
    layers: list[nn.Module] = []
    channels, (height, width) = signature.channels, signature.size
    for block in range(config.depth):
        padding = 3 if block == 0 and signature.is_small_grey else 1
        height, width = height + 2 * padding - 2, width + 2 * padding - 2
        layers.append(nn.Conv2d(channels, config.width, kernel_size=3, padding=padding))
        channels = config.width
        norm = norm_layer(config.norm, channels, (height, width))
        pooling = pooling_layer(config.pooling)
        layers += [layer for layer in (norm, activation_layer(config.activation), pooling) if layer is not None]
        if pooling is not None:
            height, width = height // 2, width // 2
    return nn.Sequential(*layers), (height, width)
