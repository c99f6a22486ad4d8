"""Every registered part keeps its promises, alone and with every other: the check that a plug-in meets as well."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import safetensors.torch
import torch
from spine import real, set_of, spec_of
from torch import Tensor

import fredbench
from fredbench.assembly import Distillation, expert_spec
from fredbench.budget import Budget
from fredbench.config import from_mapping, to_mapping
from fredbench.datasets import Dataset, load_dataset
from fredbench.errors import CompatibilityError, FredbenchError
from fredbench.experts import ExpertStore
from fredbench.methods import METHODS
from fredbench.objectives import OBJECTIVES, Objective
from fredbench.parameterizations import PARAMETERIZATIONS, Parameterization, State
from fredbench.recipes import storage_settings
from fredbench.rng import Stream
from fredbench.spec import Spec

PAIRS = list(itertools.product(OBJECTIVES, PARAMETERIZATIONS))
CPU = torch.device("cpu")
# What the loop itself gives to an objective.
GIVEN = frozenset({"experts"})


def shrunk(dataset: Dataset) -> Dataset:
    """Digits at 16 x 16, forty a class: real pictures, moments of work."""
    from fredbench.datasets import Split

    parts = []
    for split, count in ((dataset.train, 40), (dataset.test, 4)):
        chosen = torch.cat([torch.from_numpy(split.class_indices(c)[:count]) for c in range(10)]).numpy()
        parts.append(Split(split.images[chosen][:, ::2, ::2].copy(), split.labels[chosen]))
    return Dataset.from_splits("digits-16", *parts, dataset.classes, flip=False)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return shrunk(load_dataset("digits"))


def begun(spec: Spec, dataset: Dataset, folder: Path) -> Distillation:
    """The run in memory; its experts, where its objective needs some, are trained below `folder`."""
    return Distillation(spec, dataset, CPU, lambda real: ExpertStore(folder, expert_spec(spec, dataset), real))


def made(name: str, dataset: Dataset, ipc: int = 2) -> tuple[Parameterization, State]:
    settings = storage_settings("dm", name, dataset=dataset.name, ipc=ipc, size=dataset.size)
    kind = PARAMETERIZATIONS.get(name)
    parameterization = kind(from_mapping(kind.Config, {k: s.value for k, s in settings.items()}, where="test"))
    pictures = real(dataset)
    return parameterization, parameterization.init(pictures, Budget.for_ipc(ipc, 10, pictures.shape), Stream(0))


@pytest.mark.parametrize(("objective", "parameterization"), PAIRS)
def test_every_pair_runs_or_is_refused_before_step_0(
    digits: Dataset, tmp_path: Path, objective: str, parameterization: str
) -> None:
    needs = OBJECTIVES.get(objective).needs - PARAMETERIZATIONS.get(parameterization).offers - GIVEN
    if needs:
        with pytest.raises(CompatibilityError) as caught:
            spec_of(digits, objective=objective, parameterization=parameterization)
        assert all(need in caught.value.message for need in needs) and caught.value.hint
        return
    spec = spec_of(digits, objective=objective, parameterization=parameterization, iterations=2)
    run = begun(spec, digits, tmp_path)
    before = {name: tensor.detach().clone() for name, tensor in run.state.learned.items()}
    report = run.step()
    assert report and all(bool(torch.as_tensor(value).isfinite().all()) for value in report.values())
    assert any(not torch.equal(before[name], tensor) for name, tensor in run.state.learned.items())
    assert run.ledger.params <= spec.budget and run.iteration == 1
    # A checkpoint through a file, taken up by a new process's objects, goes the same way.
    saved = safetensors.torch.load(safetensors.torch.save(run.to_tensors()))
    resumed = begun(spec, digits, tmp_path)
    resumed.from_tensors(saved)
    run.step()
    resumed.step()
    one, other = run.to_tensors(), resumed.to_tensors()
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    # And the artefact stands on its own.
    run.synset(digits).save(tmp_path / "synset.safetensors")
    synset = fredbench.load(tmp_path / "synset.safetensors")
    synset.verify()
    assert torch.allclose(synset.images, run.parameterization.decode(run.state)[0].detach().float(), atol=1e-6)
    assert synset.header["iterations"] == 2 and synset.header["objective"] == objective


def test_a_pair_that_cannot_be_is_refused_by_name(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OBJECTIVES.get("dm"), "needs", frozenset({"class batches", "learnable labels"}))
    with pytest.raises(
        CompatibilityError, match="'dm' needs learnable labels, which parameterization 'fred'"
    ) as caught:
        spec_of(digits)
    assert "none" in caught.value.hint


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_a_parameterization_keeps_its_promises(digits: Dataset, name: str) -> None:
    parameterization, state = made(name, digits)
    assert parameterization.name == name and dataclasses.is_dataclass(parameterization.Config)
    budget = Budget.for_ipc(2, 10, state.shape)
    images, labels = parameterization.decode(state)
    count = parameterization.instances(budget)
    assert images.shape == (len(state), *state.shape) and labels.shape[0] == len(state) == 10 * count
    assert images.dtype == torch.float32 and bool(images.isfinite().all())
    if labels.dtype == torch.int64:
        assert labels.tolist() == [c for c in range(10) for _ in range(count)]
    index = torch.tensor([len(state) - 1, 0, 3])
    part, part_labels = parameterization.decode(state, index)
    assert torch.allclose(part, images[index], atol=1e-5) and torch.equal(part_labels, labels[index])
    # All that is learned is optimised, once, and nothing else; the gradient reaches all of it.
    groups = parameterization.parameters(state)
    optimised = [id(tensor) for group in groups for tensor in group.tensors]
    assert sorted(optimised) == sorted(id(tensor) for tensor in state.learned.values())
    assert len({group.name for group in groups}) == len(groups)
    images.square().sum().backward()
    assert all(t.grad is not None and float(t.grad.abs().sum()) > 0 for t in state.learned.values())
    budget.check(parameterization.ledger(state))


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_tensors_and_back(digits: Dataset, name: str) -> None:
    parameterization, state = made(name, digits)
    stored = parameterization.to_tensors(state)
    plain = safetensors.torch.load(safetensors.torch.save({k: t.contiguous() for k, (t, _) in stored.items()}))
    again = parameterization.from_tensors(plain, classes=10, shape=state.shape)
    for one, other in zip(parameterization.decode(state), parameterization.decode(again), strict=True):
        assert torch.equal(one, other)
    for key, (tensor, role) in parameterization.to_tensors(again).items():
        assert role == stored[key][1] and torch.equal(tensor, stored[key][0])
    assert parameterization.ledger(again) == parameterization.ledger(state)
    # What counts as scalars in the file is what the ledger says.
    scalars = sum(tensor.numel() for tensor, role in stored.values() if role == "scalars")
    assert scalars == parameterization.ledger(state).params
    assert not any(tensor.requires_grad for tensor, _ in stored.values())


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_initialisation_is_drawn_from_its_stream_alone(digits: Dataset, name: str) -> None:
    def start(seed: int) -> list[Tensor]:
        parameterization = made(name, digits)[0]
        pictures = real(digits)
        state = parameterization.init(pictures, Budget.for_ipc(2, 10, pictures.shape), Stream(seed))
        return [tensor.detach() for tensor in state.learned.values()]

    torch.manual_seed(0)
    first, again, other = start(0), start(0), start(1)
    assert all(map(torch.equal, first, again)) and not all(map(torch.equal, first, other))


@pytest.mark.parametrize("registry", [OBJECTIVES, PARAMETERIZATIONS], ids=lambda registry: registry.kind)
def test_settings_round_trip_and_refuse_what_they_do_not_know(registry) -> None:
    for name in registry:
        part = registry.get(name)
        assert part.name == name and registry.summary(name) and "\n" not in registry.summary(name)
        config = part.Config()
        assert from_mapping(part.Config, to_mapping(config), where=name) == config
        with pytest.raises(FredbenchError, match="unheard"):
            from_mapping(part.Config, {"unheard": 1}, where=name)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, dataclasses.fields(config)[0].name, 1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_refuses_a_state_that_is_not_its_own(name: str) -> None:
    objective: Objective = OBJECTIVES.get(name)(OBJECTIVES.get(name).Config())
    with pytest.raises((ValueError, KeyError, FredbenchError)):
        objective.from_tensors({"unheard": torch.zeros(1)})


def test_methods_name_registered_parts() -> None:
    for method in METHODS.values():
        assert method.objective == "none" or method.objective in OBJECTIVES
        assert method.parameterization in PARAMETERIZATIONS


def test_a_set_without_colour_and_without_a_square_shape_works(tmp_path: Path) -> None:
    """28 x 20 in one grey channel: nothing assumes squares or RGB."""
    grey = set_of(3, (28, 20), channels=1)
    for name in PARAMETERIZATIONS:
        overrides = ("parameterization.k=35",) if name == "fred" else ()
        run = Distillation(spec_of(grey, parameterization=name, ipc=2, network="mlp", overrides=overrides), grey, CPU)
        run.step()
        run.synset(grey).save(tmp_path / f"{name}.safetensors")
        synset = fredbench.load(tmp_path / f"{name}.safetensors")
        synset.verify()
        assert synset.images.shape[1:] == (1, 28, 20)
