#!/usr/bin/env bash
# One would guess: Dataset.map with np.random noise gives other noise after another np.random.seed.
# What happens: the cache knows the function, not the generator: the second seed is given the first seed's noise, in new processes too.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
cat > "$tmp/noise.py" <<'PY'
import sys

import datasets
import numpy as np


def corrupt(row):
    return {"noisy": (np.asarray(row["pixels"]) + np.random.normal(0, 20, 4)).tolist()}


table = datasets.load_dataset("parquet", data_files="clean.parquet", split="train")
np.random.seed(int(sys.argv[1]))
fresh = sys.argv[2] == "fresh"
print(table.map(corrupt, load_from_cache_file=not fresh)["noisy"][:])
PY
cd "$tmp"
export HF_HOME="$tmp/home" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
"$tmp/env/bin/python" - <<'PY'
import datasets

print("datasets", datasets.__version__)
datasets.Dataset.from_dict({"pixels": [[100.0] * 4] * 3}).to_parquet("clean.parquet")
PY
one=$("$tmp/env/bin/python" noise.py 1 cached 2> /dev/null)
two=$("$tmp/env/bin/python" noise.py 2 cached 2> /dev/null)
fresh=$("$tmp/env/bin/python" noise.py 2 fresh 2> /dev/null)
printf 'seed 1            %s\nseed 2            %s\nseed 2, uncached  %s\n' "$one" "$two" "$fresh"
[ "$one" = "$two" ] && [ "$two" != "$fresh" ]
