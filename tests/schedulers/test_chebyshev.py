"""Chebyshev's steps: the certificate of what they reach, and the order in which rounding does not spoil it."""

import numpy as np
import pytest

from optrun.schedulers import ChebyshevLR

special = pytest.importorskip("scipy.special")

ORDERS = ["fractal", "decreasing", "increasing"]


def bound(n, condition):
    """Return 1 / Tₙ: what is left of the distance to the minimum after n optimal steps."""
    return 1 / special.eval_chebyt(n, (condition + 1) / (condition - 1))


def descended(n, condition, order, *, rotated=False):
    """Return the distances to the minimum after n steps, of 1 at first, for eigenvalues from 1 / condition to 1."""
    values = np.linspace(1 / condition, 1, 61)
    axes = np.linalg.qr(np.random.default_rng(3).normal(size=(61, 61)))[0] if rotated else np.eye(61)
    hessian, x, minimum = axes @ np.diag(values) @ axes.T, np.zeros(61), axes @ np.ones(61)
    for rate in ChebyshevLR(total_steps=n, condition=condition, order=order).at(np.arange(n), 1.0)[:, 0]:
        x = x - rate * (hessian @ x - hessian @ minimum)
    return np.abs(axes.T @ (x - minimum))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("n", "condition"), [(1, 7.0), (2, 10.0), (5, 10.0), (8, 100.0), (13, 50.0)])
def test_n_steps_reach_the_optimal_bound_and_it_is_attained(n, condition, order):
    left = descended(n, condition, order)
    best = bound(n, condition)
    assert left.max() == pytest.approx(best, rel=1e-9)
    assert left[[0, -1]] == pytest.approx([best, best], rel=1e-9)


@pytest.mark.parametrize("n", [128, 100, 65])
def test_the_fractal_order_keeps_the_bound_where_the_others_lose_it(n):
    best = bound(n, 1000.0)
    assert descended(n, 1000.0, "fractal", rotated=True).max() == pytest.approx(best, rel=1e-6)
    for order in ("decreasing", "increasing"):
        assert not descended(n, 1000.0, order, rotated=True).max() <= 1e6 * best


def test_the_order_is_the_one_of_the_paper():
    rates = ChebyshevLR(total_steps=8, condition=30.0).at(np.arange(8), 1.0)[:, 0]
    ranks = np.argsort(np.argsort(-rates)) + 1
    assert ranks.tolist() == [1, 8, 4, 5, 2, 7, 3, 6]


@pytest.mark.parametrize("n", [1, 3, 48, 100, 128])
def test_every_order_has_every_rate_once_and_starts_over(n):
    tables = [ChebyshevLR(total_steps=n, order=order).at(np.arange(2 * n), 0.1)[:, 0] for order in ORDERS]
    for rates in tables:
        assert np.sort(rates[:n]) == pytest.approx(tables[2][:n], rel=1e-15)
        assert rates[n:].tolist() == rates[:n].tolist()
    assert (np.diff(tables[1][:n]) < 0).all()
