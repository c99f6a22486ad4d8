"""Training the experts of trajectory matching, where they are missing.

MTT's recipe (Cazenavette et al., CVPR 2022, and its public buffer script): plain SGD at .01, batches of 256, no
momentum, no decay, DSA drawn for each picture, weights kept before training and after every epoch. Here an expert is
trained only as far as the matching reads it, T+ - 1 + M epochs, and can be extended later: without momentum the
weights are the whole state, and each epoch draws from a stream of its own, so an extended, or killed and resumed,
expert has the same bytes as one trained in one go.

Experts are trained one after the other. Stacking the weights of four with torch.func.vmap was measured on one core and
does not pay: ConvNetD3, seconds of one gradient of all four, apart against stacked: width 32, 256 pictures 1.3 and
2.9; width 128, 32 pictures .55 and .68.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.device import check_threads
from fredbench.foundation.errors import ResourceError, UsageError
from fredbench.foundation.locks import claimed, held
from fredbench.foundation.progress import Progress
from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.training.batches import RealPictures
from fredbench.training.loop import TrainingRecipe, train
from fredbench.training.timing import epoch_seconds
from fredbench.training.trajectories import (
    MANIFEST,
    ExpertSpec,
    StoredTrajectories,
    check_manifest,
    check_shard,
    listed_epochs,
    read_rows,
    shard,
    write_manifest,
    write_shard,
)

__all__ = ["FOLDER", "ExpertStore", "UntrainedExperts"]

FOLDER = "experts"
"""Name of the experts' folder in a store of runs."""


@torch.no_grad()
def flat_weights(network: Network) -> Float[Tensor, " p"]:
    """All parameters in one vector, on the CPU."""
    return torch.cat([parameter.flatten() for parameter in network.parameters()]).cpu()


class ExpertStore:
    """Experts of one run's network and data: gives them to an objective, and trains what is missing."""

    def __init__(self, root: Path, spec: ExpertSpec, pictures: RealPictures) -> None:
        """`root` is the folder of all experts; recipe and seed of `spec` are replaced by those asked for."""
        self._root, self._spec, self._pictures = root, spec, pictures

    def __call__(self, count: int, recipe: TrainingRecipe, seed: int) -> StoredTrajectories:
        """The first `count` experts, trained for `recipe.epochs` epochs."""
        spec, folder = self._meant(recipe, seed), self.folder(recipe, seed)
        short = {expert: epochs for expert in range(count) if (epochs := self.lacks(expert, recipe, seed))}
        if short:
            with Progress("training experts", sum(short.values()), unit="epochs") as progress:
                for expert in short:
                    self._make(folder, spec, expert, progress)
        return StoredTrajectories(folder, spec, count, recipe.epochs)

    def one(self, expert: int, recipe: TrainingRecipe, seed: int) -> None:
        """Train one expert as far as `recipe.epochs` where it is missing or shorter: experts can be made apart."""
        missing = self.lacks(expert, recipe, seed)
        if missing:
            with Progress(f"training expert {expert}", missing, unit="epochs") as progress:
                self._make(self.folder(recipe, seed), self._meant(recipe, seed), expert, progress)

    def listed(self, expert: int, recipe: TrainingRecipe, seed: int) -> bool:
        """Whether the manifest has an expert as far as `recipe.epochs`; the file itself is not read."""
        folder = self.folder(recipe, seed)
        return (folder / MANIFEST).is_file() and listed_epochs(folder, expert) >= recipe.epochs

    def lacks(self, expert: int, recipe: TrainingRecipe, seed: int) -> int:
        """Epochs that an expert is short of `recipe.epochs`; damaged and foreign files are refused.

        One that is trained and not listed, since a kill came between, counts as short of its last epoch.
        """
        spec, folder = self._meant(recipe, seed), self.folder(recipe, seed)
        _check(folder, spec)
        done = _done(folder, spec, expert)
        return max(0, recipe.epochs - done) or int(listed_epochs(folder, expert) != done)

    def _make(self, folder: Path, spec: ExpertSpec, expert: int, progress: Progress) -> None:
        """One expert, held so that no two processes train it; others of its folder may be trained meanwhile."""
        check_threads(spec.threads)
        if not (folder / MANIFEST).is_file():
            with claimed(folder, "writing the manifest of", "wait for it"):
                write_manifest(folder, spec)
        lock = folder / f".{shard(folder, expert).stem}.lock"
        with held(lock, f"another process is training expert {expert} in {folder}", "wait for it"):
            self._train(folder, spec, expert, progress)
        with claimed(folder, "writing the manifest of", "wait for it"):
            write_manifest(folder, spec)

    def folder(self, recipe: TrainingRecipe, seed: int) -> Path:
        """Where the experts of that recipe and seed lie."""
        return self._root / self._meant(recipe, seed).folder_name()

    def missing_epochs(self, count: int, recipe: TrainingRecipe, seed: int) -> int:
        """Epochs that are still to be trained; damaged and foreign files are refused."""
        spec, folder = self._meant(recipe, seed), self.folder(recipe, seed)
        _check(folder, spec)
        return sum(max(0, recipe.epochs - _done(folder, spec, expert)) for expert in range(count))

    def seconds_an_epoch(self, recipe: TrainingRecipe, seed: int) -> float:
        """Measured on three batches, after one to warm up."""
        return epoch_seconds(self._meant(recipe, seed).blank, self._pictures, recipe)

    def _meant(self, recipe: TrainingRecipe, seed: int) -> ExpertSpec:
        if recipe.momentum or recipe.schedule != "constant":
            raise UsageError(
                "experts are trained by plain SGD at one rate: their files hold no momentum to go on from",
                hint="use momentum 0 and the schedule constant",
            )
        # The network is run as the run's are, whoever asks.
        return replace(self._spec, recipe=replace(recipe, arithmetic=self._spec.recipe.arithmetic), seed=seed)

    def _train(self, folder: Path, spec: ExpertSpec, expert: int, progress: Progress) -> None:
        """Take an expert up where its file ends; the file is written anew after each epoch."""
        done, epochs = _done(folder, spec, expert), spec.recipe.epochs
        if done >= epochs:
            return
        file, stream, device = shard(folder, expert), Stream(spec.seed).child("expert", expert), self._pictures.device
        network = spec.blank(stream.child("init")).to(device)
        rows = read_rows(file) if done else flat_weights(network)[None]
        with torch.no_grad():
            # A copy: the parameters become views of this vector, and training would write into the stored row.
            torch.nn.utils.vector_to_parameters(rows[-1].to(device).clone(), network.parameters())
        for epoch in range(done, epochs):
            until = replace(spec.recipe, epochs=epoch + 1)
            train(network, self._pictures, until, stream.child("training"), first_epoch=epoch)
            rows = torch.cat([rows, flat_weights(network)[None]])
            if not bool(rows[-1].isfinite().all()):
                raise ResourceError(f"expert {expert} diverged in epoch {epoch + 1}", hint="lower objective.expert_lr")
            write_shard(file, spec, expert, rows)
            progress.advance()


def _check(folder: Path, spec: ExpertSpec) -> None:
    """Refuse a folder of other experts; locks and what is half-written are no content."""
    if folder.is_dir() and any(not file.name.startswith(".") for file in folder.glob("*.*")):
        check_manifest(folder, spec)


def _done(folder: Path, spec: ExpertSpec, expert: int) -> int:
    file = shard(folder, expert)
    return check_shard(file, spec, expert) if file.exists() else 0


class UntrainedExperts:
    """Stands in for experts where only time and memory are measured: every epoch is an initialisation of its own."""

    def __init__(self, spec: ExpertSpec) -> None:
        self._spec, self._count = spec, 0

    def __call__(self, count: int, recipe: TrainingRecipe, seed: int) -> UntrainedExperts:
        """Itself, `count` strong."""
        self._count = count
        return self

    def __len__(self) -> int:
        return self._count

    def weights(self, expert: int, epoch: int) -> Float[Tensor, " p"]:
        """An initialisation."""
        return flat_weights(self._spec.blank(Stream(0).child("untrained", expert, epoch)))
