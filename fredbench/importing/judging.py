"""Whether the labels of a set are the dataset's, in its order: a network trained on real pictures is asked.

It need not be good, only far from chance. Its log-probabilities of the given labels are compared with those of
shuffled labels; where they are no better, the assignment of classes that it likes best is compared with what shuffled
labels reach. A set whose labels are permuted, or whose channels are reversed, shows plainly, also where it is small.
Where a part of the classes is permuted, the given labels are better than shuffled ones too: the pictures of the classes
that the best order moves are counted by whether the network predicts their moved class or their given one (McNemar's
exact test).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Float, Int64
from torch import nn

from fredbench import networks
from fredbench.datasets import Dataset
from fredbench.foundation.files import canonical_json, write_bytes
from fredbench.foundation.progress import say
from fredbench.foundation.rng import Stream
from fredbench.training.batches import RealPictures
from fredbench.training.loop import TrainingRecipe, predict, train

__all__ = ["Verdict", "judge", "judgement"]

FOLDER = "judges"
"""Name of the folder, in a store of runs, of the networks that are asked."""
_PICTURES, _EPOCHS, _WIDTH = 5000, 10, 32
_SHUFFLES, _ASSIGNMENTS = 2000, 200
_LEVEL = 0.01
_TOLD = 0.25
"""p of McNemar's test up to which it is told that another order fits better."""


@dataclass(frozen=True)
class Verdict:
    """What a network trained on real pictures says of labels.

    accuracy: share of the given labels that it predicts. p: share of shuffled labels that it likes at least as much.
    order: for each given class the network's class that fits best; order_accuracy, order_p: the same under it, p
    against what the best order of shuffled labels reaches. reversed_gain: mean gain in log-probability, and its
    t-value over the pictures, when the channels are reversed. moved, kept: of the pictures whose class `order` moves,
    how many are predicted as its class, and how many as the given one.
    """

    accuracy: float
    p: float
    order: tuple[int, ...]
    order_accuracy: float
    order_p: float
    reversed_gain: float
    reversed_t: float
    pictures: int
    real_accuracy: float
    moved: int
    kept: int

    @property
    def moved_p(self) -> float:
        """Share of fair coins that fall at least so often for the moved classes (one-sided, exact)."""
        from scipy.stats import binom

        count = self.moved + self.kept
        return float(binom.sf(self.moved - 1, count, 0.5)) if count else 1.0

    @property
    def agrees(self) -> bool:
        """The labels are the dataset's, beyond chance."""
        return self.p <= _LEVEL

    @property
    def partly_permuted(self) -> bool:
        """Another order of some classes is the network's, beyond chance; of a picture a class that cannot be said.

        The order is the best of many, so that a few pictures of a noisy set favour it too: on synthetic scores of an
        accuracy of 20 % to 60 %, two to fifty pictures a class, fewer than 1 % of honest sets are taken for such.
        """
        enough = self.pictures >= 2 * len(self.order) and self.moved >= 3 * self.kept
        return self.agrees and enough and self.moved_p <= _LEVEL

    @property
    def permuted(self) -> bool:
        """The labels are not, but another order of the classes is, beyond chance; of all classes or of some."""
        if self.agrees:
            return self.partly_permuted
        far = self.order_accuracy >= max(self.accuracy + 0.3, 0.5 * self.real_accuracy)
        # Of one picture a class every order of the labels reaches the same best score, so that p says nothing there.
        return far and (self.order_p <= _LEVEL or self.pictures <= len(self.order))

    @property
    def reversed(self) -> bool:
        """The channels are in the other order, plainly."""
        return self.reversed_gain > 0.1 and self.reversed_t > 3

    def doubt(self, classes: tuple[str, ...]) -> str:
        """What speaks for another order of some classes, short of proof; empty where little does."""
        if not self.agrees or self.moved_p > _TOLD:
            return ""
        names = ", ".join(
            name for name, meant, given in zip(classes, self.order, range(len(classes)), strict=True) if meant != given
        )
        return (
            f"; yet {self.moved} pictures of {names} are predicted as another of these, {self.kept} as they are "
            f"labelled (p = {self.moved_p:.2g}): are these in order?"
        )

    def told(self) -> str:
        """One line."""
        return (
            f"a small network trained on real pictures ({100 * self.real_accuracy:.0f} % on test pictures) predicts "
            f"{100 * self.accuracy:.0f} % of the {self.pictures} labels (p = {self.p:.2g} against shuffled ones)"
        )


def judge(dataset: Dataset, store: Path, *, threads: int) -> tuple[nn.Module, float]:
    """The network that is asked of sets of `dataset`, and its accuracy on test pictures; trained once a store."""
    spread = np.linspace(0, len(dataset.train) - 1, min(_PICTURES, len(dataset.train))).astype(np.int64)
    split = dataset.train.take(spread)
    name = f"convnet-d{networks.default_depth(dataset.size)}-w{_WIDTH}-in"
    flip = "flip" if dataset.flip else "none"
    recipe = TrainingRecipe(epochs=_EPOCHS, schedule="constant", augmentation=flip, arithmetic="eager")
    stream = Stream(0).child("judge")

    def blank() -> networks.Network:
        return networks.build(
            name, channels=dataset.channels, classes=len(dataset.classes), size=dataset.size, rng=stream.child("init")
        )

    key = [dataset.fingerprint, dataset.mean, dataset.std, name, len(split), _EPOCHS, threads, networks.versions(name)]
    file = store / FOLDER / f"judge-{hashlib.sha256(canonical_json(key).encode()).hexdigest()[:20]}.safetensors"
    network = blank()
    if file.is_file():
        network.load_state_dict(safetensors.torch.load(file.read_bytes()))
    else:
        say(f"training a small network on {len(split):,} real pictures of {dataset.title}, to check the labels")
        pictures = RealPictures(
            split.images, split.labels, mean=dataset.mean, std=dataset.std,
            classes=len(dataset.classes), device=torch.device("cpu"),
        )  # fmt: skip
        train(network, pictures, recipe, stream.child("training"))
        weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
        write_bytes(file, safetensors.torch.save(weights))
    few = np.linspace(0, len(dataset.test) - 1, min(1000, len(dataset.test))).astype(np.int64)
    seen = dataset.test.take(few)
    real = RealPictures(
        seen.images, seen.labels, mean=dataset.mean, std=dataset.std,
        classes=len(dataset.classes), device=torch.device("cpu"),
    )  # fmt: skip
    logits = predict(network, real.images(torch.arange(len(seen))))
    return network, float((logits.argmax(1).numpy() == seen.labels).mean())


def judgement(
    network: nn.Module, pictures: Float[np.ndarray, "n c h w"], labels: Int64[np.ndarray, " n"], real_accuracy: float
) -> Verdict:
    """What `network` says of `labels`; `pictures` normalised as its own training pictures were."""
    scores = _log_probabilities(network, pictures)
    mirrored = _log_probabilities(network, np.ascontiguousarray(pictures[:, ::-1]))
    return verdict(scores, mirrored, labels, real_accuracy)


def verdict(
    scores: Float[np.ndarray, "n k"],
    reversed_scores: Float[np.ndarray, "n k"],
    labels: Int64[np.ndarray, " n"],
    real_accuracy: float,
) -> Verdict:
    """The same from log-probabilities, as stored and with reversed channels."""
    draws = Stream(0).child("judging").numpy()
    rows, classes = np.arange(len(labels)), scores.shape[1]
    given = float(scores[rows, labels].mean())
    shuffled = [float(scores[rows, draws.permutation(labels)].mean()) for _ in range(_SHUFFLES)]
    # Twice the same labels are a tie with what is given, not a defeat of it, where a set has few pictures.
    p = (1 + sum(value >= given - 1e-12 for value in shuffled)) / (1 + _SHUFFLES)
    order, best = _best_order(scores, labels, classes)
    orders = [_best_order(scores, draws.permutation(labels), classes)[1] for _ in range(_ASSIGNMENTS)]
    gains = reversed_scores[rows, order[labels]] - scores[rows, order[labels]]
    spread = float(gains.std(ddof=1)) if len(gains) > 1 else 0.0
    predicted, changed = scores.argmax(1), order[labels] != labels
    return Verdict(
        accuracy=float((predicted == labels).mean()),
        p=p,
        order=tuple(order.tolist()),
        order_accuracy=float((predicted == order[labels]).mean()),
        order_p=(1 + sum(value >= best - 1e-12 for value in orders)) / (1 + _ASSIGNMENTS),
        reversed_gain=float(gains.mean()),
        reversed_t=float(gains.mean() / (spread / len(gains) ** 0.5)) if spread else 0.0,
        pictures=len(labels),
        real_accuracy=real_accuracy,
        moved=int((predicted == order[labels])[changed].sum()),
        kept=int((predicted == labels)[changed].sum()),
    )


def _best_order(
    scores: Float[np.ndarray, "n k"], labels: Int64[np.ndarray, " n"], classes: int
) -> tuple[Int64[np.ndarray, " k"], float]:
    """For each given class the network's class, one to one, such that the mean log-probability is highest."""
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((classes, classes))
    np.add.at(table, labels, scores)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return columns.astype(np.int64), float(table[rows, columns].sum() / len(labels))


def _log_probabilities(network: nn.Module, pictures: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n k"]:
    logits = predict(network, torch.from_numpy(np.ascontiguousarray(pictures, dtype=np.float32)))
    found: Float[np.ndarray, "n k"] = logits.double().log_softmax(1).numpy()
    return found
