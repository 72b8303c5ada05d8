"""What a config says about the columns of a table."""

from dataclasses import dataclass

from optrun.problems.data.cells import Decimal
from optrun.problems.data.treatments import Missing


@dataclass(frozen=True)
class Layout:
    """A config's description of a table; None is inferred."""

    target: str | int | None = None
    """Name or index of the target column, by default the last."""
    header: bool | None = None
    """Whether the first line has the column names."""
    index: bool | None = None
    """Whether the first column is a row index, and left out."""
    split: str | int | None = None
    """Name or index of the column, or name of the array, that says the part of each sample."""
    features: tuple[str | int, ...] | None = None
    """Globs of names, or indices, of the columns that are features, by default all others."""
    drop: tuple[str | int, ...] | None = None
    """Globs of names, or indices, of columns that are left out."""
    categories: tuple[str | int, ...] | None = None
    """Those of the columns of categories, by default all of words."""
    missing: Missing | None = None
    """What is done about missing cells, by default an error."""
    decimal: Decimal | None = None
    """The decimal sign of numbers."""
    group: str | int | None = None
    """Name or index of the column whose equal cells stay in one part."""
    usual: tuple[Decimal, bool] | None = None
    """The decimal sign of the training file, and whether the other one separates thousands there."""
