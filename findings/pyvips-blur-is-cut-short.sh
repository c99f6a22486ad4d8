#!/usr/bin/env bash
# One would guess: pyvips' gaussblur(sigma) is within a grey level or two of a Gaussian of that sigma.
# What happens: by default the kernel is cut where it falls below a fifth of its peak: gaussblur(0.5) does nothing at all, gaussblur(1) blurs like 0.74.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" pyvips==3.2.0 pyvips-binary==8.18.7 scipy==1.17.1 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
from importlib.metadata import version

import numpy as np
import pyvips
from scipy import ndimage

print("pyvips", version("pyvips"), "libvips", ".".join(str(pyvips.version(k)) for k in range(3)), "scipy", version("scipy"))
picture = ndimage.zoom(np.random.default_rng(0).uniform(0, 255, (16, 16)), 4, order=1).round().astype(np.uint8)
point = np.zeros((65, 65), np.float32)
point[32, 32] = 1


def blurred(array, sigma, **options):
    return pyvips.Image.new_from_array(array).gaussblur(sigma, **options).numpy().astype(float)


def spread(sigma, **options):
    kernel = blurred(point, sigma, **options).sum(axis=0)
    return float(np.sqrt((kernel * (np.arange(65) - 32) ** 2).sum() / kernel.sum()))


found = {}
for sigma in (0.5, 1.0, 2.0, 3.0):
    exact = ndimage.gaussian_filter(picture.astype(float), sigma, mode="nearest")
    found[sigma] = spread(sigma)
    long = {"min_ampl": 0.001, "precision": "float"}
    off, off_long = (np.abs(blurred(picture, sigma, **options) - exact).max() for options in ({}, long))
    print(
        f"  sigma {sigma}: the blur of one point is {found[sigma]:.2f} wide, up to {off:.1f} grey levels from the Gaussian;"
        f" with min_ampl=0.001 {spread(sigma, **long):.2f} wide and {off_long:.1f}"
    )
    assert off > 5 and off_long < 3
    assert abs(spread(sigma, **long) - sigma) < 0.05
assert np.array_equal(blurred(picture, 0.5), picture)
assert found[0.5] == 0 and 0.7 < found[1.0] < 0.8 and 1.5 < found[2.0] < 1.7 and 2.4 < found[3.0] < 2.6
PY
