#!/usr/bin/env bash
# One would guess: after `import torch`, making torch.optim.SGD costs microseconds and loads nothing.
# What happens: the first optimiser of a process imports the compiler, with sympy, ONNX and distributed training: hundreds of modules and over 60 MB.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$tmp/env/bin/python" -W ignore - <<'PY'
import sys
import time
from pathlib import Path

import torch


def resident():
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


print("torch", torch.__version__)
weights = [torch.zeros(1, requires_grad=True)]
seen = []
for _ in range(2):
    modules, memory, began = set(sys.modules), resident(), time.perf_counter()
    torch.optim.SGD(weights, lr=0.1)
    seen.append((set(sys.modules) - modules, resident() - memory, time.perf_counter() - began))
(first, held, seconds), (second, _, again) = seen
print(f"  the first optimiser: {len(first)} modules, {held:.0f} MB, {seconds:.1f} s; the second: {len(second)}, {again * 1e3:.2f} ms")
unlikely = ["sympy", "mpmath", "torch._dynamo", "torch.onnx", "torch.distributed.fsdp"]
print("  among them", ", ".join(name for name in unlikely if name in first))
assert len(first) > 400 and held > 60 and set(unlikely) <= first
assert not second
PY
