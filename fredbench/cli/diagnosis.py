"""What `doctor` looks at: versions, devices, data, space. Nothing is fetched, decoded or left behind."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Literal

from fredbench.datasets import DATASETS
from fredbench.datasets.catalogue import find_source
from fredbench.foundation.environment import FLOORS, PACKAGES, below_floor, commit, library_versions
from fredbench.foundation.errors import FredbenchError
from fredbench.suites.corruption import suite_named, suite_names

__all__ = ["Finding", "State", "examine"]

State = Literal["ok", "note", "warning", "broken"]
_GIB = 2**30
_LEAST_DISK, _LEAST_MEMORY = 2 * _GIB, 2 * _GIB
# Modules whose import proves more than an installed version does: shared libraries, compilers, packaged textures.
_ESSENTIAL = ("torch", "torchvision", "cv2", "numba", "imagecorruptions", "timm", "matplotlib", "safetensors")
# Packages that overwrite each other's files when both are installed.
_RIVALS = (("imagecorruptions", "imagecorruptions-imaug"), ("opencv-python", "opencv-python-headless"))


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `broken` stops the main job; `fix` says how to mend what is not ok."""

    topic: str
    found: str
    state: State = "ok"
    fix: str = ""


def examine(store: Path, data: Path) -> list[Finding]:
    """Everything, in reading order: program, packages, machine, space, data."""
    return [
        *_program(),
        *_packages(),
        *_devices(),
        *_space(store, data),
        *_suites(data),
        *_datasets(data),
    ]


def _program() -> Iterator[Finding]:
    versions = library_versions(())
    yield Finding("fredbench", versions["fredbench"] + (f", commit {commit()}" if commit() else ""))
    enough = sys.version_info >= (3, 11)
    yield Finding(
        "python", versions["python"], "ok" if enough else "broken", "" if enough else "use Python 3.11 or newer"
    )
    yield Finding("platform", platform.platform())


def _packages() -> Iterator[Finding]:
    found = {**_opencv(), **library_versions(PACKAGES)}
    for package in PACKAGES:
        present = package in found
        # OpenCV comes under several names; importing cv2 below is what counts.
        if not present and not package.startswith("opencv"):
            yield Finding(package, "not installed", "broken", f"pip install {package}")
        elif present and below_floor(package, found[package]):
            needed = f"{package}>={FLOORS[package]}"
            yield Finding(package, f"{found[package]}, too old", "broken", f"pip install '{needed}'")
        elif present:
            yield Finding(package, found[package])
    for module in _ESSENTIAL:
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            yield Finding(
                f"import {module}", " ".join(str(error).split())[:160], "broken", f"reinstall the package of {module}"
            )
    installed = {(item.metadata["Name"] or "").lower() for item in distributions()}
    for pair in _RIVALS:
        if installed.issuperset(pair):
            yield Finding(
                " + ".join(pair),
                "both installed, they overwrite each other",
                "warning",
                f"pip uninstall {pair[0]}, then reinstall {pair[1]}",
            )
    for package, what in (("pytest", "the tests"), ("beartype", "the tests")):
        if package not in installed:
            yield Finding(package, "not installed", "note", f"only for {what}: pip install 'fredbench[test]'")


def _opencv() -> dict[str, str]:
    """OpenCV's version under its usual package's name, whichever of its packages brought it."""
    try:
        return {"opencv-python": str(importlib.import_module("cv2").__version__)}
    except (ImportError, OSError, AttributeError):
        return {}  # not importable: said below


def _devices() -> Iterator[Finding]:
    import torch

    cores = os.cpu_count() or 1
    yield Finding("cores", f"{cores}, torch uses {torch.get_num_threads()} threads (--threads, OMP_NUM_THREADS)")
    yield from _threads()
    yield _bfloat16()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        free, total = torch.cuda.mem_get_info(index)
        yield Finding(f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {_size(free)} of {_size(total)} free")
    if not count:
        fix = "fine for --preset quick; for paper-scale runs install a CUDA build of torch on a machine with a GPU"
        yield Finding("accelerator", "none that torch can use", "note", fix)


# Below this share of the time with one thread, all threads are worth having.
_WORTH = 0.9


def _threads() -> Iterator[Finding]:
    """How many threads are the default, and whether on this machine, now, that is the quickest.

    The default does not follow the load: another number of threads gives other bits, so that a command that was
    stopped would not be found again by itself.
    """
    import torch

    from fredbench.training.timing import pass_seconds

    usual = torch.get_num_threads()
    if usual == 1:
        yield Finding("threads", f"1; a training pass: {1000 * pass_seconds(1):.0f} ms")
        return
    alone, together = pass_seconds(1), pass_seconds(usual)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    measured = f"{1000 * alone:.0f} ms with 1 thread, {1000 * together:.0f} with {usual}"
    said = f"{usual}, as torch takes; a training pass: {measured}{load}"
    slow = together > _WORTH * alone
    fix = "--threads 1 is as quick here now (a run of its own), and leaves the other cores to other runs"
    yield Finding("threads", said, "note" if slow else "ok", fix if slow else "")


def _bfloat16() -> Finding:
    """Whether the reduced precision that can be asked for is worth it here."""
    import torch

    from fredbench.foundation.device import multiplies_bfloat16
    from fredbench.training.timing import pass_seconds

    known = multiplies_bfloat16()
    if not known:
        there = "not known of this processor" if known is None else "no products of it here"
        return Finding("bfloat16", f"{there}: arithmetic=fused-bf16 is for processors that multiply it")
    threads = torch.get_num_threads()
    full, reduced = pass_seconds(threads), pass_seconds(threads, "fused-bf16")
    said = f"a training pass: {1000 * full:.0f} ms in float32, {1000 * reduced:.0f} with arithmetic=fused-bf16"
    return Finding("bfloat16", said)


def _space(store: Path, data: Path) -> Iterator[Finding]:
    for topic, folder in (("store", store), ("data folder", data)):
        place = _existing(folder)
        free = shutil.disk_usage(place).free
        tight = free < _LEAST_DISK
        there = "" if folder.is_dir() else ", not made yet"
        fix = f"free some space, or name another place with {'--store' if topic == 'store' else '--data'}"
        yield Finding(topic, f"{folder}{there}, {_size(free)} free", "warning" if tight else "ok", fix if tight else "")
    refusal = _write_refusal(_existing(store))
    yield Finding(
        "writing to the store", refusal or "allowed", "broken" if refusal else "ok",
        "name a writable folder with --store (FREDBENCH_STORE)" if refusal else "",
    )  # fmt: skip
    memory = _free_memory()
    if memory is not None:
        tight = memory < _LEAST_MEMORY
        yield Finding(
            "memory", f"{_size(memory)} free", "warning" if tight else "ok", "close other programs" if tight else ""
        )


def _existing(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _write_refusal(folder: Path) -> str:
    """Why no file can be written in `folder`, or nothing."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"fredbench")
            file.flush()
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return ""


def _free_memory() -> int | None:
    """Bytes that can be taken without swapping, where the system says so."""
    info = Path("/proc/meminfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _suites(data: Path) -> Iterator[Finding]:
    try:
        suites = [suite_named(name) for name in suite_names()]
    except (FredbenchError, OSError) as error:
        yield Finding("suites", str(error), "broken", "reinstall fredbench")
        return
    yield Finding(
        "suites",
        ", ".join(suite.name for suite in suites),
        "ok" if suites else "broken",
        "" if suites else "reinstall fredbench",
    )
    for suite in suites:
        there = [name for name in suite.official if (data / name).is_dir()]
        if there:
            yield Finding(f"published arrays of {suite.name}", f"{data / there[0]}, used in place of generating")


def _datasets(data: Path) -> Iterator[Finding]:
    absent: dict[str, list[str]] = {}
    for name in DATASETS:
        family = DATASETS.get(name)
        try:
            source = find_source(family, data, family.geometry)
        except FredbenchError as error:
            yield Finding(f"data: {name}", error.message, "warning", error.hint)
            continue
        if source is None:
            absent.setdefault("" if family.remote else family.provide, []).append(name)
            continue
        partial = "; ".join(f"{split}: {what}" for split, what in source.partial.items())
        where = f" at {source.path}" if source.path else ""
        found = f"{source.form}{where}" + (f", partial ({partial})" if partial else "")
        fix = "numbers on it are marked as partial" if partial else ""
        yield Finding(f"data: {name}", found, "note" if partial else "ok", fix)
    for provide, names in absent.items():
        fetching = "; ".join(f"fredbench data fetch {name}" for name in names)
        yield Finding(f"data: {', '.join(names)}", "not there", "note", provide or fetching)


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"
