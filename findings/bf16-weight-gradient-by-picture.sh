#!/usr/bin/env bash
# One would guess: a bfloat16 convolution's gradient by its weights is summed in float32 and rounded once, so its error does not depend on the batch.
# What happens: where oneDNN does not make it (here switched off; so it is on CPUs below AVX-512) torch rounds the running sum after every picture: the error grows as the root of the batch, tenfold at 256 pictures.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$tmp/env/bin/python" -W ignore - <<'PY'
import torch
from torch.nn import functional

print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
generator = torch.Generator().manual_seed(0)
weight = torch.randn(16, 16, 3, 3, generator=generator).bfloat16()
pictures = torch.randn(256, 16, 8, 8, generator=generator).bfloat16()
above = torch.randn(256, 16, 8, 8, generator=generator).bfloat16()


def error(count, onednn):
    """Relative distance of the gradient from that of the same bfloat16 numbers in float64."""
    found = []
    for dtype in (torch.bfloat16, torch.float64):
        own = weight.to(dtype).requires_grad_()
        with torch.backends.mkldnn.flags(enabled=onednn):
            out = functional.conv2d(pictures[:count].to(dtype), own, padding=1)
            found.append(torch.autograd.grad(out, own, above[:count].to(dtype))[0].double())
    return float((found[0] - found[1]).norm() / found[1].norm())


off = {count: error(count, False) for count in (1, 4, 16, 64, 256)}
for count, value in off.items():
    print(f"  {count:3d} pictures: error {value:.4f} without oneDNN, {error(count, True):.4f} as this machine does it")
print(f"  one rounding alone: {float((pictures.float() * 1.001 - (pictures.float() * 1.001).bfloat16().float()).norm() / pictures.float().norm()):.4f}")
assert off[1] < 0.002
assert list(off.values()) == sorted(off.values())
assert off[256] > 5 * off[1]
PY
