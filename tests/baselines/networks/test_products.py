"""Products by oneDNN against those of torch: results and all gradients, up to float32 rounding."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from baselines.networks import products
from baselines.networks.products import product

product_then_relu = partial(product, relu=True)
PLAIN: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    product: lambda x, weight, bias: x @ weight + bias.unsqueeze(1),
    product_then_relu: lambda x, weight, bias: (x @ weight + bias.unsqueeze(1)).relu(),
}
OPERANDS = {product: 3, product_then_relu: 3}
LARGE, WIDE_AND_SHORT, TALL, SMALL = (130, 96, 50), (40, 120, 90), (700, 64, 33), (3, 4, 5)


@pytest.fixture(autouse=True)
def _by_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large products are oneDNN's on every processor."""
    monkeypatch.setattr(products, "_only_onednn_uses_avx512", torch.backends.mkldnn.is_available)


def operands(members: int, sizes: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Rows, weights, biases and shifts that require gradients."""
    n, k, m = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = [(members, n, k), (members, k, m), (members, m), (members, k)]
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.parametrize("shape", [LARGE, WIDE_AND_SHORT, TALL, SMALL])
@pytest.mark.parametrize("members", [1, 3])
def test_agrees_with_plain_products(function: Callable[..., Tensor], shape: tuple[int, int, int], members: int) -> None:
    """Results and gradients agree for all shapes, for a single member and for several."""
    inputs = operands(members, shape)[: OPERANDS[function]]
    result, expected = function(*inputs), PLAIN[function](*inputs)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    gradient = torch.randn(result.shape)
    gradients = [torch.autograd.grad(output, inputs, gradient) for output in (result, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("function", PLAIN)
def test_gradients_in_float64(function: Callable[..., Tensor]) -> None:
    """The gradients are those of finite differences."""
    inputs = operands(2, SMALL, torch.float64)[: OPERANDS[function]]
    assert torch.autograd.gradcheck(function, inputs)


def test_data_need_no_gradient() -> None:
    """A product works without a gradient of x and without a bias."""
    x, weight, *_ = operands(2, LARGE)
    (gradient,) = torch.autograd.grad(product(x.detach(), weight).sum(), [weight])
    torch.testing.assert_close(gradient, x.sum(1).unsqueeze(-1).expand_as(weight), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", ["transposed", "columns of a wider matrix", "a repeated row"])
def test_takes_any_layout(layout: str) -> None:
    """Matrices may have any strides."""
    x, weight, *_ = (tensor.detach() for tensor in operands(2, LARGE))
    n, k = x.shape[1:]
    if layout == "transposed":
        x = x.mT.contiguous().mT
    elif layout == "columns of a wider matrix":
        x = torch.randn(2, n, 2 * k)[..., k:]
    else:
        x = x[:, :1].expand(-1, n, -1)
    torch.testing.assert_close(product(x, weight), x @ weight, rtol=1e-4, atol=1e-4)


def test_a_sliced_weight_is_copied() -> None:
    """A right factor that is a slice makes oneDNN a thousand times slower. One without gaps is passed as it is."""
    whole = torch.randn(130, 96)
    for sliced in (whole[:, :64], whole[:, :64].mT):
        copied = products.dense(sliced)
        assert copied.is_contiguous()
        assert torch.equal(copied, sliced)
    assert all(products.dense(matrix) is matrix for matrix in (whole, whole.mT, whole[:64], whole[:64].mT))


def test_where_onednn_has_no_advantage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AVX-512, or on Intel's processors, torch multiplies."""
    monkeypatch.setattr(products, "_only_onednn_uses_avx512", lambda: False)
    x, weight, bias, _ = operands(2, LARGE)
    assert torch.equal(product(x, weight, bias), torch.baddbmm(bias.unsqueeze(1), x, weight))
