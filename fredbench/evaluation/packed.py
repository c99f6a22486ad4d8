"""Predictions of a table's students as one small file, so that another set is compared with them picture by picture.

A safetensors file: for each row and domain the predicted classes, uint8 (uint16 above 256 classes), students ×
severities × pictures, and the labels of each domain. The header says which pictures these are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fredbench.evaluation.aggregation import Outcomes
from fredbench.evaluation.students import Predictions
from fredbench.foundation.errors import ArtefactError
from fredbench.foundation.files import canonical_json, write_bytes

__all__ = ["Packed", "PackedRow", "packed", "unpacked"]

_KEY, _FORMAT, _VERSION = "fredbench", "fredbench-predictions", 1


@dataclass(frozen=True)
class PackedRow:
    """What a row of predictions is of."""

    name: str
    run: str
    network: str
    protocol: str
    preset: str
    ipc: int
    seed: int
    params: int
    students: int


@dataclass(frozen=True)
class Packed:
    """Rows and their outcomes by domain. domains: for each the digest of what determines its pictures.

    scoring: how the suite was asked for (severities, limit, corrupted_limit).
    """

    suite: str
    dataset: str
    scoring: Mapping[str, Any]
    domains: Mapping[str, str]
    rows: tuple[PackedRow, ...]
    outcomes: Mapping[tuple[int, str], Outcomes]


def packed(found: Packed, file: Path, *, classes: int) -> int:
    """Write the file; its size in bytes."""
    kind = torch.uint8 if classes <= 256 else torch.uint16
    tensors: dict[str, Tensor] = {}
    for (row, domain), outcomes in found.outcomes.items():
        predicted = torch.stack([each.predicted for each in outcomes.predictions])
        tensors[f"{row}/{domain}"] = predicted.to(kind).contiguous()
        tensors[f"labels/{domain}"] = torch.from_numpy(outcomes.labels).to(kind)
    head = {
        "format": _FORMAT, "format_version": _VERSION, "suite": found.suite, "dataset": found.dataset,
        "scoring": dict(found.scoring), "domains": dict(found.domains), "rows": [asdict(row) for row in found.rows],
    }  # fmt: skip
    data = safetensors.torch.save(tensors, metadata={_KEY: canonical_json(head)})
    write_bytes(file, data)
    return len(data)


def unpacked(file: Path) -> Packed:
    """Read a file of predictions; `ArtefactError` for what is none, or lacks a domain of a row."""
    hint = "pack one: fredbench compare --pack FILE SUITE"
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            head = json.loads((opened.metadata() or {}).get(_KEY, "null"))
            tensors = {name: opened.get_tensor(name).to(torch.int64) for name in opened.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ArtefactError(f"{file} cannot be read: {error}", hint=hint) from error
    if not isinstance(head, dict) or (head.get("format"), head.get("format_version")) != (_FORMAT, _VERSION):
        raise ArtefactError(f"{file} is no file of predictions of format version {_VERSION}", hint=hint)
    try:
        rows = tuple(PackedRow(**row) for row in head["rows"])
        outcomes = {
            (number, domain): _outcomes(tensors[f"{number}/{domain}"], tensors[f"labels/{domain}"])
            for number in range(len(rows))
            for domain in head["domains"]
        }
        return Packed(head["suite"], head["dataset"], head["scoring"], head["domains"], rows, outcomes)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ArtefactError(f"{file} is no whole file of predictions: {error}", hint=hint) from error


def _outcomes(predicted: Tensor, labels: Tensor) -> Outcomes:
    if predicted.ndim != 3 or predicted.shape[2] != len(labels):
        raise ValueError(f"predictions of shape {tuple(predicted.shape)} are not of {len(labels)} pictures")
    # Confidences are left out of the file: comparisons are of what was predicted.
    blank = torch.full(predicted.shape[1:], np.nan)
    return Outcomes([Predictions(one.to(torch.int16), blank, blank) for one in predicted], labels.numpy())
