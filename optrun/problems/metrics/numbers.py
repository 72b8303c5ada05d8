"""Metrics of predicted numbers, in the units of the target."""

from collections.abc import Sequence

import numpy as np

from optrun.arrays import Array, lane_sum
from optrun.problems.metrics.prediction import RegressionMetric

EPS = float(np.finfo(np.float64).eps)


class RMSE(RegressionMetric):
    """The root of the mean squared error, in the units of the target.

        √(1/n Σᵢ (ŷᵢ - yᵢ)²)

    scikit-learn's `root_mean_squared_error`. The loss is the mean square in the units of training: of the standardized
    target, where the problem standardizes it.
    """

    goal = "minimize"

    @staticmethod
    def measure(predicted: Array, targets: Array) -> Array:
        root: Array = np.sqrt(_sum_of_squares(predicted - targets) / len(targets))
        return root


class MAE(RegressionMetric):
    """The mean absolute error, in the units of the target.

        1/n Σᵢ |ŷᵢ - yᵢ|

    scikit-learn's `mean_absolute_error`.
    """

    goal = "minimize"

    @staticmethod
    def measure(predicted: Array, targets: Array) -> Array:
        mean: Array = lane_sum(np.abs(predicted - targets)) / len(targets)
        return mean


class MAPE(RegressionMetric):
    """The mean absolute error relative to the target, as a fraction: 0.1 is 10 %.

        1/n Σᵢ |ŷᵢ - yᵢ| / max(|yᵢ|, ε)        ε = 2⁻⁵²

    A target near 0 makes it huge. scikit-learn's `mean_absolute_percentage_error`.
    """

    goal = "minimize"

    @staticmethod
    def measure(predicted: Array, targets: Array) -> Array:
        mean: Array = lane_sum(np.abs(predicted - targets) / np.maximum(np.abs(targets), EPS)) / len(targets)
        return mean


class R2(RegressionMetric):
    """The coefficient of determination: 1 is perfect, 0 as good as the mean of the part, below 0 worse.

        R² = 1 - Σᵢ (ŷᵢ - yᵢ)² / Σᵢ (yᵢ - ȳ)²        ȳ = 1/n Σᵢ yᵢ

    scikit-learn's `r2_score`.
    """

    goal = "maximize"

    @staticmethod
    def undefined(targets: Array, labels: Sequence[str]) -> str:
        return "has equal targets only" if (targets == targets[0]).all() else ""

    @staticmethod
    def measure(predicted: Array, targets: Array) -> Array:
        spread = _sum_of_squares((targets - targets.mean())[None])
        determined: Array = 1 - _sum_of_squares(predicted - targets) / spread
        return determined


class MedianError(RegressionMetric):
    """The median of the absolute errors, in the units of the target: outliers do not move it.

        median |ŷᵢ - yᵢ|

    scikit-learn's `median_absolute_error`.
    """

    goal = "minimize"

    @staticmethod
    def measure(predicted: Array, targets: Array) -> Array:
        median: Array = np.median(np.abs(predicted - targets), axis=-1)
        return median


def _sum_of_squares(errors: Array) -> Array:
    return lane_sum(errors * errors)
