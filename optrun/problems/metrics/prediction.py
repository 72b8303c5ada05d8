"""Metrics of predictions: one number per lane for each part of the data.

A metric is a class with one static method, whose arguments say what it needs::

    class Precision(ClassificationMetric):
        '''tp / (tp + fp) of the last class.'''

        goal = "maximize"

        @staticmethod
        def measure(confusion):
            return confusion[:, -1, -1] / confusion[:, :, -1].sum(axis=-1)

It returns one number per lane, ``[B]``, which depends on this lane alone, to the bit, and writes into no argument.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from optrun.arrays import Array
from optrun.plugin_code import contract_error, shape_text
from optrun.problems.data import Task
from optrun.registry import prediction_metrics, snake_case

Goal = Literal["minimize", "maximize"]


class PredictionMetric:
    """One number per lane for the predictions of a part, registered under its class name in snake case.

    Everything is in float64 on the host. NaN stands for a number that is not defined.
    """

    goal: ClassVar[Goal]
    """Which end is the better one."""

    task: ClassVar[Task]
    """Whether the predictions are of classes or of numbers."""

    inputs: ClassVar[Sequence[str]] = ()
    """What `measure` may take."""

    needs: ClassVar[tuple[str, ...]]
    """What `measure` takes."""

    measure: ClassVar[Callable[..., Any]]
    """Returns the numbers ``[B]``; a static method of every metric."""

    @staticmethod
    def undefined(targets: Array, labels: Sequence[str]) -> str:
        """Return why the metric is undefined for a part with these targets ``[n]``; empty where it is defined.

        ``labels`` are the names of the classes, whose numbers the targets are; empty for a regression.
        """
        return ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "inputs" in vars(cls) or cls.__name__.startswith("_"):
            return
        if not hasattr(cls, "measure"):
            prediction_metrics.add_lacking(cls, f"measure({', '.join(cls.inputs)})")
            return
        cls.needs = tuple(inspect.signature(cls.measure).parameters)
        if not cls.needs or not set(cls.inputs).issuperset(cls.needs):
            raise TypeError(f"{cls.__name__}.measure takes some of {', '.join(cls.inputs)}")
        if (goal := getattr(cls, "goal", None)) not in get_args(Goal):
            raise TypeError(f"{cls.__name__}.goal is 'minimize' or 'maximize', not {goal!r}")
        prediction_metrics.add(cls, snake_case(cls.__name__))

    @classmethod
    def of(cls, predictions: "Predictions") -> Array:
        """Return the numbers, NaN for lanes whose outputs are not finite; PluginError where they are not ``[B]``."""
        with np.errstate(all="ignore"):
            found = cls.measure(*(getattr(predictions, name) for name in cls.needs))
        if getattr(found, "shape", None) != predictions.finite.shape:
            what = f"returns {shape_text(found)}, not an array of shape {predictions.finite.shape}: one number per lane"
            raise contract_error(cls.measure, what)
        return np.where(predictions.finite, found, np.nan)


class ClassificationMetric(PredictionMetric):
    """A metric of classes, which are numbered 0 … C-1 in sorted order."""

    task = "classification"
    inputs = ("targets", "predicted", "probabilities", "scores", "confusion")


class RegressionMetric(PredictionMetric):
    """A metric of numbers, which are in the units of the target, even where the problem standardizes it."""

    task = "regression"
    inputs = ("targets", "predicted")


class Predictions:
    """What the models of B lanes say of the n samples of a part; a subclass has more of it."""

    def __init__(self, targets: Array, predicted: Array, finite: Array) -> None:
        self.targets = targets
        """``[n]``"""
        self.predicted = predicted
        """``[B, n]``"""
        self.finite = finite
        """``[B]``, whether all outputs of a lane are finite."""


class ClassPredictions(Predictions):
    """The same of C classes; ``probabilities`` is None where the model has only scores."""

    def __init__(
        self,
        targets: Array,
        predicted: Array,
        finite: Array,
        *,
        scores: Array,
        probabilities: Array | None,
    ) -> None:
        super().__init__(targets, predicted, finite)
        self.scores = scores
        """``[B, C, n]``: higher for what is more likely; the probabilities where there are any."""
        self.probabilities = probabilities
        """``[B, C, n]``"""

    @cached_property
    def confusion(self) -> Array:
        """The number of samples of each class, along rows, that were predicted as each, ``[B, C, C]``."""
        lanes, classes = self.scores.shape[:2]
        cells = self.targets * classes + self.predicted
        cells += np.arange(lanes)[:, None] * classes**2
        counts = np.bincount(cells.ravel(), minlength=lanes * classes**2)
        return counts.reshape(lanes, classes, classes)


def measured(names: Sequence[str], predictions: Predictions) -> Mapping[str, Array]:
    """Return the metrics of these names, each ``[B]``."""
    return {name: prediction_metrics.find(name).of(predictions) for name in names}
