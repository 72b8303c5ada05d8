"""The example of every optimizer's docstring works: with it one reaches minima."""

import inspect
import textwrap

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.config import parse
from optrun.errors import ConfigError
from optrun.registry import optimizers, wrappers
from optrun.training.pack import Pack
from optrun.training.stacking import built

STEPS = 3000
SPECTRUM = np.geomspace(1.0, 100.0, 10)
MINIMIZER = np.linspace(-2.0, 2.0, 10)


def quadratic(x):
    return 0.5 * SPECTRUM @ (x - MINIMIZER) ** 2, SPECTRUM * (x - MINIMIZER)


def rosenbrock(x):
    inner = x[1] - x[0] ** 2
    loss = 100 * inner**2 + (1 - x[0]) ** 2
    return loss, np.array([-400 * x[0] * inner - 2 * (1 - x[0]), 200 * inner])


def diagonal(function, x, t):
    """Return a sample of the diagonal of the Hessian, by differences of gradients along random signs."""
    signs = np.random.default_rng(t).choice([-1.0, 1.0], x.shape)
    return signs * (function(x + 1e-6 * signs)[1] - function(x - 1e-6 * signs)[1]) / 2e-6


def example(rule, problem="rosenbrock"):
    """Return the config that the docstring shows."""
    _, _, text = inspect.getdoc(rule).partition("Example:\n\n")
    shown = textwrap.dedent(text.split("\n\n")[0])
    return parse(f"{shown}\nproblem: {problem}\nsteps: {STEPS}")


def loss_after(config, function, start):
    """Return the function's value where the example leads from a start."""
    rule = optimizers.find(config.optimizer.name)
    shape = start.shape
    try:
        rule.validate_parameter("x", shape)
    except ConfigError:
        shape = (len(start) // 2, 2)
    params = Parameters.of({"x": start.reshape(shape)}, arrays=Arrays(dtype="float64"))
    optimizer = rule(params, **config.optimizer.options)
    scheduler = built(config.scheduler, optimizer) if config.scheduler else None

    def closure():
        loss, params.grad[0] = function(params.data[0])
        return loss

    for t in range(STEPS):
        if optimizer.awaits_curvature:
            params.curvature[0] = diagonal(function, params.data[0], t)
        if optimizer.awaits_noise:
            params.noise[0] = np.random.default_rng(t).normal(size=params.size)
        optimizer.step(closure)
        if scheduler:
            scheduler.step()
    return function(params.data[0])[0]


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in optimizers if optimizers.find(name).__doc__])
def test_the_example_reaches_the_optimum_of_a_quadratic(name):
    start = np.zeros(10)
    assert loss_after(example(optimizers.find(name)), quadratic, start) <= 1e-6 * quadratic(start)[0]


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in optimizers if optimizers.find(name).__doc__])
def test_the_example_lowers_rosenbrocks_function_a_thousandfold(name):
    start = np.array([-1.2, 1.0])
    assert loss_after(example(optimizers.find(name)), rosenbrock, start) <= 1e-3 * rosenbrock(start)[0]


@pytest.mark.full
@pytest.mark.parametrize("name", list(wrappers))
def test_the_example_of_a_wrapper_lowers_a_quadratic_a_thousandfold(name):
    pack = Pack([example(wrappers.find(name), "{name: quadratic, dim: 10, condition: 100}")])
    first = pack.problem.evaluate(pack.evaluated())["loss"].item()
    for _ in pack.iterate(0):
        pass
    assert pack.problem.evaluate(pack.evaluated())["loss"].item() <= 1e-3 * first
