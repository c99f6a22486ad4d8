"""Golden vectors: reading a file of them, comparing within a tolerance, and altering a copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Vectors = dict[str, np.ndarray]


def read(file: Path) -> Vectors:
    with np.load(file, allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def write(file: Path, vectors: Vectors) -> None:
    np.savez(file, **vectors)


def tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    found = torch.from_numpy(np.ascontiguousarray(array))
    return found.to(dtype) if found.is_floating_point() else found


def distance(found: Tensor | np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, relative to the largest absolute entry of `wanted`."""
    found = np.asarray(found.detach() if isinstance(found, Tensor) else found, dtype=np.float64)
    assert found.shape == wanted.shape, f"{found.shape} against {wanted.shape}"
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-300))


def close(found: Tensor | np.ndarray, wanted: np.ndarray, tolerance: float, what: str) -> None:
    off = distance(found, wanted)
    assert off <= tolerance, f"{what}: off by {off:.3g}, more than {tolerance:g}"


def close_in_norm(found: Tensor, wanted: np.ndarray, tolerance: float, what: str) -> None:
    off = float(np.linalg.norm(np.asarray(found.detach()) - wanted) / np.linalg.norm(wanted))
    assert off <= tolerance, f"{what}: relative L2 error {off:.3g}, more than {tolerance:g}"


def alterations(vectors: Vectors) -> list[tuple[str, Vectors]]:
    """For each key: the vectors with one entry of it changed, far beyond any tolerance but not absurdly."""
    found = []
    for key, array in vectors.items():
        changed = array.copy()
        if array.dtype.kind == "U":
            changed = np.asarray(np.flip(array) if array.ndim else str(array).replace("1", "2"))
            found.append((key, {**vectors, key: changed}))
            continue
        place = np.unravel_index(np.abs(array.astype(np.float64)).argmax(), array.shape)
        if array.dtype.kind == "f":
            changed[place] += 1e-7 * max(abs(float(array[place])), 1e-3)
        else:
            changed[place] = changed[place] - 1 if changed[place] else 1
        found.append((key, {**vectors, key: changed}))
    return found


def holds(check: object, *arguments: object) -> bool:
    """Whether `check(*arguments)` passes; only a failed assertion counts as not."""
    assert callable(check)
    try:
        check(*arguments)
    except AssertionError:
        return False
    return True
