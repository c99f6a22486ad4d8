#!/usr/bin/env bash
# One would guess: torch.func.functional_call is a function of the weights it is given, so that threads may call it on one module at once.
# What happens: it lends the module the weights for as long as the call takes; two threads at once compute with the same ones, and no error says so.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$tmp/env/bin/python" -W ignore - <<'PY'
import copy
import threading

import torch
from torch.func import functional_call

print("torch", torch.__version__)
ROUNDS = 20


class Scaled(torch.nn.Module):
    """Times a weight; both threads are within the call when either reads it."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.0))
        self.meet = lambda: None

    def forward(self, x):
        self.meet()
        y = x * self.weight
        self.meet()
        return y


def both(modules):
    """What two threads get that ask for 2 x 1 and 3 x 1 at once, each of its module."""
    barrier, got = threading.Barrier(2), {}
    for module in modules:
        module.meet = lambda: barrier.wait(30)

    def ask(module, weight):
        got[weight] = functional_call(module, {"weight": torch.tensor(weight)}, (torch.tensor(1.0),)).item()

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(modules, (2.0, 3.0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


one = Scaled()
shared = [both([one, one]) for _ in range(ROUNDS)]
apart = [both([copy.deepcopy(Scaled()), copy.deepcopy(Scaled())]) for _ in range(ROUNDS)]
wrong = sum(got != {2.0: 2.0, 3.0: 3.0} for got in shared)
print(f"  one module, two threads: asked for 2 and 3, wrong in {wrong} of {ROUNDS} rounds, such as {shared[0]}")
print(f"  a copy for each thread: wrong in {sum(got != {2.0: 2.0, 3.0: 3.0} for got in apart)} of {ROUNDS}")
assert wrong == ROUNDS
assert all(got[2.0] == got[3.0] for got in shared)
assert all(got == {2.0: 2.0, 3.0: 3.0} for got in apart)
PY
