"""DDiF's neural fields: what they are at a point, cost, are fitted to, and what a file of them says."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from spine import distillation_of, real, set_of, spec_of

from fredbench.foundation.errors import ArtefactError, BudgetError, CompatibilityError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations import PARAMETERIZATIONS, fields
from fredbench.parameterizations.base import State
from fredbench.parameterizations.budget import Budget
from fredbench.parameterizations.fields import NeuralFields, NeuralFieldsConfig, coordinates, evaluate, field_shapes
from fredbench.runs.assembly import Distillation, expert_spec
from fredbench.runs.estimation import estimate
from fredbench.training.batches import RealPictures
from fredbench.training.experts import ExpertStore

CLASSES, SHAPE = 3, (3, 10, 8)


def real_pictures(shape: tuple[int, int, int] = SHAPE) -> RealPictures:
    return real(set_of(CLASSES, shape[1:], channels=shape[0]))


def made(ipc: int = 1, shape: tuple[int, int, int] = SHAPE, **settings: Any) -> tuple[NeuralFields, State]:
    parts = NeuralFields(NeuralFieldsConfig(**{"width": 4, "fit_steps": 3, **settings}))
    budget = Budget.for_ipc(ipc, CLASSES, shape)
    state = parts.init(real_pictures(shape), budget, Stream(0))
    assert parts.instances(budget) * CLASSES == len(state)
    return parts, state


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_field_is_sines_of_sines_read_out(layers: int) -> None:
    """One field at one pixel, by loops over its own numbers."""
    parts, state = made(layers=layers, w0=7.0, w=3.0)
    pictures, _ = parts.decode(state)
    number, row, column = 4, 7, 2
    # Ten rows and eight columns: the longer side ends at -1 and 1, pixels are square.
    hidden = [2 * row / 9 - 1, (2 * column - 7) / 9]
    for layer in range(1, layers + 1):
        weight, bias = (state.learned[f"{kind}_{layer}"][number].tolist() for kind in ("weight", "bias"))
        frequency = 7.0 if layer == 1 else 3.0
        inside = [
            sum(w * h for w, h in zip(line, hidden, strict=True)) + b for line, b in zip(weight, bias, strict=True)
        ]
        hidden = [math.sin(frequency * value) for value in inside]
    weight, bias = (state.learned[f"{kind}_out"][number].tolist() for kind in ("weight", "bias"))
    wanted = [sum(w * h for w, h in zip(line, hidden, strict=True)) + b for line, b in zip(weight, bias, strict=True)]
    assert pictures[number, :, row, column].tolist() == pytest.approx(wanted, abs=1e-5)


def test_coordinates_are_the_published_ones_on_squares() -> None:
    """-1 + 2 i / (H - 1), row first, row by row."""
    axis = [-1 + 2 * i / 31 for i in range(32)]
    wanted = torch.tensor([(r, c) for r in axis for c in axis], dtype=torch.float64).T
    assert torch.allclose(coordinates((32, 32)), wanted, atol=1e-14)


def test_another_grid_covers_the_same_area() -> None:
    """The mean over each four finer pixels is the coarse pixel's place; the ends lie 1.6 % beyond."""
    coarse, fine = coordinates((32, 32)), coordinates((32, 32), (64, 64))
    averaged = F.avg_pool2d(fine.view(1, 2, 64, 64), 2).flatten(2)[0]
    assert torch.allclose(averaged, coarse, atol=1e-12)
    assert float(fine.max()) == pytest.approx(63 / 62) and float(coordinates((32, 32), (128, 128)).max()) == (
        pytest.approx(127 / 124)
    )


# d, L, channels and side of the cells that its public code has settings for, with scalars a field and fields a class.
CELLS = [
    (6, 2, 32, 1, 81, 37), (6, 2, 32, 10, 81, 379), (20, 2, 32, 50, 543, 282), (10, 2, 32, 1, 173, 17),
    (15, 2, 32, 10, 333, 92), (30, 2, 32, 50, 1113, 138), (20, 3, 128, 1, 963, 51), (20, 3, 128, 10, 963, 510),
    (40, 3, 128, 50, 3523, 697), (40, 3, 256, 1, 3523, 55),
]  # fmt: skip


@pytest.mark.parametrize(("width", "layers", "side", "ipc", "scalars", "count"), CELLS)
def test_a_budget_buys_the_published_number_of_fields(
    width: int, layers: int, side: int, ipc: int, scalars: int, count: int
) -> None:
    parts = NeuralFields(NeuralFieldsConfig(width=width, layers=layers))
    assert sum(math.prod(shape) for shape in field_shapes(width, layers, 3).values()) == scalars
    assert parts.instances(Budget.for_ipc(ipc, 10, (3, side, side))) == count


def test_less_than_a_field_a_class_is_refused() -> None:
    parts = NeuralFields(NeuralFieldsConfig(width=6))
    assert parts.instances(Budget(810, 10, (3, 32, 32))) == 1
    with pytest.raises(BudgetError, match="80 scalars a class hold no field of 81") as caught:
        parts.instances(Budget(809, 10, (3, 32, 32)))
    assert "810" in str(caught.value.hint)


def test_the_start_is_drawn_as_published() -> None:
    _, state = made(width=30, ipc=20, fit_steps=0, w=10.0)
    later = math.sqrt(6 / 30) / 10
    for name, bound in (
        ("weight_1", 0.5),
        ("bias_1", 0.5),
        ("weight_2", later),
        ("bias_2", later),
        ("bias_out", later),
    ):
        values = state.learned[name].detach()
        assert 0.95 * bound < float(values.abs().max()) <= bound
        assert float(values.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert all(tensor.is_leaf and tensor.requires_grad for tensor in state.learned.values())


def errors_of(parts: NeuralFields, state: State) -> torch.Tensor:
    """Mean squared error of each field to the picture that it was drawn for."""
    real = real_pictures(state.shape)
    count = len(state) // CLASSES
    chosen = torch.cat([real.draw(label, count, Stream(0).child("class", label)) for label in range(CLASSES)])
    return (parts.decode(state)[0].detach() - real.images(chosen)).square().mean((1, 2, 3))


def test_fields_begin_near_real_pictures_of_their_class() -> None:
    random, fitted = (errors_of(*made(fit_steps=steps, fit_lr=0.02)) for steps in (0, 200))
    assert float(random.mean()) > 0.8, "a random field says nothing: the error is the pictures' variance"
    assert bool((fitted < 0.5 * random).all())


def test_each_field_is_fitted_as_if_it_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In groups of one it is the same, up to rounding; and the same as torch's Adam on one field by itself."""
    _, together = made(fit_steps=20)
    monkeypatch.setattr(NeuralFields, "_group", lambda self, points, values: 1)
    parts, alone = made(fit_steps=20)
    for name, tensor in together.learned.items():
        assert torch.allclose(tensor, alone.learned[name], atol=1e-5)
    real, rng = real_pictures(), Stream(0)
    drawn = parts._drawn(len(alone), 3, rng.child("fields"))
    one = {name: tensor[:1].clone().requires_grad_() for name, tensor in drawn.items()}
    target = real.images(real.draw(0, len(alone) // CLASSES, rng.child("class", 0)))[:1].flatten(2)
    optimiser, points = torch.optim.Adam(list(one.values()), lr=5e-4), coordinates(SHAPE[1:]).float()
    for _ in range(20):
        optimiser.zero_grad()
        (evaluate(one, points, w0=30.0, w=10.0) - target).square().mean().backward()
        optimiser.step()
    for name, tensor in one.items():
        assert torch.allclose(tensor, alone.learned[name][:1], atol=1e-5)


def test_many_fields_are_decoded_in_groups_with_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, state = made()
    index = torch.tensor([5, 0, 7, 7, 2])
    wanted = [parts.decode(state, index)[0]]
    wanted += torch.autograd.grad(wanted[0].square().sum(), list(state.learned.values()))
    monkeypatch.setattr(fields, "_AT_ONCE", 2 * 80 * 4 * 2)
    found = [parts.decode(state, index)[0]]
    found += torch.autograd.grad(found[0].square().sum(), list(state.learned.values()))
    for one, other in zip(wanted, found, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)
    untouched = [row for row in range(len(state)) if row not in index.tolist()]
    assert all(bool((gradient[untouched] == 0).all()) for gradient in wanted[1:])


def test_the_gradient_is_the_derivative() -> None:
    """Central differences in float64 along each tensor."""
    parts, state = made(layers=3, width=3)
    learned = {name: tensor.detach().double().requires_grad_() for name, tensor in state.learned.items()}
    state = dataclasses.replace(state, learned=learned)
    weights = torch.randn(len(state), *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def value() -> torch.Tensor:
        return (parts.decode(state)[0] * weights).sum()

    gradients = dict(zip(learned, torch.autograd.grad(value(), list(learned.values())), strict=True))
    for name, tensor in learned.items():
        direction = torch.randn(tensor.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        ends = []
        for sign in (1e-6, -1e-6):
            with torch.no_grad():
                tensor.add_(sign * direction)
                ends.append(float(value()))
                tensor.sub_(sign * direction)
        slope = float((gradients[name] * direction).sum())
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope, rel=1e-6), name


def test_a_field_decodes_at_any_resolution() -> None:
    parts, state = made(fit_steps=200, fit_lr=0.02, w0=4.0, w=3.0)
    own, _ = parts.decode(state)
    assert torch.allclose(parts.resized(state, SHAPE[1:]), own, atol=1e-6)
    large = parts.resized(state, (40, 32))
    assert large.shape == (len(state), 3, 40, 32)
    # What four by four finer pixels average to is nearly the pixel: nothing is shifted, as by half a pixel.
    shifted = (own[..., 1:] - own[..., :-1]).abs().mean() / 2
    assert (F.avg_pool2d(large, 4) - own).abs().mean() < 0.4 * shifted
    enlarged = F.interpolate(own, (40, 32), mode="nearest")
    assert (large - enlarged).abs().mean() > 0.02
    small = parts.resized(state, (5, 4))
    assert torch.allclose(small, F.avg_pool2d(parts.resized(state, (10, 8)), 2), atol=1e-6), "averaged, not aliased"


@pytest.mark.parametrize("name", ["pixels", "fred", "idc", "haba"])
def test_what_cannot_be_decoded_otherwise_says_so(name: str) -> None:
    run = distillation_of(set_of(2, (16, 16)), parameterization=name)
    with pytest.raises(CompatibilityError, match=f"{name}.*resolution") as caught:
        run.parameterization.resized(run.state, (32, 32))
    assert "ddif" in str(caught.value.hint)


def test_the_file_holds_the_decoder_and_what_is_counted() -> None:
    """w0, w, L and d stand in the header, without which no field can be decoded; bytes are those of the tensors."""
    run = distillation_of(set_of(2, (16, 16)), parameterization="ddif", overrides=("parameterization.w0=25",))
    synset = run.synset(set_of(2, (16, 16)))
    settings = synset.header["parameterization"]["settings"]
    assert {name: settings[name] for name in ("w0", "w", "layers", "width")} == {
        "w0": 25.0, "w": 10.0, "layers": 2, "width": 6
    }  # fmt: skip
    # 768 scalars a class buy nine fields of 81.
    assert synset.ledger.params == synset.ledger.params_strict == 2 * 9 * 81 and synset.ledger.decoded == 18
    # And eight bytes that say at how many pixels they were learned.
    assert synset.storage.stored == 4 * 2 * 9 * 81 + 8 and not synset.storage.half
    other = {**synset.header, "parameterization": {"name": "ddif", "settings": {**settings, "w0": 30.0}}}
    assert not torch.equal(dataclasses.replace(_Header(synset.tensors, other)).images(), synset.images)


@dataclasses.dataclass
class _Header:
    """A set with another header: what a decoder that was not written down would make of it."""

    tensors: Any
    header: Any

    def images(self) -> torch.Tensor:
        described = self.header["parameterization"]
        parts = PARAMETERIZATIONS.get("ddif")(NeuralFieldsConfig(**described["settings"]))
        return parts.decode(parts.from_tensors(self.tensors, classes=2, shape=(3, 16, 16)))[0]


@pytest.mark.parametrize("name", field_shapes(4, 2, 3))
def test_tensors_that_contradict_the_header_are_refused(name: str) -> None:
    parts, state = made()
    tensors = {key: tensor for key, (tensor, _) in parts.to_tensors(state).items()}
    for broken in (tensors[name][:1], tensors[name].flatten(), tensors[name][..., :-1]):
        with pytest.raises(ArtefactError, match="shape"):
            parts.from_tensors({**tensors, name: broken}, classes=CLASSES, shape=SHAPE)
    with pytest.raises(ArtefactError, match="shape"):
        parts.from_tensors(tensors, classes=CLASSES + 1, shape=SHAPE)
    with pytest.raises(ArtefactError, match=r"learned at \[10, 8\] pixels"):
        parts.from_tensors(tensors, classes=CLASSES, shape=(3, 20, 16))
    with pytest.raises(ArtefactError, match="shape"):
        NeuralFields(NeuralFieldsConfig(width=5)).from_tensors(tensors, classes=CLASSES, shape=SHAPE)


@pytest.mark.parametrize(
    "settings", [{"width": 0}, {"layers": 0}, {"w0": 0.0}, {"w": math.inf}, {"fit_steps": -1}, {"fit_lr": 0.0}]
)
def test_settings_that_are_no_field_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        NeuralFieldsConfig(**settings)
    assert "parameterization." in str(caught.value.hint)


def test_a_step_leaves_fields_alone_that_it_did_not_decode(tmp_path: Path) -> None:
    """Trajectory matching in batches: what no step of an iteration saw keeps every bit, from the second step on too."""
    overrides, small = ("objective.batch=2", "objective.steps=2"), set_of(2, (16, 16))
    spec = spec_of(small, objective="tm", parameterization="ddif", overrides=overrides)
    meant = expert_spec(spec, small)
    run = Distillation(spec, small, torch.device("cpu"), lambda real: ExpertStore(tmp_path, meant, real))
    rested = 0
    for _ in range(4):
        before = {name: tensor.detach().clone() for name, tensor in run.state.learned.items()}
        run.step()
        same = torch.stack([(before[n] == t).reshape(len(t), -1).all(1) for n, t in run.state.learned.items()]).all(0)
        # At most four of the eighteen are seen.
        assert 14 <= int(same.sum()) < 18
        rested += int(same.sum())
    counts = run.optimisers.to_tensors()["fields.0.steps"].flatten()
    assert int(counts.sum()) == 4 * 18 - rested and np.unique(counts.numpy()).size > 1


def test_an_estimate_counts_the_whole_fit_and_makes_a_part_of_it(tmp_path: Path) -> None:
    small = set_of(2, (16, 16))
    spec = spec_of(small, parameterization="ddif", overrides=("parameterization.fit_steps=4000",))
    cost = estimate(spec, small, tmp_path)
    assert cost.start > 0 and cost.seconds == cost.start + cost.iterations
    config = NeuralFieldsConfig(fit_steps=4000)
    assert NeuralFields.shortened(config) == (dataclasses.replace(config, fit_steps=4), 1000.0)
    assert estimate(spec_of(small, parameterization="fred"), small, tmp_path).start == 0
