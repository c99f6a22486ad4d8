from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from commands import invoke
from PIL import Image

from fredbench.cli.data import command
from fredbench.datasets import load_dataset
from fredbench.foundation.errors import CheckFailedError, DataError, FredbenchError, UnknownNameError, UsageError


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, FredbenchError | SystemExit):
        raise result.exception
    return result


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    result = run("pack", "digits", "--out", tmp_path / "digits")
    assert result.exit_code == 0 and result.stdout == f"{tmp_path / 'digits'}\n"
    return tmp_path / "digits"


def test_pack_writes_a_folder_that_loads_to_the_same_pictures(packed: Path) -> None:
    digits, again = load_dataset("digits"), load_dataset(f"packed:{packed}")
    assert again.fingerprint == digits.fingerprint and again.test_fingerprint == digits.test_fingerprint


def test_pack_gives_a_name_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((9, 7, 3), 10 * number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "tree" / name / f"{number}.png")
    assert run("pack", f"folder:{tmp_path}/tree?size=8", "--out", tmp_path / "o", "--name", "steps").exit_code == 0
    dataset = load_dataset(f"packed:{tmp_path / 'o'}")
    assert dataset.title == "steps" and dataset.size == (8, 8) and len(dataset.notes) == 2
    with_used = run("pack", "digits", "--out", tmp_path / "o")
    assert isinstance(with_used.exception, UsageError)


def test_verify_prints_a_row_a_split(packed: Path) -> None:
    rows = json.loads(run("verify", f"packed:{packed}", "--format", "json").stdout)
    assert [(row["split"], row["pictures"], row["published"], row["result"]) for row in rows] == [
        ("train", 1297, 1297, "ok"),
        ("test", 500, 500, "ok"),
    ]
    assert rows[0]["fingerprint"] == load_dataset("digits").train.fingerprint
    assert rows[0]["form"] == "packed" and rows[0]["path"] == str(packed) and rows[0]["partial"] == ""


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv"])
def test_verify_prints_in_every_format(form: str) -> None:
    result = run("verify", "digits", "--format", form)
    assert result.exit_code == 0 and load_dataset("digits").test.fingerprint in result.stdout
    if form == "csv":
        assert [row["split"] for row in csv.DictReader(io.StringIO(result.stdout))] == ["train", "test"]
    # Notes are no data.
    assert "note" not in result.stdout and "8x8" in result.stderr


def test_verify_fails_on_an_altered_file_and_names_it(packed: Path) -> None:
    sheet = packed / "test_00.webp"
    sheet.write_bytes(sheet.read_bytes()[:-1])
    result = run("verify", f"packed:{packed}")
    assert isinstance(result.exception, CheckFailedError) and "test_00.webp" in result.exception.message
    assert "altered or cut off" in result.stdout and "1297" in result.stdout


def test_published_arrays_are_named_as_they_are_written_and_verified(real_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    done = invoke("corrupt", "cifar10", "--out", out, "--corruption", "contrast", "--workers", 1, "--data", real_data)
    assert done.code == 0, done.err
    said = "equals the published array CIFAR-10-C"
    assert f"contrast.npy {said}/contrast.npy" in done.err and f"labels.npy {said}/labels.npy" in done.err
    rows = json.loads(run("verify", out, "--format", "json").stdout)
    assert [(row["file"], row["published"], row["result"]) for row in rows] == [
        ("contrast.npy", f"{said}/contrast.npy", "ok"), ("labels.npy", f"{said}/labels.npy", "ok"),
    ]  # fmt: skip
    (out / "contrast.npy").rename(out / "zoom_blur.npy")
    renamed = run("verify", out)
    assert isinstance(renamed.exception, CheckFailedError) and "zoom_blur.npy holds" in str(renamed.exception)


def test_verify_never_fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("the network was tried"))
    result = run("verify", "cifar10", "--data", tmp_path)
    assert isinstance(result.exception, DataError) and "data fetch cifar10" in result.exception.hint


def test_verify_tells_what_lies_in_a_folder_of_pictures(tmp_path: Path) -> None:
    for part, count in (("Training", 3), ("Test", 2)):
        for label in ("cat", "dog"):
            (tmp_path / "set" / part / label).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (6, 6), (number, 0, 0)).save(tmp_path / "set" / part / label / f"{number}.png")
    (tmp_path / "set" / "Training" / "cat" / "notes.txt").write_text("seen")
    result = run("verify", f"folder:{tmp_path / 'set'}")
    assert result.exit_code == 0
    for said in ("train split from Training/: 6 pictures: cat 3, dog 3", "test split from Test/: 4 pictures",
                 "endings: .png 10",
                 "skipped: 1, first Training/cat/notes.txt", "11 files: 10 read, 1 skipped, 0 refused"):  # fmt: skip
        assert said in result.stderr
    (tmp_path / "set" / "Test" / "dog" / "1.png").write_bytes(b"")
    broken = run("verify", f"folder:{tmp_path / 'set'}", "--format", "json")
    assert isinstance(broken.exception, CheckFailedError) and "1 refused" in broken.stderr
    assert "refused: 1, first Test/dog/1.png: is empty" in broken.stderr


def test_verify_says_of_a_set_that_nothing_can_fetch_what_to_bring(tmp_path: Path) -> None:
    rows = json.loads(run("verify", "tinyimagenet", "--data", tmp_path, "--format", "json").stdout)
    assert (rows[0]["dataset"], rows[0]["pictures"], rows[0]["result"]) == ("tiny-imagenet", 0, "not there")
    assert "tiny-imagenet-200.zip" in run("verify", "tiny-imagenet-200", "--data", tmp_path).stderr


def test_fetch_says_what_it_cannot_do(tmp_path: Path) -> None:
    assert isinstance(run("fetch", "cifar10", "--data", tmp_path, "--offline").exception, DataError)
    assert isinstance(run("fetch", "imagenette", "--data", tmp_path).exception, DataError)
    assert isinstance(run("fetch", "packed:x").exception, UsageError)
    assert isinstance(run("fetch", "cifar1").exception, UnknownNameError)
    assert list(tmp_path.iterdir()) == []


def test_fetch_leaves_what_is_there_alone(real_data: Path) -> None:
    result = run("fetch", "cifar10", "--data", real_data)
    assert result.exit_code == 0 and result.stdout == f"{real_data / 'cifar10'}\n"
    assert run("fetch", "digits").stdout == ""


def test_verify_of_real_partial_data(real_data: Path) -> None:
    rows = json.loads(run("verify", "svhn", "--data", real_data, "--format", "json").stdout)
    assert rows[0]["partial"] == "first 1083 of 73257" and rows[0]["published"] == 73257


@pytest.mark.parametrize("name", [[], ["fetch"], ["verify"], ["pack"]])
def test_every_help_ends_in_two_examples(name: list[str]) -> None:
    lines = run(*name, "--help").stdout.rstrip().splitlines()
    assert lines[-3].strip() == "Examples:"
    assert all(line.strip().startswith("fredbench data ") for line in lines[-2:])
