"""What every student is: a module with a linear head, an embedding below it, and weights from a stream."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fredbench.foundation.device import sent
from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks import fused
from fredbench.networks.names import Arithmetic

__all__ = [
    "Builder",
    "ConvolutionalNetwork",
    "Network",
    "Signature",
    "draw_default_weights",
    "mixes_pictures",
]


@dataclass(frozen=True)
class Signature:
    """What a network takes (`channels` × `size`, height and width) and gives (`classes` logits)."""

    channels: int
    classes: int
    size: tuple[int, int]

    @property
    def is_small_grey(self) -> bool:
        """One-channel 28×28 pictures (MNIST), whose first convolution pads two pixels more: 28 becomes 32."""
        return self.channels == 1 and self.size == (28, 28)

    def __str__(self) -> str:
        return f"{self.channels}×{self.size[0]}×{self.size[1]}"


class Network(nn.Module):
    """Base of all students: `forward` is the linear `head` applied to `embed`.

    Attributes: `name` (canonical), `signature` (shapes in and out), `arithmetic` (how it is run; None:
    by its layers, but in training, which is by the recipe's).
    """

    arithmetic: Arithmetic | None = None

    def __init__(self, name: str, signature: Signature) -> None:
        super().__init__()
        self.name = name
        self.signature = signature

    @property
    def head(self) -> nn.Module:
        """The last linear layer, from the embedding to the logits."""
        raise NotImplementedError

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The flattened features that feed the head (ψ of distribution matching)."""
        raise NotImplementedError

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        logits: Tensor = self.head(self.embed(images))
        return logits

    @property
    def is_stack_and_head(self) -> bool:
        """Whether a pass is its `features`, flattened, and its `head`: nothing that a subclass wrote comes between."""
        return False

    def check_embedding(self) -> None:
        """Raise `CompatibilityError` where `embed` and `head` have no meaning: in some modules of plug-ins."""

    def feature_maps(self, images: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Maps on the way, for feature alignment (CAFE); `CompatibilityError` where a network gives none."""
        raise CompatibilityError(
            f"network {self.name!r} gives no intermediate feature maps",
            hint="every convnet-* does, such as convnet-d3-w128-in",
        )

    def draw_weights(self, rng: Stream) -> None:
        """Draw all weights anew, in place, from `rng`; override it for an initialisation of another kind."""
        draw_default_weights(self, rng)


class ConvolutionalNetwork(Network):
    """A stack `features` whose last map, flattened, feeds the linear `classifier`."""

    features: nn.Sequential
    classifier: nn.Linear

    @property
    def head(self) -> nn.Linear:
        """The classifier."""
        return self.classifier

    @property
    def is_stack_and_head(self) -> bool:
        """True but for subclasses that have an `embed` or a `forward` of their own."""
        return type(self).embed is ConvolutionalNetwork.embed and type(self).forward is Network.forward

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The last pooled map, flattened."""
        return fused.features(self.features, images, self.arithmetic).flatten(1)

    def check_halvings(self, halvings: int) -> None:
        """Raise `UsageError` where the signature's pictures are too small to be halved so often."""
        side = min(self.signature.size)
        if side < 2**halvings:
            deepest = side.bit_length() - 1
            hint = f"pictures of at least {2**halvings} px" + (f", or a depth of at most {deepest}" if deepest else "")
            raise UsageError(
                f"network {self.name!r} halves the picture {halvings} times and cannot take {self.signature}", hint=hint
            )


Builder: TypeAlias = Callable[[Signature], Network]
"""What the registry holds: called on the meta device, so it must not compute with weights."""

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d)


@torch.no_grad()
def draw_default_weights(module: nn.Module, rng: Stream) -> None:
    """The framework's default initialisation of every layer below `module`, in place, drawn from `rng` alone.

    Convolutions and linear layers: weights and biases ~ U(-1/√fan_in, 1/√fan_in), which is what torch's
    kaiming_uniform with a = √5 comes to. Norms: gain 1, bias 0, running statistics reset. The draws are
    float32 on the CPU whatever the network's dtype and device, so that these do not change them.

    Raises `CompatibilityError` for a layer with weights that this rule does not cover: unwritten memory must
    not pass for an initialisation.
    """
    generator = rng.torch()
    for name, layer in module.named_modules():
        if isinstance(layer, _WEIGHTED):
            bound = 1.0 / math.sqrt(layer.weight[0].numel())
            for parameter in (layer.weight, layer.bias):
                if parameter is not None:
                    drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
                    parameter.copy_(sent(drawn, parameter))
        elif isinstance(layer, _NORMS):
            # Constants only: no norm draws from a generator.
            layer.reset_parameters()
        elif next(layer.parameters(recurse=False), None) is not None:
            raise CompatibilityError(
                f"no default initialisation for layer {name!r} ({type(layer).__name__})",
                hint="override Network.draw_weights in the network that uses it",
            )


def mixes_pictures(network: nn.Module) -> bool:
    """Whether the output for one picture depends on the others of its batch, in the mode the network is in now.

    So it is under batch norm that takes its statistics from the batch: in training mode, or where it keeps none.
    """
    norms = (module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    return any(norm.training or norm.running_mean is None for norm in norms)
