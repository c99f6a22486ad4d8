"""Writing perturbation sequences in the layout of CIFAR-10-P: one .npy a perturbation, uint8 (N, T, H, W, C).

Every file is written under a temporary name and renamed when complete; the manifest then names it, with a digest of
its bytes and of all that decides them, so that a rerun keeps what is there and makes the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Shaped, UInt8

from fredbench.corruptions.engine import checked_pictures, numbered
from fredbench.corruptions.libraries import library_versions
from fredbench.corruptions.manifest import array_digest
from fredbench.corruptions.perturbing import perturb
from fredbench.corruptions.sequences import SEQUENCES, own_sequences, sequence_named
from fredbench.corruptions.writer import check_space, checked_labels
from fredbench.foundation.errors import UsageError
from fredbench.foundation.files import atomic_path, digest_of, sha256_of, storage_errors, write_json
from fredbench.foundation.locks import claimed
from fredbench.foundation.progress import Progress, say

__all__ = ["write_sequences"]

_FORMAT: Final = "fredbench perturbation sequences 1"
# Pixels at a time, some tens of megabytes with all their frames.
_AT_ONCE: Final = 256 * 32 * 32


def write_sequences(
    images: Shaped[np.ndarray, ...], labels: Shaped[np.ndarray, ...], out: Path, *, names: Iterable[str] = SEQUENCES,
    seed: int = 0, indices: Shaped[np.ndarray, ...] | Sequence[int] | None = None,
    source: Mapping[str, Any] | None = None, total: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write sequences of pictures (uint8, as for `perturb`) to folder `out` and return its manifest.

    `out/<perturbation>.npy` holds uint8 (N, T, H, W, C), `out/labels.npy` the N labels, `out/manifest.json` how they
    were made and a SHA-256 a file. `indices` are the pictures' numbers in their set, `total` how many that holds,
    `source` goes into the manifest as it is. Files that are there are kept where they are what is asked for.

    Raises UnknownNameError; UsageError for a folder that holds other arrays; StorageError.
    """
    out, wanted = Path(out), set(names)
    for name in wanted:
        sequence_named(name)
    pictures = checked_pictures(images, "cifar")
    if not len(pictures) or not wanted:
        raise UsageError("no picture or no perturbation: nothing to write", hint="leave both out for all of them")
    numbers, archived = numbered(indices, len(pictures)), checked_labels(labels, len(pictures))
    made = {
        "seed": seed, "pictures": len(pictures), "size": list(pictures.shape[1:]),
        "pictures_sha256": digest_of([array_digest(pictures), numbers.tolist(), archived.tolist()]),
        "versions": dict(library_versions("fredbench")),
    }  # fmt: skip
    notes = _notes(pictures, total or len(pictures))
    for note in notes:
        say(f"note: {out}: {note}")
    with claimed(out, "writing sequences to", "wait for it, or choose another --out"):
        files = _kept(out, made)
        missing = [name for name in SEQUENCES if name in wanted and f"{name}.npy" not in files]
        check_space(out, sum(SEQUENCES[name].frames for name in missing) * pictures.nbytes)
        manifest = {"format": _FORMAT, **made, "notes": notes, "source": dict(source or {}), "files": files}
        # First of all: what a killed run leaves behind is then known for its own.
        write_json(out / "manifest.json", manifest)
        with atomic_path(out / "labels.npy") as temporary, open(temporary, "wb") as file:
            np.save(file, archived)
        files["labels.npy"] = {"sha256": sha256_of(out / "labels.npy")}
        with Progress("perturbing", len(missing) * len(pictures), unit="pictures") as progress:
            for name in missing:
                files[f"{name}.npy"] = {
                    "sha256": _written(out / f"{name}.npy", name, pictures, numbers, seed, progress),
                    "frames": SEQUENCES[name].frames,
                    "compared_with": SEQUENCES[name].reference,
                }
                write_json(out / "manifest.json", manifest)
        write_json(out / "manifest.json", manifest)
    return manifest


def _notes(pictures: UInt8[np.ndarray, "n h w c"], total: int) -> list[str]:
    found = []
    if len(pictures) < total:
        found.append(f"{len(pictures)} of {total} pictures, not the whole split")
    said = own_sequences((pictures.shape[1], pictures.shape[2]))
    return [*found, said] if said else found


def _kept(out: Path, made: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of the files that are there and intact, of the same request; UsageError for a folder of another."""
    file = out / "manifest.json"
    others = sorted(path.name for path in out.glob("*.npy"))
    if not file.exists() and not others:
        return {}
    try:
        manifest = json.loads(file.read_text())
    except (OSError, ValueError):
        manifest = {}
    wanted = {"format": _FORMAT, **made}
    if not isinstance(manifest, dict) or any(manifest.get(key) != value for key, value in wanted.items()):
        raise UsageError(
            f"{out} holds {[*others, file.name][0]}, which is not of these pictures, this seed and these versions",
            hint="choose an empty folder for --out",
        )
    return {
        name: entry for name, entry in manifest.get("files", {}).items()
        if (out / name).is_file() and sha256_of(out / name) == entry["sha256"]
    }  # fmt: skip


def _written(
    path: Path, name: str, pictures: UInt8[np.ndarray, "n h w c"], numbers: Shaped[np.ndarray, " n"], seed: int,
    progress: Progress,
) -> str:  # fmt: skip
    """Make one file; its digest."""
    shape = (len(pictures), SEQUENCES[name].frames, *pictures.shape[1:])
    with atomic_path(path) as temporary, storage_errors(temporary):
        with open(temporary, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            step = max(1, _AT_ONCE // (pictures.shape[1] * pictures.shape[2]))
            for start in range(0, len(pictures), step):
                part = slice(start, start + step)
                file.write(perturb(pictures[part], name, seed=seed, indices=numbers[part]).data)
                progress.advance(len(pictures[part]), note=name)
        return sha256_of(temporary)
