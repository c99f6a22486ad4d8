"""Where to compute: `auto`, `cpu` or `cuda[:i]`; and in what precision."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from fredbench.foundation.allocator import keep_freed_memory
from fredbench.foundation.errors import UsageError

__all__ = ["check_threads", "multiplies_bfloat16", "resolve_device", "sent", "tf32", "use_threads"]


def resolve_device(name: str) -> torch.device:
    """The torch device that `name` asks for; `auto` is the first CUDA device where there is one, else the CPU.

    Where that is the CPU, the allocator is told to keep what is freed (see
    `fredbench.foundation.allocator`). Elsewhere float32 is made to mean float32: torch lets convolutions round to TF32
    by itself, which has to be asked for here (`tf32`).
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
    else:
        if device.index is not None:
            # Specs name the kind alone, so that equal runs have equal names on whichever device: this one is meant.
            torch.cuda.set_device(device)
        _allow_tf32(matmul=False, convolutions=False)
    return device


def sent(values: Tensor, to: torch.device | Tensor) -> Tensor:
    """`values` on the device `to`, or, where that is a tensor, on its device and in its precision.

    What a step draws on the CPU goes to an accelerator through here: its queue goes on meanwhile, where a plain
    `Tensor.to` waits until it is empty. `values` may be changed at once, as ordinary memory is copied before this
    returns.
    """
    device, dtype = (to.device, to.dtype) if isinstance(to, Tensor) else (to, values.dtype)
    # Towards the CPU it would give memory that is not written yet.
    return values.to(device, dtype, non_blocking=device.type != "cpu")


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether an accelerator may round factors to TF32 (10 bits of mantissa), in products and convolutions alike.

    Faster where there are units for it; without effect on the CPU.
    """
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    _allow_tf32(matmul=allowed, convolutions=allowed)
    try:
        yield
    finally:
        _allow_tf32(matmul=before[0], convolutions=before[1])


def _allow_tf32(*, matmul: bool, convolutions: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = convolutions


def use_threads(threads: int | None) -> int:
    """Set torch's CPU threads when a number is given; returns the number in force (part of every spec)."""
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Whether the processor has instructions for products of bfloat16: AMX, AVX-512 or ARM's; None: it does not say."""
    try:
        words = set(cpuinfo.read_text(errors="replace").split())
    except OSError:
        return None
    return bool(words & {"amx_bf16", "avx512_bf16", "bf16"}) if words & {"flags", "Features"} else None


def check_threads(threads: int) -> None:
    """Raise `UsageError` unless the calling thread computes with `threads` threads, as what it makes says.

    Another number gives other bits, so one spec would have two results. torch keeps the number for each thread of a
    process that has computed: what the main one sets does not reach them.
    """
    found = torch.get_num_threads()
    if found != threads:
        raise UsageError(
            f"this is to be made with {threads} CPU thread{'s' * (threads != 1)}, torch uses {found} here",
            hint=f"call torch.set_num_threads({threads}) in the thread that does the work, or give threads={found}, "
            f"--threads {found} on the command line, which is a run of its own",
        )
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    if limit.isdecimal() and int(limit) < threads:
        raise UsageError(
            f"OMP_THREAD_LIMIT={limit} leaves fewer than the {threads} CPU threads asked for",
            hint=f"unset OMP_THREAD_LIMIT, or give --threads {limit}",
        )
