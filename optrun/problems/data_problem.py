"""Problems on data: which samples, their preparation, and their parts."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Lt, MinLen

from optrun.arrays import Array, Arrays
from optrun.errors import ConfigError
from optrun.problems.data import (
    TEST_FRACTION,
    AutoTask,
    Dataset,
    DataSource,
    Decimal,
    Layout,
    Missing,
    Preparation,
    Scaling,
    Split,
    Target,
    absent_classes,
    class_weights,
    images_for_testing,
    listed,
    load,
    possible_mistakes,
    repeated,
    with_parts,
)
from optrun.problems.losses import ClassLoss, Loss
from optrun.problems.metrics.baselines import baselines
from optrun.problems.metrics.suitable import unsuitable
from optrun.problems.problem import Problem
from optrun.registry import Added, Fraction, OwnOrRunSeed, PathOrName, PathsWithin, Positive, Unless

Columns = Annotated[list[str | int], MinLen(1)] | None
"""Globs of the names of columns, or numbers of columns, from 0."""


class DataProblem(Problem, ABC):
    """A problem on samples, which have up to three parts: for training, for selection (val) and for the final figures.

    The validation and the test samples depend only on ``split_seed``. Unless it follows the seed of the run, all runs
    are evaluated on the same ones.

    Raises ConfigError if the data cannot be read or do not suit the loss.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        data: DataSource,
        target: Annotated[str | int | None, "target column of a table, by default the last"] = None,
        task: Annotated[
            AutoTask,
            "by default, or auto, classification where targets are names or a few whole numbers",
        ] = None,
        header: Annotated[
            bool | None,
            "whether a text table's first line names its columns, by default where it is no sample",
        ] = None,
        index: Annotated[
            bool | None,
            "whether a table's first column is left out, by default where it has no name and numbers the rows",
        ] = None,
        features: Annotated[
            Columns,
            Added(),
            Unless("drop"),
            "columns of a table to learn from: globs of names, or numbers from 0",
        ] = None,
        drop: Annotated[Columns, Added(), "columns of a table that are left out, in the same form"] = None,
        categories: Annotated[
            Literal["auto"] | list[str | int],
            Added(),
            "columns of a table that become one feature for each word; auto, also in the list: all of words",
        ] = "auto",
        missing: Annotated[
            Missing,
            Added(),
            "missing cells of a table: an error, rows left out, or filled in by the training samples' median or mode "
            "(of words: the mode); indicator: the median, and a feature that marks them",
        ] = "error",
        decimal: Annotated[
            Decimal | None, Added(), "decimal sign of a text table's numbers, by default the one that fits"
        ] = None,
        class_weight: Annotated[
            Literal["balanced"] | dict[str, Positive] | None,
            Added(),
            "weights of classes in the loss; balanced: n / (classes · n of the class), of the training samples",
        ] = None,
        standardize: Annotated[
            bool, "scale features, and a real target, to mean 0 and variance 1 in training"
        ] = True,
        test_fraction: Annotated[
            float, Ge(0), Lt(1), Unless("split"), Unless("folds"), "part of the samples held out for testing"
        ] = TEST_FRACTION,
        split_seed: Annotated[
            OwnOrRunSeed,
            Unless("split", but_mapping=True),
            "chooses the samples held out; the word seed: the run's, so that each has its own",
        ] = 0,
        validation_fraction: Annotated[
            float,
            Ge(0),
            Lt(1),
            Added(),
            Unless("split", but_mapping=True),
            "part of the samples held out for selection: val_loss, val_accuracy",
        ] = 0.0,
        split: Annotated[
            str | int | dict[str, Fraction | str] | None,
            Added(),
            PathsWithin(),
            "column of a table, or array of an NPZ file, that says train, val or test for each sample; or the fraction "
            "of each part; or the files of the val and test parts",
        ] = None,
        group: Annotated[
            str | int | None, Added(), "column of a table: rows in which it is equal stay in one part"
        ] = None,
        folds: Annotated[
            Annotated[int, Ge(2)] | None,
            Added(),
            Unless("split"),
            "of a cross-validation: so many parts, of which one is for testing",
        ] = None,
        fold: Annotated[
            OwnOrRunSeed,
            Added(),
            "which of the folds that is, from 0; after the last comes the first. The word seed: the run's seed",
        ] = 0,
    ) -> None:
        super().__init__(arrays)
        if isinstance(split_seed, str) or isinstance(fold, str):
            option = "split_seed" if isinstance(split_seed, str) else "fold"
            raise ConfigError(
                f"{option}: a problem without a run has no seed to follow: give a number", field=option
            )
        layout = Layout(
            target,
            header,
            index,
            None if isinstance(split, dict) else split,
            features=None if features is None else tuple(features),
            drop=None if drop is None else tuple(drop),
            categories=None if categories == "auto" else tuple(categories),
            missing=None if missing == "error" else missing,
            decimal=decimal,
            group=group,
        )
        chosen = Split(test_fraction, validation_fraction, split_seed, folds, fold)
        paths: Mapping[str, str] = {}
        if isinstance(split, dict):
            chosen, paths = Split.of_mapping(split, chosen)
        dataset = load(data, layout)
        if paths:
            dataset = with_parts(dataset, paths, layout)
        self._dataset = dataset
        self.task = task
        self.loss, targets = self._loss_and_targets(dataset)
        by_class = isinstance(self.loss, ClassLoss)
        has_own = dataset.parts is not None and not (isinstance(split, (str, int)) or paths)
        refused = {"folds": folds, "split": split, "test_fraction": test_fraction != TEST_FRACTION}
        if has_own and (option := next((name for name, given in refused.items() if given), "")):
            raise ConfigError(
                f"{option}: {dataset.shown!r} has test samples of its own: leave it out", field=option
            )
        rows = chosen.rows(dataset, targets if by_class else None)
        train = rows["train"]
        self.targets = {part: targets[own] for part, own in rows.items() if len(own)}
        """The targets ``[n]`` of each part: class indices, or numbers in their own units."""
        if class_weight is not None:
            if not by_class:
                raise ConfigError(
                    f"class_weight: the target of {dataset.shown!r} is a real number, of no class",
                    field="class_weight",
                )
            names = [str(name) for name in dataset.classes()[0].tolist()]
            self.loss.weights = class_weights(class_weight, names, targets[train])
        if by_class:
            classes = tuple(dataset.classes()[0].tolist())
            weights = tuple(self.loss.weights or ())
            described = Target(dataset.target_name, classes, None, weights, dataset.target_of)
        else:
            scaling = Scaling.fit(targets[train]) if standardize and self.loss.scales_target else None
            described = Target(dataset.target_name, scaling=scaling)
            targets = scaling.apply(targets) if scaling else targets
        self.preparation = Preparation.fit(
            dataset.samples,
            train,
            standardize=standardize,
            missing=dataset.missing,
            categories=dataset.categories,
            target=described,
            decimal=dataset.decimal,
            has_thousands=dataset.has_thousands,
        )
        """What makes features of samples, of these or of new ones."""
        prepared = self.preparation.features(dataset.samples)
        self.inferred = dataset.inferred(
            {part: len(own) for part, own in rows.items()},
            by_class=by_class,
            features=math.prod(self.preparation.shape),
        )
        if self.loss.weights is not None:
            self.inferred += f", class weights {listed([f'{weight:.3g}' for weight in self.loss.weights])}"
        self._rows, self._targets_of_all = rows, targets
        self._split_notes = []
        if has_own and split_seed and not validation_fraction:
            self._split_notes.append(f"split_seed has no effect: {dataset.shown} has a split of its own")
        if PathOrName.is_path(data) and "test" not in paths and (unused := images_for_testing(Path(data))):
            self._split_notes.append(
                f"the test images of {dataset.shown} are not used: split: {{test: …/{unused.name}}} takes them"
            )
        if len({*paths.values()}) < len(paths):
            self._split_notes.append(
                "the val and test parts are one file: what is selected on one favours the other"
            )
        if by_class:
            self._split_notes += chosen.notes(dataset, rows)
            self._split_notes += absent_classes(rows, targets, [str(name) for name in described.classes])
        self._check_range(prepared, "features", standardize=standardize)
        self._check_range(targets, "targets", standardize=standardize)
        self.parts: dict[str, tuple[Array, Array]] = {
            part: (arrays.array(prepared[own]), arrays.array(targets[own]))
            for part, own in rows.items()
            if len(own)
        }
        """The features ``[n, *shape]`` and the targets ``[n]`` of each part that has samples."""

    @cached_property
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        """Possible mistakes in the data; not looked for by the processes of a sweep, which do not say them."""
        dataset = self._dataset
        return [
            *possible_mistakes(dataset, by_class=isinstance(self.loss, ClassLoss)),
            *self.preparation.unknown_words(dataset.samples),
            *repeated(dataset, self._targets_of_all, self._rows),
            *self._split_notes,
        ]

    def _check_range(self, values: Array, what: str, *, standardize: bool) -> None:
        """Raise ConfigError if a value is too large for the dtype."""
        dtype = self.arrays.dtype
        largest = max(abs(float(values.max())), abs(float(values.min())))
        if not largest <= float(np.finfo(dtype).max):
            remedy = "dtype: float64" if standardize else "standardize: true, or dtype: float64,"
            raise ConfigError(
                f"data: the {what} reach {largest:.3g}, which {dtype} cannot hold: {remedy} may, or scale them",
                field="data",
            )

    @abstractmethod
    def _loss_and_targets(self, dataset: Dataset) -> tuple[Loss, Array]:
        """Return the loss, and the targets ``[N]`` in its form; ConfigError if they do not suit it."""

    def unmeasured(self, metric: str) -> str:
        return unsuitable(metric, self.targets, [str(each) for each in self.preparation.target.classes])

    def baselines(self, measure: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
        with np.errstate(all="ignore"):
            return baselines(self, measure)

    @property
    def fingerprint(self) -> str:
        return self._dataset.fingerprint
