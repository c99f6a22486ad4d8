"""Golden vectors: reading a file of them, comparing within a tolerance, and altering a copy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
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


def alterations(
    vectors: Vectors, size: float = 1e-7, *, seen: Mapping[str, np.ndarray] | None = None
) -> list[tuple[str, Vectors]]:
    """For each key: the vectors with one entry of it changed, far beyond any tolerance but not absurdly.

    size: of the change, relative to the entry. seen: where entries of a key have any effect, shaped to fit it; the
    changed one is the largest of these.
    """
    found = []
    for key, array in vectors.items():
        changed = array.copy()
        if array.dtype.kind == "U":
            # Another digit in place of each, so that numbers in text stay numbers.
            other = str.maketrans("123456789", "234567898")
            changed = np.asarray(np.flip(array) if array.ndim else str(array).translate(other))
            found.append((key, {**vectors, key: changed}))
            continue
        weight = np.abs(array.astype(np.float64)) * (seen or {}).get(key, np.float64(1))
        place = np.unravel_index(weight.argmax(), array.shape)
        if array.dtype.kind == "f":
            changed[place] += size * max(abs(float(array[place])), 1e-3)
        else:
            changed[place] = changed[place] - 1 if changed[place] else 1
        found.append((key, {**vectors, key: changed}))
    return found


def unnoticed(
    vectors: Vectors,
    passes: Callable[[str, Vectors], None],
    inputs: Collection[str],
    *,
    seen: Mapping[str, np.ndarray] | None = None,
) -> set[str]:
    """Keys of which `passes(key, vectors with it altered)` holds.

    What was stored as a result must be noticed at the smallest change. How much an input shows depends on its numbers:
    one that does not show at once has to at a change of a thousandth.
    """
    small = {key for key, altered in alterations(vectors, seen=seen) if holds(passes, key, altered)}
    large = dict(alterations(vectors, 1e-3, seen=seen)) if small & set(inputs) else {}
    return {key for key in small if key not in inputs or holds(passes, key, large[key])}


def holds(check: object, *arguments: object) -> bool:
    """Whether `check(*arguments)` passes; only a failed assertion counts as not."""
    assert callable(check)
    try:
        check(*arguments)
    except AssertionError:
        return False
    return True
