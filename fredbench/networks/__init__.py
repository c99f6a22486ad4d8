"""Students: networks that score or match a distilled set, built by name and initialised from a stream.

What is named below is imported on first use, so that the names of all students can be listed, and a plug-in can add
to them, without the seconds that torch takes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fredbench.networks.names import NETWORKS

if TYPE_CHECKING:
    from fredbench.networks.base import Builder as Builder
    from fredbench.networks.base import Network as Network
    from fredbench.networks.base import Signature as Signature
    from fredbench.networks.base import draw_default_weights as draw_default_weights
    from fredbench.networks.base import mixes_pictures as mixes_pictures
    from fredbench.networks.catalogue import build as build
    from fredbench.networks.catalogue import canonical_name as canonical_name
    from fredbench.networks.catalogue import initialise as initialise
    from fredbench.networks.catalogue import outline as outline
    from fredbench.networks.catalogue import versions as versions
    from fredbench.networks.convnet import ConvNet as ConvNet
    from fredbench.networks.convnet import ConvNetConfig as ConvNetConfig
    from fredbench.networks.convnet import default_depth as default_depth

_LAZY = {
    "Builder": "base",
    "ConvNet": "convnet",
    "ConvNetConfig": "convnet",
    "Network": "base",
    "Signature": "base",
    "build": "catalogue",
    "canonical_name": "catalogue",
    "default_depth": "convnet",
    "draw_default_weights": "base",
    "initialise": "catalogue",
    "mixes_pictures": "base",
    "outline": "catalogue",
    "versions": "catalogue",
}

__all__ = [
    "NETWORKS",
    "Builder",
    "ConvNet",
    "ConvNetConfig",
    "Network",
    "Signature",
    "build",
    "canonical_name",
    "default_depth",
    "draw_default_weights",
    "initialise",
    "mixes_pictures",
    "outline",
    "versions",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
