"""Corruption suites: which test domains a dataset is scored on, as TOML files beside the package or of the user's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from fredbench.corruptions import ALL, KNOWN, PROFILES
from fredbench.datasets.shifted_set import ShiftedSet
from fredbench.foundation.config import built, to_mapping
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.suites.parts import Baseline, baseline_from, shift_from
from fredbench.suites.reading import names_of, tables_of

__all__ = ["CorruptionSuite", "corruptions_of", "suite_named", "suite_names", "usual_suite"]

_SEVERITIES = (1, 2, 3, 4, 5)
# What makes the pictures of a suite those that its name promises, beside which of them there are.
_PICTURES = ("dataset", "profile", "framing")


@dataclass(frozen=True)
class CorruptionSuite:
    """The domains of one table: a dataset's clean test split and its corruptions, or a shifted test set.

    profile: constants of which generator (`cifar` or `imagenet`). seed: of the engine's draws. framing: `dataset`
    corrupts the test split's own pictures, `imagenet-c` cuts the stored ones as ImageNet-C does (see `framing`) and
    stores them as it does. official: folder names under the data folder whose published pictures, where a user has
    them, are read in place of generating: arrays, or under `imagenet-c` folders. published: name of the set in the
    literature's tables; only a suite built with its constants may carry it.
    """

    name: str
    title: str
    dataset: str
    profile: str
    corruptions: tuple[str, ...]
    severities: tuple[int, ...] = _SEVERITIES
    seed: int = 0
    framing: Literal["dataset", "imagenet-c"] = "dataset"
    official: tuple[str, ...] = ()
    published: str = ""
    source: str = ""
    shift: ShiftedSet | None = None
    baseline: Baseline | None = None

    @staticmethod
    def clean_only(dataset: str) -> CorruptionSuite:
        """A suite of no corruptions: the clean test split alone."""
        return CorruptionSuite("clean", "clean", dataset, "cifar", ())

    def named_from(self, suffix: str) -> CorruptionSuite:
        """The suite as built on other pictures than the published set's: named after them, published nowhere."""
        if not suffix:
            return self
        return dataclasses.replace(self, name=self.name + suffix, title=self.title + suffix, published="")

    def constants(self) -> dict[str, Any]:
        """What makes its pictures those that they are, as plain values: neither its names nor its baseline."""
        shift = None if self.shift is None else to_mapping(self.shift)
        lists = {"corruptions": list(self.corruptions), "severities": list(self.severities)}
        return {name: getattr(self, name) for name in (*_PICTURES, "seed")} | lists | {"shift": shift}

    @staticmethod
    def of_constants(constants: Mapping[str, Any], *, name: str, title: str, where: str) -> CorruptionSuite:
        """The suite of `constants`; `UsageError` naming `where` for what is none."""
        known = {key: value for key, value in constants.items() if value is not None}
        return _suite({**known, "name": name, "title": title}, where)


def suite_names() -> list[str]:
    """Names of the corruption suites that come with fredbench."""
    return names_of("corruptions")


def suite_named(name: str) -> CorruptionSuite:
    """The corruption suite called `name`, or the one in the TOML file at that path."""
    if not name.endswith(".toml"):
        return _shipped_suite(name)
    suite = _suite(*tables_of(name, "corruptions"))
    _check_names(suite, where=name)
    return suite


def corruptions_of(dataset: str) -> CorruptionSuite | None:
    """The shipped suite of the common corruptions of `dataset`, None where there is none."""
    for suite in map(suite_named, suite_names()):
        if suite.dataset == dataset and suite.corruptions and set(suite.corruptions) <= set(ALL):
            return suite
    return None


def usual_suite(dataset: str) -> CorruptionSuite:
    """The shipped suite of a dataset's corruptions; one of clean test pictures alone where there is none."""
    plain = dataclasses.replace(CorruptionSuite.clean_only(dataset), title=f"{dataset}, clean test pictures")
    return corruptions_of(dataset) or plain


@cache
def _shipped_suite(name: str) -> CorruptionSuite:
    return _suite(*tables_of(name, "corruptions"))


def _suite(values: Mapping[str, Any], where: str) -> CorruptionSuite:
    plain = dict(values)
    baseline, shift = plain.pop("baseline", None), plain.pop("shift", None)
    suite = dataclasses.replace(
        built(CorruptionSuite, plain, where=f"suite {where}"),
        baseline=None if baseline is None else baseline_from(baseline, where=f"[baseline] of suite {where}"),
        shift=None if shift is None else shift_from(shift, where=f"[shift] of suite {where}"),
    )
    if not suite.severities or not set(suite.severities) <= set(_SEVERITIES):
        raise UsageError(f"suite {where} has severities {suite.severities}", hint="severities are 1 to 5")
    if suite.profile not in PROFILES:
        raise UnknownNameError(f"profile of suite {where}:", suite.profile, PROFILES)
    for name in suite.corruptions:
        if name not in KNOWN:
            raise UnknownNameError(f"corruption of suite {where}:", name, KNOWN)
    return suite


def _constants(suite: CorruptionSuite) -> dict[str, Any]:
    """What makes the pictures of a suite those that its name promises; the seed may be another."""
    return {name: getattr(suite, name) for name in (*_PICTURES, "corruptions", "severities", "shift")}


def _check_names(suite: CorruptionSuite, *, where: str) -> None:
    """A shipped suite's name, title or name in the literature stands for its constants; others may not carry it."""
    titles = {suite.name, suite.title, suite.published} - {""}
    shipped_suites = [_shipped_suite(name) for name in suite_names()]
    for shipped in shipped_suites:
        taken = titles & {shipped.name, shipped.title, shipped.published}
        wanted = _constants(shipped)
        for key, value in _constants(suite).items():
            if taken and value != wanted[key]:
                raise UsageError(
                    f"suite {where} is called {min(taken)}, but its {key} is not that set's",
                    hint=f"give it names of its own; see `fredbench suite show {shipped.name}` for what the name means",
                )
    known = {shipped.published for shipped in shipped_suites} - {""}
    if suite.published and suite.published not in known:
        raise UnknownNameError(f"published set of suite {where}:", suite.published, known)
