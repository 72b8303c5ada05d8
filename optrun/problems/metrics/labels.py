"""Metrics of predicted classes, of which the confusion matrix has all."""

import numpy as np

from optrun.arrays import Array
from optrun.problems.metrics.prediction import ClassificationMetric


class Accuracy(ClassificationMetric):
    """The fraction of samples whose class is predicted; measured always.

        1/n Σᵢ [ŷᵢ = yᵢ]

    scikit-learn's `accuracy_score`.
    """

    goal = "maximize"

    @staticmethod
    def measure(predicted: Array, targets: Array) -> Array:
        share: Array = (predicted == targets).mean(axis=-1)
        return share


class BalancedAccuracy(ClassificationMetric):
    """The mean over the classes of the fraction of their samples that is predicted.

        1/|C| Σ_c tp_c / n_c        over the classes that occur

    Always to predict one of C classes gives 1/C. Brodersen et al. (2010), scikit-learn's `balanced_accuracy_score`.
    """

    goal = "maximize"

    @staticmethod
    def measure(confusion: Array) -> Array:
        samples = confusion.sum(axis=-1)
        recall = _hits(confusion) / np.maximum(samples, 1)
        return _over_classes(recall, (samples > 0) * 1.0)


class F1Macro(ClassificationMetric):
    """The mean over the classes of F1, the harmonic mean of precision and recall.

        F1_c = 2 tp_c / (2 tp_c + fp_c + fn_c)        1/|C| Σ_c F1_c over the classes that occur or are predicted

    scikit-learn's `f1_score(average="macro")`.
    """

    goal = "maximize"

    @staticmethod
    def measure(confusion: Array) -> Array:
        scores, seen = _f1(confusion)
        return _over_classes(scores, (seen > 0) * 1.0)


class F1Weighted(ClassificationMetric):
    """The mean of the F1 of the classes, each weighted by its number of samples.

        1/n Σ_c n_c F1_c        F1_c = 2 tp_c / (2 tp_c + fp_c + fn_c)

    scikit-learn's `f1_score(average="weighted")`.
    """

    goal = "maximize"

    @staticmethod
    def measure(confusion: Array) -> Array:
        scores, _ = _f1(confusion)
        return _over_classes(scores, confusion.sum(axis=-1) * 1.0)


def _hits(confusion: Array) -> Array:
    hits: Array = np.diagonal(confusion, axis1=-2, axis2=-1)
    return hits


def _f1(confusion: Array) -> tuple[Array, Array]:
    """Return F1 and the number of samples that are, or are predicted to be, of each class, ``[B, C]``."""
    seen = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return 2 * _hits(confusion) / np.maximum(seen, 1), seen


def _over_classes(values: Array, weights: Array) -> Array:
    """Return the weighted mean over the classes, added in their order."""
    total, weight = np.zeros(len(values)), np.zeros(len(values))
    for c in range(values.shape[1]):
        total += values[:, c] * weights[:, c]
        weight += weights[:, c]
    mean: Array = total / weight
    return mean
