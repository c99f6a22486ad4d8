"""How much memory a computation takes, and a readable end when there is none left."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable, Iterator

import torch

from fredbench.foundation.errors import ResourceError

__all__ = ["exhaustion_told", "peak_bytes"]


def peak_bytes(device: torch.device) -> int:
    """The most memory held so far: allocated by torch on an accelerator, resident of this process on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


@contextlib.contextmanager
def exhaustion_told(device: torch.device, advice: Callable[[], str]) -> Iterator[None]:
    """Turn exhausted memory into a `ResourceError` whose hint is `advice()`."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _told(device, advice) from error
    except RuntimeError as error:
        # The CPU's allocator has no error class of its own.
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise _told(device, advice) from error


def _told(device: torch.device, advice: Callable[[], str]) -> ResourceError:
    held = peak_bytes(device) / 1e9
    return ResourceError(f"the memory of {device} is exhausted ({held:.1f} GB held at most)", hint=advice())
