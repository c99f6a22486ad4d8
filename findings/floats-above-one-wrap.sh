#!/usr/bin/env bash
# One would guess: packing floats into bytes clips, or refuses, what lies a little above 1 (distilled pictures do).
# What happens: torchvision's to_pil_image and ToDtype, numcodecs' FixedScaleOffset and xarray's encoding wrap on x86-64: 1.02, white, turns to 4 or 5, black.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 torchvision==0.29.2 pillow==13.0.0 webdataset==1.0.2 numcodecs==0.16.6 zarr==3.1.6 \
  xarray==2026.9.0 h5netcdf==1.8.2 h5py==3.16.0 pandas==3.1.1 numpy==2.4.6
cd "$tmp"
OMP_NUM_THREADS=1 "$tmp/env/bin/python" -W ignore - <<'PY'
import io
import platform
from importlib.metadata import version

import numcodecs
import numpy as np
import torch
import webdataset
import xarray
from PIL import Image
from torchvision.transforms.v2 import functional as tv
from torchvision.utils import save_image

names = ("torch", "torchvision", "numcodecs", "xarray", "h5netcdf", "zarr", "webdataset")
print(*(f"{name} {version(name)}" for name in names), platform.machine(), sep=", ")
levels = np.array([0.0, 0.5, 1.0, 1.02, 1.1], np.float32)
picture = torch.from_numpy(levels).expand(3, 1, 5)


def by_save_image():
    packed = io.BytesIO()
    save_image(picture, packed, format="png")
    return np.asarray(Image.open(packed))[0, :, 0]


def by_xarray(write, read):
    encoding = {"image": {"dtype": "uint8", "scale_factor": 1 / 255}}
    write(xarray.Dataset({"image": ("x", levels)}), encoding)
    return read()["image"].values.astype(float) * 255


def to_netcdf(data, encoding):
    data.to_netcdf("set.nc", engine="h5netcdf", encoding=encoding)


def to_zarr(data, encoding):
    data.to_zarr("set.zarr", zarr_format=2, encoding=encoding)


codec = numcodecs.FixedScaleOffset(offset=0, scale=255, dtype="f4", astype="u1")
bytes_ = {
    "torchvision to_pil_image": np.asarray(tv.to_pil_image(picture))[0, :, 0],
    "torchvision to_dtype(scale=True)": tv.to_dtype(picture, torch.uint8, scale=True)[0, 0].numpy(),
    "numcodecs FixedScaleOffset": codec.encode(levels),
    "xarray to_netcdf": by_xarray(to_netcdf, lambda: xarray.open_dataset("set.nc", engine="h5netcdf")),
    "xarray to_zarr": by_xarray(to_zarr, lambda: xarray.open_zarr("set.zarr")),
    "torchvision save_image": by_save_image(),
}
print("  in the picture:", [round(float(level), 2) for level in levels])
for name, values in bytes_.items():
    print(f"  {name}:", np.round(values).astype(int).tolist())
try:
    with webdataset.TarWriter("set.tar") as tar:
        tar.write({"__key__": "0", "png": picture.permute(1, 2, 0).numpy()})
    raise SystemExit("webdataset takes it now")
except ValueError as error:
    print("  webdataset:", error)
wrapped = [name for name, values in bytes_.items() if values[3] < 6]
assert len(wrapped) == 5 and "torchvision save_image" not in wrapped
assert all(values[4] < 30 for name, values in bytes_.items() if name in wrapped)
assert bytes_["torchvision save_image"][2:].tolist() == [255, 255, 255]
PY
