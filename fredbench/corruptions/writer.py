"""Writing whole corrupted sets in the layout of CIFAR-10-C: one .npy a corruption, severity-major.

Every file is written under a temporary name and renamed when complete. A finished file has a record (digest of its
bytes and of everything that decides them); a rerun keeps files whose record and bytes agree with what is asked, and
writes the others.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from fredbench.corruptions.engine import checked_pictures
from fredbench.corruptions.jobs import Job, Setup
from fredbench.corruptions.manifest import Request, claim_folder, finish_set, intact_files, notes_on, write_record
from fredbench.corruptions.reference import check_request
from fredbench.corruptions.severities import KNOWN, NAMES, EngineName, check_shape, family_of, parameters
from fredbench.corruptions.textures import FrostSource, load_textures
from fredbench.corruptions.workers import available_processors, run_jobs
from fredbench.foundation.errors import StorageError, UsageError
from fredbench.foundation.files import atomic_path, sha256_of, storage_errors
from fredbench.foundation.progress import Progress, say

__all__ = ["check_space", "checked_labels", "write_set"]

# Output bytes of one job: enough work to hide the hand-over, little enough to keep the workers small.
_JOB_BYTES = 8_000_000
# Below this many pixels of output a second process costs more than it saves.
_PIXELS_A_WORKER = 20_000_000


def _ordered(
    names: Iterable[str], severities: Iterable[int], profile: str, size: tuple[int, int]
) -> tuple[list[str], list[int]]:
    """Checked names in table order, and rising severities; both without repetition."""
    wanted, levels = set(names), set(severities)
    for name in wanted:
        for severity in levels:
            parameters(family_of(profile, *size), name, severity)
    if not wanted or not levels:
        raise UsageError("a corrupted set needs a corruption and a severity", hint="leave both out for all 15 × 5")
    check_shape(wanted, *size)
    return [name for name in KNOWN if name in wanted], sorted(levels)


def checked_labels(labels: Shaped[np.ndarray, ...], count: int) -> Shaped[np.ndarray, " n"]:
    """Labels as uint8, the archive's type, where they fit."""
    labels = np.asarray(labels)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise UsageError(
            f"labels must be {count} integers, one a picture, not {labels.dtype} of shape {labels.shape}",
            hint="pass the clean test split's labels",
        )
    small = count == 0 or (labels.min() >= 0 and labels.max() <= 255)
    return labels.astype(np.uint8 if small else np.int64)


def check_space(out: Path, needed: int) -> None:
    """StorageError where folder `out` has less than `needed` bytes left."""
    free = shutil.disk_usage(out).free
    if free < needed:
        raise StorageError(
            f"the set takes {needed / 1e9:.1f} GB and {out} has {free / 1e9:.1f} GB left",
            hint="choose another --out, name fewer of them, or give --limit",
        )


@dataclass
class _File:
    """A set's file while it is being written."""

    name: str
    path: Path
    jobs_left: int
    stack: contextlib.ExitStack


def _header(shape: tuple[int, ...]) -> bytes:
    with tempfile.SpooledTemporaryFile() as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.seek(0)
        return file.read()


def _open_file(
    out: Path, name: str, severities: Sequence[int], shape: tuple[int, ...], cleanup: contextlib.ExitStack
) -> tuple[_File, list[Job]]:
    """A temporary file of full size with its header, and the jobs that fill it."""
    n, h, w, c = shape
    stack = contextlib.ExitStack()
    temporary = stack.enter_context(atomic_path(out / f"{name}.npy"))
    cleanup.push(stack)
    header = _header((len(severities) * n, h, w, c))
    with storage_errors(temporary), open(temporary, "wb") as file:
        file.write(header)
        file.truncate(len(header) + len(severities) * n * h * w * c)
    step = max(1, _JOB_BYTES // (h * w * c))
    jobs = [
        Job(name, severity, start, min(start + step, n), str(temporary), len(header) + (row * n + start) * h * w * c)
        for row, severity in enumerate(severities)
        for start in range(0, n, step)
    ]
    return _File(name, temporary, len(jobs), stack), jobs


@contextlib.contextmanager
def _shared(out: Path, arrays: Mapping[str, Shaped[np.ndarray, ...]]) -> Iterator[dict[str, str]]:
    """Arrays as temporary .npy files that worker processes map: their pages are shared, not copied."""
    paths: dict[str, Path] = {}
    try:
        with storage_errors(out):
            for name, array in arrays.items():
                with tempfile.NamedTemporaryFile(prefix=f".{name}.", suffix=".part", dir=out, delete=False) as file:
                    paths[name] = Path(file.name)
                    np.save(file, array)
        yield {name: str(path) for name, path in paths.items()}
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)


def _write_files(
    out: Path, request: Request, names: Sequence[str], pictures: UInt8[np.ndarray, "n h w c"],
    numbers: Shaped[np.ndarray, " n"], frost: str, workers: int,
) -> None:  # fmt: skip
    """Write the named files, each with its record."""
    n = len(pictures)
    pixels = len(names) * len(request.severities) * n * pictures.shape[1] * pictures.shape[2]
    label = f"corrupting {n} pictures, {len(names)} corruptions"
    with contextlib.ExitStack() as cleanup:
        shared = cleanup.enter_context(_shared(out, {"pictures": pictures, "numbers": numbers}))
        setup = Setup(
            shared["pictures"], shared["numbers"], request.profile, request.seed, frost, request.archive_jpeg,
            request.engine,
        )  # fmt: skip
        files: dict[str, _File] = {}
        firsts: list[Job] = []
        others: list[Job] = []
        for name in names:
            files[name], own = _open_file(out, name, request.severities, pictures.shape, cleanup)
            firsts.append(own[0])
            others += own[1:]
        total = len(names) * len(request.severities) * n
        progress = cleanup.enter_context(Progress(label, total, unit="pictures"))
        useful = workers if pixels > _PIXELS_A_WORKER or request.engine != "fredbench" else 1
        # One job of each corruption first: on a first run the workers then compile different loops, not the same.
        running = run_jobs(setup, firsts + others, useful)
        cleanup.callback(running.close)  # type: ignore[attr-defined]
        for job in running:
            progress.advance(job.stop - job.start, note=job.name)
            file = files[job.name]
            file.jobs_left -= 1
            if file.jobs_left == 0:
                digest = sha256_of(file.path)
                file.stack.close()
                write_record(out, request, job.name, digest)


def write_set(
    images: Shaped[np.ndarray, ...], labels: Shaped[np.ndarray, ...], out: Path, *, profile: str = "cifar",
    seed: int = 0, corruptions: Iterable[str] = NAMES, severities: Iterable[int] = (1, 2, 3, 4, 5),
    workers: int | None = None, indices: Shaped[np.ndarray, ...] | Sequence[int] | None = None,
    frost: FrostSource = "files", archive_jpeg: bool = False, engine: EngineName = "fredbench",
    source: Mapping[str, Any] | None = None, total: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write corrupted copies of a test set to folder `out` and return its manifest.

    `out/<corruption>.npy` holds uint8 (S·N, H, W, 3), for grey pictures (S·N, H, W, 1), severity-major in rising
    severity; `out/labels.npy` the N labels S times; `out/manifest.json` says how it was made, with a SHA-256 per file.
    `indices` are the pictures' numbers in their set (for subsets), `total` how many that set holds (default: these),
    `workers` the processes (default: the processors), `source` goes into the manifest as it is (name, split and
    fingerprint of the clean set). The bytes depend on none of workers, order or earlier interruptions.

    A set that a reader of the archive's layout would take for another (some severities, some pictures, another split,
    constants at a size below theirs) carries its notes in the manifest, in `out/NOTE.md` and on stderr.

    Raises UsageError, UnknownNameError, DataError (no frost textures), StorageError, CompatibilityError.
    """
    out = Path(out)
    pictures = checked_pictures(images, profile)
    names, levels = _ordered(corruptions, severities, profile, (pictures.shape[1], pictures.shape[2]))
    if not len(pictures):
        raise UsageError("an empty set cannot be corrupted", hint="pass at least one picture")
    numbers = np.arange(len(pictures)) if indices is None else np.asarray(indices, np.int64)
    if numbers.shape != (len(pictures),):
        raise UsageError(f"{len(numbers)} indices for {len(pictures)} pictures", hint="give one index a picture")
    labels = checked_labels(labels, len(pictures))
    if engine == "imagecorruptions":
        check_request(profile, names)
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers cannot work", hint="use --workers 1 or more")
    texture = None
    if "frost" in names and engine == "fredbench":
        texture = load_textures(frost, family_of(profile, *pictures.shape[1:3]), *pictures.shape[1:3]).source
    request = Request.of(
        pictures, numbers, profile=profile, seed=seed, severities=levels, archive_jpeg=archive_jpeg, engine=engine,
        frost=texture,
    )  # fmt: skip
    notes = notes_on(request, str((source or {}).get("split", "test")), total or len(pictures), names)
    for note in notes.values():
        say(f"note: {out}: {note}")
    with claim_folder(out):
        kept = intact_files(out, request, names)
        missing = [name for name in names if name not in kept]
        if kept:
            say(f"{out}: finished files kept: {', '.join(kept)}")
        if missing:
            check_space(out, len(missing) * len(levels) * pictures.nbytes)
            location = str(frost) if frost in ("files", "procedural") else f"folder:{Path(frost).resolve()}"
            _write_files(out, request, missing, pictures, numbers, location, workers or available_processors())
        return finish_set(out, request, np.tile(labels, len(levels)), dict(source or {}), notes)
