"""Trajectory matching: the three gradients agree where they must, memory stays flat, draws are replayed."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from spine import real, set_of
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from fredbench import networks
from fredbench.foundation.errors import ArtefactError, CompatibilityError, FredbenchError, ResourceError
from fredbench.foundation.memory import exhaustion_told
from fredbench.foundation.rng import Stream
from fredbench.objectives.base import Context
from fredbench.objectives.flat import Derivatives, FlatNetwork
from fredbench.objectives.trajectory import TMConfig, TrajectoryMatching, _own_chunk, inner_steps, start_bound
from fredbench.objectives.unrolling import (
    Segment,
    exact_gradient,
    tesla_gradient,
    trajectory_loss,
    unrolled_loss,
)
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.parameterizations.budget import Budget
from fredbench.training import augmentation
from fredbench.training.experts import UntrainedExperts
from fredbench.training.loop import TrainingRecipe
from fredbench.training.optimisation import Optimisers
from fredbench.training.trajectories import ExpertSpec

CLASSES, SIZE, CPU = 3, (16, 16), torch.device("cpu")
DATA = set_of(CLASSES, SIZE)


def network(name: str = "convnet-d2-w6-in", dtype: torch.dtype = torch.float64) -> FlatNetwork:
    return FlatNetwork(networks.build(name, classes=CLASSES, size=SIZE, rng=Stream(0)).to(dtype))


def weights(flat: FlatNetwork, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(len(flat), dtype=dtype, generator=Stream(seed).torch()) * 0.2


def decoded(name: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """(what is learned, pictures decoded from it, labels) of a small synthetic set."""
    kind = PARAMETERIZATIONS.get(name)
    parameterization = kind(kind.Config(k=64) if name == "fred" else kind.Config())
    pictures = real(DATA)
    state = parameterization.init(pictures, Budget.for_ipc(4, CLASSES, pictures.shape), Stream(3))
    ((key, learned),) = state.learned.items()
    state.learned[key] = learned = learned.detach().to(dtype).requires_grad_()
    return learned, *parameterization.decode(state)


def segment_of(flat: FlatNetwork, count: int, dtype: torch.dtype = torch.float64, **settings: object) -> Segment:
    steps = inner_steps(count, SIZE, TMConfig(**settings), Stream(7).child("steps"), CPU)
    return Segment(weights(flat, 1, dtype), weights(flat, 2, dtype), steps)


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).detach().norm() / wanted.detach().norm())


@pytest.mark.parametrize("chunk", [1000, 7])
@pytest.mark.parametrize("batch", [0, 10])
@pytest.mark.parametrize("name", ["pixels", "fred"])
def test_exact_is_autograd_in_double_precision_with_augmentation(name: str, batch: int, chunk: int) -> None:
    flat = network()
    learned, pictures, labels = decoded(name)
    segment = segment_of(flat, len(pictures), steps=16, batch=batch)
    assert {step.draw.operation for step in segment.steps} == set(augmentation.OPERATIONS), "every operation is met"
    alpha = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    loss, final, inner = unrolled_loss(flat, segment, pictures, labels, alpha)
    by_learned, by_alpha = torch.autograd.grad(loss, (learned, alpha), retain_graph=True)
    found = exact_gradient(Derivatives(flat, chunk), segment, pictures, labels, alpha)
    (carried,) = torch.autograd.grad((pictures * found.pictures).sum(), learned, retain_graph=True)
    assert relative(carried, by_learned) < 1e-6 and relative(found.step_size, by_alpha) < 1e-6
    assert relative(found.loss, loss) < 1e-12 and relative(found.final, final) < 1e-12
    assert torch.allclose(found.inner_losses, inner)
    # The Hessians are no trifle here: without them the gradient is another one.
    approximate = tesla_gradient(Derivatives(flat, chunk), segment, pictures, labels, alpha)
    (by_tesla,) = torch.autograd.grad((pictures * approximate.pictures).sum(), learned)
    assert relative(by_tesla, by_learned) > 0.01 and torch.equal(approximate.loss, found.loss)


@pytest.mark.parametrize("batch", [0, 5])
def test_a_step_shows_one_rendering_of_all_that_it_sees(batch: int) -> None:
    rows = torch.arange(36).view(12, 3)
    config = TMConfig(steps=60, batch=batch)
    steps = inner_steps(36, SIZE, config, Stream(1), CPU, rows)
    shown = [(step.index // 3, step.index % 3) for step in steps if step.index is not None]
    assert len(shown) == 60 and all(len(set(rendering.tolist())) == 1 for _, rendering in shown)
    assert {int(rendering[0]) for _, rendering in shown} == {0, 1, 2}
    if not batch:
        assert all(things.tolist() == list(range(12)) for things, _ in shown)
    else:
        passes = [torch.cat([things for things, _ in shown[i : i + 3]]) for i in range(0, 60, 3)]
        assert all(sorted(each.tolist()) == list(range(12)) for each in passes)
        assert len({tuple(each.tolist()) for each in passes}) > 10
    assert [len(step.draw.values[0]) for step in steps] == [len(things) for things, _ in shown]


@pytest.mark.parametrize("chunk", [1000, 7])
def test_hallucinations_have_the_gradient_of_autograd(chunk: int) -> None:
    kind = PARAMETERIZATIONS.get("haba")
    parameterization = kind(kind.Config(hallucinators=3))
    pictures_of = real(DATA)
    state = parameterization.init(pictures_of, Budget.for_ipc(4, CLASSES, pictures_of.shape), Stream(3))
    for key, tensor in state.learned.items():
        state.learned[key] = tensor.detach().double().requires_grad_()
    learned, (pictures, labels) = list(state.learned.values()), parameterization.decode(state)
    flat = network("convnet-d2-w6-in-swish")  # smooth, for the difference below
    steps = inner_steps(
        len(pictures), SIZE, TMConfig(steps=8, batch=10), Stream(2), CPU, parameterization.alternatives(state)
    )
    segment = Segment(weights(flat, 1), weights(flat, 2), steps)
    alpha = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    loss, _, _ = unrolled_loss(flat, segment, pictures, labels, alpha)
    wanted = torch.autograd.grad(loss, learned, retain_graph=True)
    found = exact_gradient(Derivatives(flat, chunk), segment, pictures, labels, alpha)
    carried = torch.autograd.grad((pictures * found.pictures).sum(), learned)
    assert relative(found.loss, loss) < 1e-12
    assert all(relative(one, other) < 1e-6 for one, other in zip(carried, wanted, strict=True))
    for tensor, gradient in zip(learned, wanted, strict=True):
        direction, ends = torch.randn(tensor.shape, dtype=torch.float64, generator=Stream(4).torch()), []
        for sign in (1e-6, -1e-6):
            with torch.no_grad():
                tensor += sign * direction
            ends.append(float(unrolled_loss(flat, segment, *parameterization.decode(state), alpha)[0].detach()))
            with torch.no_grad():
                tensor -= sign * direction
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float((gradient * direction).sum()), rel=1e-4, abs=1e-10)


def test_soft_labels_are_matched_alike() -> None:
    flat = network()
    learned, pictures, labels = decoded("pixels")
    soft = torch.nn.functional.one_hot(labels, CLASSES).double() * 0.7 + 0.1
    segment = segment_of(flat, len(pictures), steps=3)
    alpha = torch.tensor(0.05, dtype=torch.float64)
    (wanted,) = torch.autograd.grad(unrolled_loss(flat, segment, pictures, soft, alpha)[0], learned)
    found = exact_gradient(Derivatives(flat, 5), segment, pictures, soft, alpha)
    assert relative(found.pictures, wanted) < 1e-9


def test_one_step_has_no_hessian() -> None:
    flat = network()
    _, pictures, labels = decoded("pixels")
    segment = segment_of(flat, len(pictures), steps=1)
    alpha = torch.tensor(0.05, dtype=torch.float64)
    exact, tesla = (f(Derivatives(flat, 5), segment, pictures, labels, alpha) for f in (exact_gradient, tesla_gradient))
    assert torch.equal(exact.pictures, tesla.pictures) and torch.equal(exact.step_size, tesla.step_size)


def test_the_loss_is_one_at_the_start_and_zero_at_the_target() -> None:
    start, target = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])
    assert float(trajectory_loss(start, start, target)) == 1.0
    assert float(trajectory_loss(target, start, target)) == 0.0
    assert float(trajectory_loss(torch.tensor([2.0, 3.0]), start, target)) == 0.5


def peak_of(steps: int, gradient: str) -> int:
    """Most bytes that torch's CPU allocator held at a time."""
    flat = network(dtype=torch.float32)
    _, pictures, labels = decoded("pixels", torch.float32)
    pictures = pictures.detach().requires_grad_()
    segment = segment_of(flat, len(pictures), torch.float32, steps=steps)
    alpha = torch.tensor(0.01, requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        if gradient == "autograd":
            torch.autograd.grad(unrolled_loss(flat, segment, pictures, labels, alpha)[0], (pictures, alpha))
        else:
            compute = {"exact": exact_gradient, "tesla": tesla_gradient}[gradient]
            compute(Derivatives(flat, 6), segment, pictures, labels, alpha)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    assert peak > 0
    return peak


@pytest.mark.parametrize("gradient", ["exact", "tesla"])
def test_memory_grows_by_the_stored_weights_only(gradient: str) -> None:
    """From 10 to 50 steps: forty weight vectors, and a few bytes a step for its scalars."""
    vectors = 40 * 4 * len(network())
    growth = peak_of(50, gradient) - peak_of(10, gradient)
    assert vectors <= growth <= vectors + 40 * 64


def test_autograds_memory_grows_by_a_graph_a_step() -> None:
    """What exact is there for; and that the measurement sees graphs."""
    assert peak_of(10, "autograd") - peak_of(2, "autograd") > 8 * 20 * 4 * len(network())


@pytest.mark.parametrize("name", ["convnet-d2-w6-bn", "resnet18-bn"])
def test_networks_that_mix_pictures_are_refused(name: str) -> None:
    with pytest.raises(CompatibilityError, match="depend on more than the picture"):
        FlatNetwork(networks.build(name, classes=CLASSES, size=32, rng=Stream(0)))


def test_networks_that_draw_are_refused() -> None:
    made = networks.build("convnet-d2-w6-in", classes=CLASSES, size=SIZE, rng=Stream(0))
    made.classifier = torch.nn.Sequential(torch.nn.Dropout(0.5), made.classifier)
    with pytest.raises(CompatibilityError, match="Dropout"):
        FlatNetwork(made)


def test_flattening_round_trips_in_state_dict_order() -> None:
    made = networks.build("convnet-d2-w6-in", classes=CLASSES, size=SIZE, rng=Stream(0))
    flat = FlatNetwork(made)
    theta = flat.flatten(made.state_dict())
    assert len(theta) == len(flat) and list(flat.unflatten(theta)) == list(made.state_dict())
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in flat.unflatten(theta).items())
    pictures = real(DATA).images(torch.arange(4))
    assert torch.equal(flat(theta, pictures), made(pictures))
    assert not torch.equal(flat(2 * theta, pictures), made(pictures))


@pytest.mark.slow
def test_compiled_gradients_are_the_same_but_for_rounding() -> None:
    flat = network(dtype=torch.float32)
    _, pictures, labels = decoded("pixels", torch.float32)
    segment = segment_of(flat, len(pictures), torch.float32, steps=2)
    alpha = torch.tensor(0.02)
    eager, compiled = (
        exact_gradient(Derivatives(flat, 12, compiled=c), segment, pictures, labels, alpha) for c in (False, True)
    )
    assert relative(compiled.pictures, eager.pictures) < 1e-4 and relative(compiled.step_size, eager.step_size) < 1e-4


# The objective as the loop sees it.


class Set:
    """Learned pictures as the loop hands them over."""

    def __init__(self) -> None:
        self.learned, self.pictures, self.labels = decoded("pixels", torch.float32)
        self.pictures = self.learned

    def __len__(self) -> int:
        return len(self.labels)

    def decode(self, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        return self.learned, self.labels

    def alternatives(self) -> None:
        return None


def expert_spec() -> ExpertSpec:
    return ExpertSpec(
        "small", DATA.fingerprint, "train", "convnet-d2-w6-in", CLASSES, (3, *SIZE), TrainingRecipe(), 0, "cpu", 1
    )


def prepared(name: str = "convnet-d2-w6-in", **settings: object) -> TrajectoryMatching:
    objective = TrajectoryMatching(TMConfig(**{"steps": 4, "experts": 2, **settings}))

    def make(stream: Stream) -> networks.Network:
        return networks.build(name, classes=CLASSES, size=SIZE, rng=stream)

    experts = UntrainedExperts(expert_spec())
    objective.prepare(Context(real(DATA), make, networks.initialise, Stream(0), CPU, experts))
    return objective


def gradients(objective: TrajectoryMatching, iteration: int = 0) -> tuple[Tensor, Tensor, float]:
    """(by pictures, by step size, reported loss) of one iteration."""
    synthetic = Set()
    (update,) = objective.iterate(iteration, synthetic)
    (group,) = objective.parameters()
    (alpha,) = group.tensors
    by_pictures, by_alpha = torch.autograd.grad(update.loss, (synthetic.learned, alpha))
    return by_pictures, by_alpha, float(update.report["loss"])


def test_all_modes_report_the_loss_and_exact_yields_autograds_gradient() -> None:
    found = {mode: gradients(prepared(gradient=mode)) for mode in ("exact", "autograd", "tesla")}
    losses = [loss for _, _, loss in found.values()]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    for position in (0, 1):
        wanted = found["autograd"][position]
        assert relative(found["exact"][position], wanted) < 1e-3 < relative(found["tesla"][position], wanted)


@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_is_allowed_where_it_was_asked_for_and_nowhere_else(
    allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags, seen = (torch.backends.cuda.matmul, torch.backends.cudnn), []
    before = [flag.allow_tf32 for flag in flags]
    objective = prepared(tf32=allowed)
    product = Derivatives.product

    def looks(*arguments: object) -> object:
        seen.append([flag.allow_tf32 for flag in flags])
        return product(*arguments)

    monkeypatch.setattr(Derivatives, "product", looks)
    for update in objective.iterate(0, Set()):
        assert seen == [[allowed, allowed]] * 4 and update.loss.isfinite()
        assert [flag.allow_tf32 for flag in flags] == before


def test_an_iteration_draws_by_its_number_alone() -> None:
    objective = prepared()
    third = gradients(objective, 3)
    assert all(torch.equal(a, b) for a, b in zip(third[:2], gradients(prepared(), 3)[:2], strict=True))
    assert not torch.equal(third[0], gradients(objective, 4)[0])


def test_the_step_size_is_learned_kept_above_its_floor_and_stored() -> None:
    objective = prepared(step_size_lr=1e-2, min_step_size=0.005)
    optimisers = Optimisers(objective.parameters())
    before = objective.step_size()
    assert before == pytest.approx(0.01)
    (update,) = objective.iterate(0, Set())
    update.loss.backward()
    optimisers.step()
    objective.project()
    assert objective.step_size() != before and objective.step_size() >= 0.005
    with torch.no_grad():
        objective.parameters()[0].tensors[0].fill_(-3.0)
    objective.project()
    assert objective.step_size() == pytest.approx(0.005)
    other = prepared()
    other.from_tensors(objective.to_tensors())
    assert other.step_size() == objective.step_size()
    with pytest.raises(ArtefactError):
        other.from_tensors({})


def test_without_a_floor_the_step_size_goes_where_it_is_led() -> None:
    objective = prepared(min_step_size=0.0)
    for reached in (-3.0, 1e-9):
        with torch.no_grad():
            objective.parameters()[0].tensors[0].fill_(reached)
        objective.project()
        assert objective.step_size() == pytest.approx(reached)


def test_a_small_step_against_the_gradient_lowers_the_loss_as_it_says() -> None:
    flat = network()
    _, pictures, labels = decoded("pixels")
    segment, alpha = segment_of(flat, len(pictures), steps=4), torch.tensor(0.05, dtype=torch.float64)
    derivatives = Derivatives(flat, 100)
    before = exact_gradient(derivatives, segment, pictures, labels, alpha)
    step = 1e-4 * before.pictures / before.pictures.norm()
    after = exact_gradient(derivatives, segment, pictures - step, labels, alpha)
    foreseen = -1e-4 * before.pictures.norm()
    assert float(after.loss - before.loss) == pytest.approx(float(foreseen), rel=1e-2)


def test_without_experts_and_with_batch_norm_it_is_refused() -> None:
    objective = TrajectoryMatching(TMConfig())
    with pytest.raises(CompatibilityError, match="nowhere to keep"):
        objective.prepare(Context(real(DATA), lambda _: None, networks.initialise, Stream(0), CPU))
    with pytest.raises(CompatibilityError, match=r"batch|depend"):
        prepared("convnet-d2-w6-bn")


def test_batches_are_parts_of_permutations() -> None:
    config = TMConfig(steps=7, batch=4, augmentation="none")
    steps = inner_steps(10, SIZE, config, Stream(0), CPU)
    sizes = [len(step.index) for step in steps]
    assert sizes == [4, 4, 2, 4, 4, 2, 4]
    for first in (0, 3):
        assert sorted(torch.cat([step.index for step in steps[first : first + 3]]).tolist()) == list(range(10))
    assert not torch.equal(steps[0].index, steps[3].index)
    for whole in (0, 10, 11):
        assert all(
            s.index is None for s in inner_steps(10, SIZE, dataclasses.replace(config, batch=whole), Stream(0), CPU)
        )


def test_every_picture_of_a_step_has_its_own_draw() -> None:
    steps = inner_steps(10, SIZE, TMConfig(steps=5, augmentation="color"), Stream(0), CPU)
    assert all(len(value.unique()) == 10 for step in steps for value in step.draw.values)
    assert not torch.equal(steps[0].draw.values[0], steps[1].draw.values[0])


def test_the_difficulty_schedule_opens_later_starts() -> None:
    config = TMConfig(start_epochs=20, early_start_epochs=10, growth_iterations=1000)
    assert [start_bound(config, i) for i in (0, 99, 100, 500, 999, 1000, 5000)] == [10, 10, 11, 15, 19, 20, 20]
    assert start_bound(TMConfig(start_epochs=5), 0) == 5


def test_experts_are_trained_as_far_as_they_are_read() -> None:
    config = TMConfig(start_epochs=5, expert_epochs=2)
    recipe = config.expert_recipe()
    assert config.last_epoch == recipe.epochs == 6
    assert (recipe.lr, recipe.momentum, recipe.weight_decay, recipe.batch_size, recipe.schedule) == (
        0.01, 0.0, 0.0, 256, "constant",
    )  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0}, {"expert_epochs": 0}, {"start_epochs": 0}, {"experts": 0}, {"batch": -1}, {"chunk": -1},
        {"start_from": 5}, {"step_size": 0.0}, {"step_size": float("inf")}, {"min_step_size": 0.02},
        {"min_step_size": -0.001}, {"min_step_size": 0.0, "step_size": 0.0},
        {"step_size_lr": 0.0}, {"step_size_momentum": 1.0}, {"augmentation": "colour"}, {"expert_lr": 0.0},
        {"expert_batch": 0}, {"growth_iterations": -1}, {"growth_iterations": 9, "early_start_epochs": 6},
        {"gradient": "autograd", "tf32": True}, {"gradient": "autograd", "compiled": True},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(FredbenchError) as caught:
        TMConfig(**settings)
    assert caught.value.hint


@pytest.mark.parametrize(("width", "chunk"), [(32, 80), (64, 40), (128, 20), (256, 20)])
def test_narrow_networks_take_more_pictures_into_one_graph(width: int, chunk: int) -> None:
    network = networks.build(f"convnet-d3-w{width}-in", channels=3, classes=10, size=(32, 32), rng=Stream(0))
    assert _own_chunk(FlatNetwork(network), "cpu") == chunk
    network.arithmetic = "fused"
    assert _own_chunk(FlatNetwork(network), "cpu") == max(chunk, 40)


@pytest.mark.parametrize(("side", "chunk"), [(32, 40), (64, 20), (128, 5), (512, 1)])
def test_large_pictures_are_few_to_a_graph_of_blocks(side: int, chunk: int) -> None:
    network = networks.build("convnet-d3-w128-in", channels=3, classes=10, size=(side, side), rng=Stream(0))
    network.arithmetic = "fused"
    assert _own_chunk(FlatNetwork(network), "cpu") == chunk


def test_exhausted_memory_is_told_with_what_to_change() -> None:
    objective = prepared(chunk=20)
    with pytest.raises(ResourceError, match="memory of cpu") as caught, exhaustion_told(CPU, objective.memory_advice):
        torch.empty(2**58)
    assert "objective.chunk=5" in caught.value.hint
    with pytest.raises(ResourceError) as caught, exhaustion_told(CPU, prepared(gradient="autograd").memory_advice):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert "objective.gradient=exact" in caught.value.hint
    with pytest.raises(RuntimeError, match="something else"), exhaustion_told(CPU, objective.memory_advice):
        raise RuntimeError("something else")


def test_the_trial_is_shorter_and_says_by_how_much() -> None:
    assert TrajectoryMatching.shortened(TMConfig(steps=50), 1000) == (TMConfig(steps=2), 25.0)
    assert TrajectoryMatching.shortened(TMConfig(steps=1), 1000) == (TMConfig(steps=1), 1.0)


@pytest.mark.parametrize("threads", [2, 3])
def test_chunks_side_by_side_are_those_one_after_the_other(threads: int) -> None:
    """Each thread has a network of its own: a call lends it its weights."""
    before = torch.get_num_threads()
    network = networks.build("convnet-d3-w64-in", channels=3, classes=4, size=(32, 32), rng=Stream(0))
    network.arithmetic = "fused"
    flat = FlatNetwork(network)
    kept = [parameter.clone() for parameter in network.parameters()]
    generator = torch.Generator().manual_seed(0)
    theta, direction = (0.1 * torch.randn(len(flat), generator=generator) for _ in range(2))
    pictures, labels = torch.randn(45, 3, 32, 32, generator=generator), torch.arange(45) % 4
    try:
        torch.set_num_threads(1)
        alone = Derivatives(flat, 7).product(theta, pictures, labels, direction, True)
        torch.set_num_threads(threads)
        for _ in range(3):
            together = Derivatives(flat, 7).product(theta, pictures, labels, direction, True)
            for one, other in zip(alone, together, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    finally:
        torch.set_num_threads(before)
    for parameter, was in zip(network.parameters(), kept, strict=True):
        assert torch.equal(parameter, was)
