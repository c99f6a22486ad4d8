"""The students by name. Targets are imported on first use: whoever lists names waits for no library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from fredbench.foundation.registry import Registry

if TYPE_CHECKING:
    from fredbench.networks.base import Builder

__all__ = ["ARITHMETICS", "NETWORKS", "OURS", "PATTERNS", "REDUCED", "Arithmetic"]

Arithmetic: TypeAlias = Literal["eager", "fused", "fused-bf16"]
"""How networks are run: layer by layer, as torch has them, or by fused blocks where there are such (`networks.fused`).

"fused-bf16": the blocks' convolutions multiply bfloat16 numbers, which is a reduced precision and has to be asked for.
They differ by rounding, so that what is made says which it was made by.
"""

ARITHMETICS: tuple[Arithmetic, ...] = get_args(Arithmetic)

REDUCED: frozenset[Arithmetic] = frozenset({"fused-bf16"})
"""Those of less than float32, which nothing takes unasked."""

NETWORKS: Registry[Builder] = Registry("network")
"""Students by name; `convnet-...` and `timm:...` are read by pattern, every other name must be here."""

PATTERNS = ("convnet-dDEPTH-wWIDTH-NORM", "frepo-dDEPTH-wWIDTH-NORM", "kip-dDEPTH-wWIDTH", "timm:NAME")
"""Names that stand for many: listed, never built."""

_SUMMARIES = {
    "convnet": ("convnet", "ConvNet-IN of width 128; D3 to 32 px, D4 to 64, D5 to 128"),
    PATTERNS[0]: ("convnet", "such as convnet-d3-w128-in; NORM in|bn|ln|gn|none, then -sigmoid|-swish|-max|..."),
    "mlp": ("mlp", "two hidden layers of 128"),
    "lenet": ("lenet", "LeNet, 32 px"),
    "alexnet": ("alexnet", "AlexNet for small pictures, no norm"),
    "alexnet-bn": ("alexnet_bn", "AlexNet with batch norm"),
    "vgg11": ("vgg11", "VGG11, instance norm; 32 and 128 px"),
    "vgg11-bn": ("vgg11_bn", "VGG11, batch norm; 32 and 128 px"),
    "resnet18": ("resnet18", "ResNet18, instance norm"),
    "resnet18-bn": ("resnet18_bn", "ResNet18, batch norm"),
    "resnet18-none": ("resnet18_none", "ResNet18 without norm"),
    "resnet18-ap": ("resnet18_ap", "ResNet18, pooling for strides, instance norm; 32 px"),
    "resnet18-ap-bn": ("resnet18_ap_bn", "ResNet18, pooling for strides, batch norm; 32 px"),
    "resnet18-imagenet": ("resnet18_imagenet", "ResNet18 with the 7×7 stem, instance norm"),
    PATTERNS[1]: ("frepo", "FRePo's ConvNet of widths W, 2W, 4W, such as frepo-d3-w128-bn; bn|none"),
    PATTERNS[2]: ("kip", "KIP's ConvNet without norm, such as kip-d3-w1024"),
    PATTERNS[3]: ("timm_model", "any timm classifier by its name, untrained, such as timm:resnet18"),
}

for _name, (_builder, _summary) in _SUMMARIES.items():
    NETWORKS.register(_name, f"fredbench.networks.builders:{_builder}", summary=_summary)

OURS = frozenset(NETWORKS)
"""The names that fredbench brings; others are a plug-in's."""
