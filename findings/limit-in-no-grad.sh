#!/usr/bin/env bash
# One would guess: a time limit that raises (a handler of SIGALRM), or Ctrl-C, leaves `with torch.no_grad()` as any exception does: gradients are on again.
# What happens: raised while such a block is entered or left, it leaves gradients off, autocast or anomaly detection on, for all that the process does next.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 numpy==2.4.6
"$tmp/env/bin/python" -W ignore - <<'PY'
import platform
import signal

import torch


class TimeIsUp(Exception):
    pass


def stop(number, frame):
    raise TimeIsUp


def off(block, state, again):
    """How many of 300 limits, a few milliseconds each, leave `state` other than it was; `again` sets it back."""
    count, before = 0, state()
    for attempt in range(300):
        signal.setitimer(signal.ITIMER_REAL, 0.002 + attempt * 1e-6)
        try:
            while True:
                with block():
                    pass
        except TimeIsUp:
            pass
        if state() != before:
            count += 1
            again(before)
    return count


signal.signal(signal.SIGALRM, stop)
print("python", platform.python_version(), "torch", torch.__version__)
found = {
    "torch.no_grad, gradients stay off": off(torch.no_grad, torch.is_grad_enabled, torch.set_grad_enabled),
    "torch.autocast, it stays on": off(
        lambda: torch.autocast("cpu"),
        lambda: torch.is_autocast_enabled("cpu"),
        lambda on: torch.set_autocast_enabled("cpu", on),
    ),
    "torch.autograd.set_detect_anomaly, it stays on": off(
        lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly
    ),
}
for what, count in found.items():
    print(f"  {what} after {count} of 300 limits")
assert all(found.values())

# And what that means: the next piece of work of the process has nothing to learn by.
torch.set_grad_enabled(True)
while torch.is_grad_enabled():
    signal.setitimer(signal.ITIMER_REAL, 0.002)
    try:
        while True:
            with torch.no_grad():
                pass
    except TimeIsUp:
        pass
try:
    torch.nn.Linear(2, 1)(torch.ones(1, 2)).sum().backward()
except RuntimeError as problem:
    print("  the next backward():", problem)
else:
    raise SystemExit("the next backward() passed")
PY
