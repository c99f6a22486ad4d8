#!/usr/bin/env bash
# One would guess: a TIFF stack of n grey 28x28 pictures is read as (n, 28, 28) by skimage.io.imread, whatever n is.
# What happens: stacks of 3 or 4 come back as one colour picture, (28, 28, 3) or (28, 28, 4); stacks of 2 or 5 do not; imageio keeps all.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" scikit-image==0.26.0 numpy==2.4.6 tifffile==2026.3.3 imageio==2.38.1 pillow==13.0.0
cd "$tmp"
"$tmp/env/bin/python" -W error - <<'PY'
from importlib.metadata import version

import imageio.v3
import numpy as np
import skimage.io
import tifffile

print(*(f"{name} {version(name)}" for name in ("scikit-image", "tifffile", "imageio")), sep=", ")
shapes = {}
for n in (2, 3, 4, 5):
    stack = np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)
    tifffile.imwrite("stack.tif", stack, photometric="minisblack")
    read = skimage.io.imread("stack.tif")
    shapes[n] = read.shape
    other = imageio.v3.imread("stack.tif")
    print(f"  {n} pictures: skimage {read.shape}, imageio {other.shape}, tifffile {tifffile.imread('stack.tif').shape}")
    assert np.array_equal(other, stack)
    if n in (3, 4):
        assert np.array_equal(read, stack.transpose(1, 2, 0))
assert shapes == {2: (2, 28, 28), 3: (28, 28, 3), 4: (28, 28, 4), 5: (5, 28, 28)}
PY
