#!/usr/bin/env bash
# One would guess: saving a transposed NumPy view (NHWC pictures as NCHW) keeps every value at its index, or is refused.
# What happens: 0.8.0 writes the view's memory under the view's shape, so channels and rows come back scrambled; 0.7.0 was right.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
cat > "$tmp/look.py" <<'PY'
import sys

import numpy as np
import safetensors
import safetensors.numpy as store

nhwc = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
views = {
    "NHWC as NCHW": nhwc.transpose(0, 3, 1, 2),
    "matrix transposed": np.arange(6.0).reshape(2, 3).T,
    "Fortran order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}
print("safetensors", safetensors.__version__, "numpy", np.__version__)
kept = {}
for name, view in views.items():
    back = store.load(store.save({"x": view}))["x"]
    kept[name] = np.array_equal(back, view)
    copied = store.load(store.save({"x": np.ascontiguousarray(view)}))["x"]
    assert np.array_equal(copied, view), "a contiguous copy should always be kept"
    print(f"  {name}: shape {back.shape}, same values: {kept[name]} ({(back == view).mean():.1%} of them in place)")
expected = sys.argv[1] == "kept"
sys.exit(any(same is not expected for same in kept.values()))
PY
try() {  # version of safetensors, what is expected
  make "$tmp/$1"
  add "$tmp/$1" "safetensors==$1" numpy==2.4.6
  "$tmp/$1/bin/python" "$tmp/look.py" "$2"
}
try 0.7.0 kept
try 0.8.0 scrambled
