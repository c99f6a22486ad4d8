#!/usr/bin/env bash
# One would guess: class_encode_column, which a stratified split asks for, leaves integer labels 0..11 as they are.
# What happens: it numbers the labels by their text: 2 becomes 4 and 10 becomes 2; only 0 and 1 keep their number, with no warning.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
HF_HOME="$tmp/home" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 "$tmp/env/bin/python" -W error::UserWarning - <<'PY'
import datasets

print("datasets", datasets.__version__)
table = datasets.Dataset.from_dict({"picture": list(range(120)), "label": [k % 12 for k in range(120)]})
try:
    table.train_test_split(test_size=0.5, stratify_by_column="label")
    raise SystemExit("integers can be stratified now")
except ValueError as error:
    print("stratified split of integers:", error)

encoded = table.class_encode_column("label")
moved = dict(zip(table["label"][:12], encoded["label"][:12], strict=True))
print("names:", encoded.features["label"].names)
print("label before -> after:", moved)
half = encoded.train_test_split(test_size=0.5, stratify_by_column="label", seed=0)["test"]
right = sum(label == picture % 12 for picture, label in zip(half["picture"], half["label"], strict=True)) / len(half)
print(f"test half: {right:.1%} of the pictures still have the number they came with")
assert moved == {0: 0, 1: 1, 2: 4, 3: 5, 4: 6, 5: 7, 6: 8, 7: 9, 8: 10, 9: 11, 10: 2, 11: 3}
assert abs(right - 2 / 12) < 1e-9

hundred = datasets.Dataset.from_dict({"label": list(range(100))}).class_encode_column("label")["label"][:]
kept = sum(label == k for k, label in enumerate(hundred))
print("of labels 0..99, numbers kept:", kept)
assert kept == 12
PY
