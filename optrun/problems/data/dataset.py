"""A data set: its samples, and properties inferred from its file."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator

from optrun.arrays import Array
from optrun.errors import ConfigError, counted
from optrun.problems.data.cells import Decimal
from optrun.problems.data.columns import DataColumn, Kind, Table
from optrun.problems.data.treatments import Missing
from optrun.registry import PathOrName

Task = Literal["classification", "regression"]

Asking = Literal["data", "task", "loss"]
"""The option that says what the targets are, or else the data themselves."""

AutoTask = Annotated[
    Task | None,
    BeforeValidator(
        lambda given: None if given == "auto" else given, json_schema_input_type=Literal["auto"] | Task | None
    ),
]
"""A task that may also be inferred: auto, or null."""

MANY = 20
"""Above this number of distinct values the task must be set, unless the data are known to be classes."""

MOST_NAMED = 6
"""Largest number of columns and classes that a message lists."""


@dataclass(frozen=True)
class Dataset:
    """Samples, and their targets ``[N]`` as real numbers, integers or names."""

    name: str
    samples: Table | Array
    """A table of columns, or features ``[N, *shape]`` as float64."""
    targets: Array
    target: str = ""
    """The target column in words, such as ``'y'`` or ``column 3``."""
    target_name: str = ""
    """Its name; empty if it has none."""
    header: str = ""
    """Whether the file has a header, in words."""
    understood: tuple[str, ...] = ()
    """What is unusual about the file, such as its separator."""
    parts: Array | None = None
    """The part of each sample ``[N]``: train, val or test; None if the data do not say."""
    groups: Array | None = None
    """Numbers ``[N]`` that are equal for samples that stay in one part."""
    split: str = ""
    """What says the parts, such as ``'fold'`` or ``column 4``."""
    notes: tuple[str, ...] = ()
    """Columns that were left out, and possible mistakes."""
    is_labelled: bool = True
    """Whether integer or string targets are known to be classes, whatever their number."""
    missing: Missing = "error"
    """What is done about missing cells."""
    categories: tuple[str, ...] = ()
    """The columns of numbers that are taken as categories."""
    target_of: Kind = "numbers"
    """What the cells of the target column are."""
    decimal: Decimal | None = None
    """The decimal sign of a text table; None if no number shows it, or it is unclear, and of none that is used."""
    has_thousands: bool = False
    """Whether the other sign separates thousands."""

    @cached_property
    def fingerprint(self) -> str:
        """A hash of a file's content; empty for shipped data sets and generators, which their name determines."""
        if not PathOrName.is_path(self.name):
            return ""
        digest = hashlib.sha256()
        others = [each for each in (self.parts, self.groups) if each is not None]
        for values in (*self._arrays(), self.targets, *others):
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(np.ascontiguousarray(values).view(np.uint8).data)
        return digest.hexdigest()

    def _arrays(self) -> Iterator[Array]:
        if not isinstance(self.samples, Table):
            yield self.samples
            return
        words = [column for column in self.samples if column.words is not None]
        if not words:
            yield self.samples.matrix()
            return
        for column in self.samples:
            yield column.values
            yield np.array(column.words or ())

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns; empty without a table that has names."""
        is_headed = isinstance(self.samples, Table) and self.header != "no header"
        return tuple(self.samples.names) if isinstance(self.samples, Table) and is_headed else ()

    @cached_property
    def features(self) -> Array:
        """The features as numbers ``[N, *shape]``; of a table its columns ``[N, d]``, words as their codes."""
        return self.samples.matrix() if isinstance(self.samples, Table) else self.samples

    @property
    def categorical(self) -> bool:
        """Whether the targets are names or integers, which may be classes."""
        return self.targets.dtype.kind in "iuU"

    def task(self) -> Task:
        """Return the task that fits the targets: classification for names and integers, regression for real numbers.

        Raises ConfigError, which asks for the task, if it is ambiguous.
        """
        values, counts = np.unique(self.targets, return_counts=True)
        if not self.categorical:
            if len(values) <= MANY and counts.max() > 1 and are_long(values):
                raise ConfigError(
                    f"data: {self.shown!r} has targets such as {values[0]:.17g}, too long to be exact: write a letter "
                    "before each if they are classes, or set task: regression",
                    field="data",
                )
            return "regression"
        if self.is_labelled or (len(values) <= MANY and counts.max() > 1):
            return "classification"
        if self.targets.dtype.kind == "U":
            read = f" ({', '.join(self.understood)})" if self.understood else ""
            raise ConfigError(
                f"data: {self.shown!r}{read} has {len(values):,} different names as targets, such as "
                f"{self.targets[0].item()[:40]!r}: is that the target? Name another with "
                "target, or set task: classification",
                field="data",
            )
        raise ConfigError(
            f"data: {self.shown!r} has {len(values):,} different whole numbers as targets: set task: "
            "classification or task: regression",
            field="data",
        )

    def classes(self, asked_by: Asking = "data") -> tuple[Array, Array]:
        """Return the sorted classes and the class index ``[N]`` of each sample.

        Raises ConfigError, about the option that asks for classes, if the targets are real numbers.
        """
        targets = self.targets
        if not self.categorical:
            if not self.is_whole():
                odd = next((value for value in targets.tolist() if not value.is_integer()), targets[0])
                others = {"task": "task: regression", "loss": "loss: mse"}
                other = others.get(asked_by, "linear_regression, or mlp with task: regression,")
                raise ConfigError(
                    f"{asked_by}: the targets of {self.shown!r} are real numbers such as {odd:.6g}, not classes: "
                    f"{other} fits numbers",
                    field=asked_by,
                )
            targets = targets.astype(np.int64)
        classes, codes = np.unique(targets, return_inverse=True)
        if len(classes) < 2:
            raise ConfigError(f"data: {self.shown!r} has one class only, {classes[0].item()!r}", field="data")
        return classes, codes

    def labels(self) -> tuple[Array, Array]:
        """Return the `classes`; ConfigError, with the remedy, if the targets are not known to be classes."""
        if self.task() == "regression" and self.is_whole():
            raise ConfigError(
                f"data: the targets of {self.shown!r} are real numbers such as {self.targets[0]:.1f}, not classes: "
                "task: classification takes them as such",
                field="data",
            )
        return self.classes()

    def values(self, asked_by: Asking = "data") -> Array:
        """Return the targets ``[N]`` as float64; ConfigError, about what asks for them, if they are names."""
        if self.targets.dtype.kind == "U":
            try:
                return self.targets.astype(np.float64)
            except ValueError:
                others = {"task": "task: classification", "loss": "loss: cross_entropy"}
                other = others.get(asked_by, "softmax_regression, or mlp with task: classification,")
                raise ConfigError(
                    f"{asked_by}: the targets of {self.shown!r} are class names, not numbers: {other} takes classes",
                    field=asked_by,
                ) from None
        return self.targets.astype(np.float64)

    @property
    def shown(self) -> str:
        """The name for messages: a path without its directory."""
        return Path(self.name).name if PathOrName.is_path(self.name) else self.name

    def is_whole(self) -> bool:
        """Return whether real targets are a few integers, as classes become in a table with missing cells."""
        values = np.unique(self.targets)
        return len(values) <= MANY and bool(((values == np.floor(values)) & (np.abs(values) < 2**53)).all())

    def inferred(self, parts: Mapping[str, int], *, by_class: bool, features: int) -> str:
        """Return a line about what was inferred, given the sizes of the parts and the number of features made."""
        named = [f"{size:,} {part}" for part, size in parts.items() if size]
        is_split = len(named) > 1
        drawn = "by group" if self.groups is not None else "by class" if by_class else ""
        by = f"by {self.split}" if self.split else drawn
        split = f"({', '.join(named)}) " if is_split else ""
        header = "; ".join(filter(None, (self.header, ", ".join(self.understood), self._filled())))
        header = f" ({header})" if header else ""
        target = f"target {self.target}".rstrip()
        if by_class:
            counts = np.unique(self.targets, return_counts=True)[1]
            sizes = " + ".join(f"{each:,}" for each in counts)
            if len(counts) > MOST_NAMED:
                sizes = f"of {counts.min():,} … {counts.max():,}"
            kind = f"{counted(len(counts), 'class')} {sizes}"
        else:
            values = self.values()
            kind = f"real, {values.min():.6g} … {values.max():.6g}"
        kind += f" (split {by})" * bool(is_split and by)
        of = f"{split}of {self._described(features)}{header}"
        return f"data {self.shown}: {len(self.targets):,} samples {of}, {target}: {kind}"

    def _described(self, features: int) -> str:
        """Return the columns in words, and how many features they become."""
        if not isinstance(self.samples, Table):
            shape = self.samples.shape[1:]
            return counted(features, "feature") + (
                f" ({' × '.join(map(str, shape))})" if len(shape) > 1 else ""
            )
        width = len(self.samples.columns)
        names = f" {listed([self._named(column) for column in self.samples])}" if self.columns else ""
        if width == features:
            return f"{counted(width, 'feature')}{names}"
        return f"{counted(width, 'column')}{names} as {counted(features, 'feature')}"

    def _named(self, column: DataColumn) -> str:
        is_category = column.words is not None or column.name in self.categories
        count = len(column.as_words().words or ()) if is_category else 0
        return name_text(column.name) + (f" ({counted(count, 'category')})" if is_category else "")

    def _filled(self) -> str:
        """Return what is filled in, in words."""
        lacking = (
            [column for column in self.samples if column.missing.any()]
            if isinstance(self.samples, Table)
            else []
        )
        if not lacking:
            return ""
        named = listed([f"{column.missing.sum():,} of {name_text(column.name)}" for column in lacking])
        are_words = [column.words is not None or column.name in self.categories for column in lacking]
        by = "mode" if self.missing == "mode" or all(are_words) else "median"
        by += " (of words the mode)" * (any(are_words) and by == "median")
        return f"missing {named} filled in by the {by}" + (
            " and marked" if self.missing == "indicator" else ""
        )


def are_long(values: Array) -> bool:
    """Return whether numbers ``[N]`` are all too large to be exact, and may be identifiers."""
    sizes = np.abs(values.astype(np.float64))
    return bool(((sizes >= 2**53) & (sizes < 1e25)).all())


def listed(names: Sequence[str]) -> str:
    """Return names as a comma-separated list, shortened if long."""
    if len(names) <= MOST_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: MOST_NAMED - 2])}, … {names[-1]}"


def name_text(name: str) -> str:
    """Return a name for a list, in quotes if it is empty or ambiguous."""
    return name if name.isprintable() and name and not set(name) & set(",;'\"") else repr(name)
