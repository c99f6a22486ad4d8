#!/usr/bin/env bash
# One would guess: SimpleITK's noise with a fixed seed is the same on every machine.
# What happens: each thread's strip of the picture has its own generator: other thread counts, by default the number of cores, give other noise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" SimpleITK==2.5.7 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version_VersionString(), "numpy", np.__version__)
picture = sitk.GetImageFromArray(np.full((64, 64), 128, np.float32))


def noisy(kind, threads):
    noise = getattr(sitk, f"{kind}ImageFilter")()
    if kind == "SaltAndPepperNoise":
        noise.SetProbability(0.2)
    elif kind != "ShotNoise":
        noise.SetStandardDeviation(0.3 if kind == "SpeckleNoise" else 10)
    noise.SetSeed(1)
    noise.SetNumberOfThreads(threads)
    noise.SetNumberOfWorkUnits(threads)
    return sitk.GetArrayFromImage(noise.Execute(picture))


for kind in ("AdditiveGaussianNoise", "ShotNoise", "SpeckleNoise", "SaltAndPepperNoise"):
    one = noisy(kind, 1)
    touched = one != 128
    same = {n: float((noisy(kind, n) == one)[touched].mean()) for n in (1, 2, 4)}
    print(f"  {kind}, seed 1: of the noisy pixels as with one thread", {n: f"{share:.0%}" for n, share in same.items()})
    assert same[1] == 1 and same[2] < 0.65 and same[4] < 0.45
    assert np.array_equal(noisy(kind, 4)[:16], one[:16])  # the first strip alone is kept
PY
