"""A trained run on other samples: what it predicts, and its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from optrun.arrays import Array, Arrays, one_blas_thread
from optrun.config import ConfigErrors, from_mapping
from optrun.errors import ConfigError, StateError, counted
from optrun.kernels.denormals import denormals
from optrun.problems.data import Preparation, Table
from optrun.problems.data.new_samples import NewSamples, known_targets
from optrun.problems.metrics.prediction import ClassPredictions, Predictions, measured
from optrun.problems.metrics.suitable import unsuitable
from optrun.problems.model import inputs_of
from optrun.problems.supervised import Supervised
from optrun.registry import problems


@dataclass(frozen=True)
class Evaluation:
    """The figures of a run on other samples."""

    samples: int
    """How many have a target, and all cells that are needed."""
    left_out: int
    """How many have none, or lack cells where such rows were left out of training, too."""
    figures: Mapping[str, float]
    """``loss``, ``accuracy`` of classes, and the metrics that were asked for."""
    classes: Sequence[int | str]
    confusion: Array | None
    """The number of samples of each class, along rows, that were predicted as each ``[C, C]``; None of numbers."""


class Predictor:
    """A model with its parameters; it is computed in the dtype of its run, on the CPU.

    Raises ConfigError where the config is of no problem that predicts, or of one whose plugin is not loaded, and
    StateError where the parameters are not those of the config.
    """

    def __init__(
        self, config: Mapping[str, Any], preparation: Preparation, params: Mapping[str, Array]
    ) -> None:
        cls = problem_class(config)
        self.preparation = preparation
        try:
            chosen = from_mapping(
                {"problem": config["problem"], "dtype": config.get("dtype"), "optimizer": "SGD", "steps": 1}
            )
        except ConfigErrors as error:
            raise ConfigError(f"the config of the run is not valid: {error}") from None
        self.config = chosen
        self.arrays = Arrays("numpy", chosen.dtype)
        self._options = chosen.problem.options
        self._model = cls.model_of(self.arrays, self._options, preparation)
        known = len(preparation.target.classes)
        if known and known != max(2, self._model.loss.outputs):
            raise StateError(f"{chosen.problem.name} has not {known:,} classes")
        found = {name: values.shape for name, values in params.items()}
        if found != self._model.layers.shapes:
            raise StateError(
                f"the parameters of the run are {_shapes(found)}, where its config has "
                f"{_shapes(self._model.layers.shapes)}"
            )
        self._params = {name: self.arrays.array(values[None]) for name, values in params.items()}

    @cached_property
    def classes(self) -> tuple[int | str, ...]:
        """The classes in the order of their probabilities; empty for a real target."""
        return self.preparation.target.classes

    def predictions(self, new: NewSamples) -> Predictions:
        """Return what is predicted for N samples: `ClassPredictions` of classes; its targets mean nothing.

        Raises ConfigError if the samples do not suit the model, or if outputs are not finite.
        """
        with one_blas_thread, denormals(flushed=True), np.errstate(all="ignore"):
            return self._predicted(new.samples, np.zeros(len(new), np.int64))[0]

    def _predicted(self, samples: Table | Array, targets: Array) -> tuple[Predictions, Array, Array]:
        """Return what is predicted, the outputs ``[1, 1, o, N]``, and the array of their loss ``[1, 1]``."""
        ((outputs, loss),) = self._model.outputs(self._params, self._inputs(samples))
        found = self._model.predictions(targets, outputs[:, 0])
        if not found.finite.all():
            bad = int((~np.isfinite(outputs[0, 0]).all(axis=0)).sum())
            raise ConfigError(
                f"the outputs of {counted(bad, 'sample')} are not finite: the run has diverged, or the samples are far "
                "from those of training"
            )
        return found, outputs, loss

    def complete(self, new: NewSamples) -> Array:
        """Return whether each sample is one that training would have used, ``[N]``: all unless missing is drop."""
        if self._options.get("missing") == "drop":
            return self.preparation.complete(new.samples)
        return np.ones(len(new), bool)

    def evaluate(self, new: NewSamples, metrics: Sequence[str] = ()) -> Evaluation:
        """Return the figures on samples with targets; ConfigError as `predictions`, and for a metric that they lack."""
        rows, own = known_targets(new, self.preparation.target)
        complete = self.complete(new)[rows]
        if not complete.any():
            raise ConfigError("data: no row with a target has all cells", field="data")
        rows, own = rows[complete], own[complete]
        samples = (new if len(rows) == len(new) else new.take(rows)).samples
        for name in metrics:
            if why := unsuitable(name, {"new": own}, [str(each) for each in self.classes]):
                raise ConfigError(f"{name} does not suit the run, {why}")
        scaling = self.preparation.target.scaling
        targets = self.arrays.array(own if scaling is None else scaling.apply(own))
        with one_blas_thread, denormals(flushed=True), np.errstate(all="ignore"):
            predicted, outputs, loss = self._predicted(samples, own)
            measures = measured(metrics, predicted)
            prepared = self._model.loss.prepared(targets[None])
            found = self._model.figures_of(outputs, loss, targets, prepared, measures)
        figures = {name: float(values[0]) for name, values in found.items()}
        confusion = predicted.confusion[0] if isinstance(predicted, ClassPredictions) else None
        return Evaluation(len(rows), len(new) - len(rows), figures, self.classes, confusion)

    def _inputs(self, samples: Table | Array) -> Array:
        features = self.arrays.array(self.preparation.features(samples))
        bias, batch_size = self._options["bias"], self._options["batch_size"]
        return inputs_of(self.arrays, features, bias=bias, batch_size=batch_size)


def problem_class(config: Mapping[str, Any]) -> type[Supervised]:
    """Return the class of a config's problem; ConfigError if it is not known, or predicts nothing."""
    section = config.get("problem")
    name = section.get("name") if isinstance(section, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError("the config of the run names no problem")
    if name not in problems:
        raise ConfigError(
            f"the problem {name!r} is of a plugin, which predicts only once it is loaded: --plugin FILE, which runs "
            "its code"
        )
    cls = problems.find(name)
    if not issubclass(cls, Supervised):
        raise ConfigError(f"{name} predicts nothing: it has no layers that were trained on data")
    return cls


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "none"
