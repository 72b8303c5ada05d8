"""What the tests of problems share: small variants of every registered problem, and packs of random lanes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from optrun.arrays import Arrays, Parameters
from optrun.problems import Function, Problem
from optrun.registry import problems

SMALL = {
    "mlp": {"data": "iris", "hidden": [5]},
    "softmax_regression": {"data": "iris"},
    "quadratic": {"dim": 4},
    "expression": {
        "f": "(1 - x)**2 + a * sum((y[i + 1] - y[i] * sin(x))**2 for i in range(len(y) - 1)) + exp(z / 4)",
        "start": {"x": -1.2, "y": [1.0, 0.3, 0.5], "z": 0.5},
        "parameters": {"a": 10.0},
    },
}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "rosenbrock": [{"dim": 5}, {"noise": 0.3}, {"dim": 3, "start": [1.0, 2.0, 3.0]}],
    "expression": [{"noise": 0.1, "dim": 7}],
    "beale": [{"noise": 0.1}],
    "himmelblau": [{"noise": 0.1}],
    "ackley": [{"dim": 3}],
    "quadratic": [
        {"rotation": True},
        {"dim": 1, "condition": 1.0},
        {"rotation": True, "noise": 1.0, "dim": 17},
    ],
    "linear_regression": [{"l2": 0.1, "batch_size": 32}, {"bias": False, "standardize": False}, {"l1": 0.1}],
    "huber_regression": [{"delta": 0.3, "l2": 0.1, "batch_size": 32}],
    "poisson_regression": [{"l2": 0.1, "batch_size": 32}],
    "logistic_regression": [
        {"l2": 0.1, "batch_size": 100, "sampling": "replacement"},
        {"bias": False, "l2": 0.01},
    ],
    "softmax_regression": [{"l2": 0.1, "batch_size": 17, "sampling": "fixed"}, {"bias": False}],
    "mlp": [
        {"activation": "tanh", "l2": 0.1},
        {"activation": "gelu", "hidden": [4, 3], "batch_size": 17},
        {"data": "diabetes", "batch_size": 32, "bias": False},
        {"data": "iris", "loss": "cross_entropy", "batch_size": 119},  # the last batch is a single sample
        {"data": "spirals(samples=50)", "hidden": [], "test_fraction": 0},
    ],
}
FUNCTIONS = [name for name in problems if issubclass(problems.find(name), Function)]
SOME_FUNCTIONS = {"rosenbrock", "beale", "himmelblau", "ackley", "griewank", "helical_valley"}
"""With all that functions are made of; the others are formulas of the same words."""
CASES = [
    (name, SMALL.get(name, {}) | variant)
    for name in problems
    if name not in FUNCTIONS or name in SOME_FUNCTIONS
    for variant in [{}, *VARIANTS.get(name, [])]
]


def case_id(case: tuple[str, dict[str, Any]]) -> str:
    return "-".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


def build(case: tuple[str, dict[str, Any]], dtype: str = "float64") -> Problem:
    name, options = case
    problem: Problem = problems.find(name)(Arrays(dtype=dtype), **options)
    return problem


def point(problem: Problem, seed: int) -> dict[str, Any]:
    """A random point, not far from where the seed starts."""
    draws = np.random.default_rng(seed)
    return {k: v + 0.3 * draws.standard_normal(v.shape) for k, v in problem.initial(seed).items()}


def pack(problem: Problem, seeds: Sequence[int], *, lane_fast: bool | None = None) -> Parameters:
    fast = problem.lane_fast if lane_fast is None else lane_fast
    params = Parameters(problem.shapes, lanes=len(seeds), arrays=problem.arrays, lane_fast=fast)
    for lane, seed in enumerate(seeds):
        params.set_lane(lane, point(problem, seed))
    return params
