"""KIP, Label Solve and FRePo through every parameterization, by finite differences; the pool; soft labels."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from fredbench import networks
from fredbench.foundation.errors import CompatibilityError
from fredbench.foundation.rng import Stream
from fredbench.networks.kernels import centred_one_hot
from fredbench.objectives import Context, Objective
from fredbench.objectives.feature_regression import FRePo, FRePoConfig
from fredbench.objectives.kernel_regression import KernelInducingPoints, KIPConfig, LabelSolve
from fredbench.parameterizations import PARAMETERIZATIONS, LabelConfig, Parameterization, State, labelled
from fredbench.parameterizations.budget import Budget
from fredbench.training.batches import RealPictures, TensorPictures
from fredbench.training.loop import TrainingRecipe, squared_error, train
from fredbench.training.optimisation import Optimisers

CLASSES, SHAPE = 3, (3, 8, 8)
SETTINGS = {
    "fred": {"k": 16},
    "haba": {"hallucinators": 2},
    "ddif": {"width": 3, "fit_steps": 20, "fit_lr": 0.02},
    "gsdd": {"gaussians": 8, "fit_steps": 20, "precision": "float32", "cut": 0.0},
}
CPU = torch.device("cpu")


def real_pictures() -> RealPictures:
    generator = Stream(0).numpy()
    labels = (generator.permutation(60) % CLASSES).astype("int64")
    pixels = generator.integers(0, 256, (60, 8, 8, 3)).astype("uint8")
    return RealPictures(pixels, labels, mean=(0.5,) * 3, std=(0.25,) * 3, classes=CLASSES, device=CPU)


def context(name: str = "frepo-d2-w4-bn") -> Context:
    def network(rng: Stream) -> networks.Network:
        return networks.build(name, classes=CLASSES, size=8, rng=rng).double()

    class Double(RealPictures):
        def images(self, index: Tensor) -> Tensor:
            return super().images(index).double()

    real = real_pictures()
    real.__class__ = Double
    return Context(real, network, networks.initialise, Stream(4), CPU)


class Synthetic:
    """A state in double precision, as the loop would hand it over."""

    def __init__(self, parameterization: Parameterization, state: State) -> None:
        self.parameterization, self.state = parameterization, state

    def __len__(self) -> int:
        return len(self.state)

    def decode(self, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        return self.parameterization.decode(self.state, index, rng)

    def alternatives(self) -> Tensor | None:
        return self.parameterization.alternatives(self.state)


def synthetic(name: str) -> Synthetic:
    kind = PARAMETERIZATIONS.get(name)
    config = LabelConfig(form="centred", learned=True)
    parameterization = labelled(kind(kind.Config(**SETTINGS.get(name, {}))), config)
    state = parameterization.init(real_pictures(), Budget.for_ipc(2, CLASSES, SHAPE), Stream(9))
    learned = {key: tensor.detach().double().requires_grad_() for key, tensor in state.learned.items()}
    if name == "gsdd":
        # Opacities above 1 saturate, and the gradient passes their clamp.
        learned["opacities"].data *= 0.5
    # Off the real pictures, where a kernel has a kink, and off equal labels, where the margin has one.
    draw = Stream(2).torch()
    for tensor in learned.values():
        scale = 0.1 * float(tensor.detach().std())
        tensor.data += scale * torch.randn(tensor.shape, generator=draw, dtype=torch.float64)
    return Synthetic(parameterization, dataclasses.replace(state, learned=learned, labels=learned["labels"]))


OBJECTIVES = {
    "kip": lambda: KernelInducingPoints(KIPConfig("fc2", batch_real=12, ridge=1e-2)),
    "kip-conv": lambda: KernelInducingPoints(KIPConfig("conv2", batch_real=6, ridge=1e-2)),
    "kip-empirical": lambda: KernelInducingPoints(KIPConfig("empirical", batch_real=6, ridge=1e-2)),
    "frepo": lambda: FRePo(FRePoConfig(pool=2, batch_real=12, ridge=1e-2)),
}


@pytest.mark.parametrize("storage", list(PARAMETERIZATIONS))
@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_by_finite_differences(name: str, storage: str) -> None:
    objective, pictures = OBJECTIVES[name](), synthetic(storage)
    objective.prepare(context("convnet-d2-w4-none" if name == "kip-empirical" else "frepo-d2-w4-bn"))

    def loss() -> Tensor:
        return next(iter(objective.iterate(3, pictures))).loss

    learned = list(pictures.state.learned.values())
    gradients = torch.autograd.grad(loss(), learned)
    draw = Stream(6).torch()
    for tensor, gradient in zip(learned, gradients, strict=True):
        direction = torch.randn(tensor.shape, generator=draw, dtype=torch.float64)
        step = 1e-6 * (float(tensor.detach().abs().max()) or 1.0)
        values = []
        for sign in (1, -1):
            tensor.data += sign * step * direction
            values.append(float(loss().detach()))
            tensor.data -= sign * step * direction
        slope = (values[0] - values[1]) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=2e-5, abs=1e-10)


@pytest.mark.parametrize("storage", list(PARAMETERIZATIONS))
def test_label_solve_steps_to_where_the_regression_loss_is_flat(storage: str) -> None:
    """Its gradient is Y - Y*, for the labels alone; at Y* every difference of KIP's loss in the labels vanishes."""
    config, pictures = KIPConfig("fc2", batch_real=12, ridge=1e-2), synthetic(storage)
    solve, regress = LabelSolve(config), KernelInducingPoints(config)
    for objective in (solve, regress):
        objective.prepare(context("frepo-d2-w4-bn"))
    learned = pictures.state.learned
    names = list(learned)
    gradients = torch.autograd.grad(
        next(iter(solve.iterate(3, pictures))).loss, [learned[name] for name in names], allow_unused=True
    )
    found = dict(zip(names, gradients, strict=True))
    by_labels = found.pop("labels")
    assert by_labels is not None and all(gradient is None or not gradient.any() for gradient in found.values())

    labels, draw = learned["labels"], Stream(6).torch()

    def slope(objective: Objective, direction: Tensor) -> float:
        values = []
        for sign in (1, -1):
            labels.data += sign * 1e-5 * direction
            values.append(float(next(iter(objective.iterate(3, pictures))).loss.detach()))
            labels.data -= sign * 1e-5 * direction
        return (values[0] - values[1]) / 2e-5

    directions = [torch.randn(labels.shape, generator=draw, dtype=torch.float64) for _ in range(3)]
    before = [slope(regress, direction) for direction in directions]
    for direction in directions:
        assert float((by_labels * direction).sum()) == pytest.approx(slope(solve, direction), rel=2e-5, abs=1e-10)
    labels.data -= by_labels
    for direction, steep in zip(directions, before, strict=True):
        assert abs(slope(regress, direction)) < 1e-6 * abs(steep)


def steps(objective: Objective, pictures: Synthetic, numbers: range, rate: float = 0.05) -> list[float]:
    """The loop in small; returns the losses."""
    groups = [
        dataclasses.replace(g, lr=rate, optimiser="adam") for g in pictures.parameterization.parameters(pictures.state)
    ]
    optimisers, losses = Optimisers(groups), []
    for number in numbers:
        for update in objective.iterate(number, pictures):
            optimisers.zero_grad()
            update.loss.backward()
            optimisers.step()
            losses.append(float(update.report["loss"]))
    return losses


@pytest.mark.parametrize("name", ["kip", "kip-conv", "frepo"])
def test_the_loss_goes_down(name: str) -> None:
    objective = OBJECTIVES[name]()
    objective.config = dataclasses.replace(objective.config, batch_real=60)
    objective.prepare(context())
    losses = steps(objective, synthetic("pixels"), range(40))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5]), losses


def test_label_solve_lands_on_the_solution_and_leaves_the_pictures() -> None:
    objective, pictures = LabelSolve(KIPConfig("fc1", batch_real=0, ridge=1e-2)), synthetic("pixels")
    objective.prepare(context())
    before = pictures.state.learned["pixels"].detach().clone()
    start = float(next(iter(OBJECTIVES["kip"]().__class__.iterate(objective, 0, pictures))).loss.detach())
    groups = pictures.parameterization.parameters(pictures.state)
    label = next(g for g in groups if g.name == "labels")
    optimisers = Optimisers([dataclasses.replace(label, lr=1.0, optimiser="sgd", momentum=0.0)])
    (update,) = objective.iterate(0, pictures)
    update.loss.backward()
    assert pictures.state.learned["pixels"].grad is None
    optimisers.step()
    after = next(iter(KernelInducingPoints.iterate(objective, 0, pictures)))
    assert float(after.loss.detach()) == pytest.approx(float(update.report["loss"]), rel=1e-6)
    assert float(after.loss.detach()) < start
    (gradient,) = torch.autograd.grad(after.loss, pictures.state.learned["labels"])
    assert float(gradient.abs().max()) < 1e-8
    assert torch.equal(before, pictures.state.learned["pixels"])


def test_targets_are_class_balanced() -> None:
    objective = KernelInducingPoints(KIPConfig(batch_real=10))
    objective.prepare(context())
    images, rows = objective._targets(Stream(1))
    assert torch.bincount(rows.argmax(1)).tolist() == [4, 3, 3] and images.dtype == torch.float64
    objective.config = KIPConfig(batch_real=0)
    assert len(objective._targets(Stream(1))[0]) == 60


def pool(age: int = 3) -> FRePo:
    objective = FRePo(FRePoConfig(pool=3, max_age=age, batch_real=6, batch_network=4))
    objective.prepare(context())
    return objective


def test_networks_of_the_pool_are_trained_one_at_a_time_and_renewed_past_their_age() -> None:
    objective, pictures = pool(), synthetic("pixels")
    assert [member.age for member in objective._pool] == [0, 1, 2]
    renewed = 0
    for number in range(30):
        before = [{k: v.clone() for k, v in m.network.state_dict().items()} for m in objective._pool]
        ages = [member.age for member in objective._pool]
        steps(objective, pictures, range(number, number + 1))
        after = [member.network.state_dict() for member in objective._pool]
        changed = [i for i in range(3) if any(not torch.equal(before[i][k], after[i][k]) for k in after[i])]
        assert len(changed) == 1
        member = objective._pool[changed[0]]
        assert member.age == (0 if ages[changed[0]] > 3 else ages[changed[0]] + 1) <= 4
        renewed += member.age == 0
        assert all(weight.grad is None for weight in member.network.parameters())
    assert renewed >= 3


def test_a_restored_pool_goes_on_bit_for_bit() -> None:
    straight, first = pool(), synthetic("pixels")
    steps(straight, first, range(12), 1e-3)
    for number in range(12, 20):
        steps(straight, first, range(number, number + 1), 1e-3)
    broken, second = pool(), synthetic("pixels")
    steps(broken, second, range(12), 1e-3)
    saved = {key: tensor.clone() for key, tensor in broken.to_tensors().items()}
    other = pool()
    other.from_tensors(saved)
    assert {k: v.tolist() for k, v in other.to_tensors().items()} == {k: v.tolist() for k, v in saved.items()}
    for number in range(12, 20):
        steps(other, second, range(number, number + 1), 1e-3)
    assert torch.equal(first.state.learned["pixels"], second.state.learned["pixels"])
    assert all(torch.equal(v, other.to_tensors()[k]) for k, v in straight.to_tensors().items())


def test_flipped_pictures_stand_beside_the_pictures() -> None:
    """Of pictures that are their own mirror images the doubled support is the single one at half the ridge."""
    losses = []
    for flip, ridge in ((True, 2e-3), (False, 1e-3), (False, 2e-3)):
        objective, pictures = FRePo(FRePoConfig(pool=1, batch_real=12, ridge=ridge, flip=flip)), synthetic("pixels")
        pictures.state.learned["pixels"].data += pictures.state.learned["pixels"].detach().flip(3)
        objective.prepare(context())
        losses.append(float(next(iter(objective.iterate(0, pictures))).loss.detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-9) and losses[0] != pytest.approx(losses[2], rel=1e-6)


def recipe(**changes: object) -> TrainingRecipe:
    plain = TrainingRecipe(epochs=4, batch_size=4, augmentation="none", schedule="constant", weight_decay=0.0)
    return dataclasses.replace(plain, **changes)


def trained(chosen: TrainingRecipe, labels: Tensor, rates: list[float] | None = None) -> dict[str, Tensor]:
    network = networks.build("mlp", classes=CLASSES, size=8, rng=Stream(0))
    images = torch.randn(6, *SHAPE, generator=Stream(1).torch())

    def watch(epoch: int, optimiser: torch.optim.Optimizer) -> None:
        if rates is not None:
            rates.append(optimiser.param_groups[0]["lr"])

    train(network, TensorPictures(images, labels), chosen, Stream(2), on_epoch=watch)
    return network.state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_students_regress_on_centred_labels_hard_or_soft() -> None:
    hard = torch.tensor([0, 1, 2, 2, 1, 0])
    rows = centred_one_hot(hard, CLASSES)
    by_hard, by_rows = (trained(recipe(loss="mse"), labels) for labels in (hard, rows))
    assert same(by_hard, by_rows)
    assert not same(by_hard, trained(recipe(), hard))
    outputs = torch.randn(6, CLASSES, generator=Stream(3).torch())
    assert float(squared_error(outputs, rows)) == pytest.approx(float(((outputs - rows) ** 2).sum() / 12), rel=1e-6)


def test_cosine_schedule_with_warm_up() -> None:
    chosen = recipe(schedule="cosine", epochs=10, warmup=4, final=0.1, optimiser="adam", lr=1.0)
    assert [chosen.factor(e) for e in (0.0, 1.0, 4.0, 7.0, 10.0)] == pytest.approx([0, 0.25, 1, 0.55, 0.1])
    rates: list[float] = []
    trained(dataclasses.replace(chosen, lr=1e-3), torch.arange(6) % 3, rates)
    assert rates == pytest.approx([1e-3 * chosen.factor(float(e)) for e in range(10)])
    assert recipe().factor(3.0) == 1.0


def test_a_rate_in_stable_units_is_that_of_the_network() -> None:
    rates: list[float] = []
    trained(recipe(lr=0.5, lr_unit="stable", loss="mse"), torch.arange(6) % 3, rates)
    assert len(set(rates)) == 1 and rates[0] > 0
    other: list[float] = []
    trained(recipe(lr=0.25, lr_unit="stable", loss="mse"), torch.arange(6) % 3, other)
    assert other[0] == pytest.approx(rates[0] / 2)


def test_defaults_of_later_settings_leave_old_text_alone() -> None:
    from fredbench.foundation.config import to_mapping

    assert set(to_mapping(TrainingRecipe(arithmetic="eager"))) == {
        *("epochs", "lr", "momentum", "weight_decay", "batch_size", "schedule", "drop_factor", "augmentation"),
        "cutmix",
    }
    assert to_mapping(TrainingRecipe(loss="mse"))["loss"] == "mse"
    # What text of before says nothing of was eager, and is so again when it is read.
    assert to_mapping(TrainingRecipe())["arithmetic"] == "fused"
    assert TrainingRecipe.stored({}) == TrainingRecipe(arithmetic="eager")
    assert TrainingRecipe.stored(to_mapping(TrainingRecipe())) == TrainingRecipe()


def test_other_objectives_refuse_centred_labels() -> None:
    from fredbench.objectives import OBJECTIVES as REGISTERED

    assert REGISTERED.get("dm").label_forms == {"hard"}
    with pytest.raises(CompatibilityError):
        from fredbench.datasets import load_dataset
        from fredbench.recipes.resolution import Request, resolve

        digits = load_dataset("digits", offline=True)
        resolve(Request(ipc=1, method="fred", overrides=("labels.form=centred",)), digits, device="cpu", threads=1)
