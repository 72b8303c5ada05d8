"""How samples are split: by the data themselves, by fractions, or by folds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.problems.data.dataset import Dataset
from optrun.problems.data.parts import drawn_parts, fold_parts, given_parts, no_part, part_named

TEST_FRACTION = 0.2
"""By default."""


@dataclass(frozen=True)
class Split:
    """A config's description of the parts of samples."""

    test: float = TEST_FRACTION
    """Fraction of the samples."""
    validation: float = 0.0
    """Fraction of the samples."""
    seed: int = 0
    folds: int | None = None
    """Number of parts of equal size, each of which is the test part once."""
    fold: int = 0
    """The one that it is here, counted from 0 and cyclically."""

    @classmethod
    def of_mapping(
        cls, chosen: Mapping[str, float | str], drawn: "Split"
    ) -> tuple["Split", Mapping[str, str]]:
        """Return a split and the files of its parts: given fractions of parts, or files of the val and test parts.

        ``drawn`` is what else a config says. Raises ConfigError if fractions do not make a whole, or parts are unknown.
        """
        found: dict[str, float | str] = {}
        for word, value in chosen.items():
            part = part_named(word)
            if part is None or part in found:
                raise ConfigError(f"split: {no_part(word)}", field="split")
            found[part] = value
        paths = {part: value for part, value in found.items() if isinstance(value, str)}
        if paths:
            if len(paths) < len(found) or "train" in paths:
                said = "the training samples are data" if "train" in paths else "fractions or files, not both"
                raise ConfigError(f"split: {said}", field="split")
            if drawn.validation and "val" in paths:
                raise ConfigError(
                    "validation_fraction: split names a file of that part", field="validation_fraction"
                )
            return drawn, paths
        if drawn.validation:
            raise ConfigError("validation_fraction: split says it: leave it out", field="validation_fraction")
        fractions = {part: value for part, value in found.items() if not isinstance(value, str)}
        held_out = fractions.get("test", 0.0), fractions.get("val", 0.0)
        train = fractions.get("train", 1 - sum(held_out))
        if not math.isclose(train + sum(held_out), 1) or train <= 0:
            shown = " + ".join(f"{each:g}" for each in (train, *reversed(held_out)))
            raise ConfigError(
                f"split: the fractions of train, validation and test are {shown}, where 1 is expected, with some for "
                "training",
                field="split",
            )
        return cls(*held_out, drawn.seed), {}

    def notes(self, dataset: Dataset, rows: Mapping[str, Array]) -> list[str]:
        """Return a note for each drawn part that is much larger than its fraction, since each class is in it."""
        if dataset.parts is not None or self.folds is not None:
            return []
        samples = len(dataset.targets)
        return [
            f"the {part} part has {len(rows[part]):,} of {samples:,} samples, not the {round(fraction * samples):,} "
            f"of its fraction {fraction:g}: each class has a sample there"
            for part, fraction in (("test", self.test), ("val", self.validation))
            if len(rows[part]) > 2 * max(1, round(fraction * samples)) and len(rows[part]) > 10
        ]

    def rows(self, dataset: Dataset, labels: Array | None) -> dict[str, Array]:
        """Return the sorted indices of the samples of each part, of each class alike if ``labels [N]`` gives classes.

        Raises ConfigError if a part that is asked for would be empty.
        """
        parts, groups = dataset.parts, dataset.groups
        samples = len(dataset.targets)
        if self.folds is None and self.fold:
            raise ConfigError(f"fold: {self.fold} of how many? Set folds, too", field="fold")
        if self.folds is not None:
            parts = fold_parts(
                labels, samples, folds=self.folds, fold=self.fold % self.folds, seed=self.seed, groups=groups
            )
        if parts is not None:
            return given_parts(
                parts, dataset.shown, labels, validation=self.validation, seed=self.seed, groups=groups
            )
        return drawn_parts(
            labels, samples, test=self.test, validation=self.validation, seed=self.seed, groups=groups
        )
