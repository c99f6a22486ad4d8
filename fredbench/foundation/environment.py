"""What a result was computed with: versions, device, commit. Kept beside artefacts, never inside them."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fredbench

__all__ = ["PACKAGES", "commit", "environment", "library_versions"]

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
        "cores": os.cpu_count(),
        "threads": threads,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
