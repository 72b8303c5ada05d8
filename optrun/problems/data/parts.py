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
    parts: Array, source: str, labels: Array | None = None, *, validation: float = 0.0, seed: int = 0
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
        own = None if labels is None else labels[train]
        drawn = drawn_parts(own, len(train), test=0.0, validation=min(share, 1.0), seed=seed)
        rows |= {part: train[drawn[part]] for part in ("train", "val")}
    return rows


def drawn_parts(
    labels: Array | None, samples: int, *, test: float, validation: float, seed: int
) -> dict[str, Array]:
    """Return the sorted indices of the samples of each of the `PARTS`.

    ``test`` and ``validation`` are fractions of all samples, of each class if ``labels [N]`` gives classes. The split
    depends only on ``seed``. The test part is drawn first, so that it does not depend on ``validation``. At least one
    sample of each class stays in the training part.

    Raises ConfigError if no sample is left for training, and if a fraction is positive, but its part empty.
    """
    if test + validation >= 1:
        raise ConfigError(
            f"validation_fraction: {validation:g}, with a test_fraction of {test:g}, leaves no sample for training",
            field="validation_fraction",
        )
    order = stream(seed, "split").permutation(samples)
    left = [order] if labels is None else [order[labels[order] == c] for c in np.unique(labels)]
    sizes = [len(group) for group in left]
    parts: dict[str, Array] = {}
    for part, option, fraction in (
        ("test", "test_fraction", test),
        ("val", "validation_fraction", validation),
    ):
        counts = [
            min(round(fraction * size), len(group) - 1) for size, group in zip(sizes, left, strict=True)
        ]
        drawn = [group[:count] for group, count in zip(left, counts, strict=True)]
        left = [group[count:] for group, count in zip(left, counts, strict=True)]
        parts[part] = np.sort(np.concatenate(drawn))
        if fraction > 0 and not len(parts[part]):
            raise ConfigError(
                f"{option}: {fraction:g} of {counted(samples, 'sample')} is no sample", field=option
            )
    parts["train"] = np.sort(np.concatenate(left))
    return {part: parts[part] for part in PARTS}
