"""IDC's matching: gradients of a network that learns from real pictures alongside, one picture step a class.

Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization" (ICML 2022), section 4 and the public
condense.py. One iteration here is one of its inner steps: a pass over the classes, then a little training of the
network on real pictures; every `renew` iterations the network is drawn anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks import ConvNet, Network
from fredbench.objectives.base import Context, Objective, Synthetic, Update
from fredbench.objectives.gradient import (
    Gradients,
    at_most,
    layer_distance,
    matching_gradient,
    positions_by_class,
    pull_back,
    siamese_pair,
    weight_gradients,
)
from fredbench.training.batches import TensorPictures
from fredbench.training.loop import TrainingRecipe, network_optimiser, train_epoch
from fredbench.training.stages import parse_stages

__all__ = ["IDCConfig", "IDCMatching", "block_maps", "convolution_distance", "distance", "feature_distance"]

Metric: TypeAlias = Literal["mse", "l1", "l1_mean", "cos"]


@dataclass(frozen=True)
class IDCConfig:
    """IDC's settings; the defaults are those of SVHN.

    batch_real, batch_synthetic: pictures a class, at most. match: `grad`ients or block `feat`ures; metric: between
    them; layers: the gradients compared. augmentation: stages shared by both batches of a class. renew: iterations a
    network lives. train_*: the pass over freshly drawn real pictures after every iteration, of which colour and crop
    and CutMix are part; pretrain_epochs: passes over all real pictures before a network's first iteration.
    """

    batch_real: int = 64
    batch_synthetic: int = 128
    match: Literal["grad", "feat"] = "grad"
    metric: Metric = "mse"
    layers: Literal["convolutions", "all"] = "convolutions"
    augmentation: str = "color+crop+cutout"
    renew: int = 100
    train_pictures: int = 500
    train_batch: int = 64
    train_augmentation: str = "color+crop"
    cutmix: float = 0.5
    lr_net: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    pretrain_epochs: int = 0

    def __post_init__(self) -> None:
        counts = (self.batch_real, self.batch_synthetic, self.renew)
        if min(counts) < 1 or min(self.train_pictures, self.pretrain_epochs) < 0:
            raise UsageError(
                f"IDC with batches of {self.batch_real} and {self.batch_synthetic}, a new network every {self.renew} "
                f"iterations and training on {self.train_pictures} pictures cannot be run",
                hint="batches and renew are at least 1, train_pictures and pretrain_epochs at least 0",
            )
        parse_stages(self.augmentation)
        self.network_recipe()

    def network_recipe(self) -> TrainingRecipe:
        """One pass of the network over real pictures."""
        return TrainingRecipe(
            epochs=1,
            lr=self.lr_net,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.train_batch,
            schedule="constant",
            augmentation=self.train_augmentation,
            cutmix=self.cutmix,
        )


def distance(a: Float[Tensor, ...], b: Float[Tensor, ...], metric: Metric) -> Float[Tensor, ""]:
    """Between two tensors of one shape, d = a - b.

    `mse`: Σ d². `l1`: Σ |d|. `l1_mean`: Σ over the first axis of the mean |d| of the rest. `cos`: Σ over the first
    axis of 1 - cosine, nothing for tensors of one axis (see `layer_distance`).
    """
    if metric == "mse":
        return (a - b).square().sum()
    if metric == "l1":
        return (a - b).abs().sum()
    if metric == "l1_mean":
        return (a - b).abs().flatten(1).mean(1).sum() if a.ndim > 1 else (a - b).abs().sum()
    return layer_distance(a, b)


def convolution_distance(
    a: Gradients, b: Gradients, metric: Metric, layers: Literal["convolutions", "all"] = "convolutions"
) -> Float[Tensor, ""]:
    """Sum of `distance` over weights of four axes: no biases, no norms, not the classifier; or over all of them."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if layers == "all" or x.ndim == 4]
    return torch.stack([distance(x, y, metric) for x, y in pairs]).sum()


def block_maps(network: Network, images: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
    """Every block's output, after its pooling; `CompatibilityError` for networks other than ConvNets."""
    if not isinstance(network, ConvNet):
        raise CompatibilityError(
            f"network {network.name!r} has no blocks whose outputs IDC could match",
            hint="use convnet-d3-w128-in, say, or --set objective.match=grad",
        )
    maps: list[Tensor] = []
    current = images
    for layer in network.features:
        if isinstance(layer, nn.Conv2d) and current is not images:
            maps.append(current)
        current = layer(current)
    return [*maps, current]


def feature_distance(
    real: list[Float[Tensor, "n _ _ _"]], synthetic: list[Float[Tensor, "m _ _ _"]], metric: Metric
) -> Float[Tensor, ""]:
    """Sum over blocks of the `distance` between batch means."""
    terms = [distance(a.mean(0), b.mean(0), metric) for a, b in zip(real, synthetic, strict=True)]
    return torch.stack(terms).sum()


class IDCMatching(Objective):
    """Owns its network and the network's momentum from one iteration to the next; both travel in a checkpoint."""

    name: ClassVar[str] = "idc"
    Config: ClassVar[type[IDCConfig]] = IDCConfig
    config: IDCConfig

    @classmethod
    def runs_blocks(cls, config: Any) -> bool:
        """Of gradients; maps on the way are matched layer by layer."""
        return bool(config.match == "grad")

    @classmethod
    def shortened(cls, config: Any, pictures: int) -> tuple[Any, float]:
        """Each iteration with its share of the passes over all real pictures, which come once in `renew` of them."""
        share = math.ceil(config.pretrain_epochs * pictures / config.renew)
        return replace(config, pretrain_epochs=0, train_pictures=config.train_pictures + share), 1.0

    def prepare(self, context: Context) -> None:
        """Builds the network that is re-initialised every `renew` iterations; tries what is to be matched."""
        self._context = context
        self._stages = parse_stages(self.config.augmentation)
        self._recipe = self.config.network_recipe()
        self._network = context.network(context.rng.child("network"))
        self._optimiser = network_optimiser(self._network, self._recipe)
        if self.config.match == "feat":
            with torch.no_grad():
                dtype = next(self._network.parameters()).dtype
                block_maps(self._network, context.real.images(torch.tensor([0])).to(dtype))

    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        """One update a class; canvases are clamped where the next iteration draws a new network, as published."""
        config, rng = self.config, self._context.rng.child("iteration", iteration)
        if iteration % config.renew == 0:
            self._renew(rng)
        last = (iteration + 1) % config.renew == 0
        total: float | Tensor = 0.0
        classes = self._context.real.classes
        for label, members in enumerate(positions_by_class(len(synthetic), classes)):
            stream = rng.child("class", label)
            shown = at_most(members, self.config.batch_synthetic, stream.child("synthetic"))
            pictures, _ = synthetic.decode(shown, stream.child("decode"))
            loss, gradient = self._matching(label, pictures, stream)
            total = total + loss
            report = {"loss": total} if label + 1 == classes else {}
            yield Update(pull_back(pictures, gradient), report, project=last and label + 1 == classes)
        self._train_network(rng)

    def _renew(self, rng: Stream) -> None:
        self._context.reinitialise(self._network, rng.child("network"))
        self._optimiser = network_optimiser(self._network, self._recipe)
        for epoch in range(self.config.pretrain_epochs):
            stream = rng.child("before", epoch)
            train_epoch(self._network, self._context.real, self._recipe, self._optimiser, stream)

    def _matching(self, label: int, pictures: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
        config, real, network = self.config, self._context.real, self._network
        network.train()
        count = min(config.batch_real, len(real.by_class[label]))
        batch = real.images(real.draw(label, count, rng.child("real"))).to(pictures.dtype)
        shown, augment = siamese_pair(self._stages, batch, pictures, rng.child("augment"))
        if config.match == "feat":
            with torch.no_grad():
                target_maps = block_maps(network, shown)
            return matching_gradient(
                lambda own: feature_distance(target_maps, block_maps(network, augment(own)), config.metric), pictures
            )
        truth = torch.full((len(shown),), label, device=shown.device)
        target = weight_gradients(network, shown, truth, differentiable=False)

        def loss_of(own: Tensor) -> Tensor:
            labels = torch.full((len(own),), label, device=own.device)
            gradients = weight_gradients(network, augment(own), labels, differentiable=True)
            return convolution_distance(gradients, target, config.metric, config.layers)

        return matching_gradient(loss_of, pictures)

    def _train_network(self, rng: Stream) -> None:
        """One pass over `train_pictures` real pictures of all classes, drawn anew."""
        real = self._context.real
        order = torch.randperm(len(real), generator=rng.child("real pictures").torch())
        index = order[: self.config.train_pictures]
        if len(index):
            pictures = TensorPictures(real.images(index), real.labels_at(index))
            train_epoch(self._network, pictures, self._recipe, self._optimiser, rng.child("training"))

    def to_tensors(self) -> dict[str, Tensor]:
        """The network's state and the momentum of its optimiser; its age follows from the iteration."""
        tensors = {f"network.{name}": value.detach() for name, value in self._network.state_dict().items()}
        for name, parameter in self._network.named_parameters():
            momentum = self._optimiser.state[parameter].get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{name}"] = momentum
        return tensors

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes the network up where it was; a foreign tensor is a `ValueError`, a missing one a `RuntimeError`."""
        foreign = sorted(name for name in tensors if not name.startswith(("network.", "momentum.")))
        if foreign:
            raise ValueError(f"{self.name} keeps a network and its momentum, not {foreign}")
        weights = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
        self._network.load_state_dict(weights)
        self._optimiser = network_optimiser(self._network, self._recipe)
        for name, parameter in self._network.named_parameters():
            momentum = tensors.get(f"momentum.{name}")
            if momentum is not None:
                self._optimiser.state[parameter]["momentum_buffer"] = momentum.to(parameter.device).clone()
