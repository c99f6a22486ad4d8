"""Students on disk: trained once for a synset, recipe and seed, then scored on any domain.

A file's name is the digest of everything that determines what is in it, so a killed evaluation goes on where it was
and a new domain needs no new student. Predictions are kept beside the weights: every metric can be recomputed. How many
students a table needs, and of what, is decided in `scoring`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from fredbench import networks
from fredbench.foundation.config import to_mapping
from fredbench.foundation.device import check_threads
from fredbench.foundation.files import storage_errors, write_bytes
from fredbench.foundation.rng import Stream
from fredbench.networks import fused
from fredbench.networks.names import REDUCED
from fredbench.training.batches import Pictures, Standardisation
from fredbench.training.kept import load_weights, made_once, read_tensors, short_digest, store_weights
from fredbench.training.loop import TrainingRecipe, predict, train

__all__ = [
    "Predictions",
    "StudentPlan",
    "as_run",
    "predictions_on",
    "store_predictions",
    "store_tensors",
    "stored_predictions",
]


@dataclass(frozen=True)
class Predictions:
    """Outcomes on one domain, a row a severity (one row for clean).

    predicted: int16 (S, n). confidence: float32 (S, n), probability of the predicted class. nll: float32 (S, n),
    minus the log-probability of the true class. brier: float32 (S, n), squared distance of the probabilities from the
    truth's; None of files that were written before it was kept, and it cannot be had from the others.
    """

    predicted: Tensor
    confidence: Tensor
    nll: Tensor
    brier: Tensor | None = None

    def accuracy(self, labels: Int64[np.ndarray, " n"]) -> list[float]:
        """Percent correct, a value a severity."""
        right = self.predicted.long() == torch.from_numpy(labels)[None, :]
        return [100 * float(row.double().mean()) for row in right]

    def mean_nll(self) -> list[float]:
        """Mean negative log-likelihood in nats, a value a severity."""
        return [float(row.double().mean()) for row in self.nll]

    def mean_brier(self) -> list[float] | None:
        """Brier score, a value a severity; None where it was not kept.

        The sum over classes of (p - 1 of the true class)², mean over pictures: 0 where all is certain and right, 2
        where all is certain and wrong, 1 - 1/classes without a clue (Brier, Monthly Weather Review 78, 1950).
        """
        return None if self.brier is None else [float(row.double().mean()) for row in self.brier]

    def calibration_error(self, labels: Int64[np.ndarray, " n"], *, bins: int = 15) -> list[float]:
        """Expected calibration error in percent, a value a severity: |accuracy - confidence| weighted over `bins`.

        Bins part the confidence of the predicted class into equal widths (Guo et al., ICML 2017, equation 3).
        """
        _, confidence, right = self.binned(labels, bins=bins)
        return [100 * float(row.abs().sum()) / len(labels) for row in right - confidence]

    def binned(self, labels: Int64[np.ndarray, " n"], *, bins: int = 15) -> tuple[Tensor, Tensor, Tensor]:
        """By bin of the predicted class's confidence: pictures, summed confidence, those that are right.

        Each float64 (S, bins); bin m of M holds (m - 1) / M < p <= m / M, the upper end being a bin's own as in Guo's.
        """
        confidence = self.confidence.double()
        right = (self.predicted.long() == torch.from_numpy(labels)[None, :]).double()
        place = (confidence * bins).ceil().long().clamp(1, bins) - 1
        empty = torch.zeros(len(right), bins, dtype=torch.float64)
        return (
            empty.scatter_add(1, place, torch.ones_like(right)),
            empty.scatter_add(1, place, confidence),
            empty.scatter_add(1, place, right),
        )

    def adaptive_calibration_error(self, labels: Int64[np.ndarray, " n"], *, bins: int = 15) -> list[float]:
        """The same with bins of equally many pictures, in percent (Nguyen and O'Connor, EMNLP 2015, section 4.3).

        Equal widths leave most pictures of an overconfident student in one bin. In order of confidence, equal ones in
        that of the pictures; the first bins have one more where the number does not divide.
        """
        gap = (self.predicted.long() == torch.from_numpy(labels)[None, :]).double() - self.confidence.double()
        order = self.confidence.argsort(dim=1, stable=True)
        parts = [part.sum(dim=1).abs() for part in gap.gather(1, order).tensor_split(bins, dim=1)]
        return [100 * float(value) / len(labels) for value in torch.stack(parts).sum(dim=0)]

    def area_under_risk(self, labels: Int64[np.ndarray, " n"]) -> list[float]:
        """Area under the risk-coverage curve in percent, a value a severity; lower is better.

        The mean, over every coverage, of the error among the pictures that the student is surest of (Geifman et al.,
        ICLR 2019, section 3): how well its confidence tells where it is wrong. Pictures of one confidence share it.
        """
        wrong = (self.predicted.long() != torch.from_numpy(labels)[None, :]).double()
        return [100 * _risk_area(errors, confidence) for errors, confidence in zip(wrong, self.confidence, strict=True)]

    def to_tensors(self) -> dict[str, Tensor]:
        """As stored."""
        kept = {} if self.brier is None else {"brier": self.brier}
        return {"predicted": self.predicted, "confidence": self.confidence, "nll": self.nll, **kept}


def _risk_area(errors: Tensor, confidence: Tensor) -> float:
    """Mean of the running mean of errors, surest first; those of equal confidence count by their own mean."""
    _, groups, counts = torch.unique(-confidence, return_inverse=True, return_counts=True)
    shared = torch.zeros(len(counts), dtype=errors.dtype).scatter_add_(0, groups, errors) / counts
    running = shared[groups.sort().values].cumsum(0) / torch.arange(1, len(errors) + 1)
    return float(running.mean())


@lru_cache
def as_run(
    recipe: TrainingRecipe, network: str, *, classes: int, shape: tuple[int, int, int], device: torch.device
) -> TrainingRecipe:
    """`recipe` with what `network` is run by: a reduced precision is of blocks, which not every one has, on the CPU."""
    if recipe.arithmetic not in REDUCED:
        return recipe
    if device.type != "cpu":
        return replace(recipe, arithmetic="fused")
    outline = networks.outline(network, channels=shape[0], classes=classes, size=shape[1:])
    return replace(recipe, arithmetic=fused.arithmetic_of(outline, recipe.arithmetic))


@dataclass(frozen=True)
class StudentPlan:
    """One student before it is trained: what it sees, what it is, and where its file lies.

    `source` names the training set's content (its digest); `pictures` makes it when it is needed.
    """

    folder: Path
    source: str
    network: str
    recipe: TrainingRecipe
    stream: Stream
    classes: int
    shape: tuple[int, int, int]
    device: torch.device
    threads: int
    pictures: Callable[[], Pictures]

    def digest(self) -> str:
        """Hex digest of all that determines the weights."""
        return short_digest(
            {
                "source": self.source,
                "network": self.network,
                "recipe": to_mapping(self.recipe),
                "seed": [self.stream.seed, *self.stream.path],
                "classes": self.classes,
                "shape": list(self.shape),
                "device": self.device.type,
                "threads": self.threads,
                # A library's models change with it, under one name; nothing stands here for networks of ours.
                **networks.versions(self.network),
            }
        )

    @property
    def file(self) -> Path:
        """The file with the trained weights."""
        return self.folder / f"student-{self.digest()}.safetensors"

    def scores_file(self, domain: Mapping[str, Any]) -> Path:
        """The file with the predictions on the domain that `domain` determines."""
        return self.folder / f"scores-{self.digest()}-{short_digest(domain)}.safetensors"

    def network_blank(self) -> nn.Module:
        """The network at its initialisation."""
        channels, height, width = self.shape
        network = networks.build(
            self.network,
            channels=channels,
            classes=self.classes,
            size=(height, width),
            rng=self.stream.child("init"),
        ).to(self.device)
        network.arithmetic = self.recipe.arithmetic
        return network

    def ensure(self) -> bool:
        """Train and store the student unless its file is there; says whether it had to."""
        if self.file.is_file():
            return False
        check_threads(self.threads)
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

        def make() -> None:
            network = self.network_blank()
            train(network, self.pictures(), self.recipe, self.stream.child("training"))
            store_weights(self.file, network)

        return made_once(self.file, f"is training {self.file.name} in {self.folder}", make)

    def load(self) -> nn.Module:
        """The trained network, to be scored with the threads that it was trained with."""
        check_threads(self.threads)
        network = self.network_blank()
        load_weights(self.file, network, self.network)
        return network


def predictions_on(
    network: nn.Module,
    domain: Iterable[Float[Tensor, "n c h w"] | UInt8[np.ndarray, "n h w c"]],
    labels: Int64[np.ndarray, " n"],
    standardise: Standardisation = "none",
    prepare: Callable[[Any], Float[Tensor, "n c h w"]] | None = None,
) -> Predictions:
    """Score `network` on the pictures of a domain, a severity each, prepared as its training set was.

    domain: (n, c, h, w) each, or what `prepare` makes such of, a batch at a time.
    standardise: that of the network's training; under `batch` the outcome of a picture depends on those beside it, in
    batches of 128 in the domain's order (`loop.predict`), so that a part of a domain is scored otherwise than in it.
    """
    rows = [
        _outcomes(predict(network, pictures, standardise=standardise, prepare=prepare), labels) for pictures in domain
    ]
    return Predictions(*(torch.stack(parts) for parts in zip(*rows, strict=True)))


def _outcomes(logits: Tensor, labels: Int64[np.ndarray, " n"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    log_probability = logits.float().log_softmax(dim=1).cpu()
    best, true = log_probability.max(dim=1), torch.from_numpy(labels)[:, None]
    truth = log_probability.gather(1, true)[:, 0]
    away = log_probability.double().exp().scatter_add(1, true, -torch.ones(true.shape, dtype=torch.float64))
    return best.indices.to(torch.int16), best.values.exp(), -truth, away.square().sum(dim=1).float()


def stored_predictions(file: Path) -> Predictions:
    """Read a file of predictions."""
    return Predictions(**read_tensors(file))


def store_predictions(file: Path, predictions: Predictions) -> None:
    """Write a file of predictions."""
    store_tensors(file, predictions.to_tensors())


def store_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write what was made of a student beside it."""
    write_bytes(file, safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}))
