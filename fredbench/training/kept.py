"""Trained networks on disk: one safetensors file each, whose name says by a digest all that determines the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from fredbench.foundation.config import to_mapping
from fredbench.foundation.errors import ArtefactError
from fredbench.foundation.files import canonical_json, write_bytes
from fredbench.foundation.locks import LOCK_VARIABLE, held
from fredbench.foundation.progress import say
from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.training.batches import Pictures
from fredbench.training.loop import TrainingRecipe, train

__all__ = [
    "FEATURES", "KeptNetworks", "Training", "load_weights", "made_once", "read_tensors", "short_digest",
    "store_weights",
]  # fmt: skip

FEATURES = "features"
"""Name of the folder, in a store of runs, of the networks that pictures are chosen by."""


def short_digest(value: Mapping[str, Any]) -> str:
    """The first 20 hex digits of the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:20]


def read_tensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a file that can be made again; `ArtefactError` where it is damaged."""
    try:
        return dict(safetensors.torch.load(file.read_bytes()))
    except (safetensors.SafetensorError, OSError) as error:
        raise ArtefactError(f"{file} cannot be read: {error}", hint="delete it; it is made again") from error


def made_once(file: Path, doing: str, make: Callable[[], None]) -> bool:
    """Have `make` write `file` where there is none; whether it did. Waits for a process that is `doing` so already."""
    if file.is_file():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = file.with_name(f".{file.stem}.lock")
    with held(lock, f"another process {doing}", f"wait for it, longer with {LOCK_VARIABLE}"):
        if file.is_file():  # the other made it meanwhile
            return False
        make()
    return True


def store_weights(file: Path, network: nn.Module) -> None:
    """Write the weights and buffers of `network`, on the CPU."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_bytes(file, safetensors.torch.save(weights))


def load_weights(file: Path, network: nn.Module, name: str) -> None:
    """Give `network`, called `name`, the weights of `file`; `ArtefactError` where they are not its own."""
    try:
        network.load_state_dict(read_tensors(file))
    except RuntimeError as error:
        first = next(iter(str(error).splitlines()), "")
        raise ArtefactError(f"{file} does not fit {name}: {first}", hint="delete it; it is made again") from error


Training = Callable[[Network, Pictures, TrainingRecipe, Stream], None]
"""What trains a network on pictures: `loop.train`, or `KeptNetworks`, which gives the same weights."""


class KeptNetworks:
    """Trains networks on real pictures as `loop.train` does, and keeps each, so that it is trained once in a store."""

    def __init__(self, folder: Path, name: str, trained_on: Mapping[str, Any]) -> None:
        """`name` is the network's; `trained_on` says of which pictures, device and threads, as JSON has it."""
        self._folder, self._name, self._trained_on = folder, name, trained_on

    def __call__(self, network: Network, pictures: Pictures, recipe: TrainingRecipe, rng: Stream) -> None:
        """Give `network`, at its initialisation, the weights that `train` would; waits for who trains the same."""
        file = self.file(recipe, rng)

        def make() -> None:
            train(network, pictures, recipe, rng)
            store_weights(file, network)

        if not made_once(file, f"trains the network of {file}", make):
            say(f"reading the network of {file.name}, which was trained before")
            load_weights(file, network, self._name)

    def file(self, recipe: TrainingRecipe, rng: Stream) -> Path:
        """Where the network of this recipe and stream lies."""
        asked = {"network": self._name, "recipe": to_mapping(recipe), "stream": [rng.seed, *rng.path]}
        return self._folder / f"network-{short_digest({**self._trained_on, **asked})}.safetensors"
