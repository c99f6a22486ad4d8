"""The pictures' gradients that objectives hand to the loop are those of their losses, through every storage.

By finite differences in float64: the loss that an objective reports, with its draws held, against the gradient that
one backward pass of what it yields leaves in the learned tensors: central differences of 1e-5 of a tensor's size, equal
to a relative 1e-4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fredbench import networks
from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.objectives import OBJECTIVES, Context, Objective
from fredbench.parameterizations import PARAMETERIZATIONS, Parameterization, State
from fredbench.parameterizations.budget import Budget
from fredbench.training.batches import RealPictures
from fredbench.training.loop import TrainingRecipe

CLASSES, SIDE = 2, 8
SETTINGS: dict[str, dict[str, Any]] = {
    "dc": {"batch_real": 3},
    "dc mse": {"batch_real": 3, "metric": "mse"},
    "dc cos": {"batch_real": 3, "metric": "cos"},
    "dsa": {"batch_real": 3, "augmentation": "color_crop_scale_rotate"},
    "cafe": {"batch_real": 3, "batch_probe": 2},
    "cafe dsa": {"batch_real": 3, "batch_probe": 2, "augmentation": "color_crop_scale_rotate"},
    "dm": {"batch_real": 3, "augmentation": "color_crop_scale_rotate"},
    "idc": {"batch_real": 3, "train_pictures": 0},
    "idc feat": {"batch_real": 3, "train_pictures": 0, "match": "feat", "metric": "l1"},
    "idc cos": {"batch_real": 3, "train_pictures": 0, "metric": "cos", "layers": "all"},
    "tm": {"steps": 4, "step_size": 0.1, "experts": 2, "augmentation": "color_crop_scale_rotate"},
    "tm batches": {"steps": 5, "batch": 1, "step_size": 0.1, "experts": 2, "chunk": 1, "augmentation": "none"},
}
# Their differences are taken in test_kernel_objectives.py, where labels are learned as well.
OF_KERNELS = {"kip", "label-solve", "frepo"}
STORAGE: dict[str, dict[str, Any]] = {
    "pixels": {},
    "fred": {"k": 16},
    "fred dft": {"k": 16, "transform": "dft"},
    "fred dwt haar": {"k": 16, "transform": "dwt", "wavelet": "haar"},
    "fred dwt db2": {"k": 16, "transform": "dwt", "wavelet": "db2"},
    "idc": {"mode": "multi"},
    "haba": {"hallucinators": 2},
    "ddif": {"width": 3, "fit_steps": 20, "fit_lr": 0.02},
    # What rounds, drops and clamps has a gradient that is not the difference: see test_splats.py.
    "gsdd": {"gaussians": 8, "fit_steps": 20, "precision": "float32", "cut": 0.0},
    "ddif deep": {"width": 3, "layers": 3, "w": 5.0, "fit_steps": 20, "fit_lr": 0.02},
}


class DoublePictures(RealPictures):
    """Real pictures in the precision of the network: distribution matching embeds them as they come."""

    def images(self, index: Tensor) -> Tensor:
        return super().images(index).double()


def real_pictures() -> RealPictures:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (24, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.arange(24, dtype=np.int64) % CLASSES
    return DoublePictures(
        images, labels, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), classes=CLASSES, device=torch.device("cpu")
    )


def network_of(stream: Stream) -> Network:
    # Smooth, so that a difference of two losses never spans a kink.
    return networks.build("convnet-d1-w3-in-swish", classes=CLASSES, size=SIDE, rng=stream).double()


class Synthetic:
    """The synthetic set as the loop shows it."""

    def __init__(self, parameterization: Parameterization, state: State) -> None:
        self._parts, self._state = parameterization, state

    def __len__(self) -> int:
        return len(self._state)

    def decode(self, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        return self._parts.decode(self._state, index, rng)

    def alternatives(self) -> Tensor | None:
        return self._parts.alternatives(self._state)


class Wanderers:
    """Experts whose epochs are random steps: a trajectory like any other to what is matched."""

    def __init__(self, count: int, parameters: int) -> None:
        steps = np.random.default_rng(5).normal(scale=0.1, size=(count, 8, parameters))
        self._weights = torch.from_numpy(steps).cumsum(1)

    def __len__(self) -> int:
        return len(self._weights)

    def weights(self, expert: int, epoch: int) -> Tensor:
        return self._weights[expert, epoch]


def wanderers(count: int, recipe: TrainingRecipe, seed: int) -> Wanderers:
    return Wanderers(count, sum(parameter.numel() for parameter in network_of(Stream(0)).parameters()))


def prepared(name: str) -> Objective:
    kind = OBJECTIVES.get(name.split()[0])
    objective = kind(kind.Config(**SETTINGS[name]))
    context = Context(real_pictures(), network_of, networks.initialise, Stream(3), torch.device("cpu"), wanderers)
    objective.prepare(context)
    return objective


def stored(name: str) -> tuple[Parameterization, State, list[Tensor]]:
    kind = PARAMETERIZATIONS.get(name.split()[0])
    parts = kind(kind.Config(**STORAGE[name]))
    state = parts.init(real_pictures(), Budget.for_ipc(1, CLASSES, (3, SIDE, SIDE)), Stream(1))
    for key, learned in state.learned.items():
        # Opacities above 1 saturate, and the gradient passes their clamp.
        share = 0.5 if key == "opacities" else 1.0
        state.learned[key] = (share * learned.detach().double()).requires_grad_()
    return parts, state, list(state.learned.values())


def first_loss(name: str, synthetic: Synthetic, learned: list[Tensor]) -> tuple[float, list[Tensor]]:
    """Loss of one whole picture step and its gradients; IDC's step is one a class, whose losses add up."""
    for tensor in learned:
        tensor.grad = None
    loss = 0.0
    objective = prepared(name)
    for count, update in enumerate(objective.iterate(0, synthetic), 1):
        update.loss.backward()
        loss = float(update.report.get("loss", loss))
        if not name.startswith("idc") or count == CLASSES:
            break
    gradients = [tensor.grad.clone() for tensor in learned if tensor.grad is not None]
    assert len(gradients) == len(learned)
    return loss, gradients


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("name", SETTINGS)
def test_the_gradient_is_that_of_the_reported_loss(name: str, storage: str) -> None:
    parts, state, learned = stored(storage)
    synthetic = Synthetic(parts, state)
    loss, gradients = first_loss(name, synthetic, learned)
    assert loss > 0 and all(bool(gradient.isfinite().all()) for gradient in gradients)
    generator, step = torch.Generator().manual_seed(0), 1e-5
    for _ in range(3):
        directions = [
            torch.randn(tensor.shape, dtype=torch.float64, generator=generator)
            * (float(tensor.detach().abs().mean()) or 1.0)
            for tensor in learned
        ]
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                for tensor, direction in zip(learned, directions, strict=True):
                    tensor += sign * step * direction
            ends.append(first_loss(name, synthetic, learned)[0])
            with torch.no_grad():
                for tensor, direction in zip(learned, directions, strict=True):
                    tensor -= sign * step * direction
        difference = (ends[0] - ends[1]) / (2 * step)
        slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
        assert difference == pytest.approx(slope, rel=1e-4, abs=1e-7 * abs(loss)), f"{name} through {storage}"


def test_no_pair_is_left_out() -> None:
    assert {name.split()[0] for name in SETTINGS} | OF_KERNELS == set(OBJECTIVES)
    assert {name.split()[0] for name in STORAGE} == set(PARAMETERIZATIONS)


# Trajectory matching keeps no network of its own: its weights come as a vector.
@pytest.mark.parametrize("name", [name for name in SETTINGS if not name.startswith("tm")])
def test_nothing_is_left_in_the_networks_own_gradients(name: str) -> None:
    parts, state, _ = stored("pixels")
    objective = prepared(name)
    updates = objective.iterate(0, Synthetic(parts, state))
    next(updates).loss.backward()
    network: Any = vars(objective)["_network"]
    assert all(parameter.grad is None for parameter in network.parameters())
