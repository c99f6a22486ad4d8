"""The register of datasets, and `load_dataset`: from a name to pictures, whatever form they lie in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from fredbench.datasets.core import LIKE, Dataset, Source
from fredbench.datasets.download import fetch
from fredbench.datasets.family import Family
from fredbench.datasets.resize import Geometry, geometry_from
from fredbench.datasets.walking import expanded
from fredbench.foundation.errors import DataError, UnknownNameError, UsageError
from fredbench.foundation.progress import say
from fredbench.foundation.registry import Registry

__all__ = [
    "ALIASES",
    "DATASETS",
    "PREFIXES",
    "Absent",
    "absent",
    "data_root",
    "fetch_dataset",
    "find_source",
    "is_offline",
    "known_family",
    "load_dataset",
    "split_name",
]

DATASETS: Registry[Family] = Registry("dataset")
PREFIXES: Registry[Callable[[str, Mapping[str, str], Callable[[str], Family | None]], Dataset]] = Registry(
    "dataset prefix"
)

_HERE = "fredbench.datasets.known"
DATASETS.register("digits", f"{_HERE}.digits:DIGITS", summary="scanned digits, embedded: 10 classes, 32x32, 1,297/500")
DATASETS.register("cifar10", f"{_HERE}.cifar:CIFAR10", summary="CIFAR-10: 10 classes, 32x32, 50,000/10,000")
DATASETS.register("cifar100", f"{_HERE}.cifar:CIFAR100", summary="CIFAR-100: 100 classes, 32x32, 50,000/10,000")
DATASETS.register("svhn", f"{_HERE}.svhn:SVHN", summary="SVHN cropped digits: 10 classes, 32x32, 73,257/26,032")
for _name, _what in {
    "imagenette": "ten easy things",
    "imagewoof": "ten dogs",
    "imagefruit": "ten fruits",
    "imageyellow": "ten yellow things",
    "imagemeow": "ten cats",
    "imagesquawk": "ten birds",
}.items():
    DATASETS.register(
        _name,
        f"{_HERE}.imagenet_subsets:{_name.upper()}",
        summary=f"ImageNet subset, {_what}: 10 classes, 128x128",
    )
DATASETS.register(
    "tiny-imagenet",
    f"{_HERE}.tiny_imagenet:TINY_IMAGENET",
    summary="Tiny ImageNet: 200 classes, 64x64, 100,000/10,000",
)
DATASETS.register("mnist", f"{_HERE}.mnist:MNIST", summary="MNIST digits: 10 classes, 28x28 grey, 60,000/10,000")
DATASETS.register(
    "fashion-mnist",
    f"{_HERE}.mnist:FASHION_MNIST",
    summary="Fashion-MNIST clothes: 10 classes, 28x28 grey, 60,000/10,000",
)
PREFIXES.register(
    "folder", "fredbench.datasets.image_folder:open_folder", summary="folder:PATH, a tree of class folders"
)
PREFIXES.register(
    "packed", "fredbench.datasets.packed:open_packed", summary="packed:PATH, a folder written by `data pack`"
)


# Other names under which people know a set; the first is the one that runs and tables carry.
ALIASES = {
    "tinyimagenet": "tiny-imagenet",
    "tiny-imagenet-200": "tiny-imagenet",
    "tiny_imagenet": "tiny-imagenet",
    "fashionmnist": "fashion-mnist",
}


def data_root(root: Path | None = None) -> Path:
    """The folder of datasets: `root`, else FREDBENCH_DATA, else the user's cache folder."""
    given = root or os.environ.get("FREDBENCH_DATA")
    return expanded(str(given)) if given else platformdirs.user_cache_path("fredbench") / "data"


def is_offline(offline: bool = False) -> bool:
    """Whether the network is out of bounds, by argument or by FREDBENCH_OFFLINE."""
    return offline or os.environ.get("FREDBENCH_OFFLINE", "").lower() in {"1", "true", "yes", "on"}


def split_name(name: str) -> tuple[str, dict[str, str]]:
    """A name and its options: `imagenette?geometry=crop` gives (`imagenette`, {`geometry`: `crop`}).

    A question mark followed by no `key=value` belongs to the name, as in odd paths.
    """
    base, mark, tail = name.rpartition("?")
    pairs = [pair.split("=") for pair in tail.split("&")] if mark and base else []
    if pairs and all(len(pair) == 2 and pair[0] for pair in pairs):
        return base, dict(pairs)
    return name, {}


def plain_name(name: str) -> str:
    """The name of a known set without `antialias=no`: the same set as far as recipes, suites and tables go.

    The literature's pictures were resized so; any other option makes a set of its own, and keeps its name.
    """
    base, options = split_name(name)
    return base if base in DATASETS and options in ({"antialias": "no"}, {}) else name


def known_family(name: str) -> Family | None:
    """The known set called `name`, or None."""
    return DATASETS.get(name) if name in DATASETS else None


def find_source(family: Family, root: Path, geometry: Geometry | None) -> Source | None:
    """The first whole copy of `family` below `root` in any form, or a partial one where none is whole."""
    first: Source | None = None
    for find in family.finders:
        source = find(family, root, geometry)
        if source is not None and not source.partial:
            return source
        first = first or source
    return first


def _missing(family: Family, root: Path) -> DataError:
    message = f"dataset {family.name!r} is not below {root}; looked for: {', '.join(family.places)}"
    mend = f"run `fredbench data fetch {family.name}` where there is a network" if family.remote else family.provide
    return DataError(message, hint=f"{mend}; or name another folder with --data (FREDBENCH_DATA)")


@dataclass(frozen=True)
class Absent:
    """A known set that is not there and that nothing can fetch: what was looked for, and what a user must bring."""

    name: str
    what: str
    provide: str


def absent(name: str, *, root: Path | None = None) -> Absent | None:
    """Of the known set `name`, that nothing of it lies below `root` and no command can bring it; else None."""
    base = split_name(name)[0]
    family = known_family(ALIASES.get(base, base))
    if family is None or family.remote or find_source(family, data_root(root), family.geometry) is not None:
        return None
    error = _missing(family, data_root(root))
    return Absent(family.name, error.message, error.hint)


def fetch_dataset(name: str, *, root: Path | None = None, offline: bool = False) -> list[Path]:
    """Bring the published files of the known set `name` below `root`; where its files lie.

    A whole copy that is there already, in any form, is left alone. Raises `UsageError` for `folder:` and
    `packed:`, `DataError` for a set that cannot be fetched, offline or at all.
    """
    if name.partition(":")[0] in PREFIXES:
        raise UsageError(f"{name!r} is a folder of yours, there is nothing to fetch", hint="name a known set")
    name = ALIASES.get(name, name)
    family, where = DATASETS.get(name), data_root(root)
    source = find_source(family, where, family.geometry)
    if source is not None and not source.partial:
        say(f"{name} is there already: {source.form}{f' at {source.path}' if source.path else ''}")
        return [source.path] if source.path else []
    if family.remote and is_offline(offline):
        raise DataError(f"cannot fetch {name} offline", hint="leave out --offline (FREDBENCH_OFFLINE)")
    return fetch(family, where)


def load_dataset(name: str, *, root: Path | None = None, offline: bool = False) -> Dataset:
    """The dataset called `name`, found below `root`, fetched if it is missing and the network allows.

    Names: those of `DATASETS`, `folder:PATH`, `packed:PATH`; options follow a question mark
    (`folder:PATH?size=64`, `imagenette?geometry=crop`). `mnist-like` and its kind are other pictures in the form of
    a known set, which are not compared with it. `root` defaults to FREDBENCH_DATA, else the user's
    cache folder. Nothing is decoded before `.train` or `.test` is read. Raises `UnknownNameError`,
    `UsageError` for options that do not fit, and `DataError` for what is missing, cut off, altered or
    contradicts itself.
    """
    base, options = split_name(name)
    if base in ALIASES:
        name = name.replace(base, ALIASES[base], 1)
        base = ALIASES[base]
    prefix, colon, rest = base.partition(":")
    if colon:
        if prefix not in PREFIXES:
            raise UnknownNameError("dataset prefix", prefix, PREFIXES)
        if not rest:
            raise UsageError(f"{name!r} names no folder", hint=f"write {prefix}:PATH")
        return PREFIXES.get(prefix)(rest, options, known_family)
    known = _known_form(base)
    if known not in DATASETS:
        raise UnknownNameError("dataset", base, [*DATASETS, *(f"{prefix}:PATH" for prefix in PREFIXES)])
    family = DATASETS.get(known)
    if options and family.geometry is None:
        raise UsageError(f"{base} has one size only and takes no options, as in {name!r}", hint=f"use {base!r}")
    geometry = geometry_from(options, family.geometry, where=name)
    where = data_root(root)
    source = find_source(family, where, geometry)
    if source is None:
        if not family.remote or is_offline(offline):
            raise _missing(family, where)
        fetch(family, where)
        source = find_source(family, where, geometry)
        if source is None:
            raise _missing(family, where)
    if base != known:
        return family.like(source)
    if source.unlike:
        say(f"note: this is not {family.name} ({source.unlike}): it is called {family.name}{LIKE}")
    return family.dataset(source, name=name, geometry=geometry)


def _known_form(name: str) -> str:
    """The known set whose form `NAME-like` means; other names as they are."""
    known = name.removesuffix(LIKE)
    return known if known in DATASETS and DATASETS.get(known).geometry is None else name
