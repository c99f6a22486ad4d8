#!/usr/bin/env bash
# One would guess: confidences of exactly 1.0 share the last bin of the calibration error with those just below.
# What happens: in torchmetrics (which torch-uncertainty uses) they have a bin of their own; the same predictions have an ECE of 7.5 %, in netcal 2.5 %.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 torchmetrics==1.9.0 netcal==1.4.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$tmp/env/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
import torch
from netcal.metrics import ECE
from torchmetrics.functional.classification import multiclass_calibration_error

print(*(f"{name} {version(name)}" for name in ("torchmetrics", "netcal", "torch")), sep=", ")


def errors(confidence):
    """ECE of 100 predictions at `confidence`, 90 of them right, and 100 at 0.95, all right; 10 bins."""
    top = np.repeat([confidence, 0.95], 100)
    p = np.stack([top] + [(1 - top) / 3] * 3, axis=1).astype(np.float32)
    labels = np.zeros(200, dtype=np.int64)
    labels[:10] = np.arange(10) % 3 + 1
    theirs = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(labels), num_classes=4, n_bins=10)
    return float(theirs), float(ECE(10).measure(p, labels))


logits = torch.tensor([[20.0, 0.0, 0.0, 0.0]])
print("  float32 softmax of a lead of 20:", torch.softmax(logits, 1)[0, 0].item())
found = {confidence: errors(confidence) for confidence in (0.9999, 1.0)}
for confidence, (torchmetrics, netcal) in found.items():
    print(f"  confidence {confidence}: torchmetrics {torchmetrics:.4f}, netcal {netcal:.4f}")
assert torch.softmax(logits, 1)[0, 0].item() == 1.0
assert np.allclose(found[0.9999], (0.025, 0.025), atol=1e-4)
assert np.allclose(found[1.0], (0.075, 0.025), atol=1e-4)
PY
