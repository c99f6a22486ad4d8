"""Corruption suites: which test domains a dataset is scored on, as TOML files beside the package or of the user's.

Files with `kind = "grid"` in the same folder describe runs instead (see `grids`); both are read here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from fredbench.config import built
from fredbench.corruptions import ALL, PROFILES
from fredbench.errors import UnknownNameError, UsageError

__all__ = ["CorruptionSuite", "SuiteKind", "kind_of", "names_of", "suite_named", "suite_names", "tables_of"]

SuiteKind = Literal["corruptions", "grid"]
_KINDS: tuple[SuiteKind, ...] = ("corruptions", "grid")
_OTHER_COMMAND = {
    "corruptions": "score finished runs on it: fredbench corrupt-eval --suite {name}",
    "grid": "make and score its runs: fredbench suite run {name}",
}


@dataclass(frozen=True)
class CorruptionSuite:
    """The domains of one table: a dataset's clean test split and its corruptions.

    profile: constants of which generator (`cifar` or `imagenet`). seed: of the engine's draws. official: folder
    names under the data folder whose published arrays, where a user has them, are read in place of generating.
    published: name of the set in the literature's tables; only a suite built with its constants may carry it.
    """

    name: str
    title: str
    dataset: str
    profile: str
    corruptions: tuple[str, ...]
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)
    seed: int = 0
    official: tuple[str, ...] = ()
    published: str = ""
    source: str = ""

    @staticmethod
    def clean_only(dataset: str) -> CorruptionSuite:
        """A suite of no corruptions: the clean test split alone."""
        return CorruptionSuite("clean", "clean", dataset, "cifar", ())


def suite_names() -> list[str]:
    """Names of the corruption suites that come with fredbench."""
    return names_of("corruptions")


def names_of(*kinds: SuiteKind) -> list[str]:
    """Names of the suites of `kinds` that come with fredbench."""
    names = sorted(item.name.removesuffix(".toml") for item in _shipped().iterdir() if item.name.endswith(".toml"))
    return [name for name in names if kind_of(name) in kinds]


def suite_named(name: str) -> CorruptionSuite:
    """The corruption suite called `name`, or the one in the TOML file at that path."""
    values, where = tables_of(name, "corruptions")
    return _checked(built(CorruptionSuite, values, where=f"suite {where}"), where)


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
    packaged = files("fredbench") / "suite_files"
    return packaged if packaged.is_dir() else Path(str(files("fredbench"))).parent / "suites"


def _parsed(text: str, *, where: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"suite {where} is not TOML: {error}", hint="mend the line it names") from error


def _checked(suite: CorruptionSuite, where: str) -> CorruptionSuite:
    if not suite.severities or not set(suite.severities) <= set(range(1, 6)):
        raise UsageError(f"suite {where} has severities {suite.severities}", hint="severities are 1 to 5")
    if suite.profile not in PROFILES:
        raise UnknownNameError(f"profile of suite {where}:", suite.profile, PROFILES)
    for name in suite.corruptions:
        if name not in ALL:
            raise UnknownNameError(f"corruption of suite {where}:", name, ALL)
    return suite
