"""Sets in Parquet and in folders of pictures: read as others write them, written as others read them, or refused."""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from made_rows import made_synset
from PIL import Image

import fredbench
from fredbench.datasets import Dataset, load_dataset
from fredbench.foundation import arrow
from fredbench.foundation.errors import FredbenchError, UsageError
from fredbench.importing import Asked, adopt, hub
from fredbench.importing.labels import labels_of
from fredbench.importing.reading import read
from fredbench.runs.exporting import export
from fredbench.runs.store import Store

PICTURES = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
LABELS = np.repeat(np.arange(10), 2)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encoded(picture: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form)
    return file.getvalue()


def hub_table(path: Path, columns: dict[str, Any], names: list[str] | None = None, **features: Any) -> Path:
    """A table as `datasets` writes it, pictures under `image` or `img`."""
    picture = next(name for name in columns if name in {"image", "img"})
    said = {picture: {"_type": "Image"}, **features}
    if names is not None:
        said["label"] = {"names": names, "_type": "ClassLabel"}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": said}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def structs(pictures: np.ndarray = PICTURES) -> pa.Array:
    return pa.array([{"bytes": encoded(picture), "path": None} for picture in pictures], type=IMAGE)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


PLAIN = Asked()


def numbered(path: Path, digits: Dataset, asked: Asked = PLAIN) -> tuple[list[int], Any]:
    """(hard labels, soft rows) of the set at `path`, by the dataset's numbers."""
    found = read(path, asked.columns)
    hard, soft, _ = labels_of(found, found.images, digits, asked, path, [])
    return hard.tolist(), soft


def test_parquet_of_others_is_read_in_all_its_usual_shapes(digits: Dataset, tmp_path: Path) -> None:
    names = [str(n) for n in range(10)]
    plain = hub_table(tmp_path / "a.parquet", {"image": structs(), "label": LABELS}, names)
    found = read(plain)
    assert np.array_equal(found.images, PICTURES) and numbered(plain, digits)[0] == LABELS.tolist()
    # Bytes without a struct, another name of the column, and labels numbered by other names.
    binary = pa.array([encoded(picture) for picture in PICTURES])
    turned = hub_table(tmp_path / "b.parquet", {"img": binary, "label": LABELS}, names[::-1])
    assert np.array_equal(read(turned).images, PICTURES) and numbered(turned, digits)[0] == (9 - LABELS).tolist()
    # Two files of a folder with a card, and a test split that is none of the set.
    for part, rows in enumerate((slice(0, 7), slice(7, 20))):
        columns = {"image": structs(PICTURES[rows]), "label": LABELS[rows]}
        hub_table(tmp_path / "set" / "data" / f"train-0000{part}-of-00002.parquet", columns, names)
    hub_table(tmp_path / "set" / "data" / "test-00000-of-00001.parquet", {"image": structs()[:1], "label": LABELS[:1]})
    (tmp_path / "set" / "README.md").write_text("---\n---\n")
    assert np.array_equal(read(tmp_path / "set").images, PICTURES)
    assert numbered(tmp_path / "set", digits)[0] == LABELS.tolist()
    # Names for labels, JPEGs, a column named otherwise, soft labels beside the numbers.
    words = hub_table(tmp_path / "c.parquet", {"image": structs(), "label": pa.array([names[n] for n in LABELS])})
    assert numbered(words, digits)[0] == LABELS.tolist()
    soft = np.eye(10, dtype=np.float32)[LABELS] * 0.9 + 0.01
    columns = {"image": structs(), "label": LABELS, "soft_label": pa.array(soft.tolist(), pa.list_(pa.float32()))}
    both = hub_table(tmp_path / "d.parquet", columns, names[::-1])
    np.testing.assert_allclose(numbered(both, digits)[1], soft[:, ::-1], atol=1e-6)
    asked = Asked(columns=("image", "digit"))
    other = hub_table(tmp_path / "e.parquet", {"image": structs(), "digit": LABELS, "note": ["x"] * 20})
    assert numbered(other, digits, asked)[0] == LABELS.tolist() and "note" in read(other, asked.columns).notes[0]


def flat_giants(at: Path) -> Path:
    """Thirty flat pictures of 4,000 x 4,000: kilobytes that unpack to more than a thousand megabytes."""
    one = encoded(np.zeros((4000, 4000), dtype=np.uint8))
    return hub_table(at / "x.parquet", {"image": pa.array([one] * 30), "label": [0] * 30})


def made(pictures: Any, labels: Any, name: str = "x.parquet") -> Callable[[Path], Path]:
    return lambda at: hub_table(at / name, {"image": pictures, "label": labels})


NO_BYTES = pa.array([{"bytes": None, "path": "a.png"}], type=IMAGE)
A_PAGE = pa.array([{"bytes": b"<html>", "path": None}], type=IMAGE)
TWO_SIZES = pa.array([encoded(PICTURES[0]), encoded(PICTURES[0][:8])])
WRONG: list[tuple[str, Callable[[Path], Path], str]] = [
    ("giants", flat_giants, "claims 1,440,000,000 numbers, above"),
    ("path only", made(NO_BYTES, [0]), "only the path 'a.png'"),
    ("no picture", made(A_PAGE, [0]), "web page"),
    ("no bytes", made([1, 2], [0, 1]), "no bytes of pictures"),
    ("sizes", made(TWO_SIZES, [0, 1]), "several sizes: row 0 is 32x32, row 1 is 32x8"),
    ("no label", made(structs()[:2], pa.array([1, None])), "row 1: no label"),
    ("uneven", made(structs()[:2], pa.array([[1.0], [1.0, 0.0]])), "several lengths"),
    (
        "shards",
        lambda at: made(structs(), LABELS, "data/train-00001-of-00002.parquet")(at).parent.parent,
        "1 of the 2 files",
    ),
    ("empty", made(structs()[:0], LABELS[:0]), "no rows"),
]


@pytest.mark.parametrize(("wrong", "named"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_wrong_with_parquet_is_said(wrong: Callable[[Path], Path], named: str, tmp_path: Path) -> None:
    with pytest.raises(FredbenchError, match=named) as caught:
        read(wrong(tmp_path))
    assert caught.value.hint and str(tmp_path) in caught.value.message


def test_cut_and_altered_parquet_is_told_as_such(tmp_path: Path) -> None:
    whole = hub_table(tmp_path / "a.parquet", {"image": structs(), "label": LABELS}).read_bytes()
    for name, data in (("cut", whole[: len(whole) // 2]), ("none", b""), ("noise", b"PAR1" + bytes(99) + b"PAR1")):
        (tmp_path / f"{name}.parquet").write_bytes(data)
        with pytest.raises(FredbenchError, match="cannot be read"):
            read(tmp_path / f"{name}.parquet")


def test_parquet_is_bounded_by_its_footer_and_by_heads_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A head that claims 60,000 x 60,000 pixels, and as many rows as make more than the bound.
    bomb = bytearray(encoded(PICTURES[0]))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    file = hub_table(tmp_path / "bomb.parquet", {"image": pa.array([bytes(bomb)]), "label": [0]})
    with pytest.raises(FredbenchError, match="megapixels"):
        read(file)
    many = hub_table(tmp_path / "many.parquet", {"image": structs(), "label": LABELS})
    monkeypatch.setattr(hub, "MOST_VALUES", 1000)
    with pytest.raises(UsageError, match=r"claims .* bytes"):
        read(many)


@pytest.mark.parametrize("labels", ["many numbers", "one list", "long names"])
def test_labels_in_parquet_are_bounded_before_they_are_unpacked(
    labels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MOST_LABELS", 5000)
    columns = {
        "many numbers": pa.array([[0.0] * 300] * 20),
        "one list": pa.array([[0.0] * 5001] + [[1.0]] * 19),
        "long names": pa.array(["x" * 4000] * 20),
    }
    # A dictionary or runs make the column small in the file.
    file = hub_table(tmp_path / "x.parquet", {"image": structs(), "label": columns[labels]})
    with pytest.raises(UsageError, match=r"its label, claims .* above") as caught:
        read(file)
    assert str(file) in caught.value.message and caught.value.hint


def test_a_picture_file_of_any_size_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    with (tmp_path / "0" / "a.png").open("wb") as file:
        file.write(encoded(PICTURES[0]))
        file.truncate(2**40)
    with pytest.raises(UsageError, match=r"a\.png claims 1,099,511,627,776 bytes") as caught:
        read(tmp_path)
    assert caught.value.hint


def test_without_the_library_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = hub_table(tmp_path / "a.parquet", {"image": structs(), "label": LABELS})
    known = arrow.importlib.import_module

    def missing(name: str) -> Any:
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return known(name)

    monkeypatch.setattr(arrow.importlib, "import_module", missing)
    for act in (lambda: read(file), lambda: export(made_synset(), "parquet", tmp_path / "out")):
        with pytest.raises(UsageError, match="needs pyarrow") as caught:
            act()
        assert "fredbench[parquet]" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_parquet_of_ours_comes_back_the_same_and_says_what_it_is(digits: Dataset, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    threads = torch.get_num_threads()
    run = fredbench.distill("digits", ipc=3, method="random", preset="quick", store=store.root, threads=threads)
    ours = fredbench.load(run.path)
    export(ours, "parquet", tmp_path / "out")
    made = adopt(tmp_path / "out", digits, store, Asked(name="back"), device="cpu", threads=threads)
    back = fredbench.load(made.path)
    assert torch.equal(back.pixels(), ours.pixels()) and torch.equal(back.labels, ours.labels)
    assert back.header["student"] == ours.header["student"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\n") and "'9': \"9\"" in card and "num_examples: 30" in card and "lossy" in card
    with pytest.raises(UsageError, match="exists already"):
        export(ours, "parquet", tmp_path / "out")


def test_soft_labels_are_a_column_and_come_back(digits: Dataset, tmp_path: Path) -> None:
    synset = made_synset("pixels")
    count, classes = len(synset.labels), len(synset.classes)
    rows = torch.softmax(torch.randn(count, classes, generator=torch.Generator().manual_seed(0)), 1)
    synset._decoder[1].labels = rows
    export(synset, "parquet", tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    assert table.column_names == ["image", "label", "soft_label"]
    assert table["label"].to_pylist() == rows.argmax(1).tolist()
    np.testing.assert_allclose(table["soft_label"].to_pylist(), rows.numpy(), atol=1e-6)
    found = read(tmp_path / "out")
    np.testing.assert_allclose(found.labels, rows.numpy(), atol=1e-6)
    assert "soft_label" in (tmp_path / "out" / "README.md").read_text()


# Folders of pictures with a CSV


def folder_of(at: Path, rows: list[list[Any]], head: list[str], mark: str = ",", inside: str = "") -> Path:
    (at / inside).mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(at / inside / f"p{number:02d}.png")
    with (at / "labels.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=mark).writerows([head, *rows])
    return at


def test_pictures_with_a_table_of_labels_are_read_in_the_order_of_its_rows(digits: Dataset, tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(20)
    names = [f"p{number:02d}.png" for number in order]
    soft_rows = np.eye(10)[LABELS[order]] * 0.5 + 0.05
    backwards = [str(n) for n in reversed(range(10))]
    cases: list[tuple[list[str], list[list[Any]], str, str]] = [
        (["file_name", "label"], [[n] for n in LABELS[order]], ",", ""),
        (["Image", "Class", "note"], [[n, "x"] for n in LABELS[order]], ";", "pictures"),
        (["id", *backwards], soft_rows[:, ::-1].tolist(), "\t", ""),
    ]
    for number, (head, labels, mark, inside) in enumerate(cases):
        rows = [[name, *label] for name, label in zip(names, labels, strict=True)]
        path = folder_of(tmp_path / str(number), rows, head, mark, inside)
        found = read(path)
        assert np.array_equal(found.images, PICTURES[order]) and "labels.csv" in found.form
        hard, soft = numbered(path, digits)
        assert hard == LABELS[order].tolist()
        if number == 2:
            np.testing.assert_allclose(soft, soft_rows)
    # Without their endings, and columns that are named by the user.
    path = folder_of(tmp_path / "named", [[n[:-4], LABELS[int(n[1:3])], 1] for n in names], ["what", "digit", "fold"])
    with pytest.raises(UsageError, match="none of which is known for file names") as caught:
        read(path)
    assert "--columns" in caught.value.hint
    assert numbered(path, digits, Asked(columns=("what", "digit")))[0] == LABELS[order].tolist()
    with pytest.raises(UsageError, match="no column 'digits'"):
        read(path, ("what", "digits"))


ROWS = [[f"p{number:02d}.png", label] for number, label in enumerate(LABELS.tolist())]


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([*ROWS, ["p77.png", 3]], "not there: p77.png"),
        (ROWS[:-1], "no label for p19.png"),
        ([*ROWS, ROWS[3]], "twice: p03.png"),
        ([*ROWS[:4], ["p04.png", ""], *ROWS[5:]], "row 5 has no label"),
        ([*ROWS[:-1], ["../p19.png", 9]], r"not there: \.\./p19.png"),
        ([*ROWS[:-1], ["p19.png"]], "row 20 has 1 columns"),
        ([], "no rows"),
    ],
)
def test_what_is_wrong_with_a_table_of_labels_is_said(rows: list[list[Any]], named: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        read(folder_of(tmp_path, rows, ["file_name", "label"]))
    assert caught.value.hint and str(tmp_path) in caught.value.message


def test_class_folders_stand_where_a_table_says_nothing_of_files(tmp_path: Path) -> None:
    for label in range(10):
        (tmp_path / str(label)).mkdir()
        Image.fromarray(PICTURES[label]).save(tmp_path / str(label) / "0.png")
    (tmp_path / "accuracies.csv").write_text("epoch,accuracy\n1,50\n")
    found = read(tmp_path)
    assert found.folders == tuple(str(n) for n in range(10)) and "accuracies.csv is left unread" in found.notes[0]
