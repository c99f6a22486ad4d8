"""A run of a folder of pictures finds them again: from elsewhere, after a move, and never others in their place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from dataset_forms import random_pictures, write_picture
from spine import spec_of

from fredbench.datasets import load_dataset
from fredbench.foundation.environment import DATASET_PATH
from fredbench.foundation.errors import DataError
from fredbench.runs.sources import dataset_of, place_of
from fredbench.runs.store import RunFolder


def flowers(folder: Path, seed: int = 0) -> None:
    for number, picture in enumerate(random_pictures(12, (8, 8), seed=seed)):
        for part in ("train", "test"):
            write_picture(folder / part / "ab"[number % 2] / f"{number}.png", picture)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run's folder of `folder:flowers`, as distilling leaves it."""
    monkeypatch.chdir(tmp_path)
    flowers(tmp_path / "flowers")
    dataset = load_dataset("folder:flowers")
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_spec(spec_of(dataset, network="convnet-d1-w4-in"))
    folder.environment_file.write_text(json.dumps(place_of(dataset)))
    assert json.loads(folder.environment_file.read_text()) == {DATASET_PATH: str(tmp_path / "flowers")}
    return folder


def test_another_working_directory_changes_nothing(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = dataset_of(run)
    assert found.name == "folder:flowers" and found.fingerprint == run.spec().fingerprint
    # Other pictures under the same relative name are not taken for them.
    flowers(Path("flowers"), seed=5)
    assert dataset_of(run).fingerprint == run.spec().fingerprint


@pytest.mark.parametrize("given", ["moved", "base"])
def test_a_moved_folder_is_where_data_says(run: RunFolder, tmp_path: Path, given: str) -> None:
    target = tmp_path / ("moved" if given == "moved" else "base/flowers")
    target.parent.mkdir(exist_ok=True)
    shutil.move(tmp_path / "flowers", target)
    with pytest.raises(DataError, match=r"folder:flowers, which .* is not there") as caught:
        dataset_of(run)
    assert "--data" in caught.value.hint
    assert np.array_equal(dataset_of(run, data=tmp_path / given).test.labels, np.repeat([0, 1], 6))


def test_other_pictures_in_the_place_are_refused(run: RunFolder, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "flowers")
    flowers(tmp_path / "flowers", seed=1)
    with pytest.raises(DataError, match="differs from the data that") as caught:
        dataset_of(run)
    assert "--data" in caught.value.hint
