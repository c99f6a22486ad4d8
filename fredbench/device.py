"""Where to compute: `auto`, `cpu` or `cuda[:i]`."""

from __future__ import annotations

import torch

from fredbench.allocator import keep_freed_memory
from fredbench.errors import UsageError

__all__ = ["resolve_device", "use_threads"]


def resolve_device(name: str) -> torch.device:
    """The torch device that `name` asks for; `auto` is the first CUDA device where there is one, else the CPU.

    Where that is the CPU, the allocator is told to keep what is freed (see `fredbench.allocator`).
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r}", hint="use auto, cpu or cuda[:i]") from error
    if device.type not in {"cpu", "cuda"}:
        raise UsageError(f"device {name!r} is not supported", hint="use auto, cpu or cuda[:i]")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"no device {name!r} here", hint=f"torch sees {torch.cuda.device_count()} CUDA devices")
    if device.type == "cpu":
        keep_freed_memory()
    return device


def use_threads(threads: int | None) -> int:
    """Set torch's CPU threads when a number is given; returns the number in force (part of every spec)."""
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    return torch.get_num_threads()
