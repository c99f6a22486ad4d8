#!/usr/bin/env bash
# One would guess: asked for nothing, Pillow and OpenCV agree on whether a .webp or .jp2 file is lossy.
# What happens: OpenCV writes WebP lossless and JPEG 2000 lossy, Pillow just the other way round.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" pillow==13.0.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import io

import cv2
import numpy as np
import PIL
from PIL import Image

print("pillow", PIL.__version__, "opencv", cv2.__version__)
small = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
picture = cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC)


def by_opencv(ending):
    packed = cv2.imencode(ending, picture[..., ::-1])[1]
    return len(packed), cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1]


def by_pillow(ending):
    packed = io.BytesIO()
    Image.fromarray(picture).save(packed, Image.registered_extensions()[ending])
    return len(packed.getvalue()), np.asarray(Image.open(packed))


off = {}
for ending in (".webp", ".jp2"):
    for library, write in (("OpenCV", by_opencv), ("Pillow", by_pillow)):
        size, back = write(ending)
        off[library, ending] = int(np.abs(back.astype(int) - picture).max())
        print(f"  {ending} by {library}: {size} bytes, largest error {off[library, ending]}")
assert off["OpenCV", ".webp"] == off["Pillow", ".jp2"] == 0
assert off["OpenCV", ".jp2"] > 2 and off["Pillow", ".webp"] > 2
PY
