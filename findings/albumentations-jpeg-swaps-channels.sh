#!/usr/bin/env bash
# One would guess: A.ImageCompression at quality 50 on an RGB picture gives the bytes of an RGB JPEG of quality 50.
# What happens: 2.0.8 hands RGB to OpenCV as BGR: it compresses with red and blue exchanged, up to dozens of levels off.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" albumentations==2.0.8 opencv-python-headless==5.0.0.93 pillow==13.0.0 numpy==2.4.6
NO_ALBUMENTATIONS_UPDATE=1 "$tmp/env/bin/python" -W ignore - <<'PY'
import io

import albumentations
import cv2
import numpy as np
import PIL
from PIL import Image

print("albumentations", albumentations.__version__, "opencv", cv2.__version__, "pillow", PIL.__version__)
small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
picture = cv2.resize(small, (64, 64), interpolation=cv2.INTER_LINEAR)


def jpeg(rgb, quality):
    packed = io.BytesIO()
    Image.fromarray(rgb).save(packed, "JPEG", quality=quality)
    return np.asarray(Image.open(packed)).astype(int)


for quality in (85, 50, 15):
    compress = albumentations.ImageCompression(quality_range=(quality, quality), compression_type="jpeg", p=1)
    done = compress(image=picture)["image"].astype(int)
    right = np.abs(done - jpeg(picture, quality))
    swapped = np.abs(done - jpeg(np.ascontiguousarray(picture[..., ::-1]), quality)[..., ::-1])
    print(
        f"  quality {quality}: from Pillow's RGB JPEG {(right > 0).mean():.0%} of values differ, by up to {right.max()};"
        f" from the JPEG of the BGR picture by up to {swapped.max()}"
    )
    assert right.max() > 10 and (right > 0).mean() > 0.5
    assert swapped.max() == 0
PY
