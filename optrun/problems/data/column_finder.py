"""The columns of a table that options choose, by name, glob or number."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from optrun.errors import ConfigError, counted, did_you_mean
from optrun.problems.data.cells import is_number
from optrun.problems.data.dataset import name_text
from optrun.problems.data.layout import Layout

_SIMILAR = 2 / 3
"""A file's names are any words, some of which are alike by chance, as income and nope are."""


@dataclass(frozen=True)
class ColumnFinder:
    """Finds the columns of a file whose first line is given."""

    file: str
    """The name of the file, for messages."""
    first: Sequence[str]
    has_names: bool
    """Whether the first line surely has the names of columns."""
    layout: Layout

    def index(self, option: str, wanted: str | int) -> int:
        """Return the index of the column that an option names, by its name or index; ConfigError if none is."""
        first, file = self.first, self.file
        if isinstance(wanted, str):
            names = [] if self.layout.header is False or all(map(is_number, first)) else list(first)
            if self.layout.header or self.has_names:
                names = list(first)
            if names.count(wanted) != 1:
                known = (
                    f"its columns are {', '.join(map(name_text, names))}"
                    if names
                    else "header: true takes the first line for names"
                    if wanted in first and self.layout.header is None
                    else "it has no header; give an index"
                )
                known += f"; {wanted!r} is there {names.count(wanted)} times: give its number, from 0" * (
                    wanted in names
                )
                hint = "" if wanted in names else did_you_mean(wanted, names, cutoff=_SIMILAR)
                known += f".{hint}" if hint else ""
                raise ConfigError(f"{option}: no single column {wanted!r} in {file!r}: {known}", field=option)
            return names.index(wanted)
        index = self._in_range(option, wanted)
        if index == 0 and self.layout.index:
            raise ConfigError(f"index: the first column is the {option}", field="index")
        return index

    def matching(
        self,
        option: str,
        wanted: Sequence[str | int],
        *,
        names: Sequence[str],
        own: Sequence[str],
        among: Sequence[int],
    ) -> list[int]:
        """Return the columns ``among`` some that globs or indices choose; ConfigError for those that choose none.

        ``names`` are those of all columns, and ``own`` are those that the file gives, of which several may be equal.
        """
        found: set[int] = set()
        absent: list[str | int] = []
        for each in wanted:
            if isinstance(each, int):
                index = self._in_range(option, each)
                chosen = [i for i in among if i == index]
            elif each in names or each in own:
                chosen = [i for i in among if each in (names[i], own[i])]
            else:
                chosen = [i for i in among if fnmatchcase(names[i], each)]
            absent += [] if chosen else [each]
            found |= set(chosen)
        if absent:
            first, *others = absent
            possible = [names[i] for i in among]
            is_there = isinstance(first, int) or first in names or first in own
            hint = "" if is_there or others else did_you_mean(str(first), possible, cutoff=_SIMILAR)
            known = hint or f" Those that may be chosen are {', '.join(map(name_text, possible))}"
            said = (
                f"column {first!r} of {self.file!r} is no feature"
                if is_there
                else f"no column {' and none '.join(map(repr, absent))} in {self.file!r}"
            )
            raise ConfigError(f"{option}: {said}.{known}", field=option)
        return sorted(found)

    def _in_range(self, option: str, index: int) -> int:
        """Return the index of a column from 0, given one that may count from the end."""
        width = len(self.first)
        if not -width <= index < width:
            raise ConfigError(
                f"{option}: {self.file!r} has {counted(width, 'column')}, so none has the index {index}",
                field=option,
            )
        return index % width
