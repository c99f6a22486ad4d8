"""Kernel ridge regression onto real pictures, the loss of KIP and FRePo."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["centred_one_hot", "half_squared_error", "ridge_matrix", "ridge_prediction", "solved_labels"]


def centred_one_hot(labels: Int64[Tensor, " n"], classes: int) -> Float[Tensor, "n classes"]:
    """One-hot minus 1/C, float32: the targets of all kernel regressions here."""
    rows: Tensor = F.one_hot(labels, classes).float() - 1 / classes
    return rows


def ridge_matrix(support: Float[Tensor, "m m"], ridge: float) -> Float[Tensor, "m m"]:
    """K_ss + ridge * tr(K_ss) / m * I: the regulariser is relative to the mean eigenvalue."""
    count = len(support)
    identity = torch.eye(count, dtype=support.dtype, device=support.device)
    return support + ridge * support.trace() / count * identity


def ridge_prediction(
    target_support: Float[Tensor, "t m"],
    support: Float[Tensor, "m m"],
    labels: Float[Tensor, "m classes"],
    ridge: float,
) -> Float[Tensor, "t classes"]:
    """K_ts (K_ss + ridge tr(K_ss) / m I)^-1 Y_s (KIP, equation 2; FRePo, equation 4)."""
    solution: Tensor = torch.linalg.solve(ridge_matrix(support, ridge), labels)
    return target_support @ solution


def half_squared_error(prediction: Float[Tensor, "t classes"], target: Float[Tensor, "t classes"]) -> Float[Tensor, ""]:
    """mean over rows of 1/2 || prediction - target ||^2 (FRePo; KIP divides by the number of classes besides)."""
    return (prediction - target).square().sum(1).mean() / 2


def solved_labels(
    target_support: Float[Tensor, "t m"],
    support: Float[Tensor, "m m"],
    target: Float[Tensor, "t classes"],
    ridge: float,
) -> Float[Tensor, "m classes"]:
    """Label Solve: the labels of least norm that minimise the squared error of `ridge_prediction` on `target`.

    The least-squares solution of [K_ts (K_ss + ..)^-1] Y = Y_t (KIP, section 3.2), by a pseudo-inverse that copes
    with fewer targets than pictures and with pictures that the targets do not tell apart.
    """
    weights = torch.linalg.solve(ridge_matrix(support, ridge), target_support.T).T
    solution: Tensor = torch.linalg.pinv(weights) @ target
    return solution
