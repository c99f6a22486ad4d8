"""TM, trajectory matching: training on the synthetic set must lead where training on real data led an expert.

Cazenavette et al., "Dataset Distillation by Matching Training Trajectories" (CVPR 2022), equations 1 and 2; with the
clamp of the learned step size of HaBa and FreD, which keeps it from going below .001, or without, as in MTT.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from fredbench.foundation.config import late
from fredbench.foundation.device import sent, tf32
from fredbench.foundation.errors import ArtefactError, CompatibilityError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.objectives.base import Context, Objective, Synthetic, Trajectories, Update
from fredbench.objectives.flat import Derivatives, FlatNetwork
from fredbench.objectives.unrolling import GRADIENTS, InnerStep, Segment, unrolled_loss
from fredbench.training import augmentation
from fredbench.training.batches import Standardisation
from fredbench.training.loop import TrainingRecipe
from fredbench.training.optimisation import ParameterGroup

__all__ = ["TMConfig", "TrajectoryMatching", "inner_steps", "start_bound"]

# Pictures in one graph. On the CPU what a chunk leaves between two layers should stay near the caches, and narrow
# networks want more pictures between two meetings of the threads. ConvNetD3, 32 px, seconds of CPU time a step:
# width 128 (160 pictures, one thread), chunks of 40 3.2, 20 3.0, 16 2.9; a product's peak over the libraries' 0.55 GB:
# 40 0.46 GB, 20 0.23 GB. Width 32 (80 pictures, ten steps, two threads), wall seconds: chunks of 20 2.6, 80 1.45.
_CHUNK = {"cpu": 20, "cuda": 1024}
_CHUNK_VALUES = 20 * 128 * 32 * 32


def _own_chunk(network: FlatNetwork, device: str) -> int:
    """Pictures in one graph of `network`, where none are asked for."""
    least = _CHUNK.get(device, 256)
    if device == "cpu" and network.by_blocks:
        # Fused blocks part nothing within a chunk: of 20 pictures a product takes .74 s (160 in all), of 40 .63, of 80
        # .58, and the whole process .89, .99 and 1.14 GB (one thread). Of 128 px, 80 MB a picture in a graph,
        # a step of 80 takes 25 s in chunks of 40, 20 in chunks of 10 and of 5 (two threads).
        few = 4 * _CHUNK_VALUES // network.widest()
        return max(1, min(2 * least, few), _CHUNK_VALUES // network.widest())
    return max(least, _CHUNK_VALUES // network.widest()) if device == "cpu" else least


@dataclass(frozen=True)
class TMConfig:
    """The matching and its experts; published values by dataset and IPC stand in `fredbench.recipes.systems`.

    steps: N, steps of the student. expert_epochs: M, epochs of the expert that they should cover. start_from,
    start_epochs: the start is drawn uniformly from start_from .. start_epochs - 1 (T+). growth_iterations: over these
    first iterations the upper bound grows from early_start_epochs to T+ (the difficulty schedule of DATM, Guo et al.,
    ICLR 2024); 0 for none. batch: synthetic pictures a step, 0 for all. step_size, step_size_lr, step_size_momentum:
    alpha at first and its SGD; min_step_size: its clamp, 0 for none (MTT). experts, expert_seed, expert_lr,
    expert_batch: how many trajectories, and how they are trained (no momentum, no decay; the same augmentation as the
    matching); they are shared by runs of other seeds. expert_standardise: what is done to their batches; never to the
    matching's, whose pictures learn their own scale. gradient: see `fredbench.objectives.unrolling`. chunk: pictures in
    one graph, 0 for the device's own number. compiled: let torch compile the gradients (a minute at first; needs a C++
    compiler). tf32: let an accelerator round to TF32 in the gradients; faster and coarser, so it has to be asked for.
    """

    steps: int = 50
    expert_epochs: int = 2
    start_from: int = 0
    start_epochs: int = 5
    early_start_epochs: int = 1
    growth_iterations: int = 0
    batch: int = 0
    step_size: float = 0.01
    step_size_lr: float = 1e-7
    step_size_momentum: float = 0.5
    min_step_size: float = 0.001
    experts: int = 100
    expert_seed: int = 0
    expert_lr: float = 0.01
    expert_batch: int = 256
    gradient: Literal["exact", "autograd", "tesla"] = "exact"
    chunk: int = 0
    compiled: bool = False
    tf32: bool = False
    augmentation: str = "color_crop_cutout_flip_scale_rotate"
    expert_standardise: Standardisation = late("none")

    def __post_init__(self) -> None:
        augmentation.parse_strategy(self.augmentation)
        for name in ("steps", "expert_epochs", "start_epochs", "experts", "early_start_epochs"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}", hint=f"set objective.{name}")
        for name in ("start_from", "growth_iterations", "batch", "chunk"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must be 0 or more, not {getattr(self, name)}", hint=f"set objective.{name}")
        if not self.start_from < self._first_bound <= self.start_epochs:
            raise UsageError(
                f"no epochs to start from: {self.start_from} up to {self._first_bound - 1}, "
                f"later up to {self.start_epochs - 1}",
                hint="set objective.start_from, early_start_epochs and start_epochs in this order",
            )
        if not 0 <= self.min_step_size <= self.step_size < float("inf") or not self.step_size:
            raise UsageError(
                f"a step size of {self.step_size}, kept at {self.min_step_size} or more, cannot be learned",
                hint="set objective.step_size, positive, and objective.min_step_size, which may be 0 for no clamp",
            )
        if self.gradient == "autograd" and (self.tf32 or self.compiled):
            raise UsageError(
                "the gradient autograd is there to check the others by: neither compiled nor in TF32",
                hint="set objective.gradient=exact, or leave out objective.tf32 and objective.compiled",
            )
        self.expert_recipe()
        self._group(torch.zeros(()))

    @property
    def _first_bound(self) -> int:
        return self.early_start_epochs if self.growth_iterations else self.start_epochs

    @property
    def last_epoch(self) -> int:
        """The last epoch of an expert that is ever read: T+ - 1 + M."""
        return self.start_epochs - 1 + self.expert_epochs

    def expert_recipe(self) -> TrainingRecipe:
        """MTT's experts (its buffer script): plain SGD at one rate, trained as far as they are read."""
        return TrainingRecipe(
            epochs=self.last_epoch,
            lr=self.expert_lr,
            momentum=0.0,
            weight_decay=0.0,
            batch_size=self.expert_batch,
            schedule="constant",
            augmentation=self.augmentation,
            standardise=self.expert_standardise,
        )

    def _group(self, step_size: Tensor) -> ParameterGroup:
        return ParameterGroup("step_size", (step_size,), self.step_size_lr, self.step_size_momentum)


def start_bound(config: TMConfig, iteration: int) -> int:
    """Starts are drawn below this epoch: T+, or what of it the difficulty schedule has opened by `iteration`."""
    if iteration >= config.growth_iterations:
        return config.start_epochs
    grown = (config.start_epochs - config.early_start_epochs) * iteration / config.growth_iterations
    return config.early_start_epochs + int(grown)


def inner_steps(
    count: int,
    size: tuple[int, int],
    config: TMConfig,
    rng: Stream,
    device: torch.device,
    alternatives: Tensor | None = None,
) -> list[InnerStep]:
    """The batches and augmentations of N steps over `count` pictures of `size`.

    Batches are consecutive parts of a random permutation, drawn anew when it is used up; every picture of a step has a
    draw of its own. Where pictures are `alternatives` (rows of positions), a batch is made of rows, and a step sees all
    of them in one rendering, drawn for it.
    """
    count = count if alternatives is None else len(alternatives)
    generator, strategy = rng.torch(), augmentation.parse_strategy(config.augmentation)
    batches: list[Tensor] = []
    steps = []
    for _ in range(config.steps):
        index = None
        if 0 < config.batch < count:
            batches = batches or list(torch.randperm(count, generator=generator).split(config.batch))
            index = batches.pop(0)
        if alternatives is not None:
            rendering = int(torch.randint(alternatives.shape[1], (), generator=generator))
            column = alternatives[:, rendering]
            index = column if index is None else column[index.to(column.device)]
        number = count if index is None else len(index)
        draw = augmentation.sample(strategy, number, size, generator, siamese=False)
        steps.append(InnerStep(None if index is None else sent(index, device), draw))
    return steps


class TrajectoryMatching(Objective):
    """Owns the learned step size alpha; each iteration draws an expert, a start, batches and augmentations."""

    name: ClassVar[str] = "tm"
    Config: ClassVar[type[TMConfig]] = TMConfig
    needs: ClassVar[frozenset[str]] = frozenset({"experts"})
    config: TMConfig
    _experts: Trajectories

    def prepare(self, context: Context) -> None:
        """Checks the network, then asks for the experts, which are trained now where they are missing."""
        if context.experts is None:
            raise CompatibilityError(
                "trajectory matching needs experts, and this run has nowhere to keep them",
                hint="run it in a store, as `fredbench distill` and fredbench.distill do",
            )
        self._context = context
        network = FlatNetwork(context.network(context.rng.child("network")))
        chunk = self.config.chunk or _own_chunk(network, context.device.type)
        self._derivatives = Derivatives(network, chunk, compiled=self.config.compiled)
        self._step_size = torch.tensor(self.config.step_size, device=context.device).requires_grad_()
        self._experts = context.experts(self.config.experts, self.config.expert_recipe(), self.config.expert_seed)

    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        """One update: the trajectory loss, or the surrogate that has its gradient."""
        rng = self._context.rng.child("iteration", iteration)
        pictures, labels = synthetic.decode(rng=rng.child("decode"))
        segment = self._segment(iteration, pictures, synthetic.alternatives(), rng)
        alpha = self._step_size
        if self.config.gradient == "autograd":
            network = self._derivatives.network
            loss, _, _ = unrolled_loss(network, segment, pictures, labels, alpha)
            yield Update(loss, {"loss": loss.detach(), "step_size": alpha.detach().clone()})
            return
        with tf32(self.config.tf32):
            found = GRADIENTS[self.config.gradient](self._derivatives, segment, pictures, labels, alpha)
        surrogate = (pictures * found.pictures).sum() + alpha * found.step_size
        yield Update(surrogate, {"loss": found.loss, "step_size": alpha.detach().clone()})

    def _segment(self, iteration: int, pictures: Tensor, alternatives: Tensor | None, rng: Stream) -> Segment:
        config, generator, device = self.config, rng.child("segment").torch(), self._context.device
        expert = int(torch.randint(len(self._experts), (), generator=generator))
        high = start_bound(config, iteration)
        epoch = int(torch.randint(config.start_from, high, (), generator=generator))
        height, width = pictures.shape[2:]
        start, target = (
            sent(self._experts.weights(expert, at), pictures) for at in (epoch, epoch + config.expert_epochs)
        )
        steps = inner_steps(len(pictures), (height, width), config, rng.child("steps"), device, alternatives)
        return Segment(start, target, steps)

    @classmethod
    def runs_blocks(cls, config: Any) -> bool:
        """Unless it is compiled, which is of the layers."""
        return not config.compiled

    @classmethod
    def shortened(cls, config: Any, pictures: int) -> tuple[Any, float]:
        """Two steps of the student: time is linear in N."""
        few = min(config.steps, 2)
        return replace(config, steps=few), config.steps / few

    @classmethod
    def told(cls, settings: Mapping[str, Any]) -> str:
        """How many steps of the student cover how much of how many experts."""
        last = settings["start_epochs"] - 1 + settings["expert_epochs"]
        return (
            f"matching N = {settings['steps']} steps to M = {settings['expert_epochs']} epochs of "
            f"{settings['experts']} experts, starts below T+ = {settings['start_epochs']} (experts are trained for "
            f"{last} epochs), gradient {settings['gradient']}"
        )

    def memory_advice(self) -> str:
        """Fewer pictures in one graph; or the gradient that keeps one graph only."""
        if self.config.gradient == "autograd":
            return "set objective.gradient=exact, whose memory does not grow with the steps"
        chunk = self._derivatives.chunk
        return (
            f"set objective.chunk={max(1, chunk // 4)} (now at most {chunk} pictures in one graph, "
            "and up to four graphs, one a thread), or a narrower --network"
        )

    def parameters(self) -> list[ParameterGroup]:
        """The step size."""
        return [self.config._group(self._step_size)]

    def project(self) -> None:
        """alpha >= min_step_size (HaBa's and FreD's clamp): without it alpha may turn negative and diverge."""
        if self.config.min_step_size:
            with torch.no_grad():
                self._step_size.clamp_(min=self.config.min_step_size)

    def step_size(self) -> float:
        """alpha, as students should use it."""
        return float(self._step_size.detach())

    def to_tensors(self) -> dict[str, Tensor]:
        """alpha."""
        return {"step_size": self._step_size.detach()}

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes alpha up again."""
        if set(tensors) != {"step_size"}:
            raise ArtefactError(
                f"a state of trajectory matching holds the step size, not {', '.join(sorted(tensors)) or 'nothing'}",
                hint="start over with --fresh",
            )
        with torch.no_grad():
            self._step_size.copy_(tensors["step_size"])
