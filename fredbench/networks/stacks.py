"""AlexNet and VGG11 as the distillation literature cuts them for small pictures."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from fredbench.foundation.errors import UsageError
from fredbench.networks.base import ConvolutionalNetwork, Signature
from fredbench.networks.layers import Norm, norm_layer

__all__ = ["AlexNet", "Vgg11"]

# (kernel, output channels), "pool" for a 2×2 max pooling.
_ALEXNET: tuple[tuple[int, int] | str, ...] = (
    (5, 128), "pool", (5, 192), "pool", (3, 256), (3, 192), (3, 192), "pool",
)  # fmt: skip
_VGG11: tuple[tuple[int, int] | str, ...] = (
    (3, 64), "pool", (3, 128), "pool", (3, 256), (3, 256), "pool",
    (3, 512), (3, 512), "pool", (3, 512), (3, 512), "pool",
)  # fmt: skip


def _stack(plan: tuple[tuple[int, int] | str, ...], signature: Signature, norm: Norm) -> list[nn.Module]:
    """Convolutions of `plan`, each with norm and ReLU, and its poolings; the first pads grey 28×28 to 32."""
    layers: list[nn.Module] = []
    channels, (height, width) = signature.channels, signature.size
    for index, step in enumerate(plan):
        if isinstance(step, str):
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
            continue
        kernel, filters = step
        extra = 2 if index == 0 and signature.is_small_grey else 0
        height, width = height + 2 * extra, width + 2 * extra
        layers.append(nn.Conv2d(channels, filters, kernel_size=kernel, padding=kernel // 2 + extra))
        normalisation = norm_layer(norm, filters, (height, width))
        layers += [] if normalisation is None else [normalisation]
        layers.append(nn.ReLU(inplace=True))
        channels = filters
    return layers


def _named(family: str, norm: Norm, usual: Norm) -> str:
    return family if norm == usual else f"{family}-{norm}"


class AlexNet(ConvolutionalNetwork):
    """Five convolutions, three max poolings, one linear layer; no norm unless asked for.

    At 128×128 the last map is 192×16×16, as in the official ImageNet code; 192×4×4 at 32×32. Takes 8×8 and
    larger.
    """

    def __init__(self, signature: Signature, norm: Norm = "none") -> None:
        super().__init__(_named("alexnet", norm, "none"), signature)
        if min(signature.size) < 8:
            raise UsageError(f"network {self.name!r} cannot take {signature}", hint="it takes 8×8 and larger")
        self.features = nn.Sequential(*_stack(_ALEXNET, signature, norm))
        height, width = (32, 32) if signature.is_small_grey else signature.size
        self.fc = nn.Linear(192 * (height // 8) * (width // 8), signature.classes)

    @property
    def head(self) -> nn.Linear:
        """The linear layer."""
        return self.fc


class Vgg11(ConvolutionalNetwork):
    """Eight 3×3 convolutions with norm, five max poolings, one linear layer.

    At 32×32 (and one-channel 28×28) the last map is 512×1×1. At 128×128 it is 512×4×4, spread to 7×7 by an
    adaptive max pooling, as in the official ImageNet code. No form for other sizes is published.
    """

    def __init__(self, signature: Signature, norm: Norm = "in") -> None:
        super().__init__(_named("vgg11", norm, "in"), signature)
        large = signature.size == (128, 128)
        if not (large or signature.size == (32, 32) or signature.is_small_grey):
            raise UsageError(
                f"network {self.name!r} cannot take {signature}",
                hint="it takes 32×32, 128×128 and one-channel 28×28; convnet, alexnet, resnet18 take others",
            )
        self.features = nn.Sequential(*_stack(_VGG11, signature, norm))
        self.pool = nn.AdaptiveMaxPool2d(7) if large else nn.Identity()
        self.classifier = nn.Linear(512 * (7 * 7 if large else 1), signature.classes)

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The last pooled map, flattened."""
        maps: Tensor = self.pool(self.features(images))
        return maps.flatten(1)
