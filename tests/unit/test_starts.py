"""Starts that take long are made once in a store, and are the same bits however they came."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from spine import cifar_like, set_of, spec_of

from fredbench.foundation.errors import ArtefactError
from fredbench.parameterizations.base import State
from fredbench.runs.assembly import Distillation
from fredbench.runs.distillation import run
from fredbench.runs.starts import FOLDER, kept_start
from fredbench.runs.store import Store

CPU = torch.device("cpu")


def state(value: float, rows: int = 2) -> State:
    """One learned tensor, one fixed one which is its labels."""
    labels = torch.full((rows,), int(value))
    return State({"x": torch.full((rows, 3), value).requires_grad_()}, {"labels": labels}, labels, (3, 1, 1))


def test_a_start_is_made_once_and_read_into_a_cheaper_one(tmp_path: Path) -> None:
    made: list[float] = []

    def make() -> State:
        made.append(1.5)
        return state(1.5)

    first, now = kept_start(tmp_path, {"seed": 0}, make, lambda: state(9.0))
    again, before = kept_start(tmp_path, {"seed": 0}, make, lambda: state(9.0))
    assert now == 0 < before, "who reads it has not spent the seconds, and is told of them"
    assert made == [1.5] and torch.equal(first.learned["x"], again.learned["x"])
    assert (
        again.learned["x"].requires_grad and again.labels is again.fixed["labels"] and again.labels.tolist() == [1, 1]
    )
    kept_start(tmp_path, {"seed": 1}, make, lambda: state(9.0))
    assert made == [1.5, 1.5], "another seed has a start of its own"


def test_a_damaged_start_is_refused_with_the_way_out(tmp_path: Path) -> None:
    kept_start(tmp_path, {}, lambda: state(1.0), lambda: state(9.0))
    (file,) = tmp_path.glob("*.safetensors")
    for data in (file.read_bytes()[:20], safetensors.torch.save({"learned/x": torch.zeros(2, 3)})):
        file.write_bytes(data)
        with pytest.raises(ArtefactError) as caught:
            kept_start(tmp_path, {}, lambda: state(1.0), lambda: state(9.0))
        assert str(file) in caught.value.message and "made again" in caught.value.hint
    file.unlink()
    kept_start(tmp_path, {}, lambda: state(1.0), lambda: state(9.0))
    with pytest.raises(ArtefactError):
        kept_start(tmp_path, {}, lambda: state(1.0), lambda: state(9.0, rows=3))


@pytest.mark.parametrize("stored", ["ddif", "gsdd"])
@pytest.mark.parametrize("objective", ["dm", "frepo"])
def test_runs_of_one_start_share_it_and_others_do_not(stored: str, objective: str, tmp_path: Path) -> None:
    """Under FRePo labels are learned too, and begin as they were kept."""
    data = set_of(3, (16, 16), per_class=80)

    def started(seed: int = 0, steps: int = 6, *, starts: Path | None = tmp_path) -> State:
        settings = {"fit_steps": steps, "lr": 1e-4, **({"gaussians": 8} if stored == "gsdd" else {})}
        overrides = tuple(f"parameterization.{name}={value}" for name, value in settings.items())
        spec = spec_of(data, objective=objective, parameterization=stored, seed=seed, iterations=0, overrides=overrides)
        return Distillation(spec, data, CPU, starts=starts).state

    anew, made, read = started(starts=None), started(), started()
    assert len(list(tmp_path.iterdir())) == 1
    for each in (made, read):
        assert each.learned.keys() == anew.learned.keys() and ("labels" in each.learned) == (objective == "frepo")
        assert all(torch.equal(each.learned[name], anew.learned[name]) for name in anew.learned)
        assert all(torch.equal(each.fixed[name], anew.fixed[name]) for name in anew.fixed)
        assert torch.equal(each.labels, anew.labels) and all(t.requires_grad for t in each.learned.values())
    for other in (started(seed=1), started(steps=7)):
        name = next(name for name in anew.learned if name != "labels")
        assert not torch.equal(other.learned[name], anew.learned[name])
    assert len(list(tmp_path.iterdir())) == 3


def test_the_same_pixels_standardised_otherwise_have_another_start(tmp_path: Path) -> None:
    """A known dataset has the literature's statistics, and as arrays its own."""
    own = set_of(3, (16, 16), per_class=80)
    known = replace(own, normalization=((0.4,) * 3, (0.3,) * 3))
    assert own.fingerprint == known.fingerprint
    for data in (own, known):
        overrides = ("parameterization.fit_steps=6",)
        Distillation(
            spec_of(data, parameterization="ddif", iterations=0, overrides=overrides), data, CPU, starts=tmp_path
        )
    assert len(list(tmp_path.iterdir())) == 2


def test_starting_over_fits_anew_and_seconds_count_the_fit_of_before(tmp_path: Path) -> None:
    data = set_of(3, (16, 16), per_class=80)
    spec = spec_of(data, parameterization="ddif", iterations=1, overrides=("parameterization.fit_steps=6",))
    folder = Store(tmp_path).folder_for(spec)
    assert run(spec, data, folder)
    whole = folder.synset_file.read_bytes()
    (start,) = (tmp_path / FOLDER).glob("*.safetensors")
    kept = safetensors.torch.load(start.read_bytes())
    kept["seconds"] += 1000
    start.write_bytes(safetensors.torch.save(kept))
    folder.clear()
    assert run(spec, data, folder) and folder.result()["seconds"] > 1000
    assert run(spec, data, folder, fresh=True) and folder.result()["seconds"] < 1000
    assert folder.synset_file.read_bytes() == whole


def test_what_starts_in_moments_is_not_kept(tmp_path: Path) -> None:
    data = cifar_like()
    Distillation(spec_of(data, parameterization="fred"), data, CPU, starts=tmp_path / "starts")
    assert not (tmp_path / "starts").exists()
