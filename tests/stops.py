"""Where the host would wait for an accelerator, found without one: on tensors of torch's `meta` device.

A meta tensor has a shape and no values. What a step asks of its values is what stops an accelerator's queue: reading a
number, sizes that depend on data, copies that wait. `Stops` notes each with the place in the code, and hands out
numbers in place of those that are read, so that the step goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from commands import ROOT
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")
_aten = torch.ops.aten
_INDEXING = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._index_put_impl_.default}


class Stops(TorchDispatchMode):
    """While it is on, every stop goes to `found`, by place: `objectives/alignment.py FeatureAlignment._accuracy`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if operation is _aten._local_scalar_dense.default and args[0].is_meta:
            self._note("reads a number")
            return torch.ones((), dtype=args[0].dtype).item()
        if operation is _aten._to_copy.default:
            target = torch.device(kwargs.get("device") or args[0].device)
            if args[0].is_meta and target.type == "cpu":
                self._note("copies back")
                return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
            self._note_waiting(args[0], target, kwargs.get("non_blocking", False))
        elif operation is _aten.copy_.default:
            waits = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
            if args[1].is_meta and not args[0].is_meta:
                self._note("copies back")
                return args[0]
            self._note_waiting(args[1], args[0].device, not waits)
        elif operation is _aten.lift_fresh.default and args[0].is_meta:
            self._note("copies a list and waits")
        elif operation in _INDEXING and args[0].is_meta:
            self._note_indices(args[1])
        elif operation is _aten._linalg_check_errors.default:
            self._note("checks a solution")
        try:
            return operation(*args, **kwargs)
        except NotImplementedError as error:
            self._note(f"needs values: {operation}")
            raise AssertionError(f"{_place()}: {operation} cannot go on without values") from error

    def _note(self, what: str) -> None:
        self.found.setdefault(_place(), []).append(what)

    def _note_waiting(self, values: Tensor, target: torch.device, goes_on: bool) -> None:
        if values.device.type == "cpu" and target.type == "meta" and not goes_on:
            self._note("sends and waits")

    def _note_indices(self, indices: Sequence[Tensor | None]) -> None:
        for index in indices:
            if index is not None and not index.is_meta:
                self._note("sends positions and waits")
            elif index is not None and index.dtype in (torch.bool, torch.uint8):
                self._note("counts what a mask chooses")


def _place() -> str:
    """The innermost function of this repository on the stack, with its file."""
    frame = sys._getframe(1)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        # An environment may lie in the checkout, with all of torch in it.
        ours = file.is_relative_to(ROOT / "fredbench") or file.is_relative_to(ROOT / "tests")
        if ours and file != Path(__file__):
            # A comprehension is a frame of its own in some versions of Python and none in others.
            function = frame.f_code.co_qualname.partition(".<locals>")[0]
            return f"{file.relative_to(ROOT).as_posix().removeprefix('fredbench/')} {function}"
        frame = frame.f_back
    return "outside"
