"""CIFAR-10 and CIFAR-100 (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009).

Read from the official archives of Python pickles, from the folders they unpack to, or from packed sheets. A
batch holds `data`, uint8 (n, 3072): the red, green and blue planes of a 32 x 32 picture, each row by row; and
`labels` (CIFAR-100: `fine_labels`).
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from fredbench.datasets.core import FileRecord, Source, Split
from fredbench.datasets.family import Family, RemoteFile
from fredbench.datasets.packed import find_packed
from fredbench.datasets.resize import Geometry
from fredbench.datasets.unpickling import restricted_loads
from fredbench.foundation.errors import DataError

__all__ = ["CIFAR10", "CIFAR100", "find_official"]

_SIDE = 32
_MEND = "fetch it again: `fredbench data fetch {}`"

# Folder inside the archive, label key, batches of each split with their MD5. MD5s as the authors' page and
# torchvision's `CIFAR10`/`CIFAR100` list them.
_LAYOUT: dict[str, tuple[str, str, dict[str, dict[str, str]]]] = {
    "cifar10": (
        "cifar-10-batches-py",
        "labels",
        {
            "train": {
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            },
            "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
        },
    ),
    "cifar100": (
        "cifar-100-python",
        "fine_labels",
        {
            "train": {"train": "16019d7e3df5f24257cddd939b257f8d"},
            "test": {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        },
    ),
}


def _from_archive(path: Path, names: list[str], mend: str) -> dict[str, bytes]:
    """The members called `names` of a gzipped tar, in one pass.

    The stream is read to its end, where gzip compares its own checksum, so that no damage passes.
    """
    found: dict[str, bytes] = {}
    try:
        with gzip.open(path) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    name = Path(member.name).name
                    if name in names and member.isfile():
                        file = archive.extractfile(member)
                        found[name] = file.read() if file is not None else b""
            while stream.read(1 << 20):
                pass
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{path} is cut off or damaged: {error}", hint=mend) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}: it is cut off or another archive", hint=mend)
    return found


def _from_folder(path: Path, names: list[str], mend: str) -> dict[str, bytes]:
    found = {}
    for name in names:
        try:
            found[name] = (path / name).read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {path / name}: {error.strerror}", hint=mend) from error
    return found


def _parse_batch(data: bytes, where: str, key: str, mend: str) -> Split:
    """One pickle to pictures, uint8 (n, 32, 32, 3), and labels, int64 (n,)."""
    batch = restricted_loads(data, where)
    if "data" not in batch or key not in batch:
        raise DataError(f"{where} has the keys {', '.join(sorted(batch))}; data and {key} are needed", hint=mend)
    rows = batch["data"]
    try:
        labels = np.asarray(batch[key], dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where} has {key} that are not whole numbers: {error}", hint=mend) from error
    if labels.ndim != 1:
        raise DataError(
            f"{where} has labels of shape {labels.shape}, not ({len(labels)},)",
            hint=f"store {key} as one number a picture (labels.reshape(-1)), or {mend}",
        )
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape != (len(labels), 3 * _SIDE * _SIDE):
        shape = rows.shape if isinstance(rows, np.ndarray) else type(rows).__name__
        raise DataError(f"{where} has data {shape} for {len(labels)} labels, not (n, 3072) bytes", hint=mend)
    return Split(np.ascontiguousarray(rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)), labels)


def _read(name: str, path: Path, part: str) -> Split:
    """Split `part` from the archive or the folder at `path`."""
    _, key, batches = _LAYOUT[name]
    names, mend = list(batches[part]), _MEND.format(name)
    files = _from_folder(path, names, mend) if path.is_dir() else _from_archive(path, names, mend)
    parts = [_parse_batch(files.pop(batch), f"{path}/{batch}", key, mend) for batch in names]
    return Split(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))


def _candidates(family: Family, root: Path) -> Iterator[Path]:
    folder = _LAYOUT[family.name][0]
    for base in (root / family.name, root):
        yield base / folder
        yield base / family.remote[0].name
    # The batches themselves, in a folder that was renamed, or named by --data.
    yield root / family.name
    yield root


def find_official(family: Family, root: Path, geometry: Geometry | None) -> Source | None:
    """The official archive, or the folder it unpacks to, below `root` or ROOT/<name>."""
    batches = _LAYOUT[family.name][2]
    for path in _candidates(family, root):
        first = next(iter(batches["test"]))
        if not (path.is_file() or (path / first).is_file()):
            continue
        if path.is_dir():
            form = "extracted batches"
            files = [FileRecord(path / n, "md5", md5) for part in batches.values() for n, md5 in part.items()]
        else:
            form, files = "official archive", [FileRecord(path, "md5", family.remote[0].md5)]
        readers = {part: partial(_read, family.name, path, part) for part in batches}
        return Source(form, path, readers, stored_size=family.size, files=tuple(files))
    return None


CIFAR10 = Family(
    name="cifar10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    size=(_SIDE, _SIDE),
    channels=3,
    flip=True,
    # The std is the mean of per-picture stds, not the pixel std (.2470 .2435 .2616): the literature's choice.
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
    published={"train": 50_000, "test": 10_000},
    fingerprints={
        "train": "2fa3cfffe2ea80124d41a127c30167eab4b0baf0c3696d454eea70f4f9df8e7d",
        "test": "f9435a3e10a13d572cb0681c8f1dfba3836fe1b8021544a9eeeb6147f79519e0",
    },
    finders=(find_packed, find_official),
    remote=(
        RemoteFile(
            "cifar-10-python.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            md5="c58f30108f718f92721af3b95e74349a",
        ),
    ),
    places=("cifar10/dataset.json", "cifar-10-batches-py/", "cifar-10-python.tar.gz (also below cifar10/)"),
)

_FINE = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup",
    "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house",
    "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man",
    "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy",
    "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal",
    "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar",
    "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip

CIFAR100 = Family(
    name="cifar100",
    classes=_FINE,
    size=(_SIDE, _SIDE),
    channels=3,
    flip=True,
    # DC, DSA, DM and FreD-DC/DM; MTT, FreD-TM and IDC use CIFAR-10's numbers instead.
    mean=(0.5071, 0.4866, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    published={"train": 50_000, "test": 10_000},
    fingerprints={"test": "baa32362d8c1226a7f00e72e301e928972c5fa479cbe1e14da2d626d5b247270"},
    finders=(find_packed, find_official),
    remote=(
        RemoteFile(
            "cifar-100-python.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
            md5="eb9058c3a382ffc7106e4002c42a8d85",
        ),
    ),
    places=("cifar100/dataset.json", "cifar-100-python/", "cifar-100-python.tar.gz (also below cifar100/)"),
)
