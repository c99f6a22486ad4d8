"""Test domains: the clean test split and its corruptions, generated here or read from published pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64, UInt8

import fredbench
from fredbench.corruptions import corrupt, evenly_spaced
from fredbench.corruptions.published import PUBLISHED, published_as
from fredbench.corruptions.severities import CBAR_ALL, PIXELS, check_shape, family_of, own_constants, parameters
from fredbench.datasets import Dataset, Split
from fredbench.datasets.catalogue import known_family
from fredbench.datasets.framing import Framing, framing_of
from fredbench.datasets.imagenet_c import ImageNetC, Listing
from fredbench.datasets.official import PublishedArrays, listing_digest
from fredbench.datasets.shifted import ShiftedArrays, find_shifted
from fredbench.evaluation.rows import CLEAN, CLEAN_CROP
from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.suites.corruption import CorruptionSuite
from fredbench.suites.parts import Baseline

__all__ = ["CLEAN", "CLEAN_CROP", "TestDomains", "domains_of"]


# Pictures that the constants of the profile `cifar` were made for.


@dataclass(frozen=True)
class TestDomains:
    """The pictures of a suite's domains, made when asked for; at most one domain is held at a time.

    suite: as asked; `built` is the suite as it can be built on this dataset. limit: that many evenly spaced
    pictures of each domain, which keep their numbers for the corruption seeds; corrupted_limit: in its place for
    corruptions, so that clean accuracy can be of all pictures where corrupting them all takes too long. official:
    folder of published pictures to read in place of generating. shifted: the arrays of the suite's shifted set.
    """

    __test__ = False  # the name is no test of pytest's

    suite: CorruptionSuite
    dataset: Dataset
    severities: tuple[int, ...]
    limit: int | None = None
    official: Path | None = None
    shifted: ShiftedArrays | None = None
    corrupted_limit: int | None = None

    def __post_init__(self) -> None:
        for option, limit in (("--limit", self.limit), ("--corrupted-limit", self.corrupted_limit)):
            if limit is not None and limit < 1:
                raise UsageError(f"{option} must be at least 1, not {limit}", hint="leave it out for all pictures")
        if not self.severities or not set(self.severities) <= set(range(1, 6)):
            raise UsageError(f"severities {self.severities} are not among 1 to 5", hint="give --severity 1 .. 5")

    @cached_property
    def framing(self) -> Framing | None:
        """How an ImageNet suite's pictures are cut; None for suites that corrupt the test split as it is."""
        return framing_of(self.dataset) if self.suite.framing == "imagenet-c" else None

    @property
    def built(self) -> CorruptionSuite:
        """The suite under the name that its pictures allow (`imagewoofc-from128` where they are too small)."""
        if self.framing is None or self.official is not None:
            return self.suite
        return self.suite.named_from(self.framing.suffix)

    @property
    def comparable(self) -> bool:
        """Whether published numbers may stand beside these: the published test pictures, in their own framing."""
        if self.framing is None:
            return self.source != "user"
        return self.framing.published and not self.framing.shortfall and not self._archive_shortage

    @property
    def baseline(self) -> Baseline | None:
        """The suite's baseline, where its errors were measured on these very test pictures."""
        return None if self.no_baseline else self.suite.baseline

    @property
    def no_baseline(self) -> str:
        """Which other pictures the suite's baseline was measured on; empty where on these, and where there is none."""
        found, here = self.suite.baseline, f"{self.source} pictures of {self.built.name}"
        if found is None:
            return ""
        if found.test != self.dataset.test_fingerprint:
            return "another test split than this one"
        there = f"{found.source} pictures of {found.suite or self.built.name}"
        return "" if there == here else f"{there}, and these are {here}"

    @property
    def source(self) -> Literal["generated", "official", "user"]:
        """`generated` here; `official` where the published pictures are read; `user` for other arrays in their place.

        Arrays are the published ones when the checksum of every corruption's file says so.
        """
        if self.official is None and self.shifted is None:
            return "generated"
        return "official" if self._arrays is None or not self._unpublished else "user"

    @property
    def clean_domains(self) -> tuple[str, ...]:
        """`clean` and, where clean pictures can be cut as the corrupted ones are and are not yet, `clean-crop`."""
        framing = self.framing
        if framing is None or framing.cut is None:
            return (CLEAN,)
        # ImageNet-C's own pictures are cut its way, whatever the stored ones allow.
        return (CLEAN, CLEAN_CROP) if self.official is None or framing.published else (CLEAN,)

    @property
    def described(self) -> str:
        """How an ImageNet suite's pictures were cut, for the notes of a table; also whose constants small ones have."""
        if self.framing is not None:
            return self.framing.describe(official=self.official is not None)
        if self.source == "user":
            folder = "" if self.official is None else f" in {self.official.name}"
            return f"the user's arrays{folder}, not the published ones by checksum"
        generated = self.suite.corruptions and self.official is None
        return own_constants(self.dataset.size, self.suite.corruptions) if generated else ""

    @property
    def shifts(self) -> tuple[str, ...]:
        """Names of the shifted test sets."""
        return () if self.shifted is None else (self.shifted.name,)

    def names(self) -> tuple[str, ...]:
        """The clean domains, the shifted ones, then the suite's corruptions in order."""
        return (*self.clean_domains, *self.shifts, *self.suite.corruptions)

    @property
    def indices(self) -> Int64[np.ndarray, " n"]:
        """Numbers, in the test split, of the pictures that are scored."""
        return self.indices_of(CLEAN)

    def indices_of(self, name: str) -> Int64[np.ndarray, " n"]:
        """Numbers of the pictures of domain `name` that are scored."""
        total, limit = len(self._all_labels(name)), self.limit_of(name)
        return evenly_spaced(total, total if limit is None else min(limit, total))

    def limit_of(self, name: str) -> int | None:
        """How many evenly spaced pictures of domain `name` are scored; None for all."""
        corrupted = self.corrupted_limit is not None and name in self.suite.corruptions
        return self.corrupted_limit if corrupted else self.limit

    @property
    def fewer_corrupted(self) -> int | None:
        """How many of the scored pictures are corrupted, where these are fewer than all of them."""
        limit = self.corrupted_limit
        return None if limit is None or limit >= len(self.indices) else limit

    @property
    def labels(self) -> Int64[np.ndarray, " n"]:
        """Labels of the clean pictures that are scored."""
        return self.labels_of(CLEAN)

    def labels_of(self, name: str) -> Int64[np.ndarray, " n"]:
        """Labels of the pictures of domain `name` that are scored."""
        labels: np.ndarray = self._all_labels(name)[self.indices_of(name)]
        return labels

    def pictures(self, name: str) -> Iterator[UInt8[np.ndarray, "n h w c"]]:
        """The pictures of one domain: once for clean and shifted ones, else one array a severity, in rising order."""
        indices = self.indices_of(name)
        if name == CLEAN:
            yield self.dataset.test.images[indices]
        elif name == CLEAN_CROP and self.framing is not None:
            yield self.framing.finished(self._base.images[indices])
        elif self.shifted is not None and name == self.shifted.name:
            yield self.shifted.split.images[indices]
        elif self._archive is not None:
            yield from self._archive.pictures(name, self.severities, indices, self.dataset.geometry)
        elif self._arrays is not None:
            self._check_array(name)
            yield from (self._arrays.pictures(name, severity, indices) for severity in self.severities)
        else:
            yield from self._generated(name, indices)

    def key(self, name: str) -> dict[str, Any]:
        """What determines the pictures of domain `name`, for the names of files of predictions."""
        key: dict[str, Any] = {"domain": name, "test": self.dataset.test_fingerprint, "limit": self.limit_of(name)}
        if self.shifted is not None and name == self.shifted.name:
            return {**key, "test": self.shifted.digest()}
        if self.framing is not None and name != CLEAN:
            key["suite"] = self.built.name
        if name in (CLEAN, CLEAN_CROP):
            return key
        if self._archive is not None:
            files, _ = self._listing(self._archive, name)
            key["archive"] = [listing_digest(every) for every in files]
        elif self._arrays is not None:
            key["archive"] = self._arrays.digest(name)
        return key | {
            "profile": self.suite.profile,
            "seed": self.suite.seed,
            "severities": list(self.severities),
            "source": self.source,
            "engine": fredbench.__version__ + (f" pixels {PIXELS}" if self.source == "generated" else ""),
        }

    def constants(self, name: str) -> list[list[float]]:
        """The constants by which domain `name` is generated, a row a severity; none where nothing is generated."""
        if self.source != "generated" or name not in self.suite.corruptions:
            return []
        family = family_of(self.suite.profile, *self._base.images.shape[1:3])
        return [list(parameters(family, name, severity)) for severity in self.severities]

    @property
    def partial(self) -> dict[str, str]:
        """What these domains lack against the published sets, by name.

        The dataset's own gaps are not repeated, but for `test`, where an ImageNet suite has more to say of it.
        """
        missing = {}
        if self.framing is not None and self.framing.shortfall:
            missing["test"] = "; ".join(filter(None, (self.dataset.partial.get("test"), self.framing.shortfall)))
        if self.shifted is not None:
            missing[self.shifted.name] = self.shifted.partial
        missing["official"] = self._archive_shortage
        return {name: what for name, what in missing.items() if what}

    @cached_property
    def _archive(self) -> ImageNetC | None:
        """The published folders of an ImageNet suite."""
        if self.official is None or self.suite.framing != "imagenet-c":
            return None
        family = known_family(self.suite.dataset)
        if family is None or not family.wnids:
            raise CompatibilityError(
                f"{self.official} is sorted by WordNet id, which {self.suite.dataset} does not know",
                hint="name an ImageNet subset as the suite's dataset, or leave `official` out of its file",
            )
        return ImageNetC(self.official, family.wnids)

    @cached_property
    def _arrays(self) -> PublishedArrays | None:
        """Arrays that a user has in the place of published ones."""
        if self.official is None or self.suite.framing == "imagenet-c":
            return None
        return PublishedArrays(self.official, self.dataset)

    @cached_property
    def _unpublished(self) -> tuple[str, ...]:
        """Corruptions whose arrays are not byte for byte those that were published under these names."""
        folder, sets = self.official, set(self.suite.official) & PUBLISHED.keys()
        if folder is None:
            return ()
        return tuple(
            name
            for name in self.suite.corruptions
            if _published_as(folder / f"{name}.npy") not in {f"{known}/{name}.npy" for known in sets}
        )

    def check_arrays(self) -> None:
        """`DataError` where a user's arrays are not the test pictures in their order; nothing where there are none."""
        for name in self.suite.corruptions if self._arrays is not None else ():
            self._check_array(name)

    def check_constants(self) -> None:
        """`UsageError` where the suite has C-bar corruptions that are not defined at the size that is corrupted."""
        names = [name for name in self.suite.corruptions if name in CBAR_ALL]
        if not names or self.source != "generated":
            return
        height, width = self._corrupted_size
        check_shape(names, height, width)
        for name in names:
            parameters(family_of(self.suite.profile, height, width), name, 1)

    @property
    def _corrupted_size(self) -> tuple[int, int]:
        """Height and width at which pictures are corrupted."""
        if self.framing is None:
            return self.dataset.size
        side = self.framing.stored if self.framing.cut is None else self.framing.cut.size
        return side, side

    def _check_array(self, name: str) -> None:
        if self._arrays is None:
            return
        if name in self._unpublished:
            self._arrays.check(name)
        else:
            self._arrays.check_labels()

    @cached_property
    def _archive_shortage(self) -> str:
        """What the published folders lack in the corruptions and severities asked for; empty without such folders."""
        if self._archive is None:
            return ""
        return self._archive.shortage({name: self._listing(self._archive, name) for name in self.suite.corruptions})

    @cached_property
    def _listings(self) -> dict[str, Listing]:
        """The archive's files and labels by corruption, listed on first use."""
        return {}

    def _listing(self, archive: ImageNetC, name: str) -> Listing:
        if name not in self._listings:
            self._listings[name] = archive.listing(name, self.severities)
        return self._listings[name]

    @cached_property
    def _base(self) -> Split:
        """The pictures that are corrupted."""
        return self.dataset.test if self.framing is None else self.framing.pictures()

    def _all_labels(self, name: str) -> Int64[np.ndarray, " n"]:
        if self.shifted is not None and name == self.shifted.name:
            return self.shifted.split.labels
        if self._archive is not None and name in self.suite.corruptions:
            return self._listing(self._archive, name)[1]
        return self.dataset.test.labels

    def _generated(self, name: str, indices: Int64[np.ndarray, " n"]) -> Iterator[UInt8[np.ndarray, "n h w c"]]:
        base, framing, suite = self._base.images[indices], self.framing, self.suite
        for severity in self.severities:
            made = corrupt(
                base, name, severity, profile=suite.profile, seed=suite.seed, indices=indices,
                archive_jpeg=framing is not None,
            )  # fmt: skip
            yield made if framing is None else framing.finished(made)

    @staticmethod
    def official_folder(suite: CorruptionSuite, root: Path | None) -> Path | None:
        """The folder of published pictures for `suite` under `root`, where a user has one."""
        for name in suite.official if root is not None else ():
            folder = Path(str(root)) / name
            # What `fredbench corrupt` wrote has the archive's layout and a manifest, which no archive has; it may be of
            # any seed and constants, and is never the published set.
            if folder.is_dir() and not (folder / "manifest.json").is_file():
                return folder
        return None


def _published_as(file: Path) -> str | None:
    """`published_as`, None for a file that cannot be read: whoever reads it says so."""
    try:
        return published_as(file)
    except OSError:
        return None


def domains_of(
    suite: CorruptionSuite,
    dataset: Dataset,
    root: Path | None,
    *,
    severities: tuple[int, ...] = (),
    limit: int | None = None,
    corrupted_limit: int | None = None,
) -> TestDomains:
    """The domains of `suite` on `dataset`, with the published pictures and shifted sets found under `root`.

    severities: none for the suite's own. Raises `DataError` for arrays that are no test pictures of `dataset` in their
    order (see `datasets.arrangement`), `UsageError` for corruptions that are not defined at the pictures' size, both
    before anything is trained.
    """
    domains = TestDomains(
        suite,
        dataset,
        severities=severities or suite.severities,
        limit=limit,
        corrupted_limit=corrupted_limit,
        official=TestDomains.official_folder(suite, root),
        shifted=None if suite.shift is None else find_shifted(suite.shift, dataset, root),
    )
    domains.check_arrays()
    domains.check_constants()
    return domains
