"""Analytic kernels by name: `fc3`, `conv3`, `conv3-pre`, `conv3-nopool`."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from fredbench.foundation.errors import UnknownNameError
from fredbench.networks.kernels.convolutional import Architecture, convolutional_kernels
from fredbench.networks.kernels.dense import dense_kernels

__all__ = ["KERNEL_NAMES", "Ntk", "ntk_named"]

Ntk: TypeAlias = Callable[..., Tensor]
"""(a, b=None) -> (n, m): pictures (n, c, h, w) against pictures, or against themselves."""

KERNEL_NAMES = ("fcDEPTH", "convDEPTH", "convDEPTH-pre", "convDEPTH-nopool", "empirical")
_DENSE = re.compile(r"fc([0-9]{1,2})")
_CONVOLUTIONAL = re.compile(r"conv([1-9])(-pre)?(-nopool)?")


def _dense(a: Tensor, b: Tensor | None = None, *, depth: int) -> Tensor:
    return dense_kernels(a, b, depth=depth).ntk


def _convolutional(a: Tensor, b: Tensor | None = None, *, architecture: Architecture) -> Tensor:
    return convolutional_kernels(a, b, architecture=architecture).ntk


def ntk_named(name: str) -> Ntk:
    """The analytic NTK of `name`.

    `fcD`: D hidden layers. `convD`: D times [convolution, ReLU, 2x2 average pool] (KIP's "ConvNet3" is `conv3`);
    `-pre`: with a convolution and ReLU prepended (KIP's "ConvNet"); `-nopool`: without pools, H W times cheaper.
    """
    if dense := _DENSE.fullmatch(name):
        return functools.partial(_dense, depth=int(dense[1]))
    if found := _CONVOLUTIONAL.fullmatch(name):
        return functools.partial(
            _convolutional, architecture=Architecture(int(found[1]), pooling=not found[3], prepended=bool(found[2]))
        )
    raise UnknownNameError("kernel", name, KERNEL_NAMES)
