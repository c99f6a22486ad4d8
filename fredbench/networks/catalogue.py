"""The students by name, and how one is built and initialised."""

from __future__ import annotations

import functools

import torch

from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.foundation.registry import Registry
from fredbench.foundation.rng import Stream
from fredbench.networks.base import Builder, Network, Signature
from fredbench.networks.convnet import ConvNet, ConvNetConfig
from fredbench.networks.frepo_net import FRePoNet
from fredbench.networks.kip_net import KIPNet
from fredbench.networks.resnet import ResNet, ResNetConfig
from fredbench.networks.small import LeNet, Perceptron
from fredbench.networks.stacks import AlexNet, Vgg11
from fredbench.networks.timm_bridge import TimmNetwork

__all__ = ["NETWORKS", "build", "canonical_name", "initialise", "outline"]

NETWORKS: Registry[Builder] = Registry("network")
"""Students by name; `convnet-...` and `timm:...` are read by pattern, every other name must be here."""

_CONVNET, _TIMM = "convnet-dDEPTH-wWIDTH-NORM", "timm:NAME"
_FREPO, _KIP = "frepo-dDEPTH-wWIDTH-NORM", "kip-dDEPTH-wWIDTH"


def _convnet(signature: Signature, name: str = "convnet") -> Network:
    return ConvNet(ConvNetConfig.parse(name, signature.size), signature)


def _timm(signature: Signature, name: str = _TIMM) -> Network:
    return TimmNetwork(name.removeprefix("timm:"), signature)


def _frepo(signature: Signature, name: str = "frepo") -> Network:
    return FRePoNet(name, signature)


def _kip(signature: Signature, name: str = "kip") -> Network:
    return KIPNet(name, signature)


def _resnet(signature: Signature, config: ResNetConfig) -> Network:
    return ResNet(config, signature)


def _register() -> None:
    NETWORKS.register("convnet", _convnet, summary="ConvNet-IN of width 128; D3 to 32 px, D4 to 64, D5 to 128")
    NETWORKS.register(
        _CONVNET,
        _convnet,
        summary="such as convnet-d3-w128-in; NORM in|bn|ln|gn|none, then -sigmoid|-swish|-max|...",
    )
    NETWORKS.register("mlp", Perceptron, summary="two hidden layers of 128")
    NETWORKS.register("lenet", LeNet, summary="LeNet, 32 px")
    NETWORKS.register("alexnet", AlexNet, summary="AlexNet for small pictures, no norm")
    NETWORKS.register("alexnet-bn", functools.partial(AlexNet, norm="bn"), summary="AlexNet with batch norm")
    NETWORKS.register("vgg11", Vgg11, summary="VGG11, instance norm; 32 and 128 px")
    NETWORKS.register("vgg11-bn", functools.partial(Vgg11, norm="bn"), summary="VGG11, batch norm; 32 and 128 px")
    resnets = (
        (ResNetConfig("resnet18"), "ResNet18, instance norm"),
        (ResNetConfig("resnet18-bn", norm="bn"), "ResNet18, batch norm"),
        (ResNetConfig("resnet18-none", norm="none"), "ResNet18 without norm"),
        (
            ResNetConfig("resnet18-ap", average_pooling=True),
            "ResNet18, pooling for strides, instance norm; 32 px",
        ),
        (
            ResNetConfig("resnet18-ap-bn", norm="bn", average_pooling=True),
            "ResNet18, pooling for strides, batch norm; 32 px",
        ),
        (ResNetConfig("resnet18-imagenet", imagenet_stem=True), "ResNet18 with the 7×7 stem, instance norm"),
    )
    for config, summary in resnets:
        NETWORKS.register(config.name, functools.partial(_resnet, config=config), summary=summary)
    NETWORKS.register(_FREPO, _frepo, summary="FRePo's ConvNet of widths W, 2W, 4W, such as frepo-d3-w128-bn; bn|none")
    NETWORKS.register(_KIP, _kip, summary="KIP's ConvNet without norm, such as kip-d3-w1024")
    NETWORKS.register(_TIMM, _timm, summary="any timm classifier by its name, untrained, such as timm:resnet18")


_register()


def _builder(name: str) -> Builder:
    if name in (_CONVNET, _TIMM, _FREPO, _KIP):
        raise UnknownNameError("network", name, NETWORKS)
    if name.startswith("timm:"):
        return functools.partial(_timm, name=name)
    if name not in NETWORKS:
        for prefix, builder in (("convnet-", _convnet), ("frepo", _frepo), ("kip", _kip)):
            if name.startswith(prefix):
                return functools.partial(builder, name=name)
    return NETWORKS.get(name)


def _signature(channels: int, classes: int, size: int | tuple[int, int]) -> Signature:
    height, width = (size, size) if isinstance(size, int) else size
    if min(channels, classes, height, width) < 1:
        raise UsageError(
            f"no network for {channels} channels, {classes} classes and {height}×{width} pictures",
            hint="all of them are at least 1",
        )
    return Signature(channels, classes, (height, width))


def outline(name: str, *, channels: int = 3, classes: int, size: int | tuple[int, int]) -> Network:
    """The student `name` without weights, on the meta device: enough to count parameters and follow shapes.

    Models of timm are the exception: several compute while being made, so theirs lie on the CPU.
    Raises `UnknownNameError` for a name, `UsageError` for a picture size that the network cannot take; the
    message says which it can.
    """
    builder = _builder(name)
    with torch.device("meta"):
        return builder(_signature(channels, classes, size))


def build(
    name: str,
    *,
    channels: int = 3,
    classes: int,
    size: int | tuple[int, int],
    rng: Stream,
    device: str | torch.device = "cpu",
) -> Network:
    """The student `name` for `channels` × `size` pictures and `classes` classes, weights drawn from `rng`.

    No draw touches a global generator: the modules are made on the meta device, given memory on `device`,
    and initialised. Weights do not depend on `device`. Raises as `outline` does.
    """
    network = outline(name, channels=channels, classes=classes, size=size)
    network.to_empty(device=device)
    initialise(network, rng)
    return network


def initialise(network: Network, rng: Stream) -> None:
    """Draw all weights of `network` anew, in place, from `rng` alone: its default initialisation."""
    with torch.no_grad():
        network.draw_weights(rng)


def canonical_name(name: str, *, channels: int = 3, classes: int, size: int | tuple[int, int]) -> str:
    """What `name` stands for at this size, for artefacts: `convnet` at 32 px is `convnet-d3-w128-in`."""
    return outline(name, channels=channels, classes=classes, size=size).name
