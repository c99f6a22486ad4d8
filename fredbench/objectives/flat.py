"""A network as a function of one flat weight vector, and the derivatives that trajectory matching takes of it.

The networks of this field mix nothing between pictures (instance norm), so the gradient of a mean over a batch is the
weighted sum over its chunks, exactly: `chunk` bounds the memory of a step whatever the batch. Chunks of fused blocks
run side by side, as many as torch has threads and four at most, each with a graph of its own.

Reverse over reverse was kept for the Hessian products. Measured on one core, ConvNetD3 of width 128, 20 pictures,
seconds of one product: reverse over reverse .31, forward over reverse .31, reverse over forward .35; compiled .28,
.25 and .25, which would cost a second code path and forward-mode rules for every layer of ours.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from fredbench.foundation.errors import CompatibilityError, ResourceError
from fredbench.foundation.parallel import side_by_side
from fredbench.foundation.rng import Stream
from fredbench.networks import Network, fused
from fredbench.training.loop import cross_entropy

__all__ = ["Derivatives", "FlatNetwork"]

_Product = tuple[Tensor, Tensor, Tensor | None]
# Pictures of a first derivative at once, in chunks of a second one; and chunks side by side, each with a graph.
_FIRST, _AT_ONCE = 4, 4


class FlatNetwork:
    """`network` as logits(theta, pictures), its parameters in state-dict order, each row-major, in one vector (P,).

    Raises `CompatibilityError` for networks that mix the pictures of a batch (batch norm) or draw (dropout): neither
    can be cut into chunks, nor replayed. It may be called by several threads at once.
    """

    def __init__(self, network: Network) -> None:
        for name, module in network.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) or (isinstance(module, _DropoutNd) and module.p > 0):
                raise _unfit(network, f"layer {name!r} ({type(module).__name__})")
        if _draws(network):
            raise _unfit(network, "a layer that draws in training, such as drop-path,")
        self._network = network.train().requires_grad_(False)
        self._of_thread = threading.local()
        self.layout = tuple((name, tuple(p.shape)) for name, p in network.named_parameters())
        self._sizes = [p.numel() for p in network.parameters()]

    def __len__(self) -> int:
        return sum(self._sizes)

    @property
    def by_blocks(self) -> bool:
        """Whether the network is run by fused blocks."""
        return fused.runs(self._network)

    def widest(self) -> int:
        """Values of the largest map that a layer leaves of one picture."""
        sizes = [0]
        layers = [layer for layer in self._network.modules() if not any(layer.children())]
        hooks = [layer.register_forward_hook(lambda _, __, out: sizes.append(out.numel())) for layer in layers]
        channels, (height, width) = self._network.signature.channels, self._network.signature.size
        parameter = next(self._network.parameters())
        try:
            with torch.no_grad():
                self._network(parameter.new_zeros(1, channels, height, width))
        finally:
            for hook in hooks:
                hook.remove()
        return max(sizes)

    def flatten(self, weights: Mapping[str, Tensor]) -> Float[Tensor, " p"]:
        """A state dict's parameters as one vector."""
        return torch.cat([weights[name].flatten() for name, _ in self.layout])

    def unflatten(self, theta: Float[Tensor, " p"]) -> dict[str, Tensor]:
        """The inverse of `flatten`, as views of `theta`."""
        parts = theta.split(self._sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self.layout, parts, strict=True)}

    def __call__(self, theta: Float[Tensor, " p"], pictures: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits at weights `theta`."""
        logits: Tensor = torch.func.functional_call(self._own(), self.unflatten(theta), (pictures,))
        return logits

    def _own(self) -> Network:
        """The network in the main thread, in any other a copy: a call lends it its weights for as long as it takes."""
        if threading.current_thread() is threading.main_thread():
            return self._network
        if not hasattr(self._of_thread, "network"):
            self._of_thread.network = copy.deepcopy(self._network)
        own: Network = self._of_thread.network
        return own


def _unfit(network: Network, what: str) -> CompatibilityError:
    return CompatibilityError(
        f"trajectory matching cannot train {network.name!r}: {what} makes a picture's output depend on more than the "
        "picture",
        hint="use a network with instance norm, such as convnet-d3-w128-in",
    )


@torch.no_grad()
def _draws(network: Network) -> bool:
    """Whether a pass of one picture moves torch's global generator, whatever the layer that draws is called."""
    channels, (height, width) = network.signature.channels, network.signature.size
    picture = next(network.parameters()).new_zeros(1, channels, height, width)
    device = picture.device
    with Stream(0).child("trial").lent(device):
        generator = (
            torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator
        )
        before = generator.get_state()
        network.train()(picture)
        return not torch.equal(before, generator.get_state())


class Derivatives:
    """First and second derivatives of a batch's mean cross-entropy, a chunk of pictures at a time.

    `chunk` is the number of pictures in one graph at most. `compiled`: trace these very functions once for each shape
    and have torch compile them; the results then differ by rounding.
    """

    def __init__(self, network: FlatNetwork, chunk: int, *, compiled: bool = False) -> None:
        self.network, self.chunk, self.compiled = network, chunk, compiled
        self._programs: dict[Any, Callable[..., Any]] = {}

    def _fused(self, theta: Tensor) -> bool:
        return self.network.by_blocks and not self.compiled and theta.dtype == torch.float32

    def gradient(
        self, theta: Float[Tensor, " p"], pictures: Float[Tensor, "n c h w"], labels: Tensor
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
        """(loss, its gradient with respect to theta)."""
        loss, gradient = theta.new_zeros(()), torch.zeros_like(theta)
        # One derivative leaves less behind than two, and fused blocks part a batch by themselves.
        chunk = _FIRST * self.chunk if self._fused(theta) else self.chunk
        for part, truth in zip(pictures.split(chunk), labels.split(chunk), strict=True):
            share = len(part) / len(pictures)
            part_loss, part_gradient = self._call(self._gradient, theta, part.detach(), truth)
            loss += share * part_loss
            gradient.add_(part_gradient, alpha=share)
        return loss, gradient

    def product(
        self,
        theta: Float[Tensor, " p"],
        pictures: Float[Tensor, "n c h w"],
        labels: Tensor,
        direction: Float[Tensor, " p"],
        by_weights: bool,
    ) -> _Product:
        """s = <direction, gradient at theta>, ds/dpictures (n, c, h, w) and, if asked for, ds/dtheta (P,).

        The last is the Hessian of the loss times `direction`.
        """
        total = theta.new_zeros(())
        hessian = torch.zeros_like(theta) if by_weights else None
        mixed = torch.empty_like(pictures, requires_grad=False)
        function = self._product if by_weights else self._product_of_pictures

        def of_part(place: slice) -> tuple[Tensor, ...]:
            made: tuple[Tensor, ...] = self._call(function, theta, pictures[place].detach(), labels[place], direction)
            return made

        apart = self._fused(theta)
        chunk = min(self.chunk, -(-len(pictures) // 2)) if apart else self.chunk
        places = [slice(first, first + chunk) for first in range(0, len(pictures), chunk)]
        # Chunks of fused blocks run side by side, a thread each, of which even few pictures are for two; layers have
        # their threads within. Of 10, 20 and 40 pictures, as two chunks, as one, and by layers (width 128, ms): two
        # threads 141, 215, 346 / 160, 252, 444 / 145, 266, 496; one 195, 369, 576 / 146, 295, 447 / 255, 492, 830.
        found = side_by_side(of_part, places, at_most=_AT_ONCE) if apart else map(of_part, places)
        for place, (s, by_pictures, *rest) in zip(places, found, strict=True):
            share = len(by_pictures) / len(pictures)
            total += share * s
            mixed[place] = by_pictures * share
            if hessian is not None:
                hessian.add_(rest[0], alpha=share)
        return total, mixed, hessian

    def _gradient(self, theta: Tensor, pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        theta = theta.detach().requires_grad_()
        with fused.once():
            loss = cross_entropy(self.network(theta, pictures), labels)
            (gradient,) = torch.autograd.grad(loss, theta)
        return loss.detach(), gradient

    def _product(
        self, theta: Tensor, pictures: Tensor, labels: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        theta, pictures = theta.detach().requires_grad_(), pictures.detach().requires_grad_()
        s = self._along(theta, pictures, labels, direction)
        by_pictures, by_weights = torch.autograd.grad(s, (pictures, theta))
        return s.detach(), by_pictures, by_weights

    def _product_of_pictures(
        self, theta: Tensor, pictures: Tensor, labels: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor]:
        theta, pictures = theta.detach().requires_grad_(), pictures.detach().requires_grad_()
        s = self._along(theta, pictures, labels, direction)
        (by_pictures,) = torch.autograd.grad(s, pictures)
        return s.detach(), by_pictures

    def _along(self, theta: Tensor, pictures: Tensor, labels: Tensor, direction: Tensor) -> Tensor:
        loss = cross_entropy(self.network(theta, pictures), labels)
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        return gradient @ direction

    def _call(self, function: Callable[..., Any], *arguments: Tensor) -> Any:
        if not self.compiled:
            with torch.enable_grad():
                return function(*arguments)
        key = (function.__name__, *((a.shape, a.dtype) for a in arguments))
        if key not in self._programs:
            self._programs[key] = _compile(function, arguments)
        return self._programs[key](*arguments)


def _compile(function: Callable[..., Any], arguments: tuple[Tensor, ...]) -> Callable[..., Any]:
    """`function` traced at these shapes, differentiation included, and compiled; then run once, to fail here."""
    from torch.fx.experimental.proxy_tensor import make_fx

    def free(*parts: Tensor) -> Any:  # the tracer counts a method's `self` among its arguments
        return function(*parts)

    # Traced on tensors without data: real ones would all be kept until the trace ends, half a gigabyte at width 128.
    with torch.enable_grad():
        program = make_fx(free, tracing_mode="fake")(*arguments)
    program.graph.eliminate_dead_code()
    program.recompile()
    compiled: Callable[..., Any] = torch.compile(program, dynamic=False)
    try:
        compiled(*arguments)
    except (RuntimeError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise ResourceError(
            f"torch cannot compile the gradients here: {first}",
            hint="install a C++ compiler, or leave objective.compiled=false",
        ) from error
    return compiled
