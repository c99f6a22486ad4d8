"""Suite files, read: TOML that comes with fredbench or is the user's, of two kinds, corruption suites and grids."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from fredbench.foundation.errors import UnknownNameError, UsageError

__all__ = ["SuiteKind", "kind_of", "names_of", "tables_of"]

SuiteKind = Literal["corruptions", "grid"]
_KINDS: tuple[SuiteKind, ...] = ("corruptions", "grid")
_OTHER_COMMAND = {
    "corruptions": "score finished runs on it: fredbench corrupt-eval --suite {name}",
    "grid": "make and score its runs: fredbench suite run {name}",
}


def names_of(*kinds: SuiteKind) -> list[str]:
    """Names of the suites of `kinds` that come with fredbench."""
    names = sorted(item.name.removesuffix(".toml") for item in _shipped().iterdir() if item.name.endswith(".toml"))
    return [name for name in names if kind_of(name) in kinds]


def kind_of(name: str) -> SuiteKind:
    """Whether the suite called `name`, or the TOML file at that path, lists corruptions or runs."""
    kind = _read(name)[0].get("kind", "corruptions")
    if kind not in _KINDS:
        raise UnknownNameError(f"kind of suite {name}:", str(kind), _KINDS)
    return "grid" if kind == "grid" else "corruptions"


def tables_of(name: str, kind: SuiteKind) -> tuple[dict[str, Any], str]:
    """The contents of a suite of `kind`, as TOML has them, and where they stand; of another kind: `UsageError`."""
    found = kind_of(name)
    if found != kind:
        words = {"corruptions": "a corruption suite", "grid": "a grid of runs"}
        raise UsageError(
            f"suite {name} is {words[found]}, not {words[kind]}", hint=_OTHER_COMMAND[found].format(name=name)
        )
    values, where = _read(name)
    return {key: value for key, value in values.items() if key != "kind"}, where


def _read(name: str) -> tuple[Mapping[str, Any], str]:
    if not name.endswith(".toml"):
        file = _shipped() / f"{name}.toml"
        if not file.is_file():
            raise UnknownNameError("suite", name, names_of(*_KINDS))
        return _parsed(file.read_text(), where=name), name
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"no suite file at {path}", hint=f"known suites: {', '.join(names_of(*_KINDS))}")
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise UsageError(f"suite {path} is no text: {error}", hint="give a TOML file") from error
    return _parsed(text, where=str(path)), str(path)


def _shipped() -> Any:
    """The folder of suite files: inside an installed package or, in a checkout, beside it."""
    packaged = files("fredbench.suites") / "shipped"
    return packaged if packaged.is_dir() else Path(str(files("fredbench"))).parent / "suites"


def _parsed(text: str, *, where: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"suite {where} is not TOML: {error}", hint="mend the line it names") from error
