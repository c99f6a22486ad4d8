"""The students by name, and how one is built and initialised."""

from __future__ import annotations

import functools

import torch

from fredbench.foundation.environment import library_versions
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks import builders
from fredbench.networks.base import Builder, Network, Signature
from fredbench.networks.foreign import from_plugin
from fredbench.networks.names import NETWORKS, OURS, PATTERNS

__all__ = ["NETWORKS", "build", "canonical_name", "initialise", "outline", "versions"]

_TIMM = "timm:"


def _builder(name: str) -> Builder:
    if name in PATTERNS:
        raise UnknownNameError("network", name, NETWORKS)
    if name.startswith(_TIMM):
        return functools.partial(builders.timm_model, name=name)
    if name not in NETWORKS:
        patterns = (("convnet-", builders.convnet), ("frepo", builders.frepo), ("kip", builders.kip))
        for prefix, builder in patterns:
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

    Models of timm and a plug-in's modules are the exception: many compute while being made, so theirs lie on the CPU.
    Raises `UnknownNameError` for a name, `UsageError` for a picture size that the network cannot take, where the
    message says which it can, and `CompatibilityError` for a plug-in's network that is none.
    """
    builder, signature = _builder(name), _signature(channels, classes, size)
    if name in NETWORKS and name not in OURS:
        return from_plugin(name, builder, signature)
    with torch.device("meta"):
        return builder(signature)


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


def versions(name: str) -> dict[str, str]:
    """Libraries, by version, that what `name` stands for depends on; part of what names a student. None for ours."""
    return library_versions(("timm",), ours=False) if name.startswith(_TIMM) else {}
