"""Functions and quadratics against closed forms."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.errors import ConfigError
from optrun.problems import Beale, Himmelblau, Quadratic, Rosenbrock
from optrun.problems.functions import diagnostics
from optrun.registry import problems
from tests.problems.cases import FUNCTIONS, build, pack


def at(problem, *points):
    params = Parameters(problem.shapes, lanes=len(points), arrays=problem.arrays, lane_fast=True)
    for lane, x in enumerate(points):
        params.set_lane(lane, {"x": np.array(x, float)})
    loss = problem.loss_and_grad(params, params.grads, None).copy()
    return loss, params.grad.copy()


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_rosenbrock_is_scipys(dim):
    optimize = pytest.importorskip("scipy.optimize")
    points = np.random.default_rng(0).standard_normal((20, dim))
    loss, grad = at(Rosenbrock(Arrays(dtype="float64"), dim=dim), *points)
    np.testing.assert_allclose(loss, [optimize.rosen(x) for x in points], rtol=1e-12)
    np.testing.assert_allclose(grad, [optimize.rosen_der(x) for x in points], rtol=1e-10, atol=1e-12)


def test_a_start_is_drawn_for_each_seed_from_its_box():
    box = [[-2.0, 2.0], [5.0, 6.0]]
    problem = build(("rosenbrock", {"init": {"uniform": box}}))
    starts = np.array([problem.initial(seed)["x"] for seed in range(200)])
    assert (starts.min(axis=0) >= [-2, 5]).all()
    assert (starts.max(axis=0) <= [2, 6]).all()
    np.testing.assert_allclose(starts.std(axis=0), np.array([4, 1]) / np.sqrt(12), rtol=0.1)
    assert (problem.for_lanes({"start": None}).initial(7)["x"] == starts[7]).all()
    for init, message in (
        ({"uniform": [[0.0, 1.0]] * 3}, "init: 2 ranges expected"),
        ({"uniform": [[1.0, 1.0]]}, "init: a range goes from a number to a larger one, not from 1 to 1"),
        ({"normal": [[0.0, 1.0]]}, "init"),
    ):
        with pytest.raises(ConfigError, match=message):
            build(("rosenbrock", {"init": init}))
    with pytest.raises(ConfigError, match="init: it has no effect beside start"):
        build(("rosenbrock", {"init": {"uniform": box}, "start": [1.0, 1.0]}))


def near_start(problem):
    """A point near the start, where no function of ours has an edge."""
    scale = 0.1 * np.diff(problem.domain)[:, 0].clip(max=3.0)
    return problem.start + scale * np.random.default_rng(5).uniform(0.2, 1, problem.dim)


def in_dimensions(name):
    """Variants of a function: as it is, and with as few dimensions as it may have, and more, where it may."""
    if "dim" not in (options := problems.find(name).options()):
        return [(name, {})]
    least = {"dim": options["dim"].bounds[0].limit}
    return [(name, {}), (name, least), pytest.param(name, {"dim": 8}, marks=pytest.mark.full)]


def frozen(function, at):
    """The function with what it detaches as it is at a point, so that its slope is the gradient there."""
    kept = []

    def value(x, detached):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(diagnostics, "detach", detached)
            return function(x)

    value(at, lambda part: kept.append(part) or part)

    def of(x):
        again = iter(kept)
        return value(x, lambda part: next(again))

    return of


EVERY_FUNCTION = pytest.mark.parametrize(
    ("name", "options"), [case for name in FUNCTIONS for case in in_dimensions(name)], ids=str
)


@EVERY_FUNCTION
def test_a_function_is_what_is_known_about_it(name, options):
    problem = build((name, options))
    assert (problem.domain[:, 0] < problem.domain[:, 1]).all()
    for minimizer in problem.minimizers:
        x = minimizer["x"]
        loss, grad = at(problem, x)
        scale = max(1.0, abs(problem.minimum))
        assert loss[0] == pytest.approx(problem.minimum, abs=1e-12 * scale)
        is_inside = ((x > problem.domain[:, 0]) & (x < problem.domain[:, 1])).all()
        assert not is_inside or np.abs(grad).max() < 1e-9 * scale
        low, high = problem.domain.T
        others = np.random.default_rng(0).uniform(low, high, (500, problem.dim))
        near = np.clip(x + 0.01 * np.random.default_rng(1).standard_normal((500, problem.dim)), low, high)
        assert (at(problem, *others, *near)[0] > problem.minimum - 1e-12 * scale).all()
    x, h = near_start(problem), 1e-3
    steps = h * np.concatenate([k * np.eye(problem.dim) for k in (-2, -1, 1, 2)])
    function = frozen(partial(problem.f, **problem._options), x)
    values = np.array([function(each) for each in x + steps]).reshape(4, problem.dim)
    loss, grad = at(problem, x)
    differences = np.array([1, -8, 8, -1]) @ values / (12 * h)
    assert loss[0] == pytest.approx(function(x), rel=1e-12)
    np.testing.assert_allclose(grad[0], differences, rtol=1e-5, atol=1e-5 * np.abs(differences).max())


@EVERY_FUNCTION
def test_the_image_of_a_minimizer_is_one_where_the_function_is_as_low_there(name, options):
    problem = build((name, options))
    signs = np.concatenate([1 - 2 * np.eye(problem.dim), -np.ones((1, problem.dim))])
    for minimizer in problem.minimizers[:20]:
        x = minimizer["x"]
        around = 2 * np.pi * np.concatenate([np.eye(problem.dim), -np.eye(problem.dim)])
        images = np.concatenate([signs * x, x[None, ::-1], x + around])
        low, high = problem.domain.T
        images = images[((images >= low) & (images <= high)).all(axis=1)]
        with np.errstate(all="ignore"):
            lowest = images[at(problem, *images)[0] < problem.minimum + 1e-9] if len(images) else images
        known = np.array([each["x"] for each in problem.minimizers])
        assert (np.linalg.norm(lowest[:, None] - known, axis=2).min(axis=1) < 1e-3).all()


def test_the_minimum_of_michalewicz_holds_for_its_usual_m_alone():
    usual, other = build(("michalewicz", {})), build(("michalewicz", {"m": 1}))
    assert usual.minimizers
    assert other.minimum is None
    assert not other.minimizers
    assert at(other, [2.0717, np.pi / 2])[0] < usual.minimum - 0.03


class Symbolic:
    """A number of SymPy that NumPy's functions take, at a point that decides comparisons."""

    def __init__(self, expression, point):
        self.expression, self.point = expression, point

    def _with(self, expression):
        return Symbolic(expression, self.point)

    def __getattr__(self, name):
        if name not in ("exp", "sin", "cos", "sqrt", "arctan"):
            raise AttributeError(name)
        sympy = pytest.importorskip("sympy")
        return lambda: self._with(getattr(sympy, {"arctan": "atan"}.get(name, name))(self.expression))

    def __abs__(self):
        return self._with(abs(self.expression))

    def __lt__(self, other):
        return bool(self.expression.subs(self.point) < other)

    def __neg__(self):
        return self._with(-self.expression)


for _operator in ("add", "sub", "mul", "truediv", "pow"):
    for _name in (f"__{_operator}__", f"__r{_operator}__"):

        def _operation(self, other, name=_name):
            other = other.item() if isinstance(other, np.ndarray) else other  # of np.where
            sympy = pytest.importorskip("sympy")
            if isinstance(other, Symbolic):
                given = other.expression
            else:
                given = (
                    sympy.Integer(int(other)) if float(other).is_integer() else sympy.Float(float(other), 40)
                )
            return self._with(getattr(self.expression, name)(given))

        setattr(Symbolic, _name, _operation)


@pytest.mark.full
@EVERY_FUNCTION
def test_a_gradient_and_a_product_with_the_hessian_are_sympys(name, options):
    sympy = pytest.importorskip("sympy")
    problem = build((name, options))
    x = near_start(problem)
    names = sympy.symbols(f"x:{problem.dim}", real=True)
    point = {symbol: sympy.Float(value, 40) for symbol, value in zip(names, x.tolist(), strict=True)}
    function = frozen(partial(problem.f, **problem._options), x)
    value = function(np.array([Symbolic(symbol, point) for symbol in names])).expression
    slopes = [sympy.diff(value, symbol) for symbol in names]
    v = np.random.default_rng(6).standard_normal(problem.dim)
    along = sum(slope * sympy.Float(each, 40) for slope, each in zip(slopes, v.tolist(), strict=True))
    products = [sympy.diff(along, symbol) for symbol in names]
    for found, exact in (
        (at(problem, x)[1][0], slopes),
        (problem.hessian_times({"x": x[None]}, v[None])[0], products),
    ):
        numbers = [float(sympy.re(each.evalf(30, subs=point))) for each in exact]
        np.testing.assert_allclose(found, numbers, rtol=1e-10, atol=1e-12 * np.abs(numbers).max())


def exact_beale(x, y):
    return sum((Fraction(c) - x + x * y**k) ** 2 for k, c in ((1, "1.5"), (2, "2.25"), (3, "2.625")))


def exact_himmelblau(x, y):
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


@pytest.mark.parametrize(("cls", "exact"), [(Beale, exact_beale), (Himmelblau, exact_himmelblau)])
def test_values_are_those_of_the_formula_in_exact_arithmetic(cls, exact):
    points = [(1.0, 1.0), (3.0, 0.5), (-1.25, 2.5), (0.0, 0.0), (4.0, -4.5)]
    loss, _ = at(cls(Arrays(dtype="float64")), *points)
    np.testing.assert_allclose(loss, [float(exact(Fraction(x), Fraction(y))) for x, y in points], rtol=1e-14)


def test_himmelblau_has_four_minimizers():
    points = [tuple(minimizer["x"]) for minimizer in Himmelblau(Arrays()).minimizers]
    assert len(set(points)) == 4


@pytest.mark.parametrize(
    ("problem", "start"),
    [
        (Rosenbrock(Arrays(), dim=5), [-1.2, 1, -1.2, 1, -1.2]),
        (Beale(Arrays()), [1, 1]),
        (Himmelblau(Arrays()), [0, 0]),
        (Quadratic(Arrays(), dim=3), [0, 0, 0]),
        (Beale(Arrays(), start=[4.0, -2.0]), [4, -2]),
    ],
)
def test_starts(problem, start):
    assert problem.initial(0)["x"].tolist() == problem.initial(99)["x"].tolist() == start


@pytest.mark.parametrize("rotation", [False, True])
def test_the_hessian_of_a_quadratic_has_the_promised_eigenvalues(rotation):
    problem = Quadratic(Arrays(dtype="float64"), dim=6, condition=1e4, rotation=rotation)
    center = problem.minimizers[0]["x"]
    loss, hessian = at(problem, *(center + np.eye(6)))
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), np.logspace(0, 4, 6), rtol=1e-9)
    np.testing.assert_allclose(loss, np.diag(hessian) / 2, rtol=1e-9)
    assert np.allclose(hessian, np.diag(np.diag(hessian))) != rotation


def test_the_instance_of_a_quadratic_is_named_by_its_seed():
    first, same, other = (
        Quadratic(Arrays(dtype="float64"), rotation=True, problem_seed=seed) for seed in (0, 0, 1)
    )
    point = np.full(10, 0.3)
    assert at(first, point)[1].tobytes() == at(same, point)[1].tobytes()
    assert at(first, point)[0] != at(other, point)[0]


def test_noise_is_on_the_gradient_alone_with_the_promised_spread():
    noisy, exact = build(("rosenbrock", {"noise": 0.5})), build(("rosenbrock", {}))
    seeds = list(range(500))
    params, batches = pack(exact, seeds), noisy.batches(seeds)
    assert noisy.loss_and_grad(params, params.grads, batches[70]).tobytes() == (
        exact.loss_and_grad(pack(exact, seeds), pack(exact, seeds).grads, None).tobytes()
    )
    draws = np.stack([batches[t].of_kinds[0] for t in (0, 1, 63, 64)])
    assert draws.std() == pytest.approx(0.5, rel=0.05)
    assert abs(draws.mean()) < 0.05
    assert len(np.unique(draws)) == draws.size
    noisy_grad = params.grad.copy()
    exact.loss_and_grad(params, params.grads, None)
    np.testing.assert_allclose(noisy_grad - params.grad, batches[70].of_kinds[0].T, atol=1e-9)
