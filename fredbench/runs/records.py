"""What is said of a finished set: the artefact's header, and the record that marks its run as finished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fredbench.datasets import Dataset
from fredbench.foundation.config import from_mapping
from fredbench.foundation.environment import library_versions
from fredbench.foundation.files import sha256_of
from fredbench.parameterizations import LabelConfig
from fredbench.parameterizations.budget import Ledger
from fredbench.runs.preprocessing import described, training_count
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder

__all__ = ["description", "record"]


def description(
    spec: Spec,
    dataset: Dataset,
    *,
    iterations: int,
    step_size: float | None = None,
    normalization: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The header of a set of `spec` after `iterations`, but for what its storage says itself (see `Synset.pack`).

    normalization: where it is not the one that the spec's section `data` describes.
    """
    said = dict(normalization or described(spec.data_settings, dataset, spec.split))
    return {
        "dataset": {
            # Not the name: that of a folder of pictures holds its path.
            "name": dataset.title,
            "fingerprint": spec.fingerprint,
            "classes": list(dataset.classes),
            "shape": [dataset.channels, *dataset.size],
            "partial": dict(dataset.partial),
            "split": spec.split,
            "pictures": training_count(dataset, spec.split),
        },
        "method": spec.method,
        "objective": spec.objective,
        "objective_settings": dict(spec.objective_settings),
        "parameterization": {"name": spec.parameterization, "settings": dict(spec.parameterization_settings)},
        "network": spec.network,
        "ipc": spec.ipc,
        "budget": spec.budget,
        "iterations": iterations,
        "preset": spec.preset,
        "seed": spec.seed,
        "normalization": said,
        "pixel_space": "whitened" if said["kind"] == "zca" else "normalized",
        "labels": _labels(spec),
        "step_size": step_size,
        "student": spec.to_mapping()["student"],
        "spec_sha256": spec.digest(),
        "versions": library_versions(("torch", "numpy", "safetensors")),
    }


def _labels(spec: Spec) -> dict[str, Any]:
    """What the header says of labels; a set of hard ones says what it always said."""
    settings = dict(spec.label_settings)
    if not settings:
        return {"kind": "hard", "learned": False, "order": "class"}
    config = from_mapping(LabelConfig, settings, where="labels")
    return {"kind": config.form, "learned": config.learned, "order": "class", "settings": settings}


def record(spec: Spec, folder: RunFolder, ledger: Ledger, *, iterations: int, seconds: float) -> dict[str, Any]:
    """The contents of result.json for the synset that lies in `folder`."""
    return {
        "method": spec.method,
        "dataset": spec.dataset,
        "iterations": iterations,
        "ledger": ledger.to_mapping(),
        "budget": spec.budget,
        "synset_sha256": sha256_of(folder.synset_file),
        "seconds": round(seconds, 3),
        "device": spec.device,
    }
