#!/usr/bin/env bash
# One would guess: TFRecord files read with their index (tfrecord, 1 process) give the records in the order in which they were written.
# What happens: without a shard, reading begins at a random record that np.random picks and wraps round: predictions by place belong to other pictures.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" tfrecord==1.14.6 numpy==2.4.6
cd "$tmp"
"$tmp/env/bin/python" - <<'PY'
from importlib.metadata import version

import numpy as np
from tfrecord import TFRecordWriter, tfrecord_loader
from tfrecord.tools.tfrecord2idx import create_index

print("tfrecord", version("tfrecord"), "numpy", np.__version__)
writer = TFRecordWriter("set.tfrecord")
for number in range(100):
    writer.write({"picture": (bytes([number]) * 64, "byte"), "label": (number, "int")})
writer.close()
create_index("set.tfrecord", "set.index")


def read(index, shard=None, seed=0):
    np.random.seed(seed)
    return [int(row["label"][0]) for row in tfrecord_loader("set.tfrecord", index, {"label": "int"}, shard=shard)]


written = list(range(100))
plain = read(None)
indexed = [read("set.index", seed=seed) for seed in range(10)]
one_shard = read("set.index", shard=(0, 1))
two_shards = read("set.index", shard=(0, 2)) + read("set.index", shard=(1, 2))
print("  without index:", plain[:4], "..., with shard=(0, 1):", one_shard[:4], "..., with index, ten seeds:", [order[0] for order in indexed])
first, second = indexed[:2]
agree = np.mean(np.array(first) == np.array(second))
print(f"  two passes name the same picture in {agree:.0%} of places")
assert plain == one_shard == two_shards == written
assert len({order[0] for order in indexed}) > 3
assert all(order == written[order[0] :] + written[: order[0]] for order in indexed)
PY
