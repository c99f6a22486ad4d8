"""What the names of students stand for: functions from a signature to a network, read by the registry."""

from __future__ import annotations

import functools

from fredbench.networks.base import Network, Signature
from fredbench.networks.convnet import ConvNet, ConvNetConfig
from fredbench.networks.frepo_net import FRePoNet
from fredbench.networks.kip_net import KIPNet
from fredbench.networks.resnet import ResNet, ResNetConfig
from fredbench.networks.small import LeNet, Perceptron
from fredbench.networks.stacks import AlexNet, Vgg11
from fredbench.networks.timm_bridge import TimmNetwork

__all__ = [
    "alexnet",
    "alexnet_bn",
    "convnet",
    "frepo",
    "kip",
    "lenet",
    "mlp",
    "resnet18",
    "resnet18_ap",
    "resnet18_ap_bn",
    "resnet18_bn",
    "resnet18_imagenet",
    "resnet18_none",
    "timm_model",
    "vgg11",
    "vgg11_bn",
]


def convnet(signature: Signature, name: str = "convnet") -> Network:
    """A ConvNet after its name."""
    return ConvNet(ConvNetConfig.parse(name, signature.size), signature)


def timm_model(signature: Signature, name: str) -> Network:
    """A model of timm, `timm:` before its name."""
    return TimmNetwork(name.removeprefix("timm:"), signature)


def frepo(signature: Signature, name: str = "frepo") -> Network:
    """FRePo's network after its name."""
    return FRePoNet(name, signature)


def kip(signature: Signature, name: str = "kip") -> Network:
    """KIP's network after its name."""
    return KIPNet(name, signature)


def _resnet(signature: Signature, config: ResNetConfig) -> Network:
    return ResNet(config, signature)


mlp, lenet, alexnet, vgg11 = Perceptron, LeNet, AlexNet, Vgg11
alexnet_bn = functools.partial(AlexNet, norm="bn")
vgg11_bn = functools.partial(Vgg11, norm="bn")
resnet18 = functools.partial(_resnet, config=ResNetConfig("resnet18"))
resnet18_bn = functools.partial(_resnet, config=ResNetConfig("resnet18-bn", norm="bn"))
resnet18_none = functools.partial(_resnet, config=ResNetConfig("resnet18-none", norm="none"))
resnet18_ap = functools.partial(_resnet, config=ResNetConfig("resnet18-ap", average_pooling=True))
resnet18_ap_bn = functools.partial(_resnet, config=ResNetConfig("resnet18-ap-bn", norm="bn", average_pooling=True))
resnet18_imagenet = functools.partial(_resnet, config=ResNetConfig("resnet18-imagenet", imagenet_stem=True))
