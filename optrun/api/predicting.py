"""Predictions of runs: the model that a run has left, and the samples that it is given."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from optrun.arrays import Array
from optrun.checks.messages import not_one_of
from optrun.errors import ConfigError, OptrunWarning, StateError, StoreError
from optrun.problems.data import Decimal, Table
from optrun.problems.data.new_samples import NewSamples, given_samples, read_samples
from optrun.problems.metrics.prediction import ClassPredictions, Predictions
from optrun.store import Store
from optrun.store.locate import CONFIG
from optrun.training.predictor import Predictor, problem_class
from optrun.training.prepared import preparation_of

if TYPE_CHECKING:
    from optrun.api.runs import Run


def predictor_of(run: "Run", *, average: bool = False) -> Predictor:
    """Return the model of a run, with its final parameters or their average.

    Nothing of the run's plugins is loaded. Raises ConfigError if its problem predicts nothing or is of a plugin that is
    not loaded, and if it has no such parameters; StoreError if it was run by an older version, or is damaged.
    """
    problem_class(run.config)
    params = run.average if average else run.params
    if not params:
        why = (
            "keeps no average: its config has average: null"
            if average and run.params
            else (f"has left no parameters: it is {run.status}")
        )
        raise ConfigError(f"{_named(run)}: {why}")
    try:
        if run.memory is not None:
            preparation = preparation_of(run.memory, run.record)
        else:
            assert run.path is not None
            with Store.open(run.path) as store:
                preparation = preparation_of(store, run.record)
        if preparation is None:
            raise StoreError(
                f"{_named(run)}: an older optrun ran it, which did not keep how samples are prepared: run it again: "
                f"optrun run {_again(run)}"
            )
        return Predictor(run.config, preparation, params)
    except StateError as error:
        raise StoreError(f"{_named(run)}: {error}") from None


def samples_of(
    predictor: Predictor, samples: Any, targets: Any = None, *, decimal: str | None = None
) -> NewSamples:
    """Return samples, given as an array, a data frame, or the path of a file; ConfigError where they do not suit."""
    if decimal not in (None, ".", ","):
        raise ConfigError(f"decimal: {not_one_of(['.', ','], decimal)}", field="decimal")
    sign = cast(Decimal | None, decimal)
    if isinstance(samples, (str, os.PathLike)):
        new = read_samples(os.fspath(samples), predictor.preparation, sign)
    else:
        new = given_samples(samples, predictor.preparation, sign)
    if decimal is not None and not isinstance(new.samples, Table):
        raise ConfigError("decimal: only the numbers of a table have a decimal sign", field="decimal")
    if not len(new):
        raise ConfigError("data: there is no sample", field="data")
    if targets is None:
        return new
    own = np.asarray(targets)
    if own.dtype.kind == "O":
        own = np.array([str(each) for each in own.tolist()])
    if own.shape != (len(new),) or own.dtype.kind not in "fiubU":
        raise ConfigError(f"data: {len(new):,} targets are expected, not {own.dtype} of shape {own.shape}")
    return replace(new, targets=own)


def warn_of_unknown(predictor: Predictor, new: NewSamples) -> None:
    """Warn the caller of the calling method about words that no training sample had, as the command `predict` does."""
    for each in predictor.preparation.unknown_words(new.samples):
        warnings.warn(each, OptrunWarning, stacklevel=3)


def predicted(predictor: Predictor, found: Predictions) -> Array:
    """Return the predicted classes in the words of the data, or numbers in the units of the target, ``[N]``."""
    if isinstance(found, ClassPredictions):
        return predictor.preparation.target.decoded(found.predicted[0])
    numbers: Array = found.predicted[0]
    return numbers


def probabilities(predictor: Predictor, found: Predictions) -> Array:
    """Return the probabilities ``[N, C]``; ConfigError for a real target."""
    if not isinstance(found, ClassPredictions) or found.probabilities is None:
        raise ConfigError(f"{predictor.config.problem.name} predicts numbers, which have no probabilities")
    return np.ascontiguousarray(found.probabilities[0].T)


def _named(run: "Run") -> str:
    return str(run.path) if run.path is not None else "the run"


def _again(run: "Run") -> Path | str:
    assert run.path is not None
    return f"{run.path}:{run.record.run}" if run.setting else run.path / CONFIG


def names_of(metrics: str | Sequence[str]) -> list[str]:
    """Return the names of metrics, given as a list or with commas."""
    names = metrics.split(",") if isinstance(metrics, str) else metrics
    return [name.strip() for name in names if name.strip()]
