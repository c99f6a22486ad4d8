"""Networks that pictures are chosen by: trained once in a store, whatever the budget."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from spine import set_of, spec_of

from fredbench.datasets import Dataset
from fredbench.foundation.errors import ArtefactError
from fredbench.runs import assembly, distillation
from fredbench.runs.store import RunFolder
from fredbench.runs.synset import load
from fredbench.training import kept
from fredbench.training.kept import FEATURES

FEW = ("objective.epochs=1", "objective.augmentation=none")


@pytest.fixture(scope="module")
def small() -> Dataset:
    return set_of(3, (8, 8), per_class=12)


def chosen(dataset: Dataset, folder: Path, ipc: int, *more: str) -> torch.Tensor:
    spec = spec_of(dataset, method="herding", objective="none", ipc=ipc, iterations=0, overrides=(*FEW, *more))
    run = RunFolder(folder)
    distillation.run(spec, dataset, run)
    return load(run.synset_file).tensors["pixels"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every network that is trained to be kept."""
    calls: list[int] = []
    train = kept.train

    def counted(*given: object, **named: object) -> None:
        calls.append(1)
        train(*given, **named)

    monkeypatch.setattr(kept, "train", counted)
    return calls


def test_budgets_share_the_network_and_its_choice(small: Dataset, tmp_path: Path, trained: list[int]) -> None:
    one, three = chosen(small, tmp_path / "one", 1), chosen(small, tmp_path / "three", 3)
    assert len(trained) == 1 and len(list((tmp_path / FEATURES).glob("network-*.safetensors"))) == 1
    # Herding is greedy: the first picture of each class is the same at every budget.
    assert torch.equal(one, three[::3])


def test_a_kept_network_gives_what_one_in_memory_does(small: Dataset, tmp_path: Path) -> None:
    chosen(small, tmp_path / "first", 1)
    kept_network = chosen(small, tmp_path / "second", 2)
    spec = spec_of(small, method="herding", objective="none", ipc=2, iterations=0, overrides=FEW)
    in_memory = assembly.Distillation(spec, small, torch.device("cpu")).synset(small)
    assert torch.equal(kept_network, in_memory.tensors["pixels"])


def test_another_training_is_another_network(small: Dataset, tmp_path: Path, trained: list[int]) -> None:
    chosen(small, tmp_path / "plain", 1)
    chosen(small, tmp_path / "quicker", 1, "objective.lr=0.1")
    chosen(set_of(3, (8, 8), per_class=13), tmp_path / "data", 1)
    assert len(trained) == 3


def test_a_damaged_network_is_refused_by_name(small: Dataset, tmp_path: Path) -> None:
    chosen(small, tmp_path / "one", 1)
    (file,) = (tmp_path / FEATURES).glob("network-*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ArtefactError, match=file.name) as caught:
        chosen(small, tmp_path / "two", 2)
    assert "delete it" in caught.value.hint
