"""DC and DSA, gradient matching: what real and synthetic pictures of a class would do to a network's weights.

DC: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (ICLR 2021), equations 7 to 9 and algorithm
1. DSA: Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation" (ICML 2021), which shows both
batches under one shared augmentation. Distances `ours`, `mse`, `cos` as in their public code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from fredbench.foundation.device import sent
from fredbench.foundation.errors import UsageError
from fredbench.foundation.parallel import side_by_side
from fredbench.foundation.rng import Stream
from fredbench.networks import Network, fused, mixes_pictures
from fredbench.objectives.base import Context, Objective, Synthetic, Update, class_counts
from fredbench.training.batches import TensorPictures
from fredbench.training.loop import TrainingRecipe, cross_entropy, train
from fredbench.training.stages import apply_stages, parse_stages, sample_stages

__all__ = [
    "DCConfig",
    "DSAConfig",
    "GradientMatching",
    "SiameseGradientMatching",
    "at_most",
    "gradient_distance",
    "layer_distance",
    "matching_gradient",
    "positions_by_class",
    "pull_back",
    "siamese_pair",
    "weight_gradients",
]

Metric: TypeAlias = Literal["ours", "mse", "cos"]
Gradients: TypeAlias = Sequence[Tensor]
# Keeps a row that a network does not react to from dividing by nothing (the public code's constant).
_EPSILON = 1e-6
# Real pictures a backward pass: on a CPU larger batches spill the cache.
_CHUNK = {"cpu": 64, "cuda": 1024}
# Classes side by side, each with the graph of a second derivative.
_CLASSES = 4
# Bytes of the largest maps, where blocks say what these take: of a graph of real pictures, and of all the graphs of
# synthetic ones side by side, each of which holds some ten times as much.
_HELD = 128 << 20


@dataclass(frozen=True)
class DCConfig:
    """DC's loops and distance; the defaults are those of IPC 1.

    batch_real: real pictures a class. batch_synthetic: synthetic pictures a class, 0 for all. rounds, epochs: an
    iteration is `rounds` picture steps, with `epochs` passes of the network over the synthetic set between them.
    lr_net, batch_train: the network's SGD, without momentum. metric: distance between gradients.
    """

    batch_real: int = 256
    batch_synthetic: int = 0
    rounds: int = 1
    epochs: int = 1
    lr_net: float = 0.01
    batch_train: int = 256
    metric: Metric = "ours"

    def __post_init__(self) -> None:
        if min(self.batch_real, self.rounds, self.batch_train) < 1 or min(self.epochs, self.batch_synthetic) < 0:
            raise UsageError(
                f"gradient matching with {self.batch_real} real pictures, {self.batch_synthetic} synthetic ones, "
                f"{self.rounds} rounds of {self.epochs} epochs and batches of {self.batch_train} cannot be run",
                hint="batch_real, rounds and batch_train are at least 1, epochs and batch_synthetic at least 0",
            )
        self.network_recipe("none")

    def network_recipe(self, strategy: str) -> TrainingRecipe:
        """How the network is trained on the synthetic set between two rounds."""
        return TrainingRecipe(
            epochs=self.epochs,
            lr=self.lr_net,
            momentum=0.0,
            weight_decay=0.0,
            batch_size=self.batch_train,
            schedule="constant",
            augmentation=strategy,
        )


@dataclass(frozen=True)
class DSAConfig(DCConfig):
    """DC's settings and augmentation: the DSA strategy, shared by both batches of a class."""

    augmentation: str = "color_crop_cutout_flip_scale_rotate"

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_stages(self.augmentation)


def layer_distance(a: Float[Tensor, ...], b: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """Sum over output rows of 1 - <a_i, b_i> / (|a_i| |b_i| + 1e-6); exactly 0 for tensors of one axis.

    A convolution's weight (o, i, kh, kw) has rows of i·kh·kw numbers; biases and norm gains do not take part.
    """
    if a.ndim < 2:
        return a.new_zeros(())
    a, b = a.flatten(1), b.flatten(1)
    cosine: Tensor = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + _EPSILON)
    return (1 - cosine).sum()


def gradient_distance(a: Gradients, b: Gradients, metric: Metric = "ours") -> Float[Tensor, ""]:
    """D(a, b) between two lists of gradients, tensor by tensor in the network's order.

    `ours`: sum of `layer_distance` (DC, equation 9 and appendix). `mse`: sum of squared differences of all entries.
    `cos`: 1 - cosine of the concatenated vectors.
    """
    if metric == "ours":
        return torch.stack([layer_distance(x, y) for x, y in zip(a, b, strict=True)]).sum()
    first, second = (torch.cat([x.flatten() for x in gradients]) for gradients in (a, b))
    if metric == "mse":
        return (first - second).square().sum()
    cosine: Tensor = (first @ second) / (first.norm() * second.norm() + _EPSILON)
    return 1 - cosine


def weight_gradients(
    network: nn.Module, images: Float[Tensor, "n c h w"], labels: Int64[Tensor, " n"], *, differentiable: bool
) -> tuple[Tensor, ...]:
    """Gradient of the mean cross-entropy on `images` with respect to every parameter of `network`.

    `differentiable` keeps the graph down to the pictures. Without it the batch is worked off in parts that fit the
    cache, which changes the sum by rounding only, unless the network mixes the pictures of a batch.
    """
    parameters = list(network.parameters())
    if differentiable:
        loss = cross_entropy(network(images), labels)
        return torch.autograd.grad(loss, parameters, create_graph=True)
    chunk = len(images) if mixes_pictures(network) else _fitting(network, _CHUNK.get(images.device.type, 256))
    total = [torch.zeros_like(p) for p in parameters]
    for part, truth in zip(images.split(chunk), labels.split(chunk), strict=True):
        with fused.once():
            share = cross_entropy(network(part), truth) * (len(part) / len(images))
            pieces = torch.autograd.grad(share, parameters)
        for whole, piece in zip(total, pieces, strict=True):
            whole += piece
    return tuple(total)


def _fitting(network: nn.Module, pictures: int) -> int:
    """`pictures`, or as many fewer as fit into the memory that graphs of fused blocks may take."""
    held = fused.held(network)
    return max(1, min(pictures, _HELD // held)) if held else pictures


def matching_gradient(
    loss_of: Callable[[Tensor], Tensor], pictures: Float[Tensor, "n c h w"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "n c h w"]]:
    """Value of `loss_of(pictures)` and its gradient there, with nothing left behind in a network's gradients.

    The graph lives no longer than this call, so that a sum over classes needs the memory of those at once.
    """
    leaf = pictures.detach().requires_grad_()
    loss = loss_of(leaf)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), gradient


def pull_back(pictures: Float[Tensor, "n c h w"], gradient: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """<pictures, g>: its gradient is g, carried from the pictures to whatever stores them."""
    return (pictures * gradient).sum()


def positions_by_class(pictures: int, classes: int) -> list[Int64[Tensor, " m"]]:
    """Where the pictures of each class stand in a synthetic set of so many `pictures`; on the CPU."""
    return list(torch.arange(pictures).split(class_counts(pictures, classes)))


def at_most(members: Int64[Tensor, " n"], count: int, rng: Stream) -> Int64[Tensor, " m"]:
    """`members` as they are, or `count` of them, drawn without replacement, where there are more."""
    if len(members) <= count:
        return members
    chosen = torch.randperm(len(members), generator=rng.torch())[:count]
    return members[chosen]


def siamese_pair(
    stages: tuple[tuple[str, ...], ...], real: Tensor, synthetic: Tensor, rng: Stream
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """`real` under one draw of `stages`, and the same draw as a map for the synthetic pictures."""
    height, width = real.shape[2:]
    draws = sample_stages(stages, len(synthetic), (height, width), rng.torch(), siamese=True)
    return apply_stages(draws, real), lambda pictures: apply_stages(draws, pictures)


class GradientMatching(Objective):
    """DC: `rounds` picture steps on the class-summed distance, the network trained on the synthetic set between them.

    Every iteration begins with a newly drawn network, so that nothing is owned from one to the next.
    """

    name: ClassVar[str] = "dc"
    Config: ClassVar[type[DCConfig]] = DCConfig
    config: DCConfig
    augmentation = "none"
    scored_plain: ClassVar[bool] = True

    @classmethod
    def runs_blocks(cls, config: Any) -> bool:
        """Yes: gradients of the whole network."""
        return True

    @classmethod
    def shortened(cls, config: Any, pictures: int) -> tuple[Any, float]:
        """Two rounds with the epochs between them, where there are more.

        Of R rounds there are R matchings and R - 1 trainings; what was measured holds two and one. Between R / 2 times
        and R - 1 times that is the whole, by the share of each: their geometric mean is never off by more than √2.
        """
        if config.rounds <= 2:
            return config, 1.0
        return replace(config, rounds=2), math.sqrt(config.rounds / 2 * (config.rounds - 1))

    def prepare(self, context: Context) -> None:
        """Builds the one network that is re-initialised every iteration."""
        self._context = context
        self._stages = parse_stages(self.augmentation)
        self._recipe = self.config.network_recipe(self.augmentation)
        self._network = context.network(context.rng.child("network"))

    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        """One update a round, on the sum over classes."""
        rng = self._context.rng.child("iteration", iteration)
        self._context.reinitialise(self._network, rng.child("network"))
        for turn in range(self.config.rounds):
            stream = rng.child("round", turn)
            pictures, labels = synthetic.decode(rng=stream.child("decode"))
            loss, gradient = self._class_sum(pictures.detach(), labels, stream)
            yield Update(pull_back(pictures, gradient), {"loss": loss})
            if turn + 1 < self.config.rounds:
                self._train_network(synthetic, stream)

    def _class_sum(self, pictures: Tensor, labels: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
        """The loss summed over classes, and its gradient with respect to all pictures."""
        self._network.train()
        _still_batch_norm(self._network, self._context, rng.child("statistics"))
        total, gradient = pictures.new_zeros(()), torch.zeros_like(pictures)

        def of_class(asked: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            label, members = asked
            stream = rng.child("class", label)
            members = at_most(members, self.config.batch_synthetic or len(members), stream.child("synthetic"))
            members = sent(members, pictures.device)
            return members, *self._class_loss(label, pictures[members], stream)

        classes = list(enumerate(positions_by_class(len(pictures), self._context.real.classes)))
        # Classes of fused blocks run side by side, a thread each; layers have their threads within, and so have blocks
        # where the graphs of two classes are too large. (Layers beside blocks then have bits of their threads' number.)
        most = max(1, *(len(members) for _, members in classes))
        most = min(most, self.config.batch_synthetic or most)
        at_once = _fitting(self._network, _CLASSES * most) // most
        apart = fused.runs(self._network) and pictures.dtype == torch.float32 and at_once > 1
        # By all threads, as a start of real pictures makes it: a run that is resumed has none, and the same bits. (What
        # is whitened by the batch is so class by class, by one thread where they run side by side.)
        self._context.real.whiten()
        done = side_by_side(of_class, classes, at_most=at_once) if apart else map(of_class, classes)
        for members, loss, found in done:
            gradient[members] = found
            total = total + loss
        return total, gradient

    def _class_loss(self, label: int, pictures: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
        real, network = self._context.real, self._network
        count = min(self.config.batch_real, len(real.by_class[label]))
        batch = real.images(real.draw(label, count, rng.child("real"))).to(pictures.dtype)
        shown, augment = siamese_pair(self._stages, batch, pictures, rng.child("augment"))
        target = weight_gradients(network, shown, _labels(label, shown), differentiable=False)

        def loss_of(synthetic: Tensor) -> Tensor:
            gradients = weight_gradients(network, augment(synthetic), _labels(label, synthetic), differentiable=True)
            return gradient_distance(gradients, target, self.config.metric)

        return matching_gradient(loss_of, pictures)

    def _train_network(self, synthetic: Synthetic, rng: Stream) -> None:
        with torch.no_grad():
            pictures, labels = synthetic.decode(rng=rng.child("decode after"))
        train(self._network, TensorPictures(pictures.detach(), labels), self._recipe, rng.child("training"))


class SiameseGradientMatching(GradientMatching):
    """DSA: DC with one augmentation a class and round, shared by real and synthetic pictures."""

    name: ClassVar[str] = "dsa"
    Config: ClassVar[type[DCConfig]] = DSAConfig
    config: DSAConfig
    scored_plain: ClassVar[bool] = False

    def prepare(self, context: Context) -> None:
        """As DC; the network too is trained under the strategy, drawn for each picture by itself."""
        self.augmentation = self.config.augmentation
        super().prepare(context)


def _labels(label: int, pictures: Tensor) -> Tensor:
    return torch.full((len(pictures),), label, dtype=torch.int64, device=pictures.device)


@torch.no_grad()
def _still_batch_norm(network: Network, context: Context, rng: Stream) -> None:
    """Batch norm sees all classes once and is then held: the statistics of one class would give it away.

    16 real pictures a class, as in the public code. Networks without batch norm are left alone.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    network(context.real.images(context.real.draw_classes(16, rng)))
    for module in norms:
        module.eval()
