"""Modules that know nothing of ours as students: those of timm, and a plug-in's own `nn.Module`.

Their own code draws their weights, from torch's global generator, which is lent to it (`Stream.lent`). What they return
is tried on two blank pictures before anything is trained, in evaluation and in training mode.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fredbench.foundation.errors import CompatibilityError, FredbenchError
from fredbench.foundation.rng import Stream
from fredbench.networks.base import Builder, Network, Signature

__all__ = ["ForeignNetwork", "OwnNetwork", "from_plugin", "told"]

Maker = Callable[[], nn.Module]


def told(error: BaseException) -> str:
    """What an error of other code says; its type where it says nothing, or nothing that stands by itself."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class ForeignNetwork(Network):
    """Base of both: holds `model`, and draws its weights by making it anew and taking over its state."""

    def __init__(self, name: str, signature: Signature, make: Maker) -> None:
        super().__init__(name, signature)
        self._make = make
        self.model = self._made(Stream(0).child("outline"))

    def _made(self, rng: Stream) -> nn.Module:
        # On the CPU whatever the builder's device: many modules compute with numbers while being made.
        with rng.lent(), torch.device("cpu"):
            model = self._make()
            if any(is_lazy(parameter) for parameter in model.parameters()):
                with torch.no_grad():
                    model.eval()(self._blank())  # gives them their shapes, and draws them
        return model.train()

    def _blank(self) -> Float[Tensor, "2 c h w"]:
        return torch.zeros(2, self.signature.channels, *self.signature.size)

    @torch.no_grad()
    def draw_weights(self, rng: Stream) -> None:
        """Anew from `rng`, in place: a fresh model is made and its state taken over."""
        fresh = self._made(rng)
        device = next((tensor.device for tensor in itertools.chain(self.parameters(), self.buffers())), None)
        # Tables that are no part of a state dict (relative positions) are computed, not drawn, and some are replaced
        # in use by larger ones: the fresh one takes the place of whatever is there, of the same shape or not.
        for name, buffer in fresh.named_buffers(remove_duplicate=False):
            owner, _, leaf = name.rpartition(".")
            self.model.get_submodule(owner)._buffers[leaf] = buffer.to(device)
        self.model.load_state_dict(fresh.state_dict())


class OwnNetwork(ForeignNetwork):
    """A plug-in's `nn.Module` from pictures (n, c, h, w) to logits (n, classes), under the name it is registered by.

    Its embedding is what the linear layer is fed that gives its output, whatever that layer is called. Where its output
    is no linear layer's it has none: it can be a student, not what distribution matching looks through.
    """

    def __init__(self, name: str, signature: Signature, make: Maker) -> None:
        super().__init__(name, signature, make)
        if not any(parameter.numel() for parameter in self.model.parameters()):
            raise CompatibilityError(f"network {name!r} has no weights to train", hint=_PAGE)
        with Stream(0).child("trial").lent(), torch.device("cpu"), torch.no_grad():
            self._head_name = self._find_head()
            self._check(self._tried(self.model.train()), "in training mode ")

    @property
    def head(self) -> nn.Module:
        """The linear layer that gives the logits."""
        self.check_embedding()
        layer: nn.Module = self.model.get_submodule(str(self._head_name))
        return layer

    def check_embedding(self) -> None:
        """Raise `CompatibilityError` where no linear layer gives the output."""
        if self._head_name is None:
            raise CompatibilityError(
                f"the output of network {self.name!r} is no linear layer's, so it has no embedding to match",
                hint="let its forward end in a linear layer, or distill with another network and use it by "
                "`fredbench evaluate --network`",
            )

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """What the last linear layer is fed."""
        fed: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, given: fed.append(given[0]))
        try:
            self.model(images)
        finally:
            hook.remove()
        return fed[-1]

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """What the module returns."""
        logits: Tensor = self.model(images)
        return logits

    def _tried(self, model: nn.Module) -> Any:
        try:
            return model(self._blank())
        except Exception as error:
            raise CompatibilityError(
                f"network {self.name!r} cannot take {self.signature}: {told(error)}",
                hint=f"its forward is given pictures (n, channels, height, width); {_PAGE}",
            ) from error

    def _check(self, output: Any, when: str = "") -> None:
        wanted = (2, self.signature.classes)
        if isinstance(output, Tensor):
            if tuple(output.shape) == wanted and output.is_floating_point():
                return
            found = f"{str(output.dtype).removeprefix('torch.')} of shape {tuple(output.shape)}"
        else:
            found = f"a {type(output).__name__}, no tensor"
        raise CompatibilityError(
            f"network {self.name!r} must return logits, float of shape {wanted} for two pictures and "
            f"{self.signature.classes} classes; {when}it returns {found}",
            hint=f"return the logits alone, as many as signature.classes; {_PAGE}",
        )

    def _find_head(self) -> str | None:
        """Check the output in evaluation mode, and name the linear layer that it comes out of."""
        seen: list[tuple[str, Tensor, Tensor]] = []
        layers = [(name, layer) for name, layer in self.model.named_modules() if isinstance(layer, nn.Linear)]
        hooks = [layer.register_forward_hook(_noting(name, seen)) for name, layer in layers]
        try:
            output = self._tried(self.model.eval())
        finally:
            for hook in hooks:
                hook.remove()
        self._check(output)
        names = [name for name, given, made in seen if given.ndim == 2 and _is_same(made, output)]
        return names[-1] if names else None


def _noting(name: str, seen: list[tuple[str, Tensor, Tensor]]) -> Callable[[nn.Module, Any, Any], None]:
    def note(_: nn.Module, given: Any, made: Any) -> None:
        seen.append((name, given[0], made))

    return note


def _is_same(made: Tensor, output: Tensor) -> bool:
    return made is output or (made.shape == output.shape and made.data_ptr() == output.data_ptr())


_PAGE = "see `A network of your own` in docs/plugins.md"


def from_plugin(name: str, builder: Builder, signature: Signature) -> Network:
    """The network that a plug-in registered as `name`: a `Network`, on the meta device, or an `nn.Module`, wrapped.

    Raises `CompatibilityError`, before anything is trained, for what is neither, and for modules that cannot be made
    for `signature`, cannot take its pictures or return anything but its logits.
    """

    def make() -> nn.Module:
        return _module(name, builder, signature)

    with Stream(0).child("outline").lent():
        # Networks of our kind are made on the meta device; who computes while being made cannot be, nor need a module.
        with contextlib.suppress(CompatibilityError), torch.device("meta"):
            made = make()
            if isinstance(made, Network):
                return made
        with torch.device("cpu"):
            made = make()
    return made.to("meta") if isinstance(made, Network) else OwnNetwork(name, signature, make)


def _module(name: str, builder: Any, signature: Signature) -> nn.Module:
    if isinstance(builder, nn.Module) or not callable(builder):
        raise CompatibilityError(f"network {name!r} is registered as a {type(builder).__name__}", hint=_REGISTER)
    try:
        made = builder(signature)
    except FredbenchError:
        raise
    except Exception as error:
        raise CompatibilityError(
            f"network {name!r} cannot be made for {signature} and {signature.classes} classes: {told(error)}",
            hint=_REGISTER,
        ) from error
    if not isinstance(made, nn.Module):
        raise CompatibilityError(f"network {name!r} is a {type(made).__name__}, no torch.nn.Module", hint=_REGISTER)
    return made


_REGISTER = (
    "register a function of the signature, such as NETWORKS.register('mynet', lambda s: MyNet(s.channels, s.classes)); "
    + _PAGE
)
