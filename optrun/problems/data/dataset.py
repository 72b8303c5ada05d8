"""A data set: its samples, and what of it was inferred from a file."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError, counted
from optrun.registry import PathOrName

Task = Literal["classification", "regression"]

MANY = 20
"""More classes than these are asked about, where nothing but their values says that they are classes."""

MOST_NAMED = 6
"""How many columns and classes are listed."""

MAJORITY = 0.75
"""From this part of the samples on, one class makes an accuracy without any skill."""


@dataclass(frozen=True)
class Dataset:
    """Samples: features ``[N, d]`` in float64; targets ``[N]``, real, whole numbers or names."""

    name: str
    features: Array
    targets: Array
    columns: tuple[str, ...] = ()
    """The names of the features, where they have some."""
    target: str = ""
    """What the target is called, such as ``'y'`` or ``column 3``."""
    header: str = ""
    """Whether a first line of names was found."""
    notes: tuple[str, ...] = ()
    """What was left out, or looks like a mistake."""
    is_labelled: bool = True
    """Whether whole numbers and names among the targets are known to be classes, however many there are."""

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what a file holds; empty where its name says all, as of a shipped data set or a generator."""
        if not PathOrName.is_path(self.name):
            return ""
        digest = hashlib.sha256()
        for values in (self.features, self.targets):
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(np.ascontiguousarray(values).view(np.uint8).data)
        return digest.hexdigest()

    @property
    def categorical(self) -> bool:
        """Whether the targets are names or whole numbers, which can be classes."""
        return self.targets.dtype.kind in "iuU"

    def task(self) -> Task:
        """Return what the targets are for: classification for names and whole numbers, regression for real numbers.

        Raises ConfigError, which asks, where there are so many of them that they may mean either.
        """
        if not self.categorical:
            return "regression"
        values, counts = np.unique(self.targets, return_counts=True)
        if self.is_labelled or (len(values) <= MANY and counts.max() > 1):
            return "classification"
        if self.targets.dtype.kind == "U":
            raise ConfigError(
                f"data: {self.shown!r} has {len(values):,} different names as targets: is that the target? "
                "Name another with target, or set task: classification",
                field="data",
            )
        raise ConfigError(
            f"data: {self.shown!r} has {len(values):,} different whole numbers as targets: set task: "
            "classification or task: regression",
            field="data",
        )

    def classes(self) -> tuple[Array, Array]:
        """Return the sorted classes and the position ``[N]`` of each sample's among them.

        Raises ConfigError where the targets are real.
        """
        targets = self.targets
        if not self.categorical:
            if not self._is_whole():
                raise ConfigError(
                    f"data: the targets of {self.shown!r} are real numbers, not classes: linear_regression, or mlp "
                    "with loss: mse, fits numbers",
                    field="data",
                )
            targets = targets.astype(np.int64)
        classes, codes = np.unique(targets, return_inverse=True)
        if len(classes) < 2:
            raise ConfigError(f"data: {self.shown!r} has one class only, {classes[0].item()!r}", field="data")
        return classes, codes

    def labels(self) -> tuple[Array, Array]:
        """Return the `classes`; raises ConfigError where they are not known to be such, with the remedy."""
        if self.task() == "regression" and self._is_whole():
            raise ConfigError(
                f"data: the targets of {self.shown!r} are real numbers such as {self.targets[0]:.1f}, not classes: "
                "task: classification takes them as such",
                field="data",
            )
        return self.classes()

    def values(self) -> Array:
        """Return the targets ``[N]`` as real numbers, or raise ConfigError where they are names of no numbers."""
        if self.targets.dtype.kind == "U":
            try:
                return self.targets.astype(np.float64)
            except ValueError:
                raise ConfigError(
                    f"data: the targets of {self.shown!r} are class names, not numbers: loss: cross_entropy, or "
                    "softmax_regression, takes classes",
                    field="data",
                ) from None
        return self.targets.astype(np.float64)

    @property
    def shown(self) -> str:
        """The name of a file without its directory, or the name."""
        return Path(self.name).name if PathOrName.is_path(self.name) else self.name

    def _is_whole(self) -> bool:
        """Return whether real targets are a few whole numbers, as classes are after a table had missing cells."""
        values = np.unique(self.targets)
        return len(values) <= MANY and bool(((values == np.floor(values)) & (np.abs(values) < 2**53)).all())

    def inferred(self, train: int, test: int, *, by_class: bool) -> str:
        """Return the line that says how the data were understood."""
        parts = f"({train:,} train, {test:,} test) " if test else ""
        count = self.features.shape[1]
        features = counted(count, "feature")
        names = f" {listed([name_text(each) for each in self.columns])}" if self.columns else ""
        header = f" ({self.header})" if self.header else ""
        target = f"target {self.target}".rstrip()
        if by_class:
            counts = np.unique(self.targets, return_counts=True)[1]
            sizes = " + ".join(f"{each:,}" for each in counts)
            if len(counts) > MOST_NAMED:
                sizes = f"of {counts.min():,} … {counts.max():,}"
            kind = f"{counted(len(counts), 'class')} {sizes}" + " (split by class)" * bool(test)
        else:
            values = self.values()
            kind = f"real, {values.min():.6g} … {values.max():.6g}"
        return f"data {self.shown}: {len(self.targets):,} samples {parts}of {features}{names}{header}, {target}: {kind}"

    def remarks(self, *, by_class: bool) -> list[str]:
        """Return what may be a mistake in a file of the user's own."""
        if not self.header:
            return []
        found = list(self.notes)
        constant = np.flatnonzero((self.features == self.features[0]).all(axis=0))
        if len(constant):
            names = [repr(self.columns[i]) if self.columns else f"{i + 1}" for i in constant]
            are = f"feature {names[0]} is" if len(names) == 1 else f"features {listed(names)} are"
            found.append(f"{are} constant")
        if by_class:
            classes, counts = np.unique(self.targets, return_counts=True)
            if counts.max() >= MAJORITY * counts.sum():
                share = counts.max() / counts.sum()
                found.append(
                    f"{share:.0%} of the samples are of class {classes[counts.argmax()].item()!r}: "
                    f"always to say so has an accuracy of {share:.2g}"
                )
        elif not self.categorical and self._is_whole():
            found.append(
                f"the target is real, of {len(np.unique(self.targets))} whole numbers: task: classification takes "
                "them as classes"
            )
        return found


def listed(names: Sequence[str]) -> str:
    """Return names as a list that is not long."""
    if len(names) <= MOST_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: MOST_NAMED - 2])}, … {names[-1]}"


def name_text(name: str) -> str:
    """Return a name as it is shown in a list: in quotes where it is empty, or could be read as several."""
    return name if name.isprintable() and name and not set(name) & set(",;'\"") else repr(name)
