"""Plug-ins: modules that register datasets, objectives, parameterizations, networks or methods when imported.

Two ways in: the entry-point group `fredbench.plugins` of an installed package, and `--plugin FILE.py`.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path

from fredbench.foundation.errors import UsageError

__all__ = ["load_entry_points", "load_file", "loaded_files"]

GROUP = "fredbench.plugins"
_files: list[str] = []


def loaded_files() -> list[str]:
    """Absolute paths of the plug-in files that this process has loaded, for processes that it starts."""
    return list(_files)


def load_entry_points() -> list[str]:
    """Import every installed plug-in; returns their names. A plug-in that fails to import is an error."""
    names = []
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except ImportError as error:
            raise UsageError(
                f"plug-in {entry.name!r} ({entry.value}) cannot be imported: {error}",
                hint="mend or uninstall the package that brings it",
            ) from error
        names.append(entry.name)
    return names


def load_file(file: str | Path) -> None:
    """Import one plug-in file; its top level registers what it brings."""
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"no plug-in file at {path}", hint="give the path of a Python file to --plugin")
    name = f"fredbench_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file", hint="plug-ins end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError) as error:
        raise UsageError(f"plug-in {path} cannot be imported: {error}", hint="mend the line it names") from error
    _files.append(str(path.resolve()))
