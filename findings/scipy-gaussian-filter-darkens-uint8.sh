#!/usr/bin/env bash
# One would guess: scipy.ndimage.gaussian_filter keeps the mean of a uint8 picture, as a blur should.
# What happens: each axis cuts off fractions: a picture is one grey level darker a blur (10 after ten), though ndimage.zoom and shift do round.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" scipy==1.17.1 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import numpy as np
import scipy
from scipy import ndimage

print("scipy", scipy.__version__, "numpy", np.__version__)
picture = ndimage.zoom(np.random.default_rng(0).uniform(30, 220, (16, 16)), 8, order=1).round().astype(np.uint8)


def drift(operation, times=1):
    exact, bytes_ = picture.astype(float), picture
    for _ in range(times):
        exact, bytes_ = operation(exact), operation(bytes_)
    assert bytes_.dtype == np.uint8
    return float(bytes_.mean() - exact.mean())


operations = {
    "gaussian_filter": lambda x: ndimage.gaussian_filter(x, 1),
    "uniform_filter": lambda x: ndimage.uniform_filter(x, 3),
    "zoom": lambda x: ndimage.zoom(x, 1.5, order=1),
    "shift": lambda x: ndimage.shift(x, 0.3, order=1, mode="nearest"),
}
found = {name: drift(operation) for name, operation in operations.items()}
found["gaussian_filter ten times"] = drift(operations["gaussian_filter"], 10)
for name, change in found.items():
    print(f"  {name}: mean of uint8 minus mean of float {change:+.3f} grey levels")
flat = np.full((32, 32), 100, np.uint8)
worst = min(int(ndimage.gaussian_filter(np.full((32, 32), v, np.uint8), 0.5)[16, 16]) - v for v in range(256))
print("  flat pictures, sigma 0.5: worst change of any grey level", worst)
assert -1.2 < found["gaussian_filter"] < -0.8
assert -1.0 < found["uniform_filter"] < -0.3
assert abs(found["zoom"]) < 0.05 and abs(found["shift"]) < 0.05
assert -12 < found["gaussian_filter ten times"] < -7
PY
