"""Products through oneDNN against plain ones: results and all gradients, to float32 rounding."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.networks import products
from baselines.networks.products import product, relu_product, square_product

product_then_relu = partial(product, relu=True)
PLAIN: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    product: lambda x, weight, bias: x @ weight + bias.unsqueeze(1),
    product_then_relu: lambda x, weight, bias: (x @ weight + bias.unsqueeze(1)).relu(),
    relu_product: lambda x, weight, bias, shift: (x + shift.unsqueeze(1)).relu() @ weight + bias.unsqueeze(1),
    square_product: lambda x, weight: x.square() @ weight,
}
OPERANDS = {product: 3, product_then_relu: 3, relu_product: 4, square_product: 2}
LARGE, WIDE_AND_SHORT, TALL, SMALL = (130, 96, 50), (40, 120, 90), (700, 64, 33), (3, 4, 5)


def operands(members: int, shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Rows, weights, biases and shifts that ask for gradients."""
    n, k, m = shape
    generator = torch.Generator().manual_seed(0)
    shapes = [(members, n, k), (members, k, m), (members, m), (members, k)]
    return [torch.randn(one, generator=generator, dtype=dtype).requires_grad_() for one in shapes]


@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.parametrize("shape", [LARGE, WIDE_AND_SHORT, TALL, SMALL])
@pytest.mark.parametrize("members", [1, 3])
def test_agrees_with_plain_products(function: Callable[..., Tensor], shape: tuple[int, int, int], members: int) -> None:
    """Whatever the shapes, one member or several."""
    inputs = operands(members, shape)[: OPERANDS[function]]
    found, expected = function(*inputs), PLAIN[function](*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    gradient = torch.randn(found.shape)
    gradients = [torch.autograd.grad(one, inputs, gradient) for one in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("function", PLAIN)
def test_gradients_in_float64(function: Callable[..., Tensor]) -> None:
    """They are those of finite differences."""
    inputs = operands(2, SMALL, torch.float64)[: OPERANDS[function]]
    assert torch.autograd.gradcheck(function, inputs)


def test_data_need_no_gradient() -> None:
    """Nor need there be a bias."""
    x, weight, *_ = operands(2, LARGE)
    (gradient,) = torch.autograd.grad(product(x.detach(), weight).sum(), [weight])
    torch.testing.assert_close(gradient, x.sum(1).unsqueeze(-1).expand_as(weight), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", ["transposed", "part of a wider one", "a row repeated"])
def test_takes_any_layout(layout: str) -> None:
    """Matrices needn't be contiguous."""
    x, weight, *_ = (one.detach() for one in operands(2, LARGE))
    n, k = x.shape[1:]
    if layout == "transposed":
        x = x.mT.contiguous().mT
    elif layout == "part of a wider one":
        x = torch.randn(2, n, 2 * k)[..., k:]
    else:
        x = x[:, :1].expand(-1, n, -1)
    torch.testing.assert_close(product(x, weight), x @ weight, rtol=1e-4, atol=1e-4)


def test_without_avx512(monkeypatch: Any) -> None:
    """Where oneDNN would be no faster torch multiplies."""
    monkeypatch.setattr(products, "_wide", lambda: False)
    x, weight, bias, _ = operands(2, LARGE)
    assert torch.equal(product(x, weight, bias), torch.baddbmm(bias.unsqueeze(1), x, weight))
