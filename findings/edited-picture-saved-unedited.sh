#!/usr/bin/env bash
# One would guess: painting on a picture opened from a file, then storing it (datasets map, Image column, JPEG XL), stores the paint.
# What happens: datasets stores the file's path and pillow-jxl-plugin the JPEG file's own bytes: the paint is gone, even where saving is lossless.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6 pillow==13.0.0 pillow-jxl-plugin==1.3.8
cd "$tmp"
HF_HOME="$tmp/home" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 "$tmp/env/bin/python" -W ignore - <<'PY'
import io
from importlib.metadata import version
from pathlib import Path

import datasets
import numpy as np
import pillow_jxl  # noqa: F401  (registers the format)
from PIL import Image, ImageDraw

print(*(f"{name} {version(name)}" for name in ("datasets", "pillow", "pillow-jxl-plugin")), sep=", ")


def occlude(picture):
    ImageDraw.Draw(picture).rectangle([8, 8, 23, 23], fill=(0, 0, 0))
    return picture


def middle(picture):
    return int(np.asarray(picture)[16, 16, 0])


Path("pictures/light").mkdir(parents=True)
Image.new("RGB", (32, 32), (200, 200, 200)).save("pictures/light/0.png")
table = datasets.load_dataset("imagefolder", data_dir="pictures", split="train")
mapped = table.map(lambda row: {"image": occlude(row["image"])}, load_from_cache_file=False)
copied = table.map(lambda row: {"image": occlude(row["image"].copy())}, load_from_cache_file=False)
opened = occlude(Image.open("pictures/light/0.png"))
column = datasets.Dataset.from_dict({"image": [opened]})
datasets_seen = middle(mapped[0]["image"]), middle(column[0]["image"]), middle(copied[0]["image"])
print("painted pixel in memory:", middle(opened))
print("datasets: map, from_dict, map on a copy:", *datasets_seen)

Image.new("RGB", (32, 32), (200, 200, 200)).save("light.jpg", quality=95)
jxl = []
for options in ({}, {"lossless": True}, {"lossless_jpeg": False, "lossless": True}):
    packed = io.BytesIO()
    occlude(Image.open("light.jpg")).save(packed, "JXL", **options)
    jxl.append(middle(Image.open(packed)))
print("JPEG XL: default, lossless=True, lossless_jpeg=False:", *jxl)
assert datasets_seen == (200, 200, 0)
assert jxl[:2] == [200, 200] and jxl[2] == 0
PY
