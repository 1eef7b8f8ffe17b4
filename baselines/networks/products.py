"""Layers of networks as matrix products, on CPU at the speed of the processor's widest instructions.

torch multiplies float32 matrices with MKL, which keeps to AVX2 on AMD processors even where they have AVX-512. oneDNN, which
torch brings too, uses what is there: twice as fast, the same to rounding. torch has it multiply in convolutions and inference
alone, so the gradients are written down here.

Shapes: S members, n rows, k and m columns.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

SMALL = 1 << 18  # multiply-adds; the call takes ten microseconds longer, which fewer of them don't give back


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """Rows times weights, x @ weight + bias, or relu of it: (S, n, k), (S, k, m) and (S, m) → (S, n, m)."""
    result: Tensor = _Product.apply(x, weight, bias, relu)  # type: ignore[no-untyped-call]
    return result


def relu_product(x: Tensor, weight: Tensor, bias: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """The product of relu(x + shift), shift (S, k), with one array less on the way back."""
    result: Tensor = _ReluProduct.apply(x, weight, bias, shift)  # type: ignore[no-untyped-call]
    return result


def square_product(x: Tensor, weight: Tensor) -> Tensor:
    """The product of x², with two arrays less on the way back."""
    result: Tensor = _SquareProduct.apply(x, weight)  # type: ignore[no-untyped-call]
    return result


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        result = multiply(x, weight, bias, relu)
        ctx.save_for_backward(x, weight, result if relu else None)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, hidden = ctx.saved_tensors
        if hidden is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, hidden, 0)
        to_x, _, to_bias, _ = ctx.needs_input_grad
        return (
            multiply(gradient, weight.mT) if to_x else None,
            weight_gradient(x, gradient),
            gradient.sum(1) if to_bias else None,
            None,
        )


class _ReluProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, shift: Tensor | None) -> Tensor:
        hidden = x.relu() if shift is None else (x + shift.unsqueeze(1)).relu_()
        ctx.save_for_backward(hidden, weight)
        return multiply(hidden, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight = ctx.saved_tensors
        to_x = relu_gradient(multiply(gradient, weight.mT), hidden)
        *_, to_bias, to_shift = ctx.needs_input_grad
        return (
            to_x,
            weight_gradient(hidden, gradient),
            gradient.sum(1) if to_bias else None,
            to_x.sum(1) if to_shift else None,
        )


class _SquareProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        square = x.square()
        ctx.save_for_backward(x, square, weight)
        return multiply(square, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, square, weight = ctx.saved_tensors
        return multiply(gradient, (2 * weight).mT).mul_(x), weight_gradient(square, gradient)


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """The weight's gradient in a product, from its x and its own gradient: (S, n, k), (S, n, m) → (S, k, m)."""
    rows, k, m = *x.shape[-2:], gradient.shape[-1]
    if m < k < rows:  # oneDNN sums over many rows faster where the result has fewer rows than columns
        return multiply(gradient.mT, x).mT
    return multiply(x.mT, gradient)


def relu_gradient(gradient: Tensor, hidden: Tensor) -> Tensor:
    """What of the gradient by hidden = relu(x) reaches x, in the same memory."""
    torch.ops.aten.threshold_backward.grad_input(gradient, hidden, 0, grad_input=gradient)
    return gradient


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """`product` without a gradient, or relu of it; of a single member's matrices too."""
    if not _onednn(x, weight):
        if bias is None:
            result = x @ weight
        else:
            result = torch.addmm(bias, x, weight) if x.ndim == 2 else torch.baddbmm(bias.unsqueeze(1), x, weight)
        return result.relu_() if relu else result
    if x.ndim == 2:
        return _linear(x, weight, bias, relu)
    biases = bias if bias is not None else [None] * len(x)
    products = [_linear(one, w, b, relu) for one, w, b in zip(x, weight, biases, strict=True)]
    return torch.stack(products) if len(products) > 1 else products[0].unsqueeze(0)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """One member's product by the one call that hands plain matrices to oneDNN, x @ wᵀ + b."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight.T, bias, "relu" if relu else "none", [], "")
    return result


def _onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN multiplies these faster; `torch.compile` doesn't know its call."""
    rows, k = x.shape[-2:]
    if x.is_cuda or x.dtype != torch.float32 or rows * k * weight.shape[-1] < SMALL:
        return False
    return _wide() and not torch.compiler.is_compiling()


@lru_cache(maxsize=1)
def _wide() -> bool:
    """Whether the processor has AVX-512 and torch has oneDNN."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
