#!/usr/bin/env bash
# One would guess: the number of Grain's workers changes how fast batches come, not which pictures lie in them or in what order they come.
# What happens: each worker fills batches of its own from every n-th picture: other batches, another order, and drop_remainder drops once a worker.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" grain==0.2.18 numpy==2.4.6
cd "$tmp"
cat > look.py <<'PY'
import logging
from importlib.metadata import version

import numpy as np
from grain import python as grain

logging.disable()


class Numbers:
    def __len__(self):
        return 22

    def __getitem__(self, number):
        return np.array(number)


def batches(workers, drop):
    loader = grain.DataLoader(
        data_source=Numbers(),
        sampler=grain.IndexSampler(num_records=22, shuffle=False, num_epochs=1, shard_options=grain.NoSharding(), seed=0),
        operations=[grain.Batch(4, drop_remainder=drop)],
        worker_count=workers,
    )
    return [batch.tolist() for batch in loader]


if __name__ == "__main__":
    print("grain", version("grain"), "numpy", np.__version__)
    order, kept = {}, {}
    for workers in (0, 1, 2, 3):
        found = batches(workers, drop=False)
        order[workers] = [number for batch in found for number in batch]
        kept[workers] = sum(map(len, batches(workers, drop=True)))
        in_place = np.mean(np.array(order[workers]) == np.arange(22))
        print(
            f"  {workers} workers: first {found[0]}, {len(found)} batches, {in_place:.0%} of pictures at their place,"
            f" {kept[workers]} of 22 left by drop_remainder"
        )
        assert sorted(order[workers]) == list(range(22))
    assert order[0] == order[1] == list(range(22))
    assert order[2][:4] == [0, 2, 4, 6] and order[3][:4] == [0, 3, 6, 9]
    assert kept == {0: 20, 1: 20, 2: 16, 3: 16}
PY
"$tmp/env/bin/python" -W ignore look.py 2> errors || { cat errors; exit 1; }
