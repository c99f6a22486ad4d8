"""Trajectories on disk: weights of networks along their training, one safetensors file an expert.

`expert-NNNN.safetensors` holds `weights` (epochs + 1, P) float32, the initialisation first, parameters in state-dict
order, and under the metadata key `fredbench` a JSON header: expert, epochs, network, dataset's fingerprint, digest of
the spec and of the weights. `manifest.json` says the same of the folder as a whole. Files are read through a memory
map, a row at a time; opening checks every one of them, so that a damaged or foreign file is met before any step.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from jaxtyping import Float
from torch import Tensor

from fredbench import networks
from fredbench.foundation.environment import library_versions
from fredbench.foundation.errors import ArtefactError
from fredbench.foundation.files import canonical_json, write_bytes, write_json
from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.training.loop import TrainingRecipe

__all__ = [
    "MANIFEST",
    "ExpertSpec",
    "StoredTrajectories",
    "check_manifest",
    "check_shard",
    "listed_epochs",
    "read_rows",
    "shard",
    "write_manifest",
    "write_shard",
]

_FORMAT, _VERSION, _KEY = "fredbench-experts", 1, "fredbench"
MANIFEST = "manifest.json"
"""Of the experts in a folder: spec, files, checksums."""


@dataclass(frozen=True)
class ExpertSpec:
    """All that determines the weights of the experts; how many there are and how far they go is no part of it."""

    dataset: str
    fingerprint: str
    split: str
    network: str
    classes: int
    shape: tuple[int, int, int]
    recipe: TrainingRecipe
    seed: int
    device: str
    threads: int
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_mapping(self) -> dict[str, Any]:
        """As in the manifest: the recipe without its number of epochs, the dataset without a path.

        With how pictures are prepared, where that is not by the dataset's own statistics alone, and the version of the
        library that a network is from, where it is not ours.
        """
        recipe = {name: value for name, value in asdict(self.recipe).items() if name != "epochs"}
        # Experts of before these fields were are those that they leave as they are, under their old names.
        if self.recipe.standardise == "none":
            del recipe["standardise"]
        if self.recipe.arithmetic == "eager":
            del recipe["arithmetic"]
        mapping = {**asdict(self), "shape": list(self.shape), "recipe": recipe, **networks.versions(self.network)}
        if not mapping["data"]:
            del mapping["data"]
        return mapping

    def digest(self) -> str:
        """Hex SHA-256 of the canonical spec."""
        return hashlib.sha256(canonical_json(self.to_mapping()).encode()).hexdigest()

    def folder_name(self) -> str:
        """A readable name that no two specs share."""
        readable = "".join(c if c.isalnum() or c in "-_." else "-" for c in f"{self.dataset}-{self.network}")
        return f"{readable.strip('-.')[-60:]}-{self.digest()[:8]}"

    def blank(self, stream: Stream) -> Network:
        """The network, its weights drawn from `stream`, on the CPU."""
        channels, height, width = self.shape
        size = height, width
        network = networks.build(self.network, channels=channels, classes=self.classes, size=size, rng=stream)
        network.arithmetic = self.recipe.arithmetic
        return network

    def parameters(self) -> list[tuple[str, list[int]]]:
        """Name and shape of each parameter, in the order of a row."""
        channels, height, width = self.shape
        outline = networks.outline(self.network, channels=channels, classes=self.classes, size=(height, width))
        return [(name, list(parameter.shape)) for name, parameter in outline.named_parameters()]


class StoredTrajectories:
    """Experts on disk, checked as a whole when opened, read row by row through a memory map."""

    def __init__(self, folder: Path, spec: ExpertSpec, count: int, epochs: int) -> None:
        """Open the first `count` experts as far as `epochs`; `ArtefactError` where a file is not what it must be."""
        check_manifest(folder, spec)
        self._files = [shard(folder, expert) for expert in range(count)]
        for expert, file in enumerate(self._files):
            stored = check_shard(file, spec, expert)
            if stored < epochs:
                raise ArtefactError(
                    f"{file} holds {stored} epochs, {epochs} are read", hint="extend it with `fredbench experts`"
                )

    def __len__(self) -> int:
        return len(self._files)

    def weights(self, expert: int, epoch: int) -> Float[Tensor, " p"]:
        """Weights (P,) of an expert after `epoch` epochs, on the CPU."""
        with safetensors.safe_open(self._files[expert], framework="pt") as opened:
            row: Tensor = opened.get_slice("weights")[epoch]
        return row


def shard(folder: Path, expert: int) -> Path:
    """The file of an expert."""
    return folder / f"expert-{expert:04d}.safetensors"


def write_shard(file: Path, spec: ExpertSpec, expert: int, rows: Float[Tensor, "epochs p"]) -> None:
    """Write an expert's file, atomically; equal rows give equal bytes."""
    rows = rows.contiguous()
    header = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "expert": expert,
        "epochs": len(rows) - 1,
        "network": spec.network,
        "fingerprint": spec.fingerprint,
        "spec_sha256": spec.digest(),
        "weights_sha256": hashlib.sha256(rows.numpy().tobytes()).hexdigest(),
    }
    write_bytes(file, safetensors.torch.save({"weights": rows}, metadata={_KEY: canonical_json(header)}))


def read_rows(file: Path) -> Float[Tensor, "epochs p"]:
    """All weights of a file that was checked."""
    with safetensors.safe_open(file, framework="pt") as opened:
        rows: Tensor = opened.get_tensor("weights")
    return rows.clone()


def check_shard(file: Path, spec: ExpertSpec, expert: int) -> int:
    """Epochs that an expert's file holds; `ArtefactError` where it is missing, damaged, or of another spec."""
    header, rows = _open(file)
    _refuse_foreign(file, header, {"network": spec.network, "fingerprint": spec.fingerprint})
    if header["spec_sha256"] != spec.digest() or header["expert"] != expert:
        raise ArtefactError(f"{file} holds another expert: of another recipe, seed or number", hint=_mend(file))
    wanted = [int(header["epochs"]) + 1, sum(math.prod(shape) for _, shape in spec.parameters())]
    if rows != wanted:
        raise ArtefactError(f"{file} holds weights of shape {rows}, not {wanted}", hint=_mend(file))
    if _data_digest(file) != header["weights_sha256"]:
        raise ArtefactError(f"{file} was altered: its checksum differs from its header's", hint=_mend(file))
    return int(header["epochs"])


def _open(file: Path) -> tuple[dict[str, Any], list[int]]:
    """Header and shape of the weights."""
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            header = json.loads((opened.metadata() or {}).get(_KEY, "null"))
            shape = list(opened.get_slice("weights").get_shape())
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ArtefactError(f"{file} cannot be read: {error}", hint=_mend(file)) from error
    fields = {"format", "format_version", "expert", "epochs", "network", "fingerprint", "spec_sha256", "weights_sha256"}
    if not isinstance(header, dict) or header.keys() < fields or header["format"] != _FORMAT:
        raise ArtefactError(f"{file} is no file of an expert", hint=_mend(file))
    if header["format_version"] != _VERSION:
        raise ArtefactError(
            f"{file} is of format version {header['format_version']}, this fredbench reads {_VERSION}", hint=_mend(file)
        )
    return header, shape


def _refuse_foreign(file: Path, found: Mapping[str, Any], wanted: Mapping[str, str]) -> None:
    for key, what in (("network", "network"), ("fingerprint", "dataset")):
        if found.get(key) != wanted[key]:
            raise ArtefactError(
                f"{file} is of another {what}: {str(found.get(key))[:40]}, not {wanted[key][:40]}", hint=_mend(file)
            )


def _data_digest(file: Path) -> str:
    """SHA-256 of all behind the header (8 bytes of length, then the header), read as a stream: no page stays mapped."""
    with open(file, "rb") as opened:
        opened.seek(8 + int.from_bytes(opened.read(8), "little"))
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _mend(file: Path) -> str:
    return f"delete {file.name}: it is trained again by the same command"


def write_manifest(folder: Path, spec: ExpertSpec) -> None:
    """Write manifest.json: spec, layout of a row, versions, and each file with its epochs and checksum."""
    shards = {}
    for file in sorted(folder.glob("expert-*.safetensors")):
        header, _ = _open(file)
        shards[file.name] = {"epochs": header["epochs"], "weights_sha256": header["weights_sha256"]}
    manifest = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "spec_sha256": spec.digest(),
        "spec": spec.to_mapping(),
        "parameters": spec.parameters(),
        "versions": library_versions(("torch", "numpy", "safetensors")),
        "shards": shards,
    }
    write_json(folder / MANIFEST, manifest)


def listed_epochs(folder: Path, expert: int) -> int:
    """Epochs of an expert as the manifest has them; -1 where it is not listed."""
    try:
        listed = json.loads((folder / MANIFEST).read_text())["shards"]
        return int(listed.get(shard(folder, expert).name, {}).get("epochs", -1))
    except (OSError, ValueError, KeyError, AttributeError):
        return -1


def check_manifest(folder: Path, spec: ExpertSpec) -> None:
    """`ArtefactError` where the folder is not one of `spec`."""
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{file} cannot be read: {error}", hint=f"delete {folder} and train again") from error
    described = isinstance(manifest, dict) and isinstance(manifest.get("spec"), dict)
    if not described or manifest.get("format") != _FORMAT:
        raise ArtefactError(f"{file} is no manifest of experts", hint=f"delete {folder} and train again")
    _refuse_foreign(file, manifest["spec"], {"network": spec.network, "fingerprint": spec.fingerprint})
    if manifest.get("spec_sha256") != spec.digest():
        raise ArtefactError(f"{folder} holds experts of another recipe", hint=f"delete {folder} and train again")
