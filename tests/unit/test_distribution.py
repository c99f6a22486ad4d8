"""Distribution matching: the loss by its definition, the Siamese draws, and its chunks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spine import real, set_of
from torch import Tensor

from fredbench import networks
from fredbench.foundation.errors import FredbenchError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks import fused
from fredbench.networks.names import Arithmetic
from fredbench.objectives import distribution
from fredbench.objectives.base import Context, Synthetic
from fredbench.objectives.distribution import DistributionMatching, DMConfig, class_means, distribution_loss
from fredbench.parameterizations.base import class_ordered_labels
from fredbench.training import batches
from fredbench.training.whitening import fit_whitening

CLASSES, SIZE = 3, (8, 8)


def prepared(config: DMConfig, network: str = "convnet-d1-w4-in", seed: int = 0) -> DistributionMatching:
    def make(stream: Stream) -> networks.Network:
        return networks.build(network, classes=CLASSES, size=SIZE, rng=stream)

    objective = DistributionMatching(config)
    pictures = real(set_of(CLASSES, SIZE))
    objective.prepare(Context(pictures, make, networks.initialise, Stream(seed), torch.device("cpu")))
    return objective


class Set(Synthetic):
    """Two pictures a class that can be learned."""

    def __init__(self) -> None:
        values = np.random.default_rng(0).normal(size=(2 * CLASSES, 3, *SIZE)).astype(np.float32)
        self.pictures = torch.from_numpy(values).requires_grad_()
        self.labels = class_ordered_labels(CLASSES, 2)

    def __len__(self) -> int:
        return len(self.labels)

    def decode(self, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        return self.pictures, self.labels


def loss_of(objective: DistributionMatching, iteration: int, synthetic: Set) -> Tensor:
    (update,) = objective.iterate(iteration, synthetic)
    assert update.report["loss"] == update.loss.detach()
    return update.loss


def value(objective: DistributionMatching, iteration: int, synthetic: Set) -> float:
    return loss_of(objective, iteration, synthetic).item()


@pytest.mark.parametrize(("at_once", "passes"), [(1, [2, 2, 2]), (4, [4, 2]), (5, [4, 2]), (6, [6]), (100, [6])])
def test_classes_of_blocks_matched_a_few_at_a_time_are_those_of_one_pass(
    at_once: int, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []

    def made(arithmetic: Arithmetic) -> list[Tensor]:
        objective, synthetic = prepared(DMConfig(batch_real=4)), Set()
        network = objective._network
        network.arithmetic = arithmetic
        embed = network.embed

        def counted(pictures: Tensor) -> Tensor:
            if pictures.requires_grad:
                shown.append(len(pictures))
            return embed(pictures)

        monkeypatch.setattr(network, "embed", counted)
        loss = loss_of(objective, 0, synthetic)
        return [loss.detach(), *torch.autograd.grad(loss, synthetic.pictures)]

    monkeypatch.setattr(fused, "_AT_ONCE", at_once)
    of_blocks, of_layers = made("fused"), made("eager")
    assert shown == [*passes, 2 * CLASSES]
    for few, all_together in zip(of_blocks, of_layers, strict=True):
        torch.testing.assert_close(few, all_together, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=20).filter(lambda labels: set(labels) == {0, 1, 2, 3}))
def test_means_are_taken_class_by_class_in_any_order(labels: list[int]) -> None:
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(len(labels), 5)))
    found = class_means(features, torch.tensor(labels), 4)
    for label in range(4):
        members = [row for row, of in zip(features, labels, strict=True) if of == label]
        assert torch.allclose(found[label], torch.stack(members).mean(0), atol=1e-12)


def test_the_loss_is_the_sum_of_squared_distances() -> None:
    a, b = (torch.from_numpy(np.random.default_rng(seed).normal(size=(3, 7))) for seed in (0, 1))
    wanted = sum(float(np.linalg.norm(x - y) ** 2) for x, y in zip(a.numpy(), b.numpy(), strict=True))
    assert float(distribution_loss(a, b)) == pytest.approx(wanted, rel=1e-12)
    assert float(distribution_loss(a, a)) == 0


def test_an_iteration_is_the_definition_spelled_out() -> None:
    """A new network, `batch_real` pictures of each class, no augmentation: the distance of mean embeddings."""
    objective, synthetic, pictures = prepared(DMConfig(8, "none")), Set(), real(set_of(CLASSES, SIZE))
    rng = Stream(0).child("iteration", 4)
    network = networks.build("convnet-d1-w4-in", classes=CLASSES, size=SIZE, rng=rng.child("network"))
    wanted = 0.0
    for label in range(CLASSES):
        chosen = pictures.draw(label, 8, rng.child("real", label))
        gap = network.embed(pictures.images(chosen)).mean(0) - network.embed(
            synthetic.pictures[synthetic.labels == label]
        ).mean(0)
        wanted += float((gap.detach().double() ** 2).sum())
    assert value(objective, 4, synthetic) == pytest.approx(wanted, rel=1e-5)


def test_iterations_are_independent_of_each_other_and_repeat() -> None:
    synthetic = Set()
    one, two = prepared(DMConfig(8)), prepared(DMConfig(8))
    losses = [value(one, i, synthetic) for i in range(4)]
    assert len(set(losses)) == 4
    assert [value(two, i, synthetic) for i in (3, 1)] == [losses[3], losses[1]]
    assert value(prepared(DMConfig(8), seed=1), 0, synthetic) != losses[0]


@pytest.mark.parametrize("sizes", [[3, 3, 3], [1, 7, 2, 2], [4, 4], [0, 5, 0], [8, 0], [1] * 10])
def test_chunks_are_those_of_all_parts_together(sizes: list[int]) -> None:
    whole = torch.arange(2 * sum(sizes)).reshape(-1, 2)
    found = list(distribution._in_chunks(iter(whole.split(sizes)), 4))
    assert [part.tolist() for part in found] == [part.tolist() for part in whole.split(4)]


def test_a_chunk_comes_as_soon_as_there_are_pictures_for_it() -> None:
    made: list[int] = []

    def parts() -> Iterator[Tensor]:
        for number in range(9):
            made.append(number)
            yield torch.full((2, 1), float(number))

    chunks = distribution._in_chunks(parts(), 4)
    assert len(next(chunks)) == 4 and made == [0, 1, 2]
    assert len(next(chunks)) == 4 and made == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("at_once", "cut", "sizes"),
    [
        (1, False, [5, 5, 5]),
        (10, False, [10, 5]),
        (14, False, [10, 5]),
        (15, False, [15]),
        (15, True, [15]),
        (1, True, [1] * 15),
        (3, True, [3] * 5),
        (4, True, [4, 4, 4, 3]),
        (7, True, [7, 7, 1]),
        (20, True, [15]),
    ],
)
def test_real_pictures_made_a_piece_at_a_time_are_those_of_one_go(at_once: int, cut: bool, sizes: list[int]) -> None:
    """Of every class its own draw, whatever pieces it is in."""
    objective = prepared(DMConfig(batch_real=5))
    rng, pictures = Stream(0).child("iteration", 0), objective._context.real
    index = pictures.draw_classes(5, rng.child("real"))
    whole = distribution.augmentation.apply_by_class(
        objective._strategy, pictures.images(index), [5] * CLASSES, rng.child("augment")
    )
    pieces = distribution._pieces([5] * CLASSES, at_once, cut=cut)
    parts = [objective._shown(index, rng.child("augment"), piece) for piece in pieces]
    assert [len(part) for part in parts] == sizes and torch.equal(torch.cat(parts), whole)
    assert not torch.equal(whole, pictures.images(index)), "something was drawn"


def test_classes_that_have_no_pictures_are_in_a_piece_of_others() -> None:
    found = [(each.first, each.counts, each.place) for each in distribution._pieces([0, 3, 0, 4, 2, 0], 4)]
    assert found == [(0, [0, 3, 0], slice(0, 3)), (3, [4], slice(3, 7)), (4, [2, 0], slice(7, 9))]


def test_pieces_of_one_size_begin_and_end_within_classes() -> None:
    found = [(each.first, each.counts, each.place) for each in distribution._pieces([0, 2, 9, 0, 1, 4], 4, cut=True)]
    assert found == [
        (1, [2, 2], slice(0, 4)), (2, [4], slice(4, 8)), (2, [3, 0, 1], slice(8, 12)), (5, [4], slice(12, 16)),
    ]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any), st.integers(1, 12), st.booleans())
def test_pieces_have_all_pictures_of_all_classes_in_order(counts: list[int], at_once: int, cut: bool) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    found: list[int] = []
    for piece in distribution._pieces(counts, at_once, cut=cut):
        own = [label for label, count in enumerate(piece.counts, piece.first) for _ in range(count)]
        assert labels[piece.place] == own and (not cut or len(own) <= at_once)
        found += own
    assert found == labels


def whitened(objective: DistributionMatching) -> None:
    pictures = objective._context.real
    fit = fit_whitening(pictures.preprocessing(pictures.pixels), "mtt")
    pictures.preprocessing = dataclasses.replace(pictures.preprocessing, whitening=fit)


@pytest.mark.parametrize("network", ["convnet-d1-w4-in", "convnet-d2-w64-in"])  # the second by Winograd's products
@pytest.mark.parametrize("batch_real", [7, 16, 33])
@pytest.mark.parametrize("white", [False, True])
def test_real_means_of_blocks_are_those_of_chunks_one_after_the_other(
    network: str, batch_real: int, white: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit by bit, with as many threads, of pictures that nothing was asked of before; what they see is one thread's."""
    monkeypatch.setattr(distribution.fused, "at_once", lambda network, pictures: 16)
    rng, before, made, in_rounds = Stream(0).child("iteration", 0), torch.get_num_threads(), [], distribution.in_rounds

    def noted(work: Any, parts: Any, **named: Any) -> Any:
        made.append(len(parts))
        return in_rounds(work, parts, **named)

    def means() -> Tensor:
        objective = prepared(DMConfig(batch_real=batch_real), network)
        objective._network.arithmetic = "fused"
        if white:
            whitened(objective)
        return objective._real_means(rng)

    monkeypatch.setattr(distribution, "in_rounds", noted)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found = means()
            assert made == [-(-batch_real * CLASSES // 16)]
            with monkeypatch.context() as patch:
                patch.setattr(distribution.fused, "runs_anywhere", lambda network: False)
                assert torch.equal(found, means()) and len(made) == 1
            made.clear()
    finally:
        torch.set_num_threads(before)


def test_pictures_whitened_by_the_batch_are_made_one_chunk_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their last bits may be those of the pictures beside them."""
    objective = prepared(DMConfig(batch_real=5))
    objective._network.arithmetic = "fused"
    pictures = objective._context.real
    assert not pictures.by_the_batch
    whitened(objective)
    monkeypatch.setattr(batches, "_KEPT_BYTES", 4 * pictures.pixels.numel() - 1)
    pictures.whiten()
    assert pictures.by_the_batch and "_whitened" not in vars(pictures)
    with monkeypatch.context() as patch:
        patch.setattr(distribution, "in_rounds", lambda *_, **__: pytest.fail("side by side"))
        assert objective._real_means(Stream(0).child("iteration", 0)).isfinite().all()
    monkeypatch.setattr(batches, "_KEPT_BYTES", 4 * pictures.pixels.numel())
    assert not pictures.by_the_batch and "_whitened" not in vars(pictures)
    pictures.whiten()
    assert "_whitened" in vars(pictures)


def test_the_network_is_not_trained_and_the_real_side_is_a_constant() -> None:
    objective, synthetic = prepared(DMConfig(8)), Set()
    loss_of(objective, 0, synthetic).backward()
    assert synthetic.pictures.grad is not None and float(synthetic.pictures.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in objective._network.parameters())
    assert objective.to_tensors() == {} and objective.parameters() == [] and objective.step_size() is None


def test_real_and_synthetic_pictures_of_a_class_share_one_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []
    sample = distribution.augmentation.sample

    def noted(*arguments: object, **named: object) -> object:
        assert named == {"siamese": True}
        drawn.append(sample(*arguments, **named))
        return drawn[-1]

    monkeypatch.setattr(distribution.augmentation, "sample", noted)
    loss_of(prepared(DMConfig(8)), 0, Set())
    assert len(drawn) == 2 * CLASSES
    texts = [repr(draw) for draw in drawn]
    assert texts[:CLASSES] == texts[CLASSES:] and len(set(texts)) == CLASSES


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_chunks_of_the_real_batch_do_not_change_the_loss(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    wanted = value(prepared(DMConfig(8)), 2, Set())
    monkeypatch.setitem(distribution._CHUNK, "cpu", chunk)
    assert value(prepared(DMConfig(8)), 2, Set()) == pytest.approx(wanted, rel=1e-6)


def test_batch_norm_sees_the_whole_real_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(distribution._CHUNK, "cpu", 5)
    wanted = value(prepared(DMConfig(8), "convnet-d1-w4-bn"), 2, Set())
    monkeypatch.setitem(distribution._CHUNK, "cpu", 1000)
    assert value(prepared(DMConfig(8), "convnet-d1-w4-bn"), 2, Set()) == wanted


def test_a_class_smaller_than_the_batch_gives_all_it_has() -> None:
    synthetic = Set()
    losses = [value(prepared(DMConfig(batch, "none")), 0, synthetic) for batch in (40, 41, 10**6)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6) == pytest.approx(losses[2], rel=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"batch_real": 0}, {"batch_real": -1}, {"augmentation": "colour"}, {"augmentation": ""}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(FredbenchError):
        DMConfig(**wrong)
    with pytest.raises(UsageError):
        DMConfig(augmentation="crop_crop")


def test_descending_the_loss_lowers_it() -> None:
    objective, synthetic = prepared(DMConfig(8, "none")), Set()
    before = loss_of(objective, 0, synthetic)
    before.backward()
    with torch.no_grad():
        synthetic.pictures -= 0.05 * synthetic.pictures.grad / synthetic.pictures.grad.abs().max()
    assert value(objective, 0, synthetic) < before.item()
