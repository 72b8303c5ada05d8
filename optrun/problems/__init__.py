"""Problems: losses and gradients of all lanes."""

from optrun.problems.expression import Expression
from optrun.problems.function import Dim, Function
from optrun.problems.functions.valleys import Beale, Himmelblau, Rosenbrock
from optrun.problems.metrics import ClassificationMetric, RegressionMetric
from optrun.problems.networks import MLP
from optrun.problems.problem import Batches, Problem
from optrun.problems.quadratics import Quadratic
from optrun.problems.regression import (
    HuberRegression,
    LinearRegression,
    LogisticRegression,
    PoissonRegression,
    SoftmaxRegression,
)

__all__ = [
    "MLP",
    "Batches",
    "Beale",
    "ClassificationMetric",
    "Dim",
    "Expression",
    "Function",
    "Himmelblau",
    "HuberRegression",
    "LinearRegression",
    "LogisticRegression",
    "PoissonRegression",
    "Problem",
    "Quadratic",
    "RegressionMetric",
    "Rosenbrock",
    "SoftmaxRegression",
]
