"""Starts that take long, kept in a store: what a parameterization fits to pictures before a run's first iteration.

So a run that was killed does not fit again, nor does the row of its start, nor a longer run of the same settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from fredbench.foundation.errors import ArtefactError
from fredbench.foundation.files import write_bytes
from fredbench.foundation.locks import held
from fredbench.foundation.progress import say
from fredbench.parameterizations.base import State
from fredbench.training.kept import read_tensors, short_digest

__all__ = ["FOLDER", "kept_start"]

FOLDER = "starts"
"""Name of the starts' folder in a store of runs."""


def kept_start(
    folder: Path, determined_by: Mapping[str, Any], make: Callable[[], State], blank: Callable[[], State]
) -> State:
    """What `make` gives, bit for bit, made once in a store; waits for who makes the same.

    determined_by: all that decides it, as JSON has it. blank: a state of the same tensors, with other values, in
    moments. Raises `ArtefactError` where the kept file is damaged or of other tensors.
    """
    file = folder / f"start-{short_digest(determined_by)}.safetensors"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_name(f".{file.stem}.lock")
        with held(lock, f"another process makes the start {file}", "wait for it"):
            if not file.is_file():  # the other may have made it meanwhile
                state = make()
                write_bytes(file, safetensors.torch.save(_tensors(state)))
                return state
    say(f"reading {file.name}, a start that was fitted before")
    state = blank()
    _fill(state, file)
    return state


def _tensors(state: State) -> dict[str, Tensor]:
    sections = {"learned": state.learned, "fixed": state.fixed}
    named = {f"{section}/{key}": tensor for section, found in sections.items() for key, tensor in found.items()}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def _fill(state: State, file: Path) -> None:
    """Give the tensors of `state` the values in `file`, in place: labels may be one of them."""
    kept, wanted = read_tensors(file), _tensors(state)
    alike = kept.keys() == wanted.keys() and all(
        kept[name].shape == wanted[name].shape and kept[name].dtype == wanted[name].dtype for name in kept
    )
    if not alike:
        raise ArtefactError(f"{file} holds another start than its name says", hint="delete it; it is made again")
    with torch.no_grad():
        for section, own in (("learned", state.learned), ("fixed", state.fixed)):
            for key, tensor in own.items():
                tensor.copy_(kept[f"{section}/{key}"])
