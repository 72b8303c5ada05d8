"""Metrics of the probabilities of classes, and of the ranking of samples by them."""

from collections.abc import Callable, Sequence

import numpy as np

from optrun.arrays import Array, lane_sum
from optrun.problems.metrics.prediction import ClassificationMetric

EPS = float(np.finfo(np.float64).eps)


class LogLoss(ClassificationMetric):
    """The mean of -log p of the true class, of which p is clipped to [ε, 1 - ε], ε = 2⁻⁵².

        -1/n Σᵢ log pᵢ(yᵢ)

    Always without penalties and weights, and in float64, which the loss of the problem need not be.
    scikit-learn's `log_loss`.
    """

    goal = "minimize"

    @staticmethod
    def measure(probabilities: Array, targets: Array) -> Array:
        own = probabilities[:, targets, np.arange(len(targets))]
        mean: Array = -lane_sum(np.log(np.clip(own, EPS, 1 - EPS))) / len(targets)
        return mean


class Brier(ClassificationMetric):
    """The mean squared error of the probabilities; with two classes that of one of them.

        1/n Σᵢ Σ_c (pᵢ(c) - [c = yᵢ])²        half of it with two classes

    Brier (1950), scikit-learn's `brier_score_loss`.
    """

    goal = "minimize"

    @staticmethod
    def measure(probabilities: Array, targets: Array) -> Array:
        lanes, classes, samples = probabilities.shape
        errors = probabilities - (targets == np.arange(classes)[:, None])
        errors *= errors
        mean: Array = lane_sum(errors.reshape(lanes, -1)) / samples
        return mean / 2 if classes == 2 else mean


class _Ranking(ClassificationMetric):
    """A metric of each class against the others, which a part without samples of the class has not."""

    goal = "maximize"

    @staticmethod
    def undefined(targets: Array, labels: Sequence[str]) -> str:
        absent = [label for c, label in enumerate(labels) if not (targets == c).any()]
        return f"has no sample of class {absent[0]!r}" if absent else ""


class RocAuc(_Ranking):
    """The probability that a sample of a class has a higher score than one of another; ties count half.

        AUC = P(s⁺ > s⁻) + ½ P(s⁺ = s⁻)        of the second of two classes; else the mean over the classes

    Chance gives ½. Hanley & McNeil (1982), scikit-learn's `roc_auc_score(multi_class="ovr", average="macro")`.
    """

    @staticmethod
    def measure(scores: Array, targets: Array) -> Array:
        return _one_vs_rest(scores, targets, _auc)


class AveragePrecision(_Ranking):
    """The precision at each rank, averaged over the samples of the class; its ranks are those of the highest scores.

        AP = Σ_k (R_k - R_{k-1}) P_k        of the second of two classes; else the mean over the classes

    Chance gives the share of the class. scikit-learn's `average_precision_score`.
    """

    @staticmethod
    def measure(scores: Array, targets: Array) -> Array:
        return _one_vs_rest(scores, targets, _average_precision)


def _one_vs_rest(scores: Array, targets: Array, measure: Callable[[Array, Array], Array]) -> Array:
    classes = scores.shape[1]
    if classes == 2:
        return measure(scores[:, 1], targets == 1)
    total = np.zeros(len(scores))
    for c in range(classes):
        total += measure(scores[:, c], targets == c)
    mean: Array = total / classes
    return mean


def _auc(scores: Array, positive: Array) -> Array:
    """Return the area under the curve by the sum of the ranks of the positives, in integers until the division."""
    order, first, last = _sorted(scores)
    # Twice the mean rank of those that are equal, ranks from 1.
    ranks = np.where(positive[order], first + last + 2, 0).sum(axis=-1)
    count = int(positive.sum())
    pairs = count * (len(positive) - count)
    area: Array = (ranks - count * (count + 1)) / (2 * pairs)
    return area


def _average_precision(scores: Array, positive: Array) -> Array:
    order, _, last = _sorted(-scores)
    chosen = positive[order]
    found = np.take_along_axis(chosen.cumsum(axis=-1), last, axis=-1)
    mean: Array = lane_sum(np.where(chosen, found / (last + 1), 0.0)) / positive.sum()
    return mean


def _sorted(values: Array) -> tuple[Array, Array, Array]:
    """Return the ascending order of each lane, and for each place the first and the last with the same value."""
    order = values.argsort(axis=-1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=-1)
    lanes, samples = values.shape
    places = np.arange(samples)
    begins = np.ones((lanes, samples + 1), bool)
    begins[:, 1:-1] = ascending[:, 1:] != ascending[:, :-1]
    first = np.maximum.accumulate(np.where(begins[:, :-1], places, 0), axis=-1)
    ends = np.where(begins[:, 1:], places, samples)
    last = np.minimum.accumulate(ends[:, ::-1], axis=-1)[:, ::-1]
    return order, first, last
