"""KIP's finite network, the one that "KIP to NN" trains: convolutions without a norm, one of them before the blocks."""

from __future__ import annotations

import math
import re

import torch
from torch import nn

from fredbench.foundation.device import sent
from fredbench.foundation.errors import UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks.base import ConvolutionalNetwork, Signature
from fredbench.networks.convnet import default_depth
from fredbench.networks.pooling import AveragePool

__all__ = ["KIPNet"]

_NAME = re.compile(r"kip(?:-d([1-9]))?(?:-w([1-9][0-9]{0,4}))?")
_WEIGHT_DEVIATION, _BIAS_DEVIATION = math.sqrt(2), 0.1


class KIPNet(ConvolutionalNetwork):
    """`kip-d3-w1024`: 3x3 convolution and ReLU, D times [convolution, ReLU, 2x2 average pool], a linear layer.

    All of width W, no norm. Standard parameterisation: weights ~ N(0, 2 / fan-in), biases ~ N(0, .01), whose kernel at
    infinite width is `conv3-pre` with the layers' shares weighted otherwise.
    Source: Nguyen et al., "Dataset Distillation with Infinitely Wide Convolutional Networks", NeurIPS 2021.
    """

    def __init__(self, name: str, signature: Signature) -> None:
        found = _NAME.fullmatch(name)
        if found is None:
            raise UsageError(f"cannot read network {name!r}", hint="kip[-dDEPTH][-wWIDTH]")
        depth = int(found[1]) if found[1] else default_depth(signature.size)
        width = int(found[2] or 1024)
        super().__init__(f"kip-d{depth}-w{width}", signature)
        self.check_halvings(depth)
        layers: list[nn.Module] = [nn.Conv2d(signature.channels, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True), AveragePool()]
        self.features = nn.Sequential(*layers)
        height, across = (side // 2**depth for side in signature.size)
        self.classifier = nn.Linear(width * height * across, signature.classes)

    @torch.no_grad()
    def draw_weights(self, rng: Stream) -> None:
        """Normal weights of variance 2 / fan-in and biases of variance .01."""
        generator = rng.torch()
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                spread = _WEIGHT_DEVIATION / math.sqrt(layer.weight[0].numel())
                draw = torch.randn(layer.weight.shape, generator=generator) * spread
                layer.weight.copy_(sent(draw, layer.weight))
                if layer.bias is not None:
                    draw = torch.randn(layer.bias.shape, generator=generator) * _BIAS_DEVIATION
                    layer.bias.copy_(sent(draw, layer.bias))
