"""Measures of the rank of features, for numpy arrays and torch tensors on any device, (…, n, d) → (…).

Every measure takes either the features X, shape (…, n, d), or `covariance=`, their covariance C, shape (…, d, d), which
`covariance(X)` makes where X lives, in float64. Features are centered over n; `center=False` takes a matrix as it is.

With λ the eigenvalues of C, the singular values of the centered features are σ = √((n−1)·λ). Effective rank and srank use
σ, never λ. A matrix of zeros has rank 0.
"""

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any, Protocol

import array_api_compat as arrays
import numpy as np

Array = Any  # a numpy array, a torch tensor, or whatever else follows the array API standard
Spectral = Callable[[ModuleType, Array, int | None], Array]

EPSILON = float(np.finfo(np.float64).eps)
SRANK_DELTA = 0.01


def covariance(features: Array, center: bool = True) -> Array:
    """The covariance matrix of `features` over n, in float64 on the same device: (…, n, d) → (…, d, d).

    Divides by n − 1 as torch.cov does, with `center=False` too.

    Raises:
        ValueError: `features` has fewer than two axes.
    """
    xp = arrays.array_namespace(features)
    if features.ndim < 2:
        raise ValueError(f"features have shape (…, n, d), got {tuple(features.shape)}")
    x = xp.astype(features, xp.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # what isn't finite shows in the result
        if center:
            x = x - xp.mean(x, axis=-2, keepdims=True)
        return xp.matmul(xp.matrix_transpose(x), x) / max(x.shape[-2] - 1, 1)


class Measure(Protocol):
    """What every measure is called like."""

    def __call__(self, features: Array = None, *, covariance: Array = None, n: int | None = None, center: bool = True) -> Array:
        """The rank of `features` (…, n, d), or of those with this `covariance` (…, d, d) and `n` rows: (…) in float64."""


SPECTRAL: dict[str, Spectral] = {}
_covariance = covariance


def measure(of_spectrum: Spectral) -> Measure:
    """Make a measure of a function of the eigenvalues λ, largest first, (…, d), and list it in `SPECTRAL`."""

    @wraps(of_spectrum)
    def rank(features: Array = None, *, covariance: Array = None, n: int | None = None, center: bool = True) -> Array:
        if (features is None) == (covariance is None):
            raise ValueError("a rank is measured of either features or covariance=, and of just one of them")
        if covariance is None:
            covariance, n = _covariance(features, center), features.shape[-2]
        return of_spectrum(arrays.array_namespace(covariance), eigenvalues(covariance), n)

    SPECTRAL[of_spectrum.__name__] = of_spectrum
    return rank


@measure
def effective_rank(xp: ModuleType, lambdas: Array, n: int | None) -> Array:
    """The exponential of the entropy of σ/Σσ. Roy & Vetterli 2007, "The effective rank"."""
    sigma = xp.sqrt(lambdas)
    p = sigma / _or_one(xp, xp.sum(sigma, axis=-1, keepdims=True))
    entropy = -xp.sum(p * xp.log(_or_one(xp, p)), axis=-1)
    return xp.exp(entropy) * _nonzero(xp, lambdas)


@measure
def srank(xp: ModuleType, lambdas: Array, n: int | None) -> Array:
    """The least k whose largest k singular values hold 1 − δ of their sum, δ = 0.01. Kumar et al. 2021 (2010.14498)."""
    sigma = xp.sqrt(lambdas)
    share = xp.cumulative_sum(sigma, axis=-1) / _or_one(xp, xp.sum(sigma, axis=-1, keepdims=True))
    # Before the cut the share is below 1 − δ; the direction that reaches it counts too.
    return (_count(xp, share < 1 - SRANK_DELTA) + 1) * _nonzero(xp, lambdas)


@measure
def participation_ratio(xp: ModuleType, lambdas: Array, n: int | None) -> Array:
    """(Σλ)² / Σλ². Gao et al. 2017 (bioRxiv 214262)."""
    scaled = lambdas / _or_one(xp, lambdas[..., :1])
    return xp.sum(scaled, axis=-1) ** 2 / _or_one(xp, xp.sum(scaled**2, axis=-1))


@measure
def stable_rank(xp: ModuleType, lambdas: Array, n: int | None) -> Array:
    """‖X‖²_F / ‖X‖²₂ = Σλ / λ₁. Rudelson & Vershynin 2007 (math/0503442)."""
    return xp.sum(lambdas, axis=-1) / _or_one(xp, lambdas[..., 0])


@measure
def deep_grokking_rank_paper(xp: ModuleType, lambdas: Array, n: int | None) -> Array:
    """The number of λ above max(n, d)·ε, an absolute cut: "Deep Grokking" (2405.19454) as its text has it.

    ε is float64's, in which the paper trains. A covariance needs `n=` beside it.
    """
    if n is None:
        raise ValueError("deep_grokking_rank_paper needs n, the number of rows, beside a covariance")
    return _count(xp, lambdas > max(n, lambdas.shape[-1]) * EPSILON)


@measure
def deep_grokking_rank_code(xp: ModuleType, lambdas: Array, n: int | None) -> Array:
    """The number of λ above λ₁·d·ε: `torch.linalg.matrix_rank(torch.cov(X.T))`, as the code of "Deep Grokking" does."""
    return _count(xp, lambdas > lambdas[..., :1] * lambdas.shape[-1] * EPSILON)


def all_ranks(covariance: Array, n: int) -> dict[str, Array]:
    """Every measure of the features of `n` rows with this covariance, (…, d, d): name → (…)."""
    xp, lambdas = arrays.array_namespace(covariance), eigenvalues(covariance)
    return {name: of_spectrum(xp, lambdas, n) for name, of_spectrum in SPECTRAL.items()}


def eigenvalues(covariance: Array) -> Array:
    """The eigenvalues of the covariance, largest first, rounding below zero cut off: (…, d, d) → (…, d) in float64."""
    xp = arrays.array_namespace(covariance)
    ascending = xp.linalg.eigvalsh(xp.astype(covariance, xp.float64))
    return xp.clip(xp.flip(ascending, axis=-1), 0.0, None)


def _or_one(xp: ModuleType, x: Array) -> Array:
    return xp.where(x > 0, x, xp.ones_like(x))


def _nonzero(xp: ModuleType, lambdas: Array) -> Array:
    return xp.astype(lambdas[..., 0] > 0, xp.float64)


def _count(xp: ModuleType, condition: Array) -> Array:
    return xp.sum(xp.astype(condition, xp.float64), axis=-1)
