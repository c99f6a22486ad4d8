"""The two small students of DC's pool: a perceptron and LeNet."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fredbench.foundation.errors import UsageError
from fredbench.networks.base import Network, Signature

__all__ = ["LeNet", "Perceptron"]


class Perceptron(Network):
    """`mlp`: two hidden layers of 128 with ReLU; takes pictures of any size."""

    def __init__(self, signature: Signature) -> None:
        super().__init__("mlp", signature)
        height, width = signature.size
        self.fc_1 = nn.Linear(signature.channels * height * width, 128)
        self.fc_2 = nn.Linear(128, 128)
        self.fc_3 = nn.Linear(128, signature.classes)

    @property
    def head(self) -> nn.Linear:
        """The third linear layer."""
        return self.fc_3

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The second hidden layer, 128 numbers."""
        hidden = functional.relu(self.fc_1(images.flatten(1)))
        return functional.relu(self.fc_2(hidden))


class LeNet(Network):
    """`lenet`: two 5×5 convolutions with max pooling, three linear layers; 32×32, or grey 28×28 padded."""

    def __init__(self, signature: Signature) -> None:
        super().__init__("lenet", signature)
        if signature.size != (32, 32) and not signature.is_small_grey:
            raise UsageError(
                f"network 'lenet' cannot take {signature}",
                hint="it takes 32×32 and one-channel 28×28; convnet, alexnet and resnet18 take others",
            )
        self.features = nn.Sequential(
            nn.Conv2d(signature.channels, 6, kernel_size=5, padding=2 if signature.is_small_grey else 0),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.fc_1 = nn.Linear(16 * 5 * 5, 120)
        self.fc_2 = nn.Linear(120, 84)
        self.fc_3 = nn.Linear(84, signature.classes)

    @property
    def head(self) -> nn.Linear:
        """The third linear layer."""
        return self.fc_3

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The second linear layer after its ReLU, 84 numbers."""
        maps: Tensor = self.features(images)
        hidden = functional.relu(self.fc_1(maps.flatten(1)))
        return functional.relu(self.fc_2(hidden))
