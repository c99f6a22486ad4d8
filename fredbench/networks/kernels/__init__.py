"""Kernels of wide networks: analytic ones, exact and in closed form, and that of a finite network; regression on them.

Everything here is mathematics on tensors and knows nothing of distillation.
"""

from __future__ import annotations

from fredbench.networks.kernels.convolutional import Architecture, convolutional_kernels
from fredbench.networks.kernels.dense import Kernels, dense_kernels
from fredbench.networks.kernels.empirical import empirical_ntk, maximum_stable_rate
from fredbench.networks.kernels.named import KERNEL_NAMES, ntk_named
from fredbench.networks.kernels.ridge import centred_one_hot, half_squared_error, ridge_prediction, solved_labels

__all__ = [
    "KERNEL_NAMES",
    "Architecture",
    "Kernels",
    "centred_one_hot",
    "convolutional_kernels",
    "dense_kernels",
    "empirical_ntk",
    "half_squared_error",
    "maximum_stable_rate",
    "ntk_named",
    "ridge_prediction",
    "solved_labels",
]
