"""Metrics of predictions, which `evaluate.metrics` names: each is a class."""

from optrun.problems.metrics.labels import Accuracy, BalancedAccuracy, F1Macro, F1Weighted
from optrun.problems.metrics.numbers import MAE, MAPE, R2, RMSE, MedianError
from optrun.problems.metrics.prediction import (
    ClassificationMetric,
    PredictionMetric,
    Predictions,
    RegressionMetric,
)
from optrun.problems.metrics.probabilities import AveragePrecision, Brier, LogLoss, RocAuc

__all__ = [
    "MAE",
    "MAPE",
    "R2",
    "RMSE",
    "Accuracy",
    "AveragePrecision",
    "BalancedAccuracy",
    "Brier",
    "ClassificationMetric",
    "F1Macro",
    "F1Weighted",
    "LogLoss",
    "MedianError",
    "PredictionMetric",
    "Predictions",
    "RegressionMetric",
    "RocAuc",
]
