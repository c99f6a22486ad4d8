"""Weights: drawn from a stream alone, by the framework's default rule, in place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from fredbench.foundation.errors import CompatibilityError
from fredbench.foundation.rng import Stream
from fredbench.networks import NETWORKS, Network, Signature, build, initialise
from fredbench.networks.pooling import AveragePool

NAMES = ["convnet-d3-w16-bn", "mlp", "lenet", "alexnet-bn", "vgg11", "resnet18-ap-bn", "timm:resnet10t"]


def state_bytes(network: Network) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in network.state_dict().values()]


@pytest.mark.parametrize("name", NAMES)
def test_the_global_generator_is_neither_read_nor_moved(name: str) -> None:
    built = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        network = build(name, classes=10, size=32, rng=Stream(4))
        initialise(network, Stream(5))
        assert torch.equal(torch.get_rng_state(), before)
        built.append(state_bytes(network))
    assert built[0] == built[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_stream_alone_decides(name: str) -> None:
    network = build(name, classes=10, size=32, rng=Stream(0).child("a"))
    first = state_bytes(network)
    storage = [parameter.data_ptr() for parameter in network.parameters()]
    network(torch.randn(4, 3, 32, 32, generator=Stream(1).torch()))
    initialise(network, Stream(0).child("b"))
    assert state_bytes(network) != first
    initialise(network, Stream(0).child("a"))
    # Running statistics that the forward pass moved are reset as well.
    assert state_bytes(network) == first
    assert [parameter.data_ptr() for parameter in network.parameters()] == storage


def test_default_rule() -> None:
    network = build("alexnet-bn", classes=10, size=32, rng=Stream(0))
    seen = 0
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            for values in (layer.weight.detach(), layer.bias.detach()):  # type: ignore[union-attr]
                assert values.abs().max() <= bound
            weights = layer.weight.detach().flatten().double()
            assert weights.abs().max() > 0.99 * bound
            # Uniform: mean 0 and mean square bound²/3, each within five standard errors.
            assert abs(weights.mean()) < 5 * bound / (3 * len(weights)) ** 0.5
            assert abs((weights**2).mean() - bound**2 / 3) < 5 * bound**2 * (4 / 45 / len(weights)) ** 0.5
            seen += 1
        elif isinstance(layer, nn.BatchNorm2d):
            assert torch.equal(layer.weight, torch.ones_like(layer.weight))
            assert torch.equal(layer.bias, torch.zeros_like(layer.bias))
            assert torch.equal(layer.running_var, torch.ones_like(layer.weight))  # type: ignore[arg-type]
            assert torch.equal(layer.running_mean, torch.zeros_like(layer.weight))  # type: ignore[arg-type]
            seen += 1
    assert seen == 11


def test_the_rule_has_torchs_own_bounds() -> None:
    torch.manual_seed(0)
    theirs = nn.Conv2d(7, 500, 3)
    ours = build("convnet-d1-w500-in", channels=7, classes=2, size=8, rng=Stream(0)).features[0]  # type: ignore[index]
    for mine, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        quantiles = torch.linspace(0.1, 0.9, 9)
        difference = torch.quantile(mine.detach().flatten(), quantiles) - torch.quantile(
            other.detach().flatten(), quantiles
        )
        assert difference.abs().max() < 5 * 2 * other.abs().max() * (0.25 / other.numel()) ** 0.5


def test_draws_do_not_depend_on_the_dtype() -> None:
    single = build("convnet-d2-w8-in", classes=10, size=16, rng=Stream(0))
    double = build("convnet-d2-w8-in", classes=10, size=16, rng=Stream(1)).double()
    initialise(double, Stream(0))
    for a, b in zip(single.parameters(), double.parameters(), strict=True):
        assert b.dtype == torch.float64
        assert torch.equal(a.double(), b)


class Odd(Network):
    """A network with a parameter that no default rule covers, which notes where it was made."""

    device: torch.device

    def __init__(self, signature: Signature) -> None:
        super().__init__("odd", signature)
        self.gain = nn.Parameter(torch.empty(signature.classes))
        Odd.device = self.gain.device

    def embed(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def test_builders_run_on_the_meta_device_and_unknown_layers_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(NETWORKS._targets, "odd", Odd)
    with pytest.raises(CompatibilityError, match=r"no default initialisation.*Odd"):
        build("odd", classes=3, size=8, rng=Stream(0))
    assert Odd.device.type == "meta"


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (5, 7), (9, 4)])
def test_average_pool_is_torchs(size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *size, dtype=torch.float64, generator=Stream(0).torch())
    torch.testing.assert_close(AveragePool()(maps), functional.avg_pool2d(maps, 2), rtol=0, atol=1e-15)
    stacked = torch.func.vmap(AveragePool())(torch.stack([maps, 2 * maps]))
    torch.testing.assert_close(stacked[1], 2 * AveragePool()(maps), rtol=0, atol=1e-15)


def test_average_pool_has_derivatives_of_any_order() -> None:
    maps = torch.randn(1, 2, 4, 6, dtype=torch.float64, generator=Stream(0).torch()).requires_grad_()
    pool = AveragePool()
    assert gradcheck(pool, (maps,))
    assert gradgradcheck(lambda x: pool(x) ** 3, (maps,))


def test_a_convnet_can_be_differentiated_twice() -> None:
    """The gradient of a matching loss with respect to pictures, by finite differences (smooth activation)."""
    network = build("convnet-d2-w4-in-swish", channels=1, classes=3, size=8, rng=Stream(0)).double()
    labels = torch.tensor([0, 2])

    def matching(images: Tensor) -> Tensor:
        loss = functional.cross_entropy(network(images), labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
        return torch.stack([(gradient**2).sum() for gradient in gradients]).sum()

    images = torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=Stream(1).torch()).requires_grad_()
    assert gradcheck(matching, (images,), atol=1e-6)
