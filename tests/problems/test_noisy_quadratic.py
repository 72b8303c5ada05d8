"""The noisy quadratic model against its closed form, and spectra of quadratics."""

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.errors import ConfigError
from optrun.problems import Quadratic


def expected(eigenvalues, lr, sigma, steps, start=1.0):
    """The mean loss of SGD: x - x* shrinks by 1 - lr λ, and its variance grows to lr σ² / (λ (2 - lr λ))."""
    shrunk = (1 - lr * eigenvalues) ** (2 * steps)
    variance = lr * sigma**2 / (eigenvalues * (2 - lr * eigenvalues))
    return np.sum(eigenvalues / 2 * (shrunk * start + (1 - shrunk) * variance))


@pytest.mark.parametrize("steps", [30, 1_000])
def test_sgd_on_a_noisy_quadratic_has_the_loss_of_its_closed_form(steps):
    dim, sigmas = 5_000, [0.0, 0.5, 2.0]
    data = {
        "problem": {"name": "quadratic", "dim": dim, "spectrum": {"two_clusters": 10.0, "share": 0.2}},
        "optimizer": {"name": "SGD", "lr": 0.02},
        "steps": steps,
        "record": {"every": 100},
        "sweep": {"parameters": {"problem.noise": sigmas}},
    }
    losses = [state.summary["final_loss"] for state in optrun.sweep(data, save=False).states]
    eigenvalues = np.repeat([1.0, 10.0], [dim * 4 // 5, dim // 5])
    closed = [expected(eigenvalues, 0.02, sigma, steps) for sigma in sigmas]
    # The start is x* ~ N(0, I), of mean square 1; both vary by √(2 / dim).
    np.testing.assert_allclose(losses, closed, rtol=0.1, atol=1e-6)


def test_momentum_has_its_steady_state():
    """Var x = lr σ² (1 + β) / (λ (1 - β) (2 (1 + β) - lr λ)) for the heavy ball."""
    lr, beta, sigma, dim = 0.02, 0.9, 0.5, 4_000
    data = {
        "problem": {"name": "quadratic", "dim": dim, "spectrum": [3.0] * dim, "noise": sigma},
        "optimizer": {"name": "SGD", "lr": lr, "momentum": beta},
        "steps": 500,
        "record": {"every": 100},
    }
    variance = lr * sigma**2 * (1 + beta) / (3.0 * (1 - beta) * (2 * (1 + beta) - lr * 3.0))
    loss = optrun.run(data, save=False).summary["final_loss"]
    assert loss == pytest.approx(dim * 1.5 * variance, rel=0.1)


@pytest.mark.parametrize(
    ("spectrum", "eigenvalues"),
    [
        ([1.0, 5.0, 2.0, 7.0], [1.0, 5.0, 2.0, 7.0]),
        ({"power_law": 2.0}, [1.0, 1 / 4, 1 / 9, 1 / 16]),
        ({"two_clusters": 50.0}, [1.0, 1.0, 50.0, 50.0]),
        ({"two_clusters": 0.1, "share": 0.25}, [1.0, 1.0, 1.0, 0.1]),
    ],
)
@pytest.mark.parametrize("rotation", [False, True])
def test_the_hessian_has_the_given_spectrum(spectrum, eigenvalues, rotation):
    problem = Quadratic(Arrays(dtype="float64"), dim=4, spectrum=spectrum, rotation=rotation)
    shifted = problem.minimizers[0]["x"] + np.eye(4)
    grads = np.empty((4, 4))
    problem.loss_and_grad({"x": shifted}, {"x": grads}, None)
    if not rotation:
        np.testing.assert_allclose(np.diag(grads), eigenvalues, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.eigvalsh(grads), sorted(eigenvalues), rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spectrum": [1.0, 2.0, 3.0]}, "spectrum: 4 numbers expected, one per dimension, not 3"),
        ({"spectrum": [1.0, 2.0, 3.0, -1.0]}, r"spectrum\.3 must be > 0"),
        ({"spectrum": {"power": 1.0}}, "spectrum: a list of eigenvalues, {power_law: exponent} or"),
        ({"spectrum": {"two_clusters": 2.0, "share": 1.5}}, "share between 0 and 1"),
        ({"spectrum": {"power_law": 1.0}, "condition": 3.0}, "condition: it has no effect beside spectrum"),
    ],
)
def test_a_spectrum_that_does_not_fit_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Quadratic(Arrays(), dim=4, **options)
