#!/usr/bin/env bash
# One would guess: FixedShapeTensorArray.from_numpy_ndarray of an NHWC view of NCHW pictures gives the same array back.
# What happens: it returns another shape and scrambled values without an error (rows, columns, channels turned the wrong way round).
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" pyarrow==26.0.1 numpy==2.4.6
cd "$tmp"
"$tmp/env/bin/python" - <<'PY'
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

print("pyarrow", pa.__version__, "numpy", np.__version__)
nchw = np.random.default_rng(0).random((5, 3, 32, 32), dtype=np.float32)
same = {}
for name, pictures in {
    "NCHW as it is": nchw,
    "NHWC copy": np.ascontiguousarray(nchw.transpose(0, 2, 3, 1)),
    "rows and columns swapped": nchw.transpose(0, 1, 3, 2),
    "NHWC view": nchw.transpose(0, 2, 3, 1),
}.items():
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(pictures)
    pq.write_table(pa.table({"image": column}), "set.parquet")
    read = pq.read_table("set.parquet")["image"].combine_chunks()
    back = read.to_numpy_ndarray()
    same[name] = np.array_equal(back, pictures)
    assert np.array_equal(column.to_numpy_ndarray(), back)
    print(f"  {name}: {pictures.shape} -> {back.shape}, permutation {read.type.permutation}, equal: {same[name]}")
assert same == {"NCHW as it is": True, "NHWC copy": True, "rows and columns swapped": True, "NHWC view": False}
assert back.shape == (5, 32, 3, 32)
PY
