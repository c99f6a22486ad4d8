"""What students are told of the pictures: the set's own labels, hard ones, or those of a stated teacher.

A teacher is a network trained on the real training pictures by the loop that trains every network here. It is a file
of the store, named after all that determines it, and that name is part of the names of the students it labels for. The
control of a row is labelled by the same teacher.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.datasets import Dataset
from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.rows import CLEAN
from fredbench.evaluation.students import StudentPlan, predictions_on, store_predictions, stored_predictions
from fredbench.foundation.errors import UsageError
from fredbench.foundation.progress import say
from fredbench.foundation.rng import Stream
from fredbench.objectives.coresets import FeatureConfig
from fredbench.runs.preprocessing import training_split
from fredbench.training import augmentation
from fredbench.training.batches import RealPictures
from fredbench.training.loop import TrainingRecipe, predict
from fredbench.training.preprocessing import Preprocessing

__all__ = ["AUGMENTATIONS", "FOLDER", "LABELS", "AugmentationProtocol", "LabelProtocol", "Teacher"]

LabelProtocol = Literal["own", "hard", "relabelled"]
LABELS: tuple[LabelProtocol, ...] = ("own", "hard", "relabelled")
AugmentationProtocol = Literal["own", "none"]
AUGMENTATIONS: tuple[AugmentationProtocol, ...] = ("own", "none")
FOLDER = "teachers"
"""Name of the teachers' folder in a store of runs."""


@dataclass(frozen=True)
class Teacher:
    """A network that is trained on the real pictures of `dataset` and labels sets; its files lie in `folder`.

    Its recipe is that of the networks whose features choose coresets (SGD at .01, constant, DSA as the dataset allows),
    for `epochs`. It sees pictures normalised by the dataset's own statistics, whatever the sets' space is.
    """

    dataset: Dataset
    folder: Path
    network: str
    device: torch.device
    threads: int
    epochs: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise UsageError(f"a teacher of {self.epochs} epochs knows nothing", hint="--teacher-epochs 20 is usual")

    @property
    def recipe(self) -> TrainingRecipe:
        """As the training loop takes it."""
        strategy = "_".join(augmentation.strategy_for(self.dataset.flip))
        # Layer by layer, as all teachers that stores have: labels are part of a student's name.
        return replace(FeatureConfig(epochs=self.epochs, augmentation=strategy).recipe(), arithmetic="eager")

    def plan(self, split: str) -> StudentPlan:
        """The teacher of sets that were distilled from `split`: it sees no other pictures than they did."""
        data = self.dataset
        return StudentPlan(
            folder=self.folder,
            source=f"real pictures, {data.fingerprint}, {split}, mean {list(data.mean)}, std {list(data.std)}",
            network=self.network,
            recipe=self.recipe,
            stream=Stream(self.seed).child("teacher"),
            classes=len(data.classes),
            shape=(data.channels, *data.size),
            device=self.device,
            threads=self.threads,
            pictures=lambda: self._pictures(split),
        )

    def labels(self, levels: Float[Tensor, "n c h w"], split: str, loss: str) -> Float[Tensor, "n k"]:
        """What it says of pictures of [0, 1], once for each: probabilities; less 1/k under squared error (`mse`)."""
        network = self._trained(split).load()
        logits = predict(network, self._normalised(levels.to(self.device)))
        rows = logits.float().softmax(dim=1)
        return rows - 1 / rows.shape[1] if loss == "mse" else rows

    def described(self, split: str, domains: TestDomains) -> dict[str, Any]:
        """What a row says of it: network, recipe, seed, split, digest, and percent correct on clean pictures."""
        plan, recipe = self._trained(split), self.recipe
        preparation = {"mean": list(self.dataset.mean), "std": list(self.dataset.std)}
        file, labels = plan.scores_file({**domains.key(CLEAN), **preparation}), domains.labels_of(CLEAN)
        if not file.is_file():
            prepared = Preprocessing(self.dataset.mean, self.dataset.std, None)
            shown = (prepared(pictures, self.device) for pictures in domains.pictures(CLEAN))
            store_predictions(file, predictions_on(plan.load(), shown, labels))
        return {
            "network": self.network,
            "recipe": f"{recipe.epochs} epochs at lr {recipe.lr:g}, augmentation {recipe.augmentation}",
            "epochs": recipe.epochs,
            "seed": self.seed,
            "split": split,
            "digest": plan.digest(),
            "clean": round(stored_predictions(file).accuracy(labels)[0], 4),
        }

    def _trained(self, split: str) -> StudentPlan:
        plan = self.plan(split)
        if not plan.file.is_file():
            say(f"training the teacher, {self.network}, {self.epochs} epochs on real pictures of {self.dataset.title}")
            plan.ensure()
        return plan

    def _normalised(self, levels: Tensor) -> Tensor:
        mean, std = (
            torch.tensor(v, device=levels.device)[:, None, None] for v in (self.dataset.mean, self.dataset.std)
        )
        return (levels.float() - mean) / std

    def _pictures(self, split: str) -> RealPictures:
        real = training_split(self.dataset, split)
        return RealPictures(
            real.images, real.labels, mean=self.dataset.mean, std=self.dataset.std,
            classes=len(self.dataset.classes), device=self.device,
        )  # fmt: skip
