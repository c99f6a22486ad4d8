"""What a result was computed with: versions, device, commit. Kept beside artefacts, never inside them."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fredbench

__all__ = [
    "DATASET_PATH", "FLOORS", "PACKAGES", "below_floor", "commit", "environment", "instruction_sets",
    "library_versions", "without_places",
]  # fmt: skip

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "imagecorruptions-imaug",
    "opencv-python",
    "numba",
    "pillow",
    "safetensors",
    "scikit-learn",
    "timm",
    "pandas",
    "click",
)

DATASET_PATH = "dataset_path"
"""Key of environment.json: where the pictures of a run lay, as an absolute path."""

FLOORS = {
    "click": "8.1", "imagecorruptions-imaug": "1.1.5", "numba": "0.61", "numpy": "1.26", "opencv-python": "4.7",
    "pandas": "2.2", "pillow": "10.3", "safetensors": "0.4.3", "scikit-learn": "1.4", "scipy": "1.12", "timm": "1.0",
    "torch": "2.6", "torchvision": "0.21",
}  # fmt: skip
"""The oldest version of each package, as the project's requirements name them."""

# Settings of libraries that choose among code for different processors.
_CHOICES = (
    "NPY_DISABLE_CPU_FEATURES", "OPENCV_CPU_DISABLE", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "OPENBLAS_CORETYPE",
    "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA",
)  # fmt: skip


def _numbers(text: str) -> tuple[int, ...]:
    """The leading whole numbers of a version: 5.0.0.93 gives (5, 0, 0, 93), 2.6.0+cpu (2, 6, 0)."""
    return tuple(int(part) for part in re.match(r"\d*(?:\.\d+)*", text)[0].split(".") if part)  # type: ignore[index]


def below_floor(package: str, found: str) -> bool:
    """Whether version `found` of `package` is older than its floor; False for packages without one."""
    return package in FLOORS and _numbers(found) < _numbers(FLOORS[package])


def library_versions(packages: tuple[str, ...] = PACKAGES, *, ours: bool = True) -> dict[str, str]:
    """Installed versions by package name, with `ours` fredbench's and Python's too; absent packages are left out."""
    found = {"fredbench": fredbench.__version__, "python": platform.python_version()} if ours else {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of the checkout fredbench runs from, `+` when it has changes; None for an installed package."""
    root = Path(fredbench.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
        dirty = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def instruction_sets() -> dict[str, Any]:
    """What can still change last bits at equal versions: the vector units that libraries found, and what limits them.

    torch is asked only where it is loaded already, so that the corruption engine's processes stay without it.
    """
    import numpy as np

    found: dict[str, Any] = {"machine": platform.machine()}
    extensions = np.show_config(mode="dicts").get("SIMD Extensions", {})
    found["numpy"] = [*extensions.get("baseline", []), *extensions.get("found", [])]
    if "torch" in sys.modules:
        import torch

        found["torch"] = torch.backends.cpu.get_cpu_capability()
    return {**found, **{name: os.environ[name] for name in _CHOICES if os.environ.get(name)}}


def environment(device: str, threads: int) -> dict[str, Any]:
    """Versions, machine and device, as environment.json holds them."""
    import torch

    name = torch.cuda.get_device_name(torch.device(device)) if device.startswith("cuda") else _processor()
    return {
        "versions": library_versions(),
        "commit": commit(),
        "platform": platform.platform(),
        "device": device,
        "device_name": name,
        "instruction_sets": instruction_sets(),
        "cores": os.cpu_count(),
        "threads": threads,
    }


def without_places(environment: Mapping[str, Any]) -> dict[str, Any]:
    """An environment fit to be published: neither paths nor the system's kernel, which may tell whose machine it was.

    Of `data`, fingerprints by the name of a dataset, a name that holds a path is cut to its prefix.
    """
    kept = {key: value for key, value in environment.items() if key not in {"platform", DATASET_PATH}}
    if isinstance(kept.get("data"), Mapping):
        kept["data"] = {
            name.partition(":")[0] if ":" in name else name: fingerprint for name, fingerprint in kept["data"].items()
        }
    return kept


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
