"""FRePo's network: a ConvNet that widens, with batch norm in front of the later convolutions."""

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

__all__ = ["FRePoNet"]

_NAME = re.compile(r"frepo(?:-d([1-9]))?(?:-w([1-9][0-9]{0,4}))?(?:-(bn|none))?")
# The library's convention is the other way round: its momentum of .1 keeps a tenth of the old value.
_BN_MOMENTUM = 0.9


class FRePoNet(ConvolutionalNetwork):
    """`frepo-d3-w128-bn`: D times [3x3 convolution, ReLU, 2x2 average pool] of widths W, 2W, .., then a linear layer.

    With `bn` a batch norm stands before every convolution but the first (distillation); `none` has no norm
    (evaluation). At 32 px, D3 and W 128 the embedding, FRePo's feature map f, has 512 x 4 x 4 = 8192 numbers. Weights
    are drawn as the authors' framework does by default: normal of variance 1 / fan-in, truncated at two deviations,
    biases zero.
    Source: "Conv" of the official FRePo code.
    """

    def __init__(self, name: str, signature: Signature) -> None:
        found = _NAME.fullmatch(name)
        if found is None:
            raise UsageError(f"cannot read network {name!r}", hint="frepo[-dDEPTH][-wWIDTH][-bn|-none]")
        depth = int(found[1]) if found[1] else default_depth(signature.size)
        width, norm = int(found[2] or 128), found[3] or "bn"
        super().__init__(f"frepo-d{depth}-w{width}-{norm}", signature)
        self.check_halvings(depth)
        layers: list[nn.Module] = []
        channels, (height, across) = signature.channels, signature.size
        for block in range(depth):
            if block and norm == "bn":
                layers.append(nn.BatchNorm2d(channels, momentum=_BN_MOMENTUM))
            padding = 3 if block == 0 and signature.channels == 1 else 1
            height, across = (height + 2 * padding - 2) // 2, (across + 2 * padding - 2) // 2
            layers += [nn.Conv2d(channels, width * 2**block, 3, padding=padding), nn.ReLU(inplace=True), AveragePool()]
            channels = width * 2**block
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels * height * across, signature.classes)

    @torch.no_grad()
    def draw_weights(self, rng: Stream) -> None:
        """Truncated normal weights of variance 1 / fan-in, zero biases, norms reset."""
        generator = rng.torch()
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                # A normal truncated at two deviations has .8796 of its deviation left; divide it out.
                spread = 1 / math.sqrt(layer.weight[0].numel()) / 0.87962566103423978
                draw = torch.empty(layer.weight.shape)
                nn.init.trunc_normal_(draw, std=1.0, a=-2.0, b=2.0, generator=generator)
                layer.weight.copy_(sent(draw * spread, layer.weight))
                if layer.bias is not None:
                    layer.bias.zero_()
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()
