#!/usr/bin/env bash
# One would guess: big-endian arrays (IDX files, 16-bit TIFFs through Pillow) keep their values in any library that takes NumPy arrays, or are refused.
# What happens: Flax, pyarrow.Tensor and OpenCV read their bytes as little-endian without a word (1 becomes 256); safetensors, h5py and Arrow columns do not.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" numpy==2.4.6 flax==0.12.8 jax==0.10.2 jaxlib==0.10.2 pyarrow==26.0.1 opencv-python-headless==5.0.0.93 \
  safetensors==0.8.0 h5py==3.16.0 pillow==13.0.0 tifffile==2026.3.3
cd "$tmp"
JAX_PLATFORMS=cpu "$tmp/env/bin/python" - <<'PY'
from importlib.metadata import version

import cv2
import h5py
import numpy as np
import pyarrow as pa
import safetensors.numpy
import tifffile
from flax import serialization
from PIL import Image

print(*(f"{name} {version(name)}" for name in ("flax", "pyarrow", "opencv-python-headless", "safetensors", "h5py", "pillow")))
tifffile.imwrite("grey.tif", np.arange(64, dtype=np.uint16).reshape(8, 8), byteorder=">", photometric="minisblack")
picture = np.asarray(Image.open("grey.tif"))
print("Pillow's array of a big-endian TIFF:", picture.dtype.str, picture.ravel()[:4])


def hdf(array):
    with h5py.File("set.h5", "w") as file:
        file["x"] = array
        return file["x"][()]


ways = {
    "flax msgpack": lambda x: serialization.msgpack_restore(serialization.msgpack_serialize({"x": x}))["x"],
    "pyarrow.Tensor": lambda x: pa.Tensor.from_numpy(x).to_numpy(),
    "cv2 PNG": lambda x: cv2.imdecode(cv2.imencode(".png", x)[1], cv2.IMREAD_UNCHANGED),
    "cv2.flip": lambda x: cv2.flip(cv2.flip(x, 1), 1),
    "safetensors": lambda x: safetensors.numpy.load(safetensors.numpy.save({"x": x}))["x"],
    "h5py": hdf,
}
kept = {}
for name, way in ways.items():
    back = way(picture)
    kept[name] = np.array_equal(back, picture)
    print(f"  {name}: {back.dtype.str}, {back.ravel()[:4]}, kept: {kept[name]}")
    assert kept[name] or np.array_equal(back, picture.view("<u2"))
try:
    pa.array(picture.ravel())
    raise SystemExit("an Arrow column takes them now")
except pa.ArrowNotImplementedError as error:
    print("  pyarrow.array:", error)
assert picture.dtype.str == ">u2"
assert [name for name, same in kept.items() if same] == ["safetensors", "h5py"]
PY
