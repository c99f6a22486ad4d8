"""Which networks take pictures of a size: every name that is no pattern, and timm's up to a number of weights."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import torch

from fredbench.foundation.errors import FredbenchError
from fredbench.networks.base import Signature
from fredbench.networks.catalogue import outline
from fredbench.networks.names import NETWORKS, PATTERNS

__all__ = ["TOO_LARGE", "candidates", "fit_of"]

TOO_LARGE = "larger"
"""What is said of a network of more parameters than asked for: it is not tried."""
_TIMM = "timm:"


def candidates() -> list[str]:
    """Every name to try: ours, a plug-in's, timm's."""
    import timm

    return [*(name for name in NETWORKS if name not in PATTERNS), *(f"{_TIMM}{name}" for name in timm.list_models())]


def fit_of(name: str, most: int, signature: Signature) -> tuple[str, int | None, str]:
    """The name, its parameters (None where it cannot be made), and `yes`, `TOO_LARGE`, or why it takes no such picture.

    It is made and tried as a student is; a model of timm is counted first, on the meta device, which needs no memory.
    """
    count = _count(name, signature) if name.startswith(_TIMM) else None
    if count is not None and count > most:
        return name, count, TOO_LARGE
    try:
        network = outline(name, channels=signature.channels, classes=signature.classes, size=signature.size)
    except FredbenchError as error:
        return name, count, error.message
    count = sum(parameter.numel() for parameter in network.parameters())
    return name, count, "yes" if count <= most else TOO_LARGE


def _count(name: str, signature: Signature) -> int | None:
    """Parameters of a model of timm at its own size; None where it computes while being made, so that it is tried."""
    import timm

    options: dict[str, Any] = {"num_classes": signature.classes, "in_chans": signature.channels}
    with torch.device("meta"), warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        model = timm.create_model(name.removeprefix(_TIMM), **options)
        return sum(parameter.numel() for parameter in model.parameters())
    return None
