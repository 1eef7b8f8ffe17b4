"""Matrix products of layers, computed by oneDNN where it is faster on a CPU.

torch multiplies float32 matrices with MKL, which uses AVX2 on AMD processors even if they have AVX-512. oneDNN comes with torch
and uses AVX-512: twice as fast, with the same results up to rounding. torch calls oneDNN for inference alone, without
gradients, so the gradients are written here. On Intel's processors MKL uses AVX-512, too, and is 5 to 30 % faster than oneDNN.

Shapes: S members, n rows, k and m columns.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

SMALL = 1 << 18  # multiply-adds; a smaller product doesn't win back the ten microseconds that a call of oneDNN takes longer

COLUMN_ALIGNMENT = 16  # MKL takes up to twice as long for a width that isn't a multiple, and sums of rows several times as long


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """The layer `x @ weight + bias`, or its ReLU: (S, n, k), (S, k, m) and (S, m) → (S, n, m)."""
    result: Tensor = _Product.apply(x, weight, bias, relu)  # type: ignore[no-untyped-call]
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


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of a product's weight, from x and the gradient of the product: (S, n, k), (S, n, m) → (S, k, m)."""
    rows, k, m = *x.shape[-2:], gradient.shape[-1]
    if m < k < rows:  # oneDNN sums over many rows faster if the result has fewer rows than columns
        return multiply(gradient.mT, x).mT
    return multiply(x.mT, gradient)


def relu_gradient(gradient: Tensor, hidden: Tensor, into: Tensor) -> Tensor:
    """The gradient of x from that of hidden = relu(x), written to `into`, which may be `gradient` itself."""
    torch.ops.aten.threshold_backward.grad_input(gradient, hidden, 0, grad_input=into)
    return into


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """`product` without autograd. It also takes the matrices of a single member, without the axis S."""
    if not _faster_by_onednn(x, weight):
        result = _by_torch(x, weight, bias)
        return result.relu_() if relu else result
    if x.ndim == 2:
        return _by_onednn(x, weight, bias, relu)
    biases = bias if bias is not None else [None] * len(x)
    products = [_by_onednn(*member, relu) for member in zip(x, weight, biases, strict=True)]  # (n, m) each
    return torch.stack(products) if len(products) > 1 else products[0].unsqueeze(0)  # (S, n, m)


def aligned(matrix: Tensor) -> Tensor:
    """`matrix` (…, f) padded with zero columns to a multiple of `COLUMN_ALIGNMENT`."""
    missing = -matrix.shape[-1] % COLUMN_ALIGNMENT
    return pad(matrix, (0, missing)) if missing else matrix  # `pad` copies a matrix that lacks nothing, too


def _by_torch(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows, k, columns = *x.shape[-2:], weight.shape[-1]
    if not x.is_cuda and columns % COLUMN_ALIGNMENT and rows * k * columns >= SMALL:
        return _by_torch(x, aligned(weight), None if bias is None else aligned(bias))[..., :columns]
    if bias is None:
        return torch.mm(x, weight) if x.ndim == 2 else torch.bmm(x, weight)  # `@` takes ten microseconds to choose
    return torch.addmm(bias, x, weight) if x.ndim == 2 else torch.baddbmm(bias.unsqueeze(1), x, weight)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """The product of a single member's matrices, by torch's only operator that passes plain matrices to oneDNN."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, dense(weight).T, bias, "relu" if relu else "none", [], "")
    return result


def dense(matrix: Tensor) -> Tensor:
    """The matrix (k, m) without gaps between its rows or columns: a slice is copied.

    Of a right factor that is a slice, oneDNN computes one element after another: 205 ms instead of 0.1 for (624, 31, 512).
    """
    return matrix if matrix.is_contiguous() or matrix.T.is_contiguous() else matrix.contiguous()


def _faster_by_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN multiplies these matrices faster. `torch.compile` doesn't know its operator."""
    rows, k = x.shape[-2:]
    if x.is_cuda or x.dtype != torch.float32 or rows * k * weight.shape[-1] < SMALL:
        return False
    return _only_onednn_uses_avx512() and not torch.compiler.is_compiling()


@lru_cache(maxsize=1)
def _only_onednn_uses_avx512() -> bool:
    """Whether the processor has AVX-512 and isn't Intel's, and torch has oneDNN."""
    has_avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return has_avx512 and not _is_intels() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def _is_intels() -> bool:
    """Whether Intel made the processor, as far as Linux says."""
    try:
        return b"GenuineIntel" in Path("/proc/cpuinfo").read_bytes()
    except OSError:
        return False
