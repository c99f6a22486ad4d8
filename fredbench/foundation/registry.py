"""One registry type for every kind of plug-in: lazy targets, loud collisions, helpful misses."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast

from fredbench.foundation.errors import UnknownNameError, UsageError

T = TypeVar("T")

__all__ = ["Registry"]


class Registry(Generic[T]):
    """Named things of one kind.

    A target is either the object itself or a string `"package.module:attribute"`, imported on first use, so that
    listing names imports nothing heavy.

    >>> colours: Registry[int] = Registry("colour")
    >>> _ = colours.register("red", 1, summary="warm")
    >>> colours.get("red")
    1
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._targets: dict[str, T | str] = {}
        self._summaries: dict[str, str] = {}

    def register(self, name: str, target: T | str, *, summary: str = "") -> T | str:
        """Add `target` under `name`; a second, different target for a name is an error that names both."""
        present = self._targets.get(name)
        if present is not None and present is not target and present != target:
            raise UsageError(
                f"{self.kind} {name!r} is already registered as {present!r}, refusing {target!r}",
                hint="choose another name for the plug-in",
            )
        self._targets[name] = target
        self._summaries[name] = summary
        return target

    def decorator(self, name: str, *, summary: str = "") -> Callable[[T], T]:
        """The same as `register`, as a decorator."""

        def add(target: T) -> T:
            self.register(name, target, summary=summary)
            return target

        return add

    def get(self, name: str) -> T:
        """The object registered as `name`, imported now if it was lazy; `UnknownNameError` otherwise."""
        if name not in self._targets:
            raise UnknownNameError(self.kind, name, self._targets)
        target = self._targets[name]
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            resolved: Any = importlib.import_module(module)
            for part in attribute.split("."):
                resolved = getattr(resolved, part)
            self._targets[name] = target = cast(T, resolved)
        return target

    def values(self) -> list[T]:
        """Every object, in the order of registration; lazy ones are imported now."""
        return [self.get(name) for name in self]

    def summary(self, name: str) -> str:
        """The one line said of `name` in listings."""
        if name not in self._targets:
            raise UnknownNameError(self.kind, name, self._targets)
        return self._summaries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)
