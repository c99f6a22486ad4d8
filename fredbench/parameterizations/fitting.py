"""What is stacked, one thing a picture, fitted to real pictures before a run begins (DDiF, GSDD)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fredbench.foundation.progress import Progress

__all__ = ["fit", "groups"]


def fit(
    stacked: Mapping[str, Tensor],
    targets: Callable[[int, int], Tensor],
    shown: Callable[[dict[str, Tensor]], Tensor],
    *,
    steps: int,
    lr: float,
    at_once: int,
    halving: Mapping[str, int] | None = None,
    project: Callable[[dict[str, Tensor]], None] | None = None,
) -> None:
    """Move the rows of `stacked` (N, ...), in place, until `shown` of them is near their `targets`, by mean squares.

    Adam on the sum over rows of their own mean squared errors: it works element by element, so that each row goes as if
    it were alone. `at_once` rows are worked off together. targets: pictures (n, ch, H, W) of rows first to last.
    halving: by tensor, after how many steps its rate is halved, again and again; project: called after every step.
    """
    count = len(next(iter(stacked.values())))
    parts = torch.arange(count).split(at_once) if steps else ()
    with Progress("fitting to pictures", len(parts) * steps, unit="steps") as progress:
        for rows in parts:
            first, last = int(rows[0]), int(rows[-1]) + 1
            part = {name: tensor[first:last].clone().requires_grad_() for name, tensor in stacked.items()}
            target = targets(first, last)
            optimiser = torch.optim.Adam([{"params": [tensor], "name": name} for name, tensor in part.items()], lr=lr)
            for step in range(steps):
                for group in optimiser.param_groups:
                    group["lr"] = lr * 0.5 ** (step // (halving or {}).get(group["name"], steps))
                optimiser.zero_grad()
                (shown(part) - target).square().mean((1, 2, 3)).sum().backward()
                optimiser.step()
                if project is not None:
                    with torch.no_grad():
                        project(part)
                progress.advance()
            for name, tensor in part.items():
                stacked[name][first:last] = tensor.detach()


def groups(stacked: Mapping[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    """The rows of `stacked`, at most `size` at a time."""
    parts = zip(*(tensor.split(size) for tensor in stacked.values()), strict=True)
    return [dict(zip(stacked, part, strict=True)) for part in parts]
