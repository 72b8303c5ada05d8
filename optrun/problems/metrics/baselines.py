"""What predicts without being trained: beside its figures, those of a run say what they are worth."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from optrun.arrays import Array, one_blas_thread
from optrun.problems.losses import BinaryCrossEntropy, ClassLoss
from optrun.problems.metrics.prediction import ClassPredictions, Predictions, measured
from optrun.problems.model import predictions_of
from optrun.registry import prediction_metrics

if TYPE_CHECKING:
    from optrun.problems.data_problem import DataProblem

PRIOR, MEAN, LEAST_SQUARES = "class prior", "mean", "least squares"

MOST_WORK = 5e8
"""Above this number of samples times the square of features, least squares would take longer than a second."""

_TINY = 1e-30
"""Stands for the probability of a class without training samples; a float32 can hold it."""


def baselines(problem: "DataProblem", measure: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the figures of what needs no training, by its name; figures that are undefined are left out.

    The class prior gives each sample the shares of the classes in training, and so predicts the largest class. Least
    squares is the linear function of the features that fits the training targets, of classes 0 and 1 for each: scores,
    which are no probabilities.
    """
    is_class = isinstance(problem.loss, ClassLoss)
    names = [*(["accuracy"] if is_class else []), *(name for name in measure if name != "accuracy")]
    found: dict[str, dict[str, float]] = {}
    for title, part, predictions, loss in _predicted(problem):
        figures = found.setdefault(title, {})
        known = [
            name
            for name in names
            if all(getattr(predictions, each) is not None for each in prediction_metrics.find(name).needs)
        ]
        figures |= {f"{part}_{name}": float(of[0]) for name, of in measured(known, predictions).items()}
        if loss is not None:
            figures[f"{part}_loss"] = loss
    return {
        title: {name: value for name, value in figures.items() if math.isfinite(value)}
        for title, figures in found.items()
    }


def _predicted(problem: "DataProblem") -> Iterator[tuple[str, str, Predictions, float | None]]:
    """Yield the name of each baseline, a part, what it predicts there, and its loss, if it has one."""
    loss, targets = problem.loss, problem.targets
    if isinstance(loss, ClassLoss):
        classes = len(problem.preparation.target.classes)
        shares = np.bincount(targets["train"], minlength=classes) / len(targets["train"])
        logits = np.log(np.maximum(shares, _TINY))
        if isinstance(loss, BinaryCrossEntropy):
            logits = logits[1:] - logits[:1]
        title, fitted = PRIOR, (targets["train"][:, None] == np.arange(classes)) * 1.0
    else:
        fitted = problem.arrays.to_host(problem.parts["train"][1]).astype(np.float64)[:, None]
        title, logits = MEAN, loss.outputs_of(fitted.mean(axis=0))
    for part, own in targets.items():
        outputs = np.repeat(logits[:, None], len(own), axis=1)
        found = predictions_of(loss, problem.preparation.target, own, outputs[None])
        yield title, part, found, _loss(problem, part, outputs)
    for part, outputs in _linear(problem, fitted).items():
        if isinstance(loss, ClassLoss):
            scores = outputs[None]
            finite = np.ones(1, bool)
            said = scores.argmax(axis=1)
            predictions = ClassPredictions(targets[part], said, finite, scores=scores, probabilities=None)
            yield LEAST_SQUARES, part, predictions, None
        else:
            outputs = loss.outputs_of(outputs)
            found = predictions_of(loss, problem.preparation.target, targets[part], outputs[None])
            yield LEAST_SQUARES, part, found, _loss(problem, part, outputs)


def _linear(problem: "DataProblem", fitted: Array) -> Mapping[str, Array]:
    """Return the outputs ``[o, n]`` of least squares for each part; none where it would take long."""
    samples, width = len(fitted), math.prod(problem.parts["train"][0].shape[1:]) + 1
    if samples * width**2 > MOST_WORK:
        return {}
    features = {
        part: np.column_stack(
            [problem.arrays.to_host(x).astype(np.float64).reshape(len(x), -1), np.ones(len(x))]
        )
        for part, (x, _) in problem.parts.items()
    }
    with one_blas_thread:
        coefficients = np.linalg.lstsq(features["train"], fitted)[0]
        return {part: (x @ coefficients).T for part, x in features.items()}


def _loss(problem: "DataProblem", part: str, outputs: Array) -> float:
    """Return the loss of outputs ``[o, n]`` on a part."""
    arrays, y = problem.arrays, problem.parts[part][1]
    loss = arrays.empty((1, 1))
    problem.loss(arrays.array(outputs[None, None]), problem.loss.prepared(y[None]), loss)
    return float(arrays.to_host(loss)[0, 0])
