"""The parts of a data set: drawn from a seed, or as the data say."""

import numpy as np

from optrun.arrays import Array, stream
from optrun.errors import ConfigError, counted, did_you_mean

PARTS = ("train", "val", "test")
"""The parts of a data set: for training, for selection (validation), and for the final figures."""

_WORDS = {part: part for part in PARTS} | {"validation": "val"}


def part_named(word: str) -> str | None:
    """Return the part that a word in the data stands for, whatever its case; None if it is no part."""
    return _WORDS.get(word.strip().lower())


def no_part(word: str) -> str:
    """Return the message about a word that is no part."""
    return f"{word!r} is no part: train, val or test is expected.{did_you_mean(word.lower(), _WORDS)}"


def given_parts(
    parts: Array,
    source: str,
    labels: Array | None = None,
    *,
    validation: float = 0.0,
    seed: int = 0,
    groups: Array | None = None,
) -> dict[str, Array]:
    """Return the indices of the samples of each of the `PARTS`, of which ``parts [N]`` are names.

    ``validation``, a fraction of all samples, is drawn as by `drawn_parts` from those for training. Raises ConfigError
    if there are no training samples, or if none is left.
    """
    rows = {part: np.flatnonzero(parts == part) for part in PARTS}
    if not len(rows["train"]):
        raise ConfigError(f"split: no sample of {source!r} is for training", field="split")
    if validation:
        train = rows["train"]
        share = validation * len(parts) / len(train)
        if share >= 1:
            raise ConfigError(
                f"validation_fraction: {validation:g} of {counted(len(parts), 'sample')}, of which {len(train):,} are "
                "for training, leaves no sample for training",
                field="validation_fraction",
            )
        own = None if labels is None else labels[train]
        together = None if groups is None else groups[train]
        drawn = drawn_parts(own, len(train), test=0.0, validation=share, seed=seed, groups=together)
        rows |= {part: train[drawn[part]] for part in ("train", "val")}
    return rows


def drawn_parts(
    labels: Array | None,
    samples: int,
    *,
    test: float,
    validation: float,
    seed: int,
    groups: Array | None = None,
) -> dict[str, Array]:
    """Return the sorted indices of the samples of each of the `PARTS`.

    ``test`` and ``validation`` are fractions of all samples, of each class if ``labels [N]`` gives classes. The split
    depends only on ``seed``. The test part is drawn first, so that it does not depend on ``validation``. Of each class
    at least one sample stays in the training part, and at least one is in each other part if there are as many. Samples
    of equal ``groups [N]`` stay together, whatever their classes.

    Raises ConfigError if no sample is left for training, and if a fraction is positive, but its part empty.
    """
    if test + validation >= 1:
        raise ConfigError(
            f"validation_fraction: {validation:g}, with a test_fraction of {test:g}, leaves no sample for training",
            field="validation_fraction",
        )
    order = stream(seed, "split").permutation(samples)
    if groups is not None:
        return _drawn_groups(order, groups, test=test, validation=validation)
    left = [order] if labels is None else [order[labels[order] == c] for c in np.unique(labels)]
    sizes = [len(group) for group in left]
    parts: dict[str, Array] = {}
    for part, option, fraction in _fractions(test, validation):
        least = int(round(fraction * samples) > 0)
        counts = [
            min(max(round(fraction * size), least), len(group) - 1)
            for size, group in zip(sizes, left, strict=True)
        ]
        drawn = [group[:count] for group, count in zip(left, counts, strict=True)]
        left = [group[count:] for group, count in zip(left, counts, strict=True)]
        parts[part] = np.sort(np.concatenate(drawn))
        if fraction > 0 and not len(parts[part]):
            raise _no_sample(option, fraction, f"{counted(samples, 'sample')} is no sample")
    parts["train"] = np.sort(np.concatenate(left))
    return {part: parts[part] for part in PARTS}


def _fractions(test: float, validation: float) -> list[tuple[str, str, float]]:
    return [("test", "test_fraction", test), ("val", "validation_fraction", validation)]


def _no_sample(option: str, fraction: float, of: str) -> ConfigError:
    return ConfigError(f"{option}: {fraction:g} of {of}", field=option)


def _drawn_groups(order: Array, groups: Array, *, test: float, validation: float) -> dict[str, Array]:
    """Return parts of whole groups, each as near to its fraction of the samples as the order of the groups allows."""
    distinct, groups = np.unique(groups, return_inverse=True)
    counts = np.bincount(groups)
    left = np.array(list(dict.fromkeys(groups[order].tolist())))
    parts: dict[str, Array] = {}
    for part, option, fraction in _fractions(test, validation):
        sizes = np.cumsum([0, *counts[left]])
        count = int(np.abs(sizes - fraction * len(groups)).argmin())
        count = min(max(count, int(fraction > 0)), len(left) - 1)
        if fraction > 0 and not count:
            raise _no_sample(option, fraction, f"{counted(len(distinct), 'group')} is no group")
        parts[part] = np.flatnonzero(np.isin(groups, left[:count]))
        left = left[count:]
    parts["train"] = np.flatnonzero(np.isin(groups, left))
    return {part: parts[part] for part in PARTS}


def fold_parts(
    labels: Array | None, samples: int, *, folds: int, fold: int, seed: int, groups: Array | None = None
) -> Array:
    """Return the part of each sample ``[N]``: test for those of one of ``folds``, else train.

    Each sample is in one fold, each class in all of them alike, and a group is in one. Raises ConfigError if there are
    fewer samples, or groups, than folds.
    """
    units = np.arange(samples) if groups is None else groups
    of = "sample" if groups is None else "group"
    if (count := len(np.unique(units))) < folds:
        raise ConfigError(f"folds: {folds:,} are more than the {counted(count, of)}", field="folds")
    order = stream(seed, "split").permutation(samples)
    own = np.empty(samples, np.int64)
    if groups is None:
        # The folds of a class begin where those of the class before it end, so that all are of nearly equal size.
        by_class = order if labels is None else order[np.argsort(labels[order], kind="stable")]
        own[by_class] = np.arange(samples) % folds
    else:
        sizes = np.zeros(folds, np.int64)
        codes = np.unique(groups, return_inverse=True)[1]
        counts = np.bincount(codes)
        fold_of = np.empty(count, np.int64)
        for code in sorted(dict.fromkeys(codes[order].tolist()), key=lambda code: -counts[code]):
            fold_of[code] = smallest = int(sizes.argmin())
            sizes[smallest] += counts[code]
        own = fold_of[codes]
    return np.where(own == fold, "test", "train")


def absent_classes(rows: dict[str, Array], labels: Array, names: list[str]) -> list[str]:
    """Return a note for each part that has samples, but not of every class."""
    notes = []
    for part, own in rows.items():
        absent = [name for code, name in enumerate(names) if len(own) and code not in labels[own]]
        if absent:
            are = "class" if len(absent) == 1 else "classes"
            shown = ", ".join(map(repr, absent[:6])) + ", …" * (len(absent) > 6)
            notes.append(f"the {part} part has no sample of the {are} {shown}")
    return notes
