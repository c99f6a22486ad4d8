#!/usr/bin/env bash
# One would guess: an attack of torchattacks uses the global generator or one of its own; what is drawn after it still depends on one's seed.
# What happens: APGD, FAB and Square (so AutoAttack) seed torch with 0 and leave it so: all noise, dropout and shuffling after them is the same in every run.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 torchattacks==3.5.1 numpy==2.4.6
OMP_NUM_THREADS=1 "$tmp/env/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import torch
import torchattacks

print("torchattacks", version("torchattacks"), "torch", torch.__version__)
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 10)).eval()
pictures = torch.rand(4, 3, 8, 8)
labels = network(pictures).argmax(1)
with torch.no_grad():  # one picture in two is right, so that some are attacked
    labels[::2] = (labels[::2] + 1) % 10
attacks = {
    "FGSM": torchattacks.FGSM(network),
    "PGD": torchattacks.PGD(network, steps=3),
    "DeepFool": torchattacks.DeepFool(network, steps=3),
    "APGD": torchattacks.APGD(network, steps=3),
    "APGDT": torchattacks.APGDT(network, steps=3, n_classes=10),
    "FAB": torchattacks.FAB(network, steps=3, n_classes=10),
    "Square": torchattacks.Square(network, n_queries=5),
}
drawn = {}
for name, attack in attacks.items():
    drawn[name] = []
    for seed in range(5):
        torch.manual_seed(seed)
        attack(pictures, labels)
        drawn[name].append(round(torch.rand(1).item(), 4))
    print(f"  after {name}, seeds 0 to 4 draw", drawn[name])
fixed = {name for name, draws in drawn.items() if len(set(draws)) == 1}
assert fixed == {"APGD", "APGDT", "FAB", "Square"}
PY
