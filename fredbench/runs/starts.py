"""Starts that take long, kept in a store: what a parameterization fits to pictures before a run's first iteration.

So a run that was killed does not fit again, nor does the row of its start, nor a longer run of the same settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from fredbench.foundation.errors import ArtefactError
from fredbench.foundation.files import write_bytes
from fredbench.foundation.progress import say
from fredbench.parameterizations.base import State
from fredbench.training.kept import made_once, read_tensors, short_digest

__all__ = ["FOLDER", "kept_start"]

FOLDER = "starts"
"""Name of the starts' folder in a store of runs."""
_SECONDS = "seconds"


def kept_start(
    folder: Path, determined_by: Mapping[str, Any], make: Callable[[], State], blank: Callable[[], State]
) -> tuple[State, float]:
    """What `make` gives, bit for bit, made once in a store, and the seconds that it took when it was; 0 if now.

    determined_by: all that decides it, as JSON has it. blank: a state of the same tensors, with other values, in
    moments. Waits for who makes the same. Raises `ArtefactError` where the kept file is damaged or of other tensors.
    """
    file = folder / f"start-{short_digest(determined_by)}.safetensors"
    made: list[State] = []

    def write() -> None:
        began = time.monotonic()
        made.append(make())
        took = torch.tensor(time.monotonic() - began, dtype=torch.float64)
        write_bytes(file, safetensors.torch.save({**_tensors(made[0]), _SECONDS: took}))

    if made_once(file, f"makes the start {file}", write):
        return made[0], 0.0
    say(f"reading {file.name}, a start that was fitted before")
    state = blank()
    return state, _fill(state, file)


def _tensors(state: State) -> dict[str, Tensor]:
    sections = {"learned": state.learned, "fixed": state.fixed}
    named = {f"{section}/{key}": tensor for section, found in sections.items() for key, tensor in found.items()}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def _fill(state: State, file: Path) -> float:
    """Give the tensors of `state` the values in `file`, in place: labels may be one of them. The seconds they took."""
    kept, wanted = read_tensors(file), _tensors(state)
    seconds = kept.pop(_SECONDS, None)
    alike = kept.keys() == wanted.keys() and all(
        kept[name].shape == wanted[name].shape and kept[name].dtype == wanted[name].dtype for name in kept
    )
    if not alike or seconds is None:
        raise ArtefactError(f"{file} holds another start than its name says", hint="delete it; it is made again")
    with torch.no_grad():
        for section, own in (("learned", state.learned), ("fixed", state.fixed)):
            for key, tensor in own.items():
                tensor.copy_(kept[f"{section}/{key}"])
    return float(seconds)
