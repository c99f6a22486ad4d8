"""KIP, kernel inducing points, and Label Solve: ridge regression on a tangent kernel (Nguyen et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.errors import UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks.kernels.empirical import empirical_ntk
from fredbench.networks.kernels.named import Ntk, ntk_named
from fredbench.networks.kernels.ridge import centred_one_hot, half_squared_error, ridge_prediction, solved_labels
from fredbench.objectives.base import Context, Objective, Synthetic, Update

__all__ = ["KIPConfig", "KernelInducingPoints", "LabelSolve", "centred", "kernel_regression_loss"]


@dataclass(frozen=True)
class KIPConfig:
    """kernel: `fc1`, `conv3`, `conv3-pre`, `conv3-nopool` (see `ntk_named`) or `empirical` (the run's network at its
    initialisation). batch_real: class-balanced real targets a step, 0 for all. ridge: relative to tr(K_ss) / m.
    precision: of the kernels; the regression is solved in float64 whatever theirs, for its ridge is a millionth.
    """

    kernel: str = "fc1"
    batch_real: int = 5000
    ridge: float = 1e-6
    precision: Literal["float64", "float32"] = "float64"

    def __post_init__(self) -> None:
        if self.batch_real < 0 or not self.ridge >= 0:
            raise UsageError(
                f"{self.batch_real} targets at a ridge of {self.ridge} cannot be regressed on",
                hint="objective.batch_real and objective.ridge are 0 or more",
            )
        if self.kernel != "empirical":
            ntk_named(self.kernel)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the kernels."""
        return torch.float64 if self.precision == "float64" else torch.float32


def centred(labels: Tensor, classes: int) -> Float[Tensor, "n classes"]:
    """Soft labels as they are, hard ones as one-hot minus 1/C."""
    return labels if labels.is_floating_point() else centred_one_hot(labels, classes)


def kernel_regression_loss(
    kernel: Ntk, support: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor], ridge: float
) -> tuple[Float[Tensor, ""], Float[Tensor, "t classes"]]:
    """1/2 mean over all entries of (prediction - Y_t)^2, and the prediction; pairs are (pictures, labels).

    Solved in the precision of the labels.
    KIP, equation 3; the kernel stands in the prediction and in the regulariser alike.
    """
    (pictures, labels), (real, wanted) = support, target
    cross, own = kernel(real, pictures).to(labels.dtype), kernel(pictures).to(labels.dtype)
    prediction = ridge_prediction(cross, own, labels, ridge)
    return half_squared_error(prediction, wanted) / wanted.shape[1], prediction


class KernelInducingPoints(Objective):
    """Every iteration regresses a class-balanced real batch on the synthetic set."""

    name: ClassVar[str] = "kip"
    Config: ClassVar[type[KIPConfig]] = KIPConfig
    config: KIPConfig
    needs: ClassVar[frozenset[str]] = frozenset()
    label_forms: ClassVar[frozenset[str]] = frozenset({"hard", "centred"})
    learns_labels: ClassVar[Literal["never", "may", "must"]] = "may"

    def prepare(self, context: Context) -> None:
        """Chooses the kernel; the empirical one is that of one network, the same for the whole run."""
        self._context = context
        if self.config.kernel == "empirical":
            network = context.network(context.rng.child("network")).to(self.config.dtype)
            network.requires_grad_(False)
            self._kernel: Ntk = lambda a, b=None: empirical_ntk(network, a, b)
        else:
            self._kernel = ntk_named(self.config.kernel)

    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        """One update on the regression loss; pictures and learned labels get its gradient."""
        rng = self._context.rng.child("iteration", iteration)
        target = self._targets(rng)
        support = self._support(synthetic, rng)
        loss, prediction = kernel_regression_loss(self._kernel, support, target, self.config.ridge)
        yield Update(loss, {"loss": loss.detach(), "accuracy": _percent_right(prediction, target[1])})

    def _support(self, synthetic: Synthetic, rng: Stream) -> tuple[Tensor, Tensor]:
        pictures, labels = synthetic.decode(rng=rng.child("decode"))
        return pictures.to(self.config.dtype), centred(labels, self._context.real.classes).double()

    def _targets(self, rng: Stream) -> tuple[Tensor, Tensor]:
        """Real pictures, equally many of each class as far as there are, and centred labels."""
        real = self._context.real
        wanted = self.config.batch_real
        shares = [wanted // real.classes + (label < wanted % real.classes) for label in range(real.classes)]
        index = real.draw_classes(shares if wanted else len(real), rng.child("real"))
        labels = real.labels_at(index)
        return real.images(index).to(self.config.dtype), centred_one_hot(labels, real.classes).double()


class LabelSolve(KernelInducingPoints):
    """The pictures stay; their learned labels are set to the minimiser of the regression loss.

    The update is a gradient step of rate 1 on 1/2 || Y - Y* ||^2, which lands on Y*: the loop knows no other.
    """

    name: ClassVar[str] = "label-solve"
    learns_labels: ClassVar[Literal["never", "may", "must"]] = "must"
    label_forms: ClassVar[frozenset[str]] = frozenset({"centred"})

    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        """One update on the labels; more iterations solve for other targets where these are a sample."""
        rng = self._context.rng.child("iteration", iteration)
        real, wanted = self._targets(rng)
        _, rows = synthetic.decode(rng=rng.child("decode"))
        with torch.no_grad():
            pictures, _ = self._support(synthetic, rng)
            cross, own = self._kernel(real, pictures).double(), self._kernel(pictures).double()
            solved = solved_labels(cross, own, wanted, self.config.ridge)
            prediction = ridge_prediction(cross, own, solved, self.config.ridge)
            loss = half_squared_error(prediction, wanted) / wanted.shape[1]
        surrogate = (rows - solved.to(rows.dtype)).square().sum() / 2
        yield Update(surrogate, {"loss": loss, "accuracy": _percent_right(prediction, wanted)})


def _percent_right(prediction: Tensor, wanted: Tensor) -> Tensor:
    return 100 * (prediction.detach().argmax(1) == wanted.argmax(1)).double().mean()
