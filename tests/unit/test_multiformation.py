"""IDC's canvases: how many pictures they make, which ones, and that a file of them says all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fredbench.foundation.errors import ArtefactError, BudgetError, DataError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.base import State
from fredbench.parameterizations.budget import Budget
from fredbench.parameterizations.multiformation import (
    Formation,
    MultiFormation,
    MultiFormationConfig,
    cut,
    enlarge,
    formations,
    mosaic,
)
from fredbench.training.batches import RealPictures

CLASSES = 3
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def real_pictures(side: int = 8, count: int = 60) -> RealPictures:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % CLASSES
    return RealPictures(images, labels, mean=MEAN, std=STD, classes=CLASSES, device=torch.device("cpu"))


def made(ipc: int = 2, side: int = 8, **settings: object) -> tuple[MultiFormation, State]:
    parts = MultiFormation(MultiFormationConfig(**settings))
    budget = Budget.for_ipc(ipc, CLASSES, (3, side, side))
    state = parts.init(real_pictures(side), budget, Stream(0))
    assert parts.instances(budget) * CLASSES == len(state)
    return parts, state


@pytest.mark.parametrize(
    ("canvases", "factor", "bound", "plan"),
    [
        (2, 2, 7, [Formation(2, 0, 1), Formation(1, 1, 2)]),
        (2, 2, 8, [Formation(2, 0, 1), Formation(1, 1, 2)]),
        (2, 2, 10, [Formation(2, 0, 2)]),
        (2, 2, 2, [Formation(1, 0, 2)]),
        (5, 2, 3, [Formation(1, 0, 5)]),
        (10, 3, 128, [Formation(3, 0, 10)]),
        (20, 3, 128, [Formation(3, 0, 12), Formation(2, 12, 15), Formation(1, 15, 20)]),
        (50, 1, 128, [Formation(1, 0, 50)]),
    ],
)
def test_a_bound_is_spent_from_the_largest_factor_down(
    canvases: int, factor: int, bound: int, plan: list[Formation]
) -> None:
    found = formations(canvases, factor, "bound", bound)
    assert found == plan
    assert sum(f.last - f.first for f in found) == canvases
    assert sum(f.decoded for f in found) <= max(bound, canvases)


def test_increments_are_four_and_five_at_factor_two() -> None:
    """x4 by the default mode of the public code, x5 as the tables print."""
    for mode, increment in (("single", 4), ("multi", 5)):
        assert sum(f.decoded for f in formations(10, 2, mode, 128)) == 10 * increment


@pytest.mark.parametrize("mode", ["single", "multi", "bound"])
def test_decoding_a_part_is_part_of_decoding_all(mode: str) -> None:
    parts, state = made(ipc=3, mode=mode, bound=9)
    images, labels = parts.decode(state)
    assert labels.tolist() == sorted(labels.tolist()) and len(images) == len(state)
    order = torch.randperm(len(state), generator=torch.Generator().manual_seed(0))[:7]
    some, their_labels = parts.decode(state, order)
    assert torch.equal(some, images[order]) and torch.equal(their_labels, labels[order])
    nothing, _ = parts.decode(state, order[:0])
    assert len(nothing) == 0


def test_a_picture_depends_on_its_own_tile_alone() -> None:
    parts, state = made(ipc=2)
    before, _ = parts.decode(state)
    with torch.no_grad():
        state.learned["canvases"][1, 0, :, 4:, :4] += 0.25  # class 1, canvas 0, third tile
    after, _ = parts.decode(state)
    changed = (before != after).flatten(1).any(1).nonzero().flatten().tolist()
    # A class's eight pictures: tile 0 of both canvases, tile 1 of both, ...
    assert changed == [8 + 2 * 2 + 0]


def test_factor_one_stores_normalised_pictures_as_they_are() -> None:
    parts, state = made(factor=1)
    images, _ = parts.decode(state)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    assert torch.allclose(images, (state.learned["canvases"].flatten(0, 1) - mean) / std)
    real = real_pictures()
    everything = real.images(torch.arange(len(real)))
    assert all(any(torch.allclose(image, one, atol=1e-5) for one in everything) for image in images)


@pytest.mark.parametrize(("side", "factor"), [(8, 2), (8, 3), (10, 4)])
def test_tiles_cover_the_canvas_and_grey_lies_beyond(side: int, factor: int) -> None:
    canvas = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    tiles = cut(canvas, factor)
    rows = -(-side // factor)
    assert tiles.shape == (factor**2, 2, 3, rows, rows)
    whole = torch.cat([torch.cat(list(tiles[r * factor : (r + 1) * factor]), 3) for r in range(factor)], 2)
    assert torch.equal(whole[..., :side, :side], canvas)
    assert bool((whole[..., side:, :] == 0.5).all()) and bool((whole[..., side:] == 0.5).all())
    assert enlarge(tiles[0], (side, side)).shape == canvas.shape


def test_a_mosaic_is_cut_into_the_pictures_that_made_it() -> None:
    images = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    tiles = cut(mosaic(images, 2), 2)
    assert torch.equal(tiles.flatten(0, 1), images[:, :, ::2, ::2])
    assert torch.equal(mosaic(images, 1), images)
    assert mosaic(images.repeat(2, 1, 1, 1)[:9], 3).shape == (1, 3, 6, 6)
    assert mosaic(torch.rand(9, 3, 8, 8), 3).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("init", ["tiles", "real", "noise"])
def test_every_beginning_lies_in_the_feasible_set(init: str) -> None:
    _, state = made(init=init)
    canvases = state.learned["canvases"]
    assert canvases.shape == (CLASSES, 2, 3, 8, 8) and canvases.requires_grad and canvases.is_leaf
    assert float(canvases.detach().min()) >= 0 and float(canvases.detach().max()) <= 1


def test_projection_clamps_and_the_ledger_counts_canvases() -> None:
    parts, state = made()
    with torch.no_grad():
        state.learned["canvases"][0] = 3.0
        state.learned["canvases"][1] = -1.0
        parts.project(state)
    assert bool((state.learned["canvases"][0] == 1).all()) and bool((state.learned["canvases"][1] == 0).all())
    ledger = parts.ledger(state)
    assert (ledger.params, ledger.params_strict, ledger.decoded) == (2 * CLASSES * 192, 2 * CLASSES * 192, 24)


@pytest.mark.parametrize("mode", ["single", "multi", "bound"])
def test_there_and_back(mode: str) -> None:
    parts, state = made(ipc=3, mode=mode, bound=7)
    tensors = {name: tensor for name, (tensor, _) in parts.to_tensors(state).items()}
    again = parts.from_tensors(tensors, classes=CLASSES, shape=(3, 8, 8))
    for first, second in zip(parts.decode(state), parts.decode(again), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["canvases", "statistics"])
def test_tensors_that_contradict_the_header_are_refused(name: str) -> None:
    parts, state = made()
    tensors = {key: tensor for key, (tensor, _) in parts.to_tensors(state).items()}
    tensors[name] = tensors[name][:1]
    with pytest.raises(ArtefactError, match="do not describe"):
        parts.from_tensors(tensors, classes=CLASSES, shape=(3, 8, 8))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="factor of 0"):
        MultiFormationConfig(factor=0)
    parts = MultiFormation(MultiFormationConfig(factor=9))
    with pytest.raises(BudgetError, match="factor"):
        parts.instances(Budget.for_ipc(1, CLASSES, (3, 8, 8)))
    with pytest.raises(BudgetError, match="whole canvas"):
        parts.instances(Budget(100, CLASSES, (3, 8, 8)))
    with pytest.raises(DataError, match="24 were asked for"):
        made(ipc=6)
