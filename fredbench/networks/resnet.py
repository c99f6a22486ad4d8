"""ResNet18 of the distillation literature: strided, or with average pooling in place of strides ("AP")."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fredbench.foundation.errors import UsageError
from fredbench.networks.base import Network, Signature
from fredbench.networks.layers import Norm, norm_layer
from fredbench.networks.pooling import AveragePool

__all__ = ["BasicBlock", "ResNet", "ResNetConfig"]


@dataclass(frozen=True)
class ResNetConfig:
    """`widths` and `blocks` a stage; the first block of every stage but the first halves the map.

    `average_pooling`: convolutions keep stride 1 and a 2×2 average pooling halves, and the last map is
    flattened instead of averaged. `imagenet_stem`: 7×7 of stride 2 and a 3×3 max pooling instead of one 3×3
    of stride 1.
    """

    name: str
    norm: Norm = "in"
    average_pooling: bool = False
    imagenet_stem: bool = False
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)


def _norm(norm: Norm, channels: int) -> nn.Module:
    # Layer norm would need the map's size; no published ResNet has it.
    return norm_layer(norm, channels, (1, 1)) or nn.Identity()


class BasicBlock(nn.Module):
    """conv3×3, norm, ReLU, conv3×3, norm, plus the shortcut, ReLU; halved by stride or by pooling."""

    def __init__(self, channels: int, width: int, *, halve: bool, norm: Norm, average_pooling: bool) -> None:
        super().__init__()
        stride = 2 if halve and not average_pooling else 1
        self.pool = AveragePool() if halve and average_pooling else nn.Identity()
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = _norm(norm, width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2 = _norm(norm, width)
        shortcut: list[nn.Module] = []
        if halve or channels != width:
            shortcut.append(nn.Conv2d(channels, width, kernel_size=1, stride=stride, bias=False))
            shortcut += [AveragePool()] if halve and average_pooling else []
            shortcut.append(_norm(norm, width))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d hh ww"]:
        """The block's map."""
        inner: Tensor = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        outer: Tensor = self.bn2(self.conv2(self.pool(inner)))
        return functional.relu(outer + self.shortcut(x), inplace=True)


class ResNet(Network):
    """Stem, stages of basic blocks, pooling, classifier; the convolutions have no bias."""

    def __init__(self, config: ResNetConfig, signature: Signature) -> None:
        super().__init__(config.name, signature)
        self.config = config
        _check_size(config, signature)
        first = config.widths[0]
        if config.imagenet_stem:
            self.conv1 = nn.Conv2d(signature.channels, first, kernel_size=7, stride=2, padding=3, bias=False)
        else:
            self.conv1 = nn.Conv2d(signature.channels, first, kernel_size=3, padding=1, bias=False)
        self.bn1 = _norm(config.norm, first)
        self.stem_pool = nn.MaxPool2d(3, stride=2, padding=1) if config.imagenet_stem else nn.Identity()
        channels, stages = first, []
        for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
            layers = []
            for block in range(blocks):
                halve = stage > 0 and block == 0
                layers.append(
                    BasicBlock(channels, width, halve=halve, norm=config.norm, average_pooling=config.average_pooling)
                )
                channels = width
            stages.append(nn.Sequential(*layers))
        # Attributes, not a list, because the official state dict says layer1, layer2, ...
        self._stages = [f"layer{number}" for number in range(1, len(stages) + 1)]
        for name, module in zip(self._stages, stages, strict=True):
            self.add_module(name, module)
        self.classifier = nn.Linear(channels * _positions(config, signature), signature.classes)

    @property
    def head(self) -> nn.Linear:
        """The classifier."""
        return self.classifier

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The last map, averaged over its positions; flattened in the "AP" form."""
        maps: Tensor = self.stem_pool(functional.relu(self.bn1(self.conv1(images)), inplace=True))
        for name in self._stages:
            maps = self.get_submodule(name)(maps)
        return maps.flatten(1) if self.config.average_pooling else maps.mean((2, 3))


def _positions(config: ResNetConfig, signature: Signature) -> int:
    """How many positions of the last map the classifier sees."""
    if not config.average_pooling:
        return 1
    halvings = len(config.widths) - 1
    return (signature.size[0] >> halvings) * (signature.size[1] >> halvings)


def _check_size(config: ResNetConfig, signature: Signature) -> None:
    if config.average_pooling:
        # The classifier is tied to the last map, and no form for larger pictures is published.
        fits = signature.size == (32, 32) or signature.is_small_grey
        hint = "it takes 32×32 and one-channel 28×28; resnet18 takes other sizes"
    else:
        least = 64 if config.imagenet_stem else 16
        fits = min(signature.size) >= least
        hint = f"it takes {least}×{least} and larger"
    if not fits:
        raise UsageError(f"network {config.name!r} cannot take {signature}", hint=hint)
