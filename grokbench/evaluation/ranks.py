"""Measures of the rank of features, for numpy arrays and torch tensors on any device: (…, n, d) → (…) in float64.

Shapes: n questions, d features of a layer.

Every measure takes either the features X, (…, n, d), or `covariance=`, their covariance C, (…, d, d), which `covariance(X)`
computes in float64 on the device of X. Features are centered over n; `center=False` leaves them as they are.

With λ the eigenvalues of C, the singular values of the centered features are σ = √((n−1)·λ). Effective rank and srank use
σ, never λ. A matrix of zeros has rank 0.
"""

import typing
from collections.abc import Callable
from inspect import cleandoc
from types import ModuleType
from typing import Any

import array_api_compat as array_api
import numpy as np

from grokbench.errors import RankError

AnyArray = Any  # a numpy array, a torch tensor, or another array that follows the array API standard
SpectralRank = Callable[[ModuleType, AnyArray, int | None], AnyArray]  # array library, eigenvalues (…, d), n → (…)

FLOAT64_EPSILON = float(np.finfo(np.float64).eps)
SRANK_DELTA = 0.01

MEASURES: dict[str, SpectralRank] = {}  # every measure by its name, as a function of the eigenvalues

_ARGUMENTS = """
Args:
    features: (…, n, d); leave it out where `covariance` is given.
    covariance: (…, d, d), the covariance of the features.
    n: the number of questions behind `covariance`; only `deep_grokking_rank_paper` needs it.
    center: whether to subtract the mean over n from the features.

Returns:
    (…) in float64, on the device of the argument.

Raises:
    RankError: neither or both of `features` and `covariance` are given, or the shape is wrong.
    LinAlgError: a feature isn't finite.
"""


class RankMeasure(typing.Protocol):
    """The signature of every measure."""

    def __call__(
        self, features: AnyArray = None, *, covariance: AnyArray = None, n: int | None = None, center: bool = True
    ) -> AnyArray:
        """The rank of the features: (…) in float64."""


def covariance(features: AnyArray, *, center: bool = True) -> AnyArray:
    """The covariance matrix of `features` over n, in float64 on the same device: (…, n, d) → (…, d, d).

    Divides by n − 1 as torch.cov does, with `center=False` too.

    Raises:
        RankError: `features` has fewer than two axes.
    """
    xp = array_api.array_namespace(features)
    if features.ndim < 2:
        raise RankError(f"features must have shape (…, n, d), got {tuple(features.shape)}")
    x = xp.astype(features, xp.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # non-finite features show in the covariance
        if center:
            x = x - xp.mean(x, axis=-2, keepdims=True)
        return xp.matmul(xp.matrix_transpose(x), x) / max(x.shape[-2] - 1, 1)


def measure(spectral_rank: SpectralRank) -> RankMeasure:
    """Turn a function of the eigenvalues λ, (…, d), largest first, into a measure, and list it in `MEASURES`."""

    def rank(features: AnyArray = None, *, covariance: AnyArray = None, n: int | None = None, center: bool = True) -> AnyArray:
        return spectral_rank(*_spectrum(features, covariance, n, center))

    # functools.wraps would make help() show the parameters of `spectral_rank`.
    rank.__name__ = rank.__qualname__ = spectral_rank.__name__
    rank.__doc__ = f"{cleandoc(spectral_rank.__doc__ or '')}\n{_ARGUMENTS}"
    MEASURES[spectral_rank.__name__] = spectral_rank
    return rank


def _spectrum(
    features: AnyArray, given_covariance: AnyArray, n: int | None, center: bool
) -> tuple[ModuleType, AnyArray, int | None]:
    """The array library, the eigenvalues and the number of questions."""
    if (features is None) == (given_covariance is None):
        raise RankError("a measure of rank takes either features or covariance=, and exactly one of them")
    if given_covariance is None:
        given_covariance, n = covariance(features, center=center), features.shape[-2]
    if given_covariance.ndim < 2 or given_covariance.shape[-1] != given_covariance.shape[-2]:
        raise RankError(f"a covariance must have shape (…, d, d), got {tuple(given_covariance.shape)}")
    return array_api.array_namespace(given_covariance), eigenvalues(given_covariance), n


@measure
def effective_rank(xp: ModuleType, lambdas: AnyArray, n: int | None) -> AnyArray:
    """The exponential of the entropy of σ/Σσ. Roy & Vetterli 2007, "The effective rank"."""
    sigma = xp.sqrt(lambdas)
    p = sigma / _or_one(xp, xp.sum(sigma, axis=-1, keepdims=True))
    entropy = -xp.sum(p * xp.log(_or_one(xp, p)), axis=-1)
    return xp.exp(entropy) * _nonzero(xp, lambdas)


@measure
def srank(xp: ModuleType, lambdas: AnyArray, n: int | None) -> AnyArray:
    """The least k whose largest k singular values hold 1 − δ of their sum, δ = 0.01. Kumar et al. 2021 (2010.14498)."""
    sigma = xp.sqrt(lambdas)
    share = xp.cumulative_sum(sigma, axis=-1) / _or_one(xp, xp.sum(sigma, axis=-1, keepdims=True))
    # The share is below 1 − δ before the cut; the direction that reaches 1 − δ counts too.
    return (_count(xp, share < 1 - SRANK_DELTA) + 1) * _nonzero(xp, lambdas)


@measure
def participation_ratio(xp: ModuleType, lambdas: AnyArray, n: int | None) -> AnyArray:
    """(Σλ)² / Σλ². Gao et al. 2017 (bioRxiv 214262)."""
    scaled = lambdas / _or_one(xp, lambdas[..., :1])
    return xp.sum(scaled, axis=-1) ** 2 / _or_one(xp, xp.sum(scaled**2, axis=-1))


@measure
def stable_rank(xp: ModuleType, lambdas: AnyArray, n: int | None) -> AnyArray:
    """‖X‖²_F / ‖X‖²₂ = Σλ / λ₁. Rudelson & Vershynin 2007 (math/0503442)."""
    return xp.sum(lambdas, axis=-1) / _or_one(xp, lambdas[..., 0])


@measure
def deep_grokking_rank_paper(xp: ModuleType, lambdas: AnyArray, n: int | None) -> AnyArray:
    """The number of λ above max(n, d)·ε, an absolute cut, as the text of "Deep Grokking" (2405.19454) defines it.

    ε is that of float64, in which the paper trains. A covariance needs `n=` beside it.
    """
    if n is None:
        raise RankError("deep_grokking_rank_paper needs n=, the number of questions, beside covariance=")
    return _count(xp, lambdas > max(n, lambdas.shape[-1]) * FLOAT64_EPSILON)


@measure
def deep_grokking_rank_code(xp: ModuleType, lambdas: AnyArray, n: int | None) -> AnyArray:
    """The number of λ above λ₁·d·ε: `torch.linalg.matrix_rank(torch.cov(X.T))`, as the code of "Deep Grokking" does."""
    return _count(xp, lambdas > lambdas[..., :1] * lambdas.shape[-1] * FLOAT64_EPSILON)


def all_ranks(covariance: AnyArray, n: int) -> dict[str, AnyArray]:
    """Every measure of the features of `n` questions with this covariance, (…, d, d): name → (…)."""
    xp, lambdas = array_api.array_namespace(covariance), eigenvalues(covariance)
    return {name: spectral_rank(xp, lambdas, n) for name, spectral_rank in MEASURES.items()}


def eigenvalues(covariance: AnyArray) -> AnyArray:
    """The eigenvalues of the covariance, largest first, negative rounding clipped to 0: (…, d, d) → (…, d) in float64."""
    xp = array_api.array_namespace(covariance)
    ascending = xp.linalg.eigvalsh(xp.astype(covariance, xp.float64))
    return xp.clip(xp.flip(ascending, axis=-1), 0.0, None)


def _or_one(xp: ModuleType, x: AnyArray) -> AnyArray:
    """`x` with 1 in place of 0, to divide by or to take the logarithm of."""
    return xp.where(x > 0, x, xp.ones_like(x))


def _nonzero(xp: ModuleType, lambdas: AnyArray) -> AnyArray:
    """1.0 where the matrix isn't zero, else 0.0."""
    return xp.astype(lambdas[..., 0] > 0, xp.float64)


def _count(xp: ModuleType, condition: AnyArray) -> AnyArray:
    return xp.sum(xp.astype(condition, xp.float64), axis=-1)
