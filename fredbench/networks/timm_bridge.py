"""Any classifier of the timm library as a student: `timm:NAME`, untrained, sized for the pictures at hand."""

from __future__ import annotations

import difflib
import functools
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks.base import Signature
from fredbench.networks.foreign import ForeignNetwork, told

__all__ = ["TimmNetwork"]


class TimmNetwork(ForeignNetwork):
    """`timm:NAME`, its weights drawn by timm's own initialisation."""

    def __init__(self, model_name: str, signature: Signature) -> None:
        super().__init__(f"timm:{model_name}", signature, functools.partial(_create, model_name, signature))
        self.model_name = model_name
        model: Any = self.model
        if not isinstance(last := model.get_classifier(), nn.Linear):
            raise CompatibilityError(
                f"network {self.name!r} does not end in one linear layer ({type(last).__name__})",
                hint="choose a timm model that ends in a single linear classifier, such as timm:resnet18",
            )
        with Stream(0).child("trial").lent(), torch.device("cpu"):
            self._try_size()

    @property
    def head(self) -> nn.Module:
        """timm's classifier layer."""
        model: Any = self.model
        layer: nn.Module = model.get_classifier()
        return layer

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """timm's pre-logits: what its classifier layer takes."""
        model: Any = self.model
        features: Tensor = model.forward_head(model.forward_features(images), pre_logits=True)
        return features

    @torch.no_grad()
    def _try_size(self) -> None:
        """Refuse, before anything is trained, a size that the model breaks on and a model that is more than its head.

        The second: a model that adds to what its classifier gives (volo, half the maximum of a second head), which
        would be trained and scored without it.
        """
        self.model.eval()
        # Nothing that is compared may be blank: biases and many classifiers begin at 0.
        nn.init.normal_(self.head.get_parameter("weight"), std=0.02)
        images = torch.randn_like(self._blank())
        try:
            ours, theirs = self(images), self.model(images)
        except Exception as error:
            raise UsageError(
                f"network {self.name!r} cannot take {self.signature}: {told(error)}",
                hint="choose a timm model made for small pictures, such as timm:resnet18",
            ) from error
        self.model.train()
        if not _agree(ours, theirs):
            raise CompatibilityError(
                f"the output of network {self.name!r} is more than its classifier layer gives",
                hint="choose a timm model that ends in a single linear classifier, such as timm:resnet18",
            )


def _agree(ours: Tensor, theirs: Any) -> bool:
    return (
        isinstance(theirs, Tensor)
        and theirs.shape == ours.shape
        and torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()), equal_nan=True)
    )


def _create(name: str, signature: Signature) -> nn.Module:
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
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
    except Exception as error:
        raise UsageError(
            f"timm cannot make {name!r} for {signature} and {signature.classes} classes: {told(error)}",
            hint="choose a model that takes pictures of this size, such as timm:resnet18",
        ) from error
    return model
