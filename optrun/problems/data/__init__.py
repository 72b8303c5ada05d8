"""Data sets by name or path, their split, and their scaling."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from optrun.arrays import Array
from optrun.checks.scalars import resolve
from optrun.errors import ConfigError, counted, did_you_mean, fold
from optrun.hyperparameters import option_named
from optrun.problems.data import mnist1d, synthetic
from optrun.problems.data.cells import Decimal as Decimal
from optrun.problems.data.columns import Table as Table
from optrun.problems.data.dataset import AutoTask as AutoTask
from optrun.problems.data.dataset import Dataset as Dataset
from optrun.problems.data.dataset import Task as Task
from optrun.problems.data.dataset import listed as listed
from optrun.problems.data.files import check_no_layout, files_of, read
from optrun.problems.data.files import images_for_testing as images_for_testing
from optrun.problems.data.layout import Layout as Layout
from optrun.problems.data.part_files import joined, layout_of_parts
from optrun.problems.data.parts import absent_classes as absent_classes
from optrun.problems.data.parts import drawn_parts as drawn_parts
from optrun.problems.data.preparation import Preparation as Preparation
from optrun.problems.data.preparation import Target as Target
from optrun.problems.data.remarks import possible_mistakes as possible_mistakes
from optrun.problems.data.remarks import repeated as repeated
from optrun.problems.data.scaling import Scaling as Scaling
from optrun.problems.data.splits import TEST_FRACTION as TEST_FRACTION
from optrun.problems.data.splits import Split as Split
from optrun.problems.data.treatments import Missing as Missing
from optrun.problems.data.weights import class_weights as class_weights
from optrun.registry import PathOrName, options_of

DataSource = Annotated[
    str,
    PathOrName(),
    "a shipped data set, a generator such as blobs(samples=200), or the path of a CSV, Parquet, NPZ or IDX file",
]

SHIPPED = {
    "breast_cancer": "569 samples × 30 features, 2 classes (benign, malignant); UCI, CC BY 4.0",
    "diabetes": "442 samples × 10 features, real target (disease progression, 25…346); Efron et al. 2004",
    "digits": "1,797 samples × 64 pixels in [0, 1], 10 classes; UCI, CC BY 4.0",
    "iris": "150 samples × 4 features, 3 classes; Fisher 1936",
    "wine": "178 samples × 13 features, 3 classes; UCI, CC BY 4.0",
}

GENERATORS: dict[str, Callable[..., tuple[Array, ...]]] = {
    "blobs": synthetic.blobs,
    "linear": synthetic.linear,
    "mnist1d": mnist1d.mnist1d,
    "spirals": synthetic.spirals,
}
"""Functions that return features, targets and, where the data have a split of their own, the part of each sample."""

INFERRED = Layout()

_SCHEME = re.compile(r"(https?|ftp|s3|gs|hf):\Z")
"""As it stands in a path that is an address, such as https://example.org/d.csv."""

DATASETS = SHIPPED | {name: inspect.getdoc(make) or "" for name, make in GENERATORS.items()}
"""One line about the content of each data set, by name."""


_LEAST = "2 samples of 1 feature are the least"


def load(source: str, layout: Layout = INFERRED) -> Dataset:
    """Return the data set of this name or path; ``layout`` describes the columns of a table.

    Raises ConfigError if it does not exist or cannot be read.
    """
    if PathOrName.is_path(source):
        path = Path(source)
        try:
            stats = tuple(
                (str(each), each.stat().st_mtime_ns, each.stat().st_size) for each in files_of(path)
            )
        except ConfigError:
            raise
        except (OSError, ValueError) as error:
            is_url = any(_SCHEME.match(part) for part in path.parts)
            reason = "it is no file but an address: download it first" if is_url else _reason(error)
            raise ConfigError(f"data: {source!r} cannot be read: {reason}", field="data") from None
        return _load(source, path, layout, stats)
    name, _, arguments = source.partition("(")
    shipped = {fold(known): known for known in SHIPPED}
    if fold(name) in shipped and not arguments:
        check_no_layout(layout, source)
        known = shipped[fold(name)]
        return _load(known, Path(__file__).with_name(f"{known}.npz"), INFERRED, ())
    if fold(name) in GENERATORS:
        check_no_layout(layout, source)
        return _generate(source, fold(name), arguments.removesuffix(")"))
    raise ConfigError(
        f"data: unknown data set {source!r}.{did_you_mean(name, DATASETS)}"
        f" Known are {', '.join(DATASETS)}; a path has a suffix or a slash, as ./{name}",
        field="data",
    )


def with_parts(train: Dataset, paths: Mapping[str, str], layout: Layout) -> Dataset:
    """Return the samples of a training file, read by a layout, and those of the files of other parts.

    Raises ConfigError, about the split, if one of these cannot be read or differs.
    """
    like = layout_of_parts(train, layout)
    others = {}
    for part, path in paths.items():
        try:
            others[part] = load(path, like)
        except ConfigError as error:
            said = str(error).removeprefix(f"{error.field}: ")
            raise ConfigError(f"split: {said}", field="split") from None
    return joined(train, others)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


# Cached, since a sweep builds the same problem for every pack; a changed file is read again.
@lru_cache(maxsize=4)
def _load(name: str, path: Path, layout: Layout, stats: tuple[tuple[str, int, int], ...]) -> Dataset:
    try:
        dataset = read(name, path, layout)
    except (OSError, EOFError) as error:
        raise ConfigError(f"data: {name!r} cannot be read: {_reason(error)}", field="data") from None
    return _checked(dataset)


def _checked(dataset: Dataset) -> Dataset:
    """Make a data set read-only; ConfigError if it is empty or not finite."""
    name, targets = dataset.name, dataset.targets
    if isinstance(dataset.samples, Table):
        return _checked_table(dataset, dataset.samples)
    features = dataset.samples
    size = math.prod(features.shape[1:])
    if len(features) < 2 or not size:
        raise ConfigError(
            f"data: {name!r} has {counted(len(features), 'sample')} of {counted(size, 'feature')}: {_LEAST}",
            field="data",
        )
    if not np.isfinite(features).all():
        row, *column = np.argwhere(~np.isfinite(features))[0].tolist()
        raise ConfigError(
            f"data: {name!r}: feature {', '.join(map(str, column))} of sample {row} is not finite",
            field="data",
        )
    if targets.dtype.kind == "f" and not np.isfinite(targets).all():
        raise ConfigError(
            f"data: {name!r}: target {np.flatnonzero(~np.isfinite(targets))[0]} is not finite", field="data"
        )
    for array in (features, targets):
        array.flags.writeable = False
    return dataset


def _checked_table(dataset: Dataset, table: Table) -> Dataset:
    width = len(table.columns)
    if len(dataset.targets) < 2 or not width:
        raise ConfigError(
            f"data: {dataset.name!r} has {counted(len(dataset.targets), 'sample')} of {counted(width, 'feature')}: "
            f"{_LEAST}",
            field="data",
        )
    return dataset


@lru_cache(maxsize=4)
def _generate(source: str, name: str, arguments: str) -> Dataset:
    make = GENERATORS[name]
    known = options_of(make)
    options: dict[str, Any] = {}
    for key, equals, value in (pair.partition("=") for pair in arguments.split(",") if pair.strip()):
        key = key.strip()
        if not equals or key in options:
            raise ConfigError(
                f"data: {source!r}: arguments are written once each, as {name}(samples=200)", field="data"
            )
        try:
            options[key] = option_named(key, known, {}, name).check(resolve(value.strip()), name)
        except ConfigError as error:
            raise ConfigError(f"data: {error}", field="data") from None
    features, targets, *parts = make(**options)
    given = parts[0] if parts else None
    return _checked(Dataset(source, features, targets, parts=given, split="the data set" if parts else ""))
