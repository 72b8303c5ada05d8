"""Possible mistakes in a user's data, in words."""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from optrun.arrays import Array
from optrun.errors import counted
from optrun.problems.data.columns import DataColumn, Table, number_text
from optrun.problems.data.dataset import Dataset, are_long, listed

MAJORITY = 0.75
"""Fraction of one class from which on the accuracy of always predicting it is worth a note."""

FEWEST = 20
"""From so many rows on, whole numbers without a gap or a repetition are hardly there by chance."""

_CODES = [
    float(f"{sign}{'9' * digits}.{rest}")
    for sign in ("-", "")
    for digits in range(2, 10)
    for rest in ("0", "9", "99")
]
"""What software writes for a missing number: -99, -999, -999.9, 9999."""

_IDENTIFIER = re.compile(r"(.*[^a-z])?(id|nr|no|key|number)\Z", re.IGNORECASE | re.DOTALL)


def possible_mistakes(dataset: Dataset, *, by_class: bool) -> list[str]:
    """Return possible mistakes in a user's file, one line each; nothing about data that optrun ships."""
    table = dataset.samples
    if not isinstance(table, Table):
        return []
    found = list(dataset.notes)
    constant = [i for i, column in enumerate(table) if (column.values == column.values[0]).all()]
    if constant:
        names = [repr(dataset.columns[i]) if dataset.columns else f"{i + 1}" for i in constant]
        are = f"feature {names[0]} is" if len(names) == 1 else f"features {listed(names)} are"
        found.append(f"{are} constant")
    found += [note for column in table for note in _doubts(column)]
    found += [
        f"{column.name!r} has whole numbers such as {column.values[0]:.17g}, too long to be exact, like identifiers: "
        "drop it if it is one"
        for column in table
        if column.words is None and column.name not in dataset.categories and are_long(column.values)
    ]
    found += [
        f"{column.name!r} has {codes}: empty such cells, and missing: median fills them in"
        for column in table
        if column.words is None and (codes := _codes(column.values))
    ]
    if dataset.targets.dtype.kind in "if" and (codes := _codes(dataset.targets)):
        found.append(f"the target has {codes}: empty such cells, and missing: drop leaves out their rows")
    found += _alike(dataset, by_class=by_class)
    if by_class:
        classes, counts = np.unique(dataset.targets, return_counts=True)
        if counts.max() >= MAJORITY * counts.sum():
            share = counts.max() / counts.sum()
            found.append(
                f"{share:.0%} of the samples are of class {classes[counts.argmax()].item()!r}: "
                f"always to say so has an accuracy of {share:.2g}"
            )
    elif (dataset.targets == dataset.targets[0]).all():
        found.append("the target is constant: there is nothing to learn")
    elif not dataset.categorical and dataset.is_whole():
        found.append(
            f"the target is real, of {len(np.unique(dataset.targets))} whole numbers: task: classification takes "
            "them as classes"
        )
    return found


def repeated(dataset: Dataset, targets: Array, rows: Mapping[str, Array]) -> list[str]:
    """Return a note for each part of a table with samples that are in training, too, features and target alike.

    Where all columns are categories, rows are alike by nature, and there is none.
    """
    table = dataset.samples
    if not isinstance(table, Table) or all(
        column.words is not None or column.name in dataset.categories for column in table
    ):
        return []
    hashes = np.zeros(len(table), np.uint64)
    factors = np.random.default_rng(0).integers(1 << 63, size=len(table.columns) + 1, dtype=np.uint64)
    for values, factor in zip((*(column.values for column in table), targets), factors, strict=True):
        bits = values.astype(np.float64).view(np.uint64)
        hashes += (bits ^ (bits >> np.uint64(32))) * (2 * factor + np.uint64(1))
    train, notes = hashes[rows["train"]], []
    for part, own in rows.items():
        if part != "train" and (count := int(np.isin(hashes[own], train).sum())):
            are = "is" if count == 1 else "are"
            notes.append(
                f"{count:,} of the {counted(len(own), f'{part} sample')} {are} in the training part, too, all cells "
                f"alike: the {part} figures are better than for new samples unless what is twice is removed"
            )
    return notes


def _alike(dataset: Dataset, *, by_class: bool) -> Iterator[str]:
    """Yield words of a column that differ only in case or blanks: they are different categories, or classes."""
    columns = (
        [column for column in dataset.samples if column.words] if isinstance(dataset.samples, Table) else []
    )
    words: list[tuple[str, Sequence[str]]] = [(repr(column.name), column.words or ()) for column in columns]
    if by_class and dataset.targets.dtype.kind == "U":
        words.append(("the target", np.unique(dataset.targets).tolist()))
    for name, several in words:
        by_letters: dict[str, list[str]] = {}
        for word in several:
            by_letters.setdefault("".join(word.split()).casefold(), []).append(word)
        alike = [" and ".join(map(repr, each)) for each in by_letters.values() if len(each) > 1]
        if alike:
            yield f"of {name} {listed(alike)} differ in case or blanks alone: write them alike if they are the same"


def _codes(values: Array) -> str:
    """Return which numbers ``[N]`` may stand for missing ones: codes such as -999, repeated, and far outside."""
    distinct, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    are_codes = np.isin(distinct, _CODES)
    others = distinct[~are_codes].astype(np.float64)
    if len(others) < 2:
        return ""
    low, high = others[0], others[-1]
    with np.errstate(over="ignore"):  # an infinite distance is no larger than an infinite range
        outside = np.maximum(low - distinct, distinct - high)
        found = are_codes & (outside > high - low) & (counts > 1)
    if not found.any():
        return ""
    named = [
        f"{count:,} × {number_text(code)}"
        for code, count in zip(distinct[found].tolist(), counts[found], strict=True)
    ]
    return (
        f"{listed(named)}, far from its other numbers ({low:.4g} … {high:.4g}), like codes for missing ones"
    )


def _doubts(column: DataColumn) -> Iterator[str]:
    """Yield what numbers may stand for: an identifier, or dates."""
    if column.words is not None or not column.is_whole or column.missing.any() or len(column) < 3:
        return
    values = column.values.astype(np.int64)
    if are_long(values):  # said of any such column
        return
    months, days = values // 100 % 100, values % 100
    are_dates = (
        (values > 19_000_000)
        & (values < 21_000_000)
        & (months > 0)
        & (months < 13)
        & (days > 0)
        & (days < 32)
    )
    if are_dates.all() and len(np.unique(values)) > 1:
        yield f"{column.name!r} looks like dates, which as numbers mean little: drop it, or make features of it"
    elif len(np.unique(values)) == len(values):
        low = values.min()
        counts = values.max() == low + len(values) - 1
        is_said = counts and low in (0, 1)  # that it numbers the rows
        if not is_said and (_IDENTIFIER.match(column.name) or (counts and len(values) >= FEWEST)):
            yield f"{column.name!r} differs in each row, like an identifier: drop it if it is one"
