#!/usr/bin/env bash
# One would guess: an image folder with one folder per class gives every picture, whatever the classes are called.
# What happens: a class called train (CIFAR-100 has one) is taken for the split: its pictures alone come, without labels and without a warning.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6 pillow==13.0.0
cd "$tmp"
HF_HOME="$tmp/home" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 "$tmp/env/bin/python" -W error::UserWarning - <<'PY'
from pathlib import Path

import datasets
from PIL import Image

print("datasets", datasets.__version__)


def export(folder, classes):
    for name in classes:
        (Path(folder) / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (32, 32)).save(Path(folder) / name / f"{number:05d}.png")
    return datasets.load_dataset("imagefolder", data_dir=folder)


seen = {}
for folder, classes in {
    "plain": ["streetcar", "tank", "telephone"],
    "train": ["streetcar", "train", "telephone"],
    "numbered": ["0_streetcar", "1_train", "2_telephone"],
    "phrase": ["bullet train", "express", "tram"],
    "inside a word": ["trainer", "strain", "tram"],
}.items():
    found = export(folder, classes)
    seen[folder] = found["train"].num_rows, "label" in found["train"].features
    print(f"  {classes}: splits {list(found)}, {seen[folder][0]} of 15 pictures, labels: {seen[folder][1]}")
rest = datasets.load_dataset("imagefolder", data_files={"train": "train/**"}, split="train")
print("  with data_files={'train': 'train/**'}:", rest.num_rows, rest.features["label"].names)
assert seen["plain"] == seen["inside a word"] == (15, True)
assert seen["train"] == seen["numbered"] == seen["phrase"] == (5, False)
assert rest.num_rows == 15 and rest.features["label"].num_classes == 3
PY
