"""Corruption suites: which test domains a dataset is scored on, as TOML files beside the package or of the user's."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

from fredbench.config import parse_value
from fredbench.corruptions import ALL, PROFILES
from fredbench.errors import UnknownNameError, UsageError

__all__ = ["CorruptionSuite", "suite_named", "suite_names"]


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
    """Names of the suites that come with fredbench."""
    return sorted(item.name.removesuffix(".toml") for item in _shipped().iterdir() if item.name.endswith(".toml"))


def suite_named(name: str) -> CorruptionSuite:
    """The suite called `name`, or the one in the TOML file at that path."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"no suite file at {path}", hint=f"known suites: {', '.join(suite_names())}")
        try:
            text = path.read_text()
        except UnicodeDecodeError as error:
            raise UsageError(f"suite {path} is no text: {error}", hint="give a TOML file") from error
        return _parse(text, where=str(path))
    if name not in suite_names():
        raise UnknownNameError("suite", name, suite_names())
    return _parse((_shipped() / f"{name}.toml").read_text(), where=name)


def _shipped() -> Any:
    """The folder of suite files: inside an installed package or, in a checkout, beside it."""
    packaged = files("fredbench") / "suite_files"
    return packaged if packaged.is_dir() else Path(str(files("fredbench"))).parent / "suites"


def _parse(text: str, *, where: str) -> CorruptionSuite:
    try:
        values: Mapping[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"suite {where} is not TOML: {error}", hint="mend the line it names") from error
    known = {field.name for field in fields(CorruptionSuite)}
    for key in values:
        if key not in known:
            raise UnknownNameError(f"key of suite {where}:", key, known)
    missing = {"name", "title", "dataset", "profile", "corruptions"} - values.keys()
    if missing:
        raise UsageError(
            f"suite {where} lacks {', '.join(sorted(missing))}", hint="see `fredbench suite show cifar10c`"
        )
    kinds = get_type_hints(CorruptionSuite)
    plain = {key: parse_value(value, kinds[key], where=f"{where}: {key}") for key, value in values.items()}
    suite = CorruptionSuite(**plain)
    if not suite.severities or not set(suite.severities) <= set(range(1, 6)):
        raise UsageError(f"suite {where} has severities {suite.severities}", hint="severities are 1 to 5")
    if suite.profile not in PROFILES:
        raise UnknownNameError(f"profile of suite {where}:", suite.profile, PROFILES)
    for name in suite.corruptions:
        if name not in ALL:
            raise UnknownNameError(f"corruption of suite {where}:", name, ALL)
    return suite
