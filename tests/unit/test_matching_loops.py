"""The inner loops of DC, CAFE and IDC: how many steps, when they end, what they own."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fredbench import networks
from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks import Network, Signature, fused
from fredbench.objectives import OBJECTIVES, Context, Objective, gradient
from fredbench.objectives.alignment import CAFEConfig, FeatureAlignment, Window, map_weights
from fredbench.objectives.alongside import IDCConfig
from fredbench.objectives.gradient import DCConfig, gradient_distance, layer_distance, weight_gradients
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import Optimisers, ParameterGroup
from fredbench.training.whitening import fit_whitening

CLASSES, SIDE = 2, 8


class Pixels:
    """Two pictures a class, learned as they are."""

    def __init__(self) -> None:
        self.pictures = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).requires_grad_()
        self.labels = torch.tensor([0, 0, 1, 1])

    def __len__(self) -> int:
        return 4

    def decode(self, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        index = torch.arange(4) if index is None else index
        return self.pictures[index], self.labels[index]

    def alternatives(self) -> None:
        return None


def network_of(stream: Stream, name: str = "convnet-d1-w4-in") -> Network:
    return networks.build(name, classes=CLASSES, size=SIDE, rng=stream)


def blocks_of(stream: Stream) -> Network:
    """As `network_of`, run by fused blocks."""
    network = network_of(stream)
    network.arithmetic = "fused"
    assert fused.held(network) == 4 * 4 * SIDE * SIDE
    return network


def prepared(name: str, network: Any = network_of, **settings: Any) -> Objective:
    images = np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.arange(20, dtype=np.int64) % CLASSES
    device = torch.device("cpu")
    real = RealPictures(images, labels, mean=(0.5,) * 3, std=(0.2,) * 3, classes=CLASSES, device=device)
    kind = OBJECTIVES.get(name)
    objective = kind(kind.Config(**settings))
    objective.prepare(Context(real, network, networks.initialise, Stream(3), device))
    return objective


def weights(objective: Objective) -> list[Tensor]:
    network: nn.Module = vars(objective)["_network"]
    return [parameter.detach().clone() for parameter in network.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["dc", "dsa"])
def test_real_pictures_are_whitened_by_all_threads_before_classes_ask_for_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a start was made of them: otherwise a run that is resumed would have other bits."""
    objective = prepared(name, blocks_of, batch_real=4)
    real, within, before = vars(objective)["_context"].real, [], torch.get_num_threads()
    fit = fit_whitening(real.preprocessing(real.pixels), "mtt")
    white = RealPictures._whitened.func  # type: ignore[attr-defined]
    made = cached_property(lambda of: within.append(torch.get_num_threads()) or white(of))
    made.__set_name__(RealPictures, "_whitened")
    monkeypatch.setattr(RealPictures, "_whitened", made)
    real.preprocessing = replace(real.preprocessing, whitening=fit)
    torch.set_num_threads(2)
    try:
        next(objective.iterate(0, Pixels()))
    finally:
        torch.set_num_threads(before)
    assert within == [2]


@pytest.mark.parametrize("name", ["dc", "dsa"])
def test_a_round_is_one_step_and_the_network_learns_between(name: str) -> None:
    objective, seen = prepared(name, rounds=3, epochs=2, batch_real=4), []
    for update in objective.iterate(0, Pixels()):
        assert update.rate == 1 and update.project and float(update.report["loss"]) > 0
        seen.append(weights(objective))
    assert len(seen) == 3
    assert not same(seen[0], seen[1]) and not same(seen[1], seen[2])
    # Not after the last round; and the next iteration draws another network.
    assert same(seen[2], weights(objective))
    next(objective.iterate(1, Pixels()))
    assert not same(seen[0], weights(objective))
    next(objective.iterate(0, Pixels()))
    assert same(seen[0], weights(objective))


def test_without_epochs_the_network_stays_as_drawn() -> None:
    objective = prepared("dc", rounds=2, epochs=0)
    first, second = (weights(objective) for _ in objective.iterate(0, Pixels()))
    assert same(first, second)


def test_a_batch_of_synthetic_pictures_leaves_the_others_alone() -> None:
    synthetic = Pixels()
    for update in prepared("dc", batch_synthetic=1).iterate(0, synthetic):
        update.loss.backward()
    moved = synthetic.pictures.grad.flatten(1).any(1)
    assert moved[:2].sum() == moved[2:].sum() == 1


def test_batch_norm_is_held_while_single_classes_pass() -> None:
    objective = prepared("dc", network=lambda rng: network_of(rng, "convnet-d1-w4-bn"))
    for update in objective.iterate(0, Pixels()):
        assert update.loss.requires_grad
    (norm,) = [m for m in vars(objective)["_network"].modules() if isinstance(m, nn.BatchNorm2d)]
    assert not norm.training and int(norm.num_batches_tracked) == 1


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    """More real pictures than a part holds: the sum of parts is the gradient of the mean."""
    network = network_of(Stream(0)).double()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(150, 3, SIDE, SIDE, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, CLASSES, (150,), generator=generator)
    parts = weight_gradients(network, images, labels, differentiable=False)
    whole = weight_gradients(network, images, labels, differentiable=True)
    for a, b in zip(parts, whole, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-13) and not a.requires_grad


@pytest.mark.parametrize(
    ("held", "parts", "at_once"),
    [(1, [1] * 7, None), (2048, [2, 2, 2, 1], None), (4096, [4, 3], 2), (1 << 30, [7], 4)],
)
def test_graphs_that_must_be_small_add_up_to_the_same(
    held: int, parts: list[int], at_once: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture's largest map takes 1,024 bytes, and of two classes there are two synthetic pictures each."""
    passes: list[int] = []
    beside: list[int] = []
    cross_entropy, side_by_side = gradient.cross_entropy, gradient.side_by_side

    def counted(logits: Tensor, labels: Tensor) -> Tensor:
        passes.append(len(labels))
        return cross_entropy(logits, labels)

    def seen(work: Any, classes: Any, *, at_most: int) -> Any:
        beside.append(at_most)
        return side_by_side(work, classes, at_most=at_most)

    def found(network: Any) -> list[Tensor]:
        made, synthetic = prepared("dc", network, batch_real=7), Pixels()
        (update,) = made.iterate(0, synthetic)
        return [update.report["loss"], *torch.autograd.grad(update.loss, synthetic.pictures)]

    wanted = found(network_of)
    monkeypatch.setattr(gradient, "cross_entropy", counted)
    monkeypatch.setattr(gradient, "side_by_side", seen)
    monkeypatch.setattr(gradient, "_HELD", held)
    few = found(blocks_of)
    assert sorted(passes) == sorted([*parts, 2] * CLASSES)
    assert beside == ([] if at_once is None else [at_once])
    for a, b in zip(few, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_distances_of_equal_and_opposite_gradients() -> None:
    a = [torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([1.0, 2.0])]
    opposite = [-x for x in a]
    assert float(gradient_distance(a, a)) == pytest.approx(0, abs=1e-5)
    assert float(gradient_distance(a, opposite)) == pytest.approx(4, abs=1e-5)  # two rows, each 1 - (-1)
    assert float(layer_distance(a[1], opposite[1])) == 0
    assert float(gradient_distance(a, opposite, "mse")) == pytest.approx(4 * (9 + 16 + 4 + 1 + 4))
    assert float(gradient_distance(a, opposite, "cos")) == pytest.approx(2, abs=1e-5)


def test_a_window_tells_a_spread_when_it_is_full() -> None:
    window = Window(3)
    for reading, spread in ((0.1, None), (0.5, None), (0.2, 0.4), (0.3, 0.3), (0.3, 0.1)):
        window.add(reading)
        assert window.spread == (None if spread is None else pytest.approx(spread))


def scripted(readings: list[float], **settings: Any) -> tuple[FeatureAlignment, list[float]]:
    """CAFE whose accuracies are these, one after the other; the list left tells how many were taken."""
    objective = prepared("cafe", batch_real=4, batch_probe=4, window=2, **settings)
    assert isinstance(objective, FeatureAlignment)
    left = list(readings)
    vars(objective)["_accuracy"] = lambda rng: left.pop(0)
    return objective, left


def test_cafe_ends_when_accuracy_has_settled_after_a_step() -> None:
    # After step 1: .1; one pass moves too little (.5, .51), the third does (.6); after step 2: .12, settled.
    objective, left = scripted([0.1, 0.5, 0.51, 0.6, 0.12, 0.9])
    assert len(list(objective.iterate(0, Pixels()))) == 2
    assert left == [0.9]


def test_cafe_goes_on_while_accuracy_moves_and_stops_at_its_caps() -> None:
    objective, left = scripted([0.1, 0.2] * 20, most_rounds=4, most_epochs=3)
    # A reading after each of 4 steps, and two for each training between: .1 against .2 has moved.
    assert len(list(objective.iterate(0, Pixels()))) == 4 and len(left) == 40 - 4 - 3 * 2
    still, left = scripted([0.1, *[0.5] * 5, 0.9], most_rounds=2, most_epochs=5)
    assert len(list(still.iterate(0, Pixels()))) == 2 and left == []


def test_a_reading_carries_nothing_of_the_one_before() -> None:
    """The published script adds a tenth of the last reading to each: a constant accuracy would rise to 1.11 of it."""
    objective = prepared("cafe", batch_real=4, batch_probe=10)
    assert isinstance(objective, FeatureAlignment)
    first, second = (objective._accuracy(Stream(0)) for _ in range(2))
    assert first == second and first in {n / 20 for n in range(21)}


def test_cafes_rate_halves_at_its_milestones() -> None:
    objective = prepared("cafe", batch_real=4, most_rounds=1, milestones=(2, 3, 5))
    rates = [next(objective.iterate(i, Pixels())).rate for i in range(6)]
    assert rates == [1, 1, 0.5, 0.25, 0.25, 0.125]


def test_map_weights_belong_to_the_last_maps() -> None:
    assert map_weights((0.1, 0.2, 1.0, 2.0), 4) == (0.1, 0.2, 1.0, 2.0)
    assert map_weights((0.1, 0.2, 1.0, 2.0), 6) == (0.1, 0.1, 0.1, 0.2, 1.0, 2.0)
    assert map_weights((0.1, 0.2, 1.0, 2.0), 2) == (1.0, 2.0)


@pytest.mark.parametrize(("name", "settings"), [("cafe", {}), ("idc", {"match": "feat"})])
def test_networks_without_maps_are_refused_before_the_first_step(name: str, settings: dict[str, Any]) -> None:
    class Blind(Network):
        def __init__(self) -> None:
            super().__init__("blind", Signature(3, CLASSES, (SIDE, SIDE)))
            self.layer = nn.Linear(3 * SIDE * SIDE, CLASSES)

    with pytest.raises(CompatibilityError, match="blind"):
        prepared(name, network=lambda rng: Blind(), **settings)


IDC = {"batch_real": 4, "train_pictures": 8, "renew": 3}


def steps(objective: Objective, synthetic: Pixels, iterations: range) -> list[bool]:
    optimisers = Optimisers([ParameterGroup("pictures", (synthetic.pictures,), 0.1)])
    projected = []
    for iteration in iterations:
        for update in objective.iterate(iteration, synthetic):
            optimisers.zero_grad()
            update.loss.backward()
            optimisers.step(update.rate)
            projected.append(update.project)
    return projected


def test_idc_steps_once_a_class_and_clamps_where_a_network_ends() -> None:
    objective = prepared("idc", **IDC)
    assert steps(objective, Pixels(), range(6)) == ([False] * 5 + [True]) * 2


def head_after(objective: Objective, iterations: range) -> Tensor:
    steps(objective, Pixels(), iterations)
    return objective.to_tensors()["network.classifier.weight"].clone()


def test_idcs_network_learns_from_real_pictures_until_it_is_renewed() -> None:
    learning, still = prepared("idc", **IDC), prepared("idc", **{**IDC, "train_pictures": 0})
    learned = [head_after(learning, range(i, i + 1)) for i in range(4)]
    drawn = [head_after(still, range(i, i + 1)) for i in range(4)]
    assert not torch.equal(learned[0], learned[1]) and not torch.equal(learned[1], learned[2])
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[2], drawn[3])
    # The fourth pass begins anew: one training away from the network as drawn.
    assert float((learned[3] - drawn[3]).norm()) < 0.5 * float((learned[2] - drawn[3]).norm())
    assert {name.split(".")[0] for name in learning.to_tensors()} == {"network", "momentum"}


def test_idc_taken_up_in_the_middle_of_a_network_goes_on_to_the_bit() -> None:
    through, synthetic = prepared("idc", **IDC), Pixels()
    steps(through, synthetic, range(2))
    saved = {name: tensor.clone() for name, tensor in through.to_tensors().items()}
    assert any(name.startswith("momentum.") for name in saved)
    again = Pixels()
    with torch.no_grad():
        again.pictures.copy_(synthetic.pictures)
    steps(through, synthetic, range(2, 5))
    resumed = prepared("idc", **IDC)
    resumed.from_tensors(saved)
    # The pictures' own momentum is the loop's: a fresh optimiser on both sides.
    steps(resumed, again, range(2, 5))
    assert torch.equal(synthetic.pictures, again.pictures)
    assert all(torch.equal(a, resumed.to_tensors()[name]) for name, a in through.to_tensors().items())


def test_the_momentum_of_a_checkpoint_counts() -> None:
    through = prepared("idc", **IDC)
    steps(through, Pixels(), range(1))
    saved = {name: tensor.clone() for name, tensor in through.to_tensors().items()}
    heads = []
    for kept in ("network.", ""):
        resumed = prepared("idc", **IDC)
        resumed.from_tensors({name: tensor for name, tensor in saved.items() if name.startswith(kept)})
        heads.append(head_after(resumed, range(1, 2)))
    assert not torch.equal(*heads)


def test_a_checkpoint_of_another_network_is_refused() -> None:
    tensors = prepared("idc", **IDC).to_tensors()
    tensors["network.classifier.weight"] = tensors["network.classifier.weight"][:1]
    with pytest.raises(RuntimeError, match="size mismatch"):
        prepared("idc", **IDC).from_tensors(tensors)
    with pytest.raises(ValueError, match="unheard"):
        prepared("idc", **IDC).from_tensors({"unheard": torch.zeros(1)})


def test_pretraining_comes_before_the_first_step() -> None:
    heads = []
    for epochs in (0, 2):
        objective = prepared("idc", **IDC, pretrain_epochs=epochs)
        next(objective.iterate(0, Pixels()))
        heads.append(objective.to_tensors()["network.classifier.weight"].clone())
    assert not torch.equal(*heads)


@pytest.mark.parametrize(
    "build",
    [
        lambda: DCConfig(rounds=0),
        lambda: DCConfig(lr_net=0.0),
        lambda: CAFEConfig(window=1),
        lambda: CAFEConfig(weights=()),
        lambda: IDCConfig(renew=0),
        lambda: IDCConfig(cutmix=2.0),
        lambda: IDCConfig(augmentation="colour"),
    ],
)
def test_settings_that_cannot_be_run_are_refused(build: Any) -> None:
    with pytest.raises(UsageError):
        build()
