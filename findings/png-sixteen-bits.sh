#!/usr/bin/env bash
# One would guess: Pillow opens 16-bit PNGs, grey or colour, in a mode that says so, and convert('RGB') scales both alike.
# What happens: colour is opened as 8-bit RGB with the low bytes dropped, unsaid; grey is I;16 and convert clips at 255, so mid-grey turns white.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" pillow==13.0.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$tmp"
"$tmp/env/bin/python" -W error - <<'PY'
import cv2
import numpy as np
import PIL
from PIL import Image

print("pillow", PIL.__version__, "opencv", cv2.__version__)
grey = np.random.default_rng(0).integers(0, 65536, (32, 32), dtype=np.uint16)
cv2.imwrite("grey.png", grey)
cv2.imwrite("colour.png", np.stack([grey] * 3, axis=-1))
pictures = {name: Image.open(f"{name}.png") for name in ("grey", "colour")}
rgb = {name: np.asarray(picture.convert("RGB"))[..., 0] for name, picture in pictures.items()}
high = grey >> 8
for name, picture in pictures.items():
    print(
        f"  {name}: mode {picture.mode}, as RGB equal to the high byte {(rgb[name] == high).mean():.1%}, "
        f"white {(rgb[name] == 255).mean():.1%}; OpenCV's default equal {(cv2.imread(f'{name}.png')[..., 0] == high).mean():.1%}"
    )
assert pictures["grey"].mode == "I;16" and pictures["colour"].mode == "RGB"
assert np.array_equal(rgb["grey"], grey.clip(0, 255)) and (rgb["grey"] == 255).mean() > 0.99
assert np.array_equal(rgb["colour"], high)
assert all(np.array_equal(cv2.imread(f"{name}.png")[..., 0], high) for name in pictures)
PY
