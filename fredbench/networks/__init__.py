"""Students: networks that score or match a distilled set, built by name and initialised from a stream."""

from __future__ import annotations

from fredbench.networks.base import Builder, Network, Signature, draw_default_weights, mixes_pictures
from fredbench.networks.catalogue import NETWORKS, build, canonical_name, initialise, outline
from fredbench.networks.convnet import ConvNet, ConvNetConfig, default_depth

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
]
