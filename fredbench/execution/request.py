"""A part of a grid as it is asked for: words and numbers that another process, or another machine, can open."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fredbench.datasets import data_root, load_dataset
from fredbench.execution.inline import GridRun
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.foundation.errors import UsageError
from fredbench.foundation.plugins import load_entry_points, load_file, loaded_files
from fredbench.runs.store import Store
from fredbench.suites.grids import Grid, Place, grid_named

__all__ = ["GridRequest"]


@dataclass(frozen=True)
class GridRequest:
    """Which part of which grid, where its runs and data lie, and what computes them.

    name: of the grid, or its file. card: of several accelerators the one that was asked for. The rest is as on the
    command line; what is left out is the suite's.
    """

    name: str
    store: str
    dataset: str | None = None
    ipcs: tuple[int, ...] = ()
    preset: str | None = None
    limit: int | None = None
    device: str = "auto"
    threads: int | None = None
    data: str | None = None
    offline: bool = False
    yes: bool = False
    plugins: tuple[str, ...] = ()
    folder: str = ""
    scale: str | None = None
    card: int | None = None

    def open(self) -> GridRun:
        """The grid with its dataset loaded, the device found, and torch set to the number of threads."""
        grid = grid_named(self.name)
        place = _part(grid, grid.place(self.dataset, self.scale), self.ipcs, self.preset, self.limit)
        root = None if self.data is None else Path(self.data)
        return GridRun(
            grid,
            place,
            load_dataset(place.name, root=root, offline=self.offline),
            Store(Path(self.store)),
            resolve_device(self.device),
            use_threads(self.threads or grid.resources.cores),
            data_root(root),
        )

    def pinned(self, grid_run: GridRun) -> GridRequest:
        """The same for other processes: device kind and threads as they were found here, no path relative."""
        return dataclasses.replace(
            self,
            name=os.path.abspath(self.name) if self.name.endswith(".toml") else self.name,
            store=os.path.abspath(self.store),
            data=None if self.data is None else os.path.abspath(self.data),
            device=grid_run.device.type,
            card=grid_run.device.index,
            threads=grid_run.threads,
            plugins=tuple(loaded_files()),
            folder=os.getcwd(),
        )

    def opened_elsewhere(self) -> GridRun:
        """`open`, in a process that was started for it: in the folder and with the plug-ins of who asked."""
        if self.folder and os.path.isdir(self.folder):
            os.chdir(self.folder)
        load_entry_points()
        for file in self.plugins:
            load_file(file)
        return self.open()

    def to_mapping(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_mapping(values: Mapping[str, Any]) -> GridRequest:
        """The inverse of `to_mapping`."""
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return GridRequest(**{**values, **lists})


def _part(grid: Grid, place: Place, ipcs: tuple[int, ...], preset: str | None, limit: int | None) -> Place:
    for ipc in ipcs:
        if ipc not in place.ipcs:
            has = ", ".join(map(str, place.ipcs))
            raise UsageError(f"suite {grid.name} has no IPC {ipc} on {place.name}", hint=f"it has {has}")
    chosen = tuple(ipc for ipc in place.ipcs if not ipcs or ipc in ipcs)
    # A number of test pictures asked for here is that of all domains.
    corrupted = place.corrupted_limit if limit is None else None
    return dataclasses.replace(
        place, ipcs=chosen, preset=preset or place.preset, limit=limit or place.limit, corrupted_limit=corrupted
    )
