"""Rank measures against closed forms, numpy's singular values, and torch."""

from inspect import signature
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from grokbench.errors import RankError
from grokbench.evaluation import ranks
from grokbench.evaluation.ranks import RankMeasure, all_ranks, covariance

Floats = NDArray[np.float64]
MEASURES: dict[str, RankMeasure] = {name: getattr(ranks, name) for name in ranks.MEASURES}
SCALE_FREE = sorted(set(MEASURES) - {"deep_grokking_rank_paper"})
EPSILON = 2.0**-52


def _random(*shape: int, seed: int = 0) -> Floats:
    """Standard normal numbers."""
    return np.random.default_rng(seed).normal(size=shape)


def _ill_conditioned(n: int, d: int, seed: int = 0) -> Floats:
    """Random features whose directions differ in size by three orders of magnitude."""
    return _random(n, d, seed=seed) @ np.diag(np.logspace(0, -3, d)) @ _random(d, d, seed=seed + 1)


def _direct(x: Floats, center: bool = True) -> dict[str, float]:
    """Every measure of a matrix (n, d) from numpy's singular values, as the papers define them."""
    n, d = x.shape
    x = x - x.mean(axis=0) if center else x
    sigma = np.linalg.svd(x, compute_uv=False)
    p = sigma[sigma > 0] / sigma.sum()
    lambdas = np.zeros(d)
    lambdas[: len(sigma)] = sigma**2 / (n - 1)
    return {
        "effective_rank": float(np.exp(-(p * np.log(p)).sum())),
        "srank": float(next(k for k in range(1, d + 1) if sigma[:k].sum() / sigma.sum() >= 0.99)),
        "participation_ratio": float((sigma**2).sum() ** 2 / (sigma**4).sum()),
        "stable_rank": float(np.linalg.norm(x, "fro") ** 2 / np.linalg.norm(x, 2) ** 2),
        "deep_grokking_rank_paper": float((lambdas > max(n, d) * EPSILON).sum()),
        "deep_grokking_rank_code": float((lambdas > lambdas[0] * d * EPSILON).sum()),
    }


def test_every_measure_has_a_direct_computation_here() -> None:
    """A measure added without a reference in this file fails."""
    assert set(MEASURES) == set(_direct(_random(9, 3)))


@pytest.mark.parametrize("name", MEASURES)
def test_help_shows_the_parameters_of_the_measure(name: str) -> None:
    """`help(ranks.effective_rank)` shows what a user passes, not what the function of the eigenvalues takes."""
    assert list(signature(MEASURES[name]).parameters) == ["features", "covariance", "n", "center"]
    assert getattr(MEASURES[name], "__name__") == name  # noqa: B009
    assert "Args:" in (MEASURES[name].__doc__ or "")


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("d", [1, 2, 7])
def test_equal_directions_have_rank_d(name: str, d: int) -> None:
    """Every measure of orthonormal columns with mean zero is d."""
    columns = np.linalg.qr(np.hstack([np.ones((30, 1)), _random(30, d)]))[0][:, 1:]
    assert MEASURES[name](columns) == pytest.approx(d, abs=1e-6)


@pytest.mark.parametrize("name", MEASURES)
def test_the_identity_without_centering_has_full_rank(name: str) -> None:
    """`center=False` leaves the features as they are."""
    assert MEASURES[name](np.eye(6), center=False) == pytest.approx(6)


def test_centering_the_identity_removes_a_direction() -> None:
    """Centering removes the mean direction, so five equal directions of six are left."""
    assert ranks.effective_rank(np.eye(6)) == pytest.approx(5, abs=1e-5)
    assert ranks.deep_grokking_rank_code(np.eye(6)) == 5


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("center", [True, False])
def test_an_outer_product_has_rank_one(name: str, center: bool) -> None:
    """A single direction is left, up to the square root of rounding."""
    x = np.outer(_random(40), _random(5, seed=1))
    assert MEASURES[name](x, center=center) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", MEASURES)
def test_constant_features_have_rank_zero(name: str) -> None:
    """Features that are zero, or the same for every question."""
    assert MEASURES[name](np.zeros((8, 3))) == 0
    assert MEASURES[name](np.ones((8, 3))) == 0
    assert MEASURES[name](torch.zeros(8, 3)).item() == 0


def test_two_unequal_directions() -> None:
    """Closed forms for the singular values 3 and 1."""
    x = np.array([[3.0, 0.0], [0.0, 1.0]])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert ranks.effective_rank(x, center=False) == pytest.approx(np.exp(entropy))
    assert ranks.participation_ratio(x, center=False) == pytest.approx(100 / 82)
    assert ranks.stable_rank(x, center=False) == pytest.approx(10 / 9)
    assert ranks.srank(x, center=False) == 2


def test_srank_cuts_at_a_hundredth() -> None:
    """The largest σ is enough from a share of exactly 99 % on."""
    assert ranks.srank(np.diag([99.0, 1.0]), center=False) == 1
    assert ranks.srank(np.diag([98.99, 1.01]), center=False) == 2


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n", "d"), [(50, 8), (200, 3), (12, 11), (30, 1)])
def test_equals_the_singular_values(n: int, d: int, center: bool) -> None:
    """A measure computed from the covariance equals the measure computed from numpy's SVD of the features."""
    x = _ill_conditioned(n, d) + 0.3
    expected = _direct(x, center)
    measured = {name: float(measure(x, center=center)) for name, measure in MEASURES.items()}
    assert measured == pytest.approx(expected, rel=1e-6)


def test_more_features_than_questions() -> None:
    """Five questions span four directions after centering."""
    x = _random(5, 20)
    direct = _direct(x)
    assert ranks.effective_rank(x) == pytest.approx(direct["effective_rank"], abs=1e-4)
    assert ranks.deep_grokking_rank_code(x) == 4
    assert ranks.deep_grokking_rank_paper(x) == 4


@pytest.mark.parametrize("name", MEASURES)
def test_leading_axes_are_independent(name: str) -> None:
    """(2, 3, n, d) → (2, 3), each entry as if computed alone, in numpy and in torch."""
    x = np.stack([np.stack([_ill_conditioned(25, 6, seed=10 * i + j) for j in range(3)]) for i in range(2)])
    together = MEASURES[name](x)
    assert together.shape == (2, 3)
    assert together.dtype == np.float64
    alone = np.array([[_direct(x[i, j])[name] for j in range(3)] for i in range(2)])
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    tensor = MEASURES[name](torch.from_numpy(x))
    assert tensor.dtype == torch.float64
    np.testing.assert_allclose(tensor.numpy(), alone, rtol=1e-6)


@pytest.mark.parametrize("name", MEASURES)
def test_features_and_covariance_agree(name: str) -> None:
    """Features, their covariance with n, and `all_ranks` give the same number."""
    x = _ill_conditioned(40, 7)
    expected = MEASURES[name](x)
    assert MEASURES[name](covariance=covariance(x), n=40) == expected
    assert MEASURES[name](covariance=np.cov(x.T), n=40) == pytest.approx(expected, rel=1e-6)
    assert all_ranks(covariance(x), 40)[name] == expected


def test_float32_features_are_reduced_in_float64() -> None:
    """Single precision is widened before anything is summed."""
    x = _random(30, 4).astype(np.float32)
    for features in (x, torch.from_numpy(x), torch.from_numpy(x).requires_grad_()):
        reduced = covariance(features)
        assert str(reduced.dtype).endswith("float64")
        values = reduced.detach().numpy() if isinstance(reduced, torch.Tensor) else reduced
        np.testing.assert_allclose(values, np.cov(x.astype(np.float64).T), rtol=1e-12)


@pytest.mark.parametrize("name", MEASURES)
def test_a_single_question_has_rank_zero(name: str) -> None:
    """It spans no direction around its mean; n − 1 = 0 isn't divided by."""
    assert MEASURES[name](np.array([[3.0, -1.0]])) == 0
    assert MEASURES[name](torch.tensor([[3.0, -1.0]])).item() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_features_that_are_not_finite_show_in_the_covariance(value: float) -> None:
    """So they do when their squares overflow, and without a warning."""
    x = _random(5, 3)
    x[2, 1] = value
    assert not np.isfinite(covariance(x)).all()
    assert not covariance(torch.from_numpy(x)).isfinite().all()
    assert np.isfinite(covariance(x)[0, 0])


@pytest.mark.parametrize("name", MEASURES)
def test_a_covariance_in_float32_is_reduced_in_float64(name: str) -> None:
    """Its eigenvalues are those of the same numbers in float64, and it stays as it was."""
    single = covariance(_ill_conditioned(40, 7)).astype(np.float32)
    before = single.copy()
    assert MEASURES[name](covariance=single, n=40) == MEASURES[name](covariance=single.astype(np.float64), n=40)
    assert (single == before).all()


@pytest.mark.parametrize("name", MEASURES)
def test_neither_order_nor_rotation_matters(name: str) -> None:
    """Measures don't depend on the order of the questions, on the mean, or on the basis of the features."""
    x = _random(40, 7) @ np.diag(np.logspace(0, -2, 7))
    rotation = np.linalg.qr(_random(7, 7, seed=1))[0]
    moved = np.random.default_rng(2).permutation(x) @ rotation + _random(7, seed=3)
    assert MEASURES[name](moved) == pytest.approx(float(MEASURES[name](x)), rel=1e-9)


@pytest.mark.parametrize("name", SCALE_FREE)
@pytest.mark.parametrize("scale", [1e-100, 1e-30, 7.0, 1e100])
def test_scale_doesnt_matter(name: str, scale: float) -> None:
    """Every measure but the paper's absolute cut is free of scale."""
    x = _ill_conditioned(40, 7)
    assert MEASURES[name](scale * x) == pytest.approx(float(MEASURES[name](x)), rel=1e-9)


def test_scale_matters_to_the_papers_cut() -> None:
    """No eigenvalue of tiny features passes the absolute cut."""
    x = _random(40, 7)
    assert ranks.deep_grokking_rank_paper(x) == 7
    assert ranks.deep_grokking_rank_paper(1e-9 * x) == 0


@given(st.integers(2, 40), st.integers(1, 10), st.integers(1, 10), st.integers(0, 10**6))
def test_bounds(n: int, d: int, rank: int, seed: int) -> None:
    """Effective rank, srank, participation ratio and stable rank lie between 1 and the algebraic rank."""
    rank = min(rank, d, n - 1)
    x = _random(n, rank, seed=seed) @ _random(rank, d, seed=seed + 1)
    for name in ("effective_rank", "participation_ratio", "stable_rank", "srank"):
        value = float(MEASURES[name](x))
        assert 1 - 1e-9 <= value <= rank * (1 + 1e-3), name
    assert ranks.stable_rank(x) <= ranks.effective_rank(x) ** 2 * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "d", "rank"), [(60, 10, 10), (60, 10, 4), (300, 32, 7), (8, 20, 20)])
def test_deep_grokkings_code(n: int, d: int, rank: int, seed: int) -> None:
    """The expression in the paper's code, computed by torch."""
    x = torch.from_numpy(_random(n, rank, seed=seed) @ _random(rank, d, seed=seed + 1))
    expected = torch.linalg.matrix_rank(torch.cov(x.T)).item()
    assert ranks.deep_grokking_rank_code(x).item() == expected
    assert ranks.deep_grokking_rank_code(x.numpy()) == expected == min(rank, n - 1)


@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e-7])
def test_deep_grokkings_text(scale: float) -> None:
    """The number of eigenvalues above max(n, d)·ε, counted directly, with a cut inside the spectrum."""
    x = scale * _random(100, 8) @ np.diag(np.logspace(0, -4, 8))
    count = sum(value > 100 * EPSILON for value in np.linalg.eigvalsh(np.cov(x.T)))
    assert ranks.deep_grokking_rank_paper(x) == count
    wide = 1e-7 * _random(4, 300)
    count = sum(value > 300 * EPSILON for value in np.linalg.svd(wide - wide.mean(axis=0))[1] ** 2 / 3)
    assert ranks.deep_grokking_rank_paper(wide) == count


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3)])
def test_a_covariance_is_square(shape: tuple[int, ...]) -> None:
    """The error has its shape."""
    with pytest.raises(RankError, match="a covariance must have shape"):
        ranks.effective_rank(covariance=np.zeros(shape))


@pytest.mark.parametrize("name", MEASURES)
def test_either_features_or_covariance(name: str) -> None:
    """Giving neither or both is an error."""
    with pytest.raises(RankError, match="exactly one of them"):
        MEASURES[name]()
    with pytest.raises(RankError, match="exactly one of them"):
        MEASURES[name](np.eye(3), covariance=np.eye(3), n=3)


def test_the_papers_cut_needs_the_number_of_questions() -> None:
    """A covariance doesn't tell n."""
    with pytest.raises(RankError, match="needs n=, the number of questions"):
        ranks.deep_grokking_rank_paper(covariance=np.eye(3))
    assert ranks.effective_rank(covariance=np.eye(3)) == pytest.approx(3)


@pytest.mark.parametrize("x", [np.ones(3), torch.ones(3)])
def test_features_need_two_axes(x: Any) -> None:
    """Features are (…, n, d)."""
    with pytest.raises(RankError, match=r"features must have shape \(…, n, d\), got \(3,\)"):
        ranks.effective_rank(x)
