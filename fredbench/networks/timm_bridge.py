"""Any classifier of the timm library as a student: `timm:NAME`, untrained, sized for the pictures at hand."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks.base import Network, Signature

__all__ = ["TimmNetwork"]


class TimmNetwork(Network):
    """`timm:NAME`, its weights drawn by timm's own initialisation.

    timm draws from torch's global generator. It is saved, seeded from our stream and put back around each
    draw, so the draws are ours and nobody else's are disturbed (`torch.random.fork_rng`, CPU only).
    """

    def __init__(self, model_name: str, signature: Signature) -> None:
        super().__init__(f"timm:{model_name}", signature)
        self.model_name = model_name
        # On the CPU whatever the builder's device: several models compute with numbers while being made.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            self.model = _create(model_name, signature)
        if not isinstance(self.head, nn.Linear):
            raise CompatibilityError(
                f"network {self.name!r} does not end in one linear layer ({type(self.head).__name__})",
                hint="choose a timm model that ends in a single linear classifier, such as timm:resnet18",
            )
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            self._try_size()

    @property
    def head(self) -> nn.Module:
        """timm's classifier layer."""
        layer: nn.Module = self.model.get_classifier()
        return layer

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """timm's pre-logits: what its classifier layer takes."""
        features: Tensor = self.model.forward_head(self.model.forward_features(images), pre_logits=True)
        return features

    @torch.no_grad()
    def _try_size(self) -> None:
        """Refuse a picture size that the model breaks on, before anything is trained."""
        self.model.eval()
        try:
            self.embed(torch.zeros(2, self.signature.channels, *self.signature.size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"network {self.name!r} cannot take {self.signature}: {error}",
                hint="choose a timm model made for small pictures, such as timm:resnet18",
            ) from error
        self.model.train()

    def draw_weights(self, rng: Stream) -> None:
        """Anew from `rng`, in place: a fresh model is made and its state copied."""
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(rng.integer())
            fresh = _create(self.model_name, self.signature)
        self.model.load_state_dict(fresh.state_dict())
        # Tables that are no part of a state dict (relative positions) are computed, not drawn.
        for name, buffer in fresh.named_buffers():
            self.model.get_buffer(name).copy_(buffer)


def _create(name: str, signature: Signature) -> Any:
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(f'timm:{n}' for n in near)}? " if near else ""
        raise UsageError(f"timm knows no model {name!r}", hint=f"{hint}timm.list_models() names all")
    options: dict[str, Any] = {"num_classes": signature.classes, "in_chans": signature.channels}
    configuration = timm.get_pretrained_cfg(name)
    if configuration is not None and configuration.fixed_input_size:
        options["img_size"] = signature.size
    try:
        return timm.create_model(name, pretrained=False, **options)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"timm cannot make {name!r} for {signature} and {signature.classes} classes: {error}",
            hint="choose a model that takes pictures of this size, such as timm:resnet18",
        ) from error
