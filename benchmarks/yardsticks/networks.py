"""The literature's networks of stock layers, and a newly drawn one where a loop wants one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

# Draws by name, such as draws("class", 3, "real"): a CPU generator at the start of that stream.
Draws = Callable[..., torch.Generator]


class Embedded(nn.Module):
    """A convolutional part, whose flattened output is the embedding, and a linear classifier."""

    def __init__(self, layers: list[nn.Module], width: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, classes)

    def embed(self, images: Tensor) -> Tensor:
        return self.features(images).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.embed(images))


def convnet(depth: int, width: int, side: int, classes: int, channels: int = 3) -> Embedded:
    """ConvNet-D with instance norm: `depth` times [3×3 convolution, GroupNorm(C, C), ReLU, AvgPool2d(2)], linear."""
    layers: list[nn.Module] = []
    for block in range(depth):
        layers.append(nn.Conv2d(width if block else channels, width, kernel_size=3, padding=1))
        layers += [nn.GroupNorm(width, width), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
    return Embedded(layers, width * (side // 2**depth) ** 2, classes)


def frepo_net(depth: int, width: int, side: int, classes: int, channels: int = 3) -> Embedded:
    """FRePo's: widths that double, ReLU before the pool, a batch norm in front of all convolutions but the first.

    Its framework keeps a tenth of the old running value, torch's momentum of .9; weights there are normal, truncated at
    two deviations, of variance 1 / fan-in, and biases zero.
    """
    layers: list[nn.Module] = []
    for block in range(depth):
        if block:
            layers.append(nn.BatchNorm2d(channels, momentum=0.9))
        layers += [nn.Conv2d(channels, width * 2**block, 3, padding=1), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
        channels = width * 2**block
    network = Embedded(layers, channels * (side // 2**depth) ** 2, classes)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            # .8796: what truncation at two deviations leaves of a normal's deviation.
            spread = layer.weight[0].numel() ** -0.5 / 0.8796
            nn.init.trunc_normal_(layer.weight, std=spread, a=-2 * spread, b=2 * spread)
            nn.init.zeros_(layer.bias)
    return network


def drawn(build: Callable[[], Embedded], generator: torch.Generator) -> Embedded:
    """A new network as the framework initialises it, which draws from the global generator, seeded as `generator`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        return build()
