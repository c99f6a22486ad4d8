"""The allocator's setting: large blocks are reused instead of being cleared anew by the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from fredbench.foundation.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory() and keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3): bytearray(b"x" * 2**26)
before = faults()
for _ in range(10): bytearray(b"x" * 2**26)
sys.stdout.write(str(faults() - before))
"""


def page_faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is glibc's")
def test_large_blocks_stay_mapped() -> None:
    # Ten blocks of 64 MiB are 163,840 pages of 4 KiB when each is mapped anew.
    assert page_faults("keep") < 0.1 * page_faults("default")
