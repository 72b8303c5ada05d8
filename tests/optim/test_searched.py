"""Gradient descent and conjugate gradients with line searches: against textbooks, torch's search, optax and SciPy."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.registry import optimizers
from tests.oracles.objectives import OBJECTIVES, start

STEPS, BOUND = 120, 1e-10
FORMULAS = ("polak_ribiere", "fletcher_reeves", "hestenes_stiefel", "dai_yuan")


def bowl(x):
    """An ellipsoid with curvatures from 0.1 to 10."""
    return OBJECTIVES["quadratic"](x, 0)


def valley(x):
    """Rosenbrock's function with a wide valley."""
    return OBJECTIVES["banana"](x, 0)


def drifting(x, t):
    """The valley, elsewhere at every step, so that a search never ends at a minimum, where rounding decides."""
    return valley(x - 0.5 * np.sin(2.0 * t + np.arange(x.size)))


EVERY_FUNCTION = pytest.mark.parametrize("function", [bowl, valley])


def ours(name, function, steps=STEPS, at=None, **options):
    x = start(5) if at is None else at
    params = Parameters.of({"x": x}, arrays=Arrays(dtype="float64"))
    optimizer, rows = optimizers.find(name)(params, **options), []

    for t in range(steps):

        def closure(t=t):
            at = (params.data[0], t) if function is drifting else (params.data[0],)
            loss, params.grad[0] = function(*at)
            return loss

        optimizer.step(closure)
        rows.append(params.data[0].copy())
    return np.array(rows)


def beta(formula, g, before, d):
    y = g - before
    return {
        "polak_ribiere": lambda: max(g @ y / (before @ before), 0),
        "fletcher_reeves": lambda: (g @ g) / (before @ before),
        "hestenes_stiefel": lambda: max(g @ y / (d @ y), 0),
        "dai_yuan": lambda: (g @ g) / (d @ y),
    }[formula]()


def from_torchs_searches(found, formula, *, lr, c2):
    """Return each step of Nocedal & Wright's algorithm, with torch's strong Wolfe search, from where a found one began.

    From step to step a search makes more of a rounding error. Without a formula it is steepest descent.
    """
    lbfgs = pytest.importorskip("torch.optim.lbfgs")
    torch = pytest.importorskip("torch")
    rows, known = [], None
    for step, x in enumerate([start(5), *found[:-1]]):

        def along(x, t, d, step=step):
            loss, slope = drifting((x + t * d).numpy(), step)
            return float(loss), torch.tensor(slope)

        f, g = drifting(x, step)
        d = -g
        if known and formula:
            d = -g + beta(formula, g, *known[:2]) * known[1]
            d = d if g @ d < 0 else -g
        alpha = lr * known[2] * known[3] / (g @ d) if known else lr * min(1, 1 / np.abs(g).sum())
        at, way, slope = (torch.tensor(each) for each in (x, d, g))
        _, _, t, _ = lbfgs._strong_wolfe(along, at, alpha, way, float(f), slope, float(g @ d), c2=c2)
        known = (g, d, float(t), g @ d)
        rows.append(x + float(t) * d)
    return np.array(rows)


@pytest.mark.full
@pytest.mark.parametrize("formula", ["", *FORMULAS])
def test_steps_are_the_textbooks_with_torchs_search(formula):
    name, own = (
        ("NonlinearCG", {"formula": formula})
        if formula
        else ("GradientDescent", {"line_search_fn": "strong_wolfe"})
    )
    options = {"lr": 0.9, "c2": 0.1}
    found = ours(name, drifting, **own, **options)
    np.testing.assert_allclose(found, from_torchs_searches(found, formula, **options), rtol=0, atol=BOUND)


def backtracked(function, *, lr, decrease, increase, c1):
    """Return the trajectory of gradient descent by Armijo's rule."""
    x, rows, last = start(5), [], None
    for _ in range(STEPS):
        f, g = function(x)
        alpha = lr if last is None else min(increase * last, lr)
        while function(x - alpha * g)[0] > f - c1 * alpha * (g @ g):
            alpha *= decrease
        x, last = x - alpha * g, alpha
        rows.append(x)
    return np.array(rows)


@EVERY_FUNCTION
def test_gradient_descent_backtracks_by_armijos_rule(function):
    options = {"lr": 1.4, "decrease": 0.7, "increase": 1.6, "c1": 0.01}
    assert (
        np.abs(ours("GradientDescent", function, **options) - backtracked(function, **options)).max() <= BOUND
    )


@pytest.mark.full
@EVERY_FUNCTION
def test_backtracking_is_optaxs(function):
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    with jax.enable_x64(True):
        jnp = jax.numpy
        curvature, offset = jnp.geomspace(0.1, 10, 5), jnp.array([4.0, -5.0, 3.0, 6.0, -4.0])
        value = {
            bowl: lambda x: (curvature * (x - offset) ** 2).sum() / 2,
            valley: lambda x: ((x[1:] - x[:-1] ** 2) ** 2).sum() + 0.01 * ((1 - x[:-1]) ** 2).sum(),
        }[function]
        rule = optax.chain(
            optax.sgd(1.0),
            optax.scale_by_backtracking_linesearch(
                60, decrease_factor=0.7, increase_factor=1.6, max_learning_rate=1.4
            ),
        )
        x, rows = jnp.asarray(start(5)), []
        state = rule.init(x)

        @jax.jit
        def step(x, state):
            f, g = jax.value_and_grad(value)(x)
            moved, state = rule.update(g, state, x, value=f, grad=g, value_fn=value)
            return x + moved, state

        for _ in range(STEPS):
            x, state = step(x, state)
            rows.append(np.asarray(x))
    found = ours("GradientDescent", function, lr=1.4, decrease=0.7, increase=1.6)
    assert np.abs(found - np.array(rows)).max() <= BOUND


def test_on_a_quadratic_with_a_tight_search_it_is_the_method_of_hestenes_and_stiefel():
    """Which the formulas share there; each finds the minimum in as many steps as there are variables."""
    curvature, minimizer = np.array([1.0, 2.0, 5.0, 9.0]), np.array([1.0, -2.0, 0.5, 3.0])

    def function(x):
        return (curvature * (x - minimizer) ** 2).sum() / 2, curvature * (x - minimizer)

    x, rows = np.zeros(4), []
    r = d = -curvature * (x - minimizer)
    for _ in range(4):
        alpha = r @ r / (d @ (curvature * d))
        x, after = x + alpha * d, r - alpha * curvature * d
        r, d = after, after + (after @ after) / (r @ r) * d
        rows.append(x)
    for formula in FORMULAS:
        found = ours("NonlinearCG", function, 4, np.zeros(4), formula=formula, c2=1e-9)
        np.testing.assert_allclose(found, rows, atol=1e-5)
    np.testing.assert_allclose(rows[-1], minimizer, rtol=1e-12)


def test_it_finds_what_scipys_finds():
    optimize = pytest.importorskip("scipy.optimize")
    theirs = optimize.minimize(valley, start(5), jac=True, method="CG", options={"gtol": 1e-10})
    np.testing.assert_allclose(ours("NonlinearCG", valley, 200, c2=0.2)[-1], theirs.x, rtol=1e-6)


def test_where_no_trial_is_lower_the_parameters_stay_and_the_next_trials_are_smaller():
    def cliff(x):
        return float(np.abs(x).sum()) + 1e6 * float((x < 0.999).any()), np.sign(x)

    found = ours("GradientDescent", cliff, 4, np.ones(2), lr=1.0, max_eval=4, increase=1.0)
    assert (found[0] == 1).all()
    assert (found[-1] < 1).all()
    assert cliff(found[-1])[0] < 2


@pytest.mark.parametrize("name", ["GradientDescent", "NonlinearCG"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_gradients_too_small_to_be_squared_move_nothing(name, formula):
    params = Parameters.of({"x": np.ones(3)}, arrays=Arrays(dtype="float32"))
    options = {"formula": formula} if name == "NonlinearCG" else {"line_search_fn": "strong_wolfe"}
    optimizer = optimizers.find(name)(params, **options)
    for size in (1.0, 1.0, 1e-30, 1e-30, 1.0):

        def closure(size=size):
            params.grad[:] = size * params.data
            return size * float((params.data**2).sum()) / 2

        optimizer.step(closure)
    assert np.isfinite(params.data).all()
