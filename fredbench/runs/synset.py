"""The artefact: a distilled set as one safetensors file that says everything a stranger needs.

Tensors are what the parameterization stores, nothing decoded; the header is one JSON document under the metadata
key `fredbench`. The budget is counted again from the tensors themselves, so a claim of #Params can be audited by
opening the file. No time, path or host name is in it: the same run gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from fredbench.parameterizations.budget import Ledger, Storage, raw_bytes
from fredbench.foundation.config import from_mapping
from fredbench.datasets import Dataset
from fredbench.foundation.errors import ArtefactError, CompatibilityError
from fredbench.foundation.files import canonical_json, write_bytes
from fredbench.parameterizations import PARAMETERIZATIONS, LabelConfig, Parameterization, State, labelled
from fredbench.runs.preprocessing import RECIPES, fit_of, stored_fit
from fredbench.training.batches import AlternativePictures, Pictures, TensorPictures
from fredbench.training.preprocessing import Preprocessing
from fredbench.training.whitening import Whitening

__all__ = ["FILE_NAME", "Synset", "load", "tensors_digest"]

FILE_NAME = "synset.safetensors"
FORMAT = "fredbench-synset"
FORMAT_VERSION = 1
_KEY = "fredbench"
_HINT = "the file was cut or altered; distill it again or fetch it anew"


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over names, dtypes, shapes and bytes, in name order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def header_digest(header: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the header's canonical JSON, its own digest left out."""
    rest = {key: value for key, value in header.items() if key != "header_sha256"}
    return hashlib.sha256(canonical_json(rest).encode()).hexdigest()


class Synset:
    """A distilled set: stored tensors and a self-describing header.

    >>> import fredbench
    >>> synset = fredbench.load("runs/my-run")          # doctest: +SKIP
    >>> loader = DataLoader(synset.as_dataset(), 32)    # doctest: +SKIP
    """

    def __init__(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        self.tensors = dict(tensors)
        self.header = dict(header)
        self._whitening: Whitening | None = None

    @staticmethod
    def pack(parameterization: Parameterization, state: State, description: Mapping[str, Any]) -> Synset:
        """A synset of `state`; `description` holds what the parameterization does not know (dataset, recipe)."""
        stored = {k: (t.cpu().contiguous(), role) for k, (t, role) in parameterization.to_tensors(state).items()}
        tensors = {name: tensor for name, (tensor, _) in stored.items()}
        learned = description.get("step_size") is not None
        ledger = replace(parameterization.ledger(state), step_size_scalars=int(learned))
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **description,
            "tensors": {name: role for name, (_, role) in stored.items()},
            "tensors_sha256": tensors_digest(tensors),
            "ledger": ledger.to_mapping(),
            "bytes": Storage(tensors, description.get("step_size")).stored,
        }
        return Synset(tensors, {**header, "header_sha256": header_digest(header)})

    def save(self, path: Path) -> None:
        """Write the file atomically; equal synsets give equal bytes."""
        # One metadata key only: the order of several is not fixed by the format.
        write_bytes(path, safetensors.torch.save(self.tensors, metadata={_KEY: canonical_json(self.header)}))

    @cached_property
    def _decoder(self) -> tuple[Parameterization, State]:
        described = self.header["parameterization"]
        kind = PARAMETERIZATIONS.get(described["name"])
        config = from_mapping(kind.Config, described["settings"], where=f"the header's {described['name']}")
        labels = from_mapping(LabelConfig, self.header["labels"].get("settings", {}), where="the header's labels")
        parameterization = labelled(kind(config), labels)
        channels, height, width = self.header["dataset"]["shape"]
        shape = (channels, height, width)
        try:
            state = parameterization.from_tensors(self.tensors, classes=len(self.classes), shape=shape)
        except KeyError as error:
            raise ArtefactError(f"the synset lacks the tensor {error}", hint=_HINT) from error
        return parameterization, state

    @cached_property
    def images(self) -> Tensor:
        """Decoded pictures, float32 (N, C, H, W), in the student's input space (see `normalization`)."""
        parameterization, state = self._decoder
        with torch.no_grad():
            return parameterization.decode(state)[0].detach().float()

    @property
    def labels(self) -> Tensor:
        """int64 (N,) or float32 (N, classes)."""
        labels = self._decoder[1].labels
        return labels.float() if labels.is_floating_point() else labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(self.header["dataset"]["classes"])

    @property
    def normalization(self) -> dict[str, Any]:
        """What was done to pixels of [0, 1] before distilling: kind (mean-std, zca), mean, std.

        Of zca also recipe, eps, split and fingerprint of the fit (see `fredbench.runs.preprocessing`).
        """
        return dict(self.header["normalization"])

    @property
    def whitened(self) -> bool:
        """Whether the pictures were ZCA-whitened."""
        return bool(self.normalization.get("kind") == "zca")

    def fit_to(self, dataset: Dataset, *, fits: Path | None = None, others: Iterable[Synset] = ()) -> None:
        """Take the whitening from the data that it was fitted to, as `pixels` needs it; nothing for a plain set.

        fits: a store's folder of fits. others: sets that may have the same one already, which is shared with them.
        Raises `DataError` where the fit is to other pictures than those of `dataset`.
        """
        alike = (other._whitening for other in others if other.normalization == self.normalization)
        shared = next((fit for fit in alike if fit is not None), None)
        self._whitening = shared or fit_of(self.normalization, dataset, fits)

    def find_fit(self, fits: Path) -> bool:
        """Take the whitening from a store's folder of fits; says whether there is one to take, or none is needed."""
        if self.whitened and self._whitening is None:
            self._whitening = stored_fit(self.normalization, fits)
        return not self.whitened or self._whitening is not None

    @property
    def step_size(self) -> float | None:
        """The learned learning rate, where there is one."""
        value = self.header.get("step_size")
        return None if value is None else float(value)

    @property
    def ledger(self) -> Ledger:
        """The budget counted from the stored tensors, not from what the header claims."""
        counts = dict.fromkeys(("scalars", "half-scalars", "mask-bits", "labels", "decoder"), 0)
        for name, role in self.header["tensors"].items():
            tensor = self.tensors[name]
            if role == "mask-bits":
                # Only the bits that mean something: the padding of the last byte is no information.
                _, height, width = self.header["dataset"]["shape"]
                counts[role] += len(tensor) * height * width
            elif role == "half-scalars" and tensor.element_size() != 2:
                counts["scalars"] += tensor.numel()
            elif role in counts:
                counts[role] += tensor.numel()
        return Ledger(
            params=counts["scalars"] + math.ceil(counts["half-scalars"] / 2),
            decoded=len(self.labels),
            mask_bits=counts["mask-bits"],
            label_scalars=counts["labels"],
            step_size_scalars=int(self.step_size is not None),
            decoder_scalars=counts["decoder"],
            half_scalars=counts["half-scalars"],
        )

    @cached_property
    def storage(self) -> Storage:
        """The bytes of the stored tensors, and of what real pictures they stand for."""
        said = self.header["dataset"]
        _, height, width = said["shape"]
        count = said.get("pictures")
        return Storage(self.tensors, self.step_size, None if count is None else count * height * width)

    def as_dataset(self) -> TensorDataset:
        """(image, label) pairs, for `torch.utils.data.DataLoader`."""
        return TensorDataset(self.images, self.labels)

    def as_pictures(self, device: torch.device, labels: Tensor | None = None) -> Pictures:
        """What a student trains on, on `device`: all pictures or, of those that render one thing, one at a time.

        labels: in the place of the set's own, a row or a number for each decoded picture.
        """
        pictures = TensorPictures(self.images.to(device), (self.labels if labels is None else labels).to(device))
        parameterization, state = self._decoder
        rows = parameterization.alternatives(state)
        return pictures if rows is None else AlternativePictures(pictures, rows)

    def resized(self, side: int) -> Tensor:
        """The pictures decoded anew so that the longer side has `side` pixels, float32, in the student's input space.

        Raises `CompatibilityError` for what decodes at one resolution alone, and for whitened sets, whose whitening
        can be undone at the resolution of its fit alone.
        """
        own = self.header["dataset"]["shape"][1:]
        if self.whitened:
            raise CompatibilityError(
                f"this set is ZCA-whitened, which is undone at {own[0]} x {own[1]} pixels alone",
                hint="leave the size out",
            )
        parameterization, state = self._decoder
        height, width = (max(1, round(length * side / max(own))) for length in own)
        with torch.no_grad():
            return parameterization.resized(state, (height, width)).float()

    def pixels(self, side: int | None = None) -> Tensor:
        """Decoded pictures as uint8 (N, C, H, W): the normalisation undone, rounded and clipped to 0..255.

        side: pixels of the longer side, where it is another than the pictures were learned at (see `resized`).
        Of a whitened set the whitening is undone first; without its fit (see `fit_to`) that is a `CompatibilityError`.
        """
        images = self.images if side is None else self.resized(side)
        return (self.levels(images) * 255).round().clamp(0, 255).to(torch.uint8)

    def levels(self, images: Tensor) -> Tensor:
        """Pictures of the input space as values of [0, 1], neither rounded nor clipped; raises as `pixels` does."""
        if self.whitened and self._whitening is None:
            raise CompatibilityError(
                "this set is ZCA-whitened, and the fit that turns it into pictures is not at hand",
                hint="name the run's folder, and with --data the folder of its dataset",
            )
        mean, std = self.normalization["mean"], self.normalization["std"]
        return Preprocessing(tuple(mean), tuple(std), self._whitening).undone(images)

    def verify(self) -> None:
        """Re-derive what the header claims; the first contradiction raises `ArtefactError`."""
        if header_digest(self.header) != self.header["header_sha256"]:
            raise ArtefactError("the header's checksum differs from what it says of itself", hint=_HINT)
        if tensors_digest(self.tensors) != self.header["tensors_sha256"]:
            raise ArtefactError("the tensors' checksum differs from the header's", hint=_HINT)
        parameterization, state = self._decoder
        roles = {name: role for name, (_, role) in parameterization.to_tensors(state).items()}
        if roles != self.header["tensors"]:
            raise ArtefactError(f"the header says {self.header['tensors']} where {roles} is stored", hint=_HINT)
        claimed, counted = self.header["ledger"], self.ledger.to_mapping()
        if claimed != counted:
            raise ArtefactError(f"the header claims {claimed}, the file stores {counted}", hint=_HINT)
        if self.header.get("bytes", self.storage.stored) != self.storage.stored:
            raise ArtefactError(
                f"the header claims {self.header['bytes']} bytes, the tensors take {self.storage.stored:,}", hint=_HINT
            )
        allowed = 2 * int(self.header["dataset"]["shape"][0])
        for name, role in roles.items():
            if role == "free" and self.tensors[name].numel() > allowed:
                raise ArtefactError(
                    f"{name} counts as free with {self.tensors[name].numel():,} numbers, above {allowed}",
                    hint="only a mean and a deviation a channel are; what describes pictures is scalars or decoder",
                )
        if counted["params"] > self.header["budget"]:
            raise ArtefactError(
                f"{counted['params']:,} scalars are over the claimed budget of {self.header['budget']:,}", hint=_HINT
            )
        shape = tuple(self.header["dataset"]["shape"])
        if tuple(self.images.shape) != (counted["decoded"], *shape) or not bool(self.images.isfinite().all()):
            raise ArtefactError(f"decoding gives {tuple(self.images.shape)}, or values that are not finite", hint=_HINT)

    def _prepared(self) -> str:
        """What was done to the pictures, and what must be done to test pictures, in a line."""
        said = self.normalization
        normalised = f"normalised with mean {said['mean']} and std {said['std']}"
        if not self.whitened:
            return f"{normalised}; test pictures must be normalised alike"
        return (
            f"{normalised}, then ZCA-whitened (recipe {said['recipe']}, eps {said['eps']}, fitted to "
            f"{said['split']} of fingerprint {self.header['dataset']['fingerprint'][:16]}, fit "
            f"{said['fingerprint'][:16]}); test pictures must be whitened by the same fit, which is derived from those "
            "training pictures and is not in this file"
        )

    def card(self) -> str:
        """A page of Markdown for whoever receives the file."""
        head, ledger = self.header, self.ledger
        partial = "; ".join(f"{k}: {v}" for k, v in head["dataset"]["partial"].items())
        lines = [
            f"# {head['method']} on {head['dataset']['name']}",
            "",
            f"- {ledger.decoded} pictures of shape {tuple(head['dataset']['shape'])}, {len(self.classes)} classes "
            f"in this order: {', '.join(self.classes)}",
            f"- objective {head['objective']}, parameterization {head['parameterization']['name']} "
            f"{head['parameterization']['settings']}, {head['iterations']} iterations, preset {head['preset']}",
            f"- budget: {ledger.params:,} scalars (paper's convention), {ledger.params_strict:,} with everything "
            f"counted ({ledger.mask_bits:,} mask bits); {self.storage.stored:,} bytes"
            + (f", half precision: {self.storage.half}" if self.storage.half else ""),
            f"- pixels: {self._prepared()}",
            f"- labels: {head['labels']['kind']}{', learned' if ledger.label_scalars else ''}; "
            f"students: {head['student']}",
            f"- distilled from {head['dataset']['split']} (fingerprint {head['dataset']['fingerprint'][:16]})"
            + (f", partial: {partial}" if partial else ""),
            "",
            "```python",
            "import fredbench",
            f'synset = fredbench.load("{FILE_NAME}")  # .images, .labels, .as_dataset()',
            "```",
        ]
        return "\n".join(lines) + "\n"


def load(path: str | Path) -> Synset:
    """Open a synset file, or the one in a run's folder; `ArtefactError` says what is wrong with it."""
    file = Path(path)
    file = file / FILE_NAME if file.is_dir() else file
    if not file.is_file():
        raise ArtefactError(f"no synset at {file}", hint="give a run's folder or a synset.safetensors")
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(_KEY)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ArtefactError(f"{file} cannot be read: {error}", hint=_HINT) from error
    if text is None:
        raise ArtefactError(f"{file} is safetensors but no synset: it has no fredbench header", hint=_HINT)
    try:
        header = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArtefactError(f"{file} has an unreadable header: {error}", hint=_HINT) from error
    if not isinstance(header, dict):
        raise ArtefactError(f"{file} has a header that is no JSON object", hint=_HINT)
    return _checked(Synset(tensors, header), file)


def _checked(synset: Synset, file: Path) -> Synset:
    head = synset.header
    if head.get("format") != FORMAT:
        raise ArtefactError(f"{file} is no {FORMAT} file", hint=_HINT)
    if head.get("format_version") != FORMAT_VERSION:
        raise ArtefactError(
            f"{file} is of format version {head.get('format_version')}, this fredbench reads {FORMAT_VERSION}",
            hint="use the fredbench version that wrote it",
        )
    required = {"dataset", "method", "objective", "parameterization", "normalization", "labels", "student", "tensors"}
    required |= {"ledger", "tensors_sha256", "header_sha256", "budget", "iterations", "preset"}
    missing = sorted(required - head.keys())
    if missing:
        raise ArtefactError(f"{file}: the header lacks {', '.join(missing)}", hint=_HINT)
    if not _is_well_formed(head):
        raise ArtefactError(f"{file}: the header does not describe a set of pictures", hint=_HINT)
    if set(head["tensors"]) != set(synset.tensors):
        raise ArtefactError(f"{file}: the header lists other tensors than the file holds", hint=_HINT)
    return synset


def _is_well_formed(head: Mapping[str, Any]) -> bool:
    """Whether what the properties of a synset read has the form they expect."""
    names = ("dataset", "parameterization", "normalization", "tensors", "ledger", "student", "labels")
    tables = [head[name] for name in names]
    if not all(isinstance(table, dict) for table in tables):
        return False
    dataset, storage, statistics, *_ = tables
    if not _is_known_preparation(statistics):
        return False
    shape, classes, mean, std = (
        table.get(name)
        for table, name in ((dataset, "shape"), (dataset, "classes"), (statistics, "mean"), (statistics, "std"))
    )
    lists = (shape, classes, mean, std)
    return (
        all(isinstance(values, list) for values in lists)
        and [type(side) for side in shape] == [int] * 3
        and all(isinstance(name, str) for name in classes)
        and len(mean) == len(std) == shape[0]
        and all(isinstance(value, (int, float)) for value in (*mean, *std))
        and isinstance(storage.get("name"), str)
        and isinstance(storage.get("settings"), dict)
        and isinstance(head["labels"].get("settings", {}), dict)
        and isinstance(head["budget"], int)
        and isinstance(dataset.get("pictures"), (int, type(None)))
        and isinstance(head.get("step_size"), (int, float, type(None)))
    )


def _is_known_preparation(said: Mapping[str, Any]) -> bool:
    """Whether the header's `normalization` names a preparation that this version has, and all of it."""
    if said.get("kind") == "mean-std":
        return True
    return (
        said.get("kind") == "zca"
        and said.get("recipe") in RECIPES
        and type(said.get("eps")) in {int, float}
        and said["eps"] > 0
        and isinstance(said.get("fingerprint"), str)
        and said.get("split") in {"train", "train without validation"}
    )
