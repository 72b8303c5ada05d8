"""The runs of a plan in columns: of each setting what varies, of which its configs are made when they are asked for."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar, overload

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.config.identity import canonical_text
from optrun.config.sweep.variants import ConfigKind, Variant
from optrun.config.yaml.tree import YamlNode
from optrun.store import blobs
from optrun.store.config_columns import ConfigColumns
from optrun.store.setting_columns import SettingColumns, Values
from optrun.sweeps.plan.spaces import Setting
from optrun.training.grid import LaneColumns

T = TypeVar("T")

AT_ONCE = 4096
"""Of how many runs the numbers are listed at a time."""


class Made(Sequence[T]):
    """A sequence of what is made of numbers whenever it is asked for."""

    def __init__(self, numbers: Sequence[int], make: Callable[[int], T]) -> None:
        self._numbers = numbers
        self._make = make

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> "Made[T]": ...
    def __getitem__(self, index: int | slice) -> "T | Made[T]":
        numbers = self._numbers[index]
        return self._make(numbers) if isinstance(numbers, int) else Made(numbers, self._make)

    def __iter__(self) -> Iterator[T]:
        return map(self._make, self._numbers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class Settings:
    """Settings as tuples of their values: a mapping for each takes three times as much memory."""

    def __init__(self, settings: Iterable[Setting] = ()) -> None:
        self._paths: list[tuple[str, ...]] = []
        self._values: list[tuple[YamlNode, ...]] = []
        known: dict[tuple[str, ...], tuple[str, ...]] = {}
        for each in settings:
            paths = tuple(each)
            self._paths.append(known.setdefault(paths, paths))
            self._values.append(tuple(each.values()))

    def chosen(self, settings: Sequence[int]) -> "Settings":
        """Return those of some numbers."""
        found = Settings()
        found._paths = [self._paths[i] for i in settings]
        found._values = [self._values[i] for i in settings]
        return found

    def __add__(self, other: "Settings") -> "Settings":
        found = Settings()
        found._paths, found._values = self._paths + other._paths, self._values + other._values
        return found

    @property
    def nodes(self) -> Sequence[Setting]:
        """The values of each by their paths, with their places."""
        return Made(range(len(self._paths)), self._nodes)

    @property
    def plain(self) -> Sequence[dict[str, Any]]:
        """The same as plain values."""
        return Made(range(len(self._paths)), self._plain)

    @property
    def paths(self) -> list[str]:
        """The paths of all, in the order in which they come."""
        return list(dict.fromkeys(path for paths in dict.fromkeys(self._paths) for path in paths))

    @cached_property
    def columns(self) -> SettingColumns:
        """The plain values in columns."""
        known: dict[tuple[str, ...], int] = {}
        codes = np.array([known.setdefault(paths, len(known)) for paths in self._paths], np.int64)
        parts = {path: [0.0] * len(codes) for path in self.paths}
        for paths, code in known.items():
            own = np.flatnonzero(codes == code).tolist()
            for place, path in enumerate(paths):
                column = parts[path]
                for setting in own:
                    node = self._values[setting][place]
                    column[setting] = node.value if type(node.value) is float else node.plain()
        return SettingColumns([*known], codes, {path: Values.of(of) for path, of in parts.items()})

    def _nodes(self, setting: int) -> Setting:
        return dict(zip(self._paths[setting], self._values[setting], strict=True))

    def _plain(self, setting: int) -> dict[str, Any]:
        values = self._values[setting]
        return {path: of.plain() for path, of in zip(self._paths[setting], values, strict=True)}


class ConfigsOfPack(Sequence[RunConfig]):
    """The configs of a pack: those that are sent to a worker are made there, of their kinds, as a list."""

    def __init__(
        self, kinds: Sequence[ConfigKind], rows: Sequence[tuple[int, tuple[float, ...], int]]
    ) -> None:
        self._kinds = kinds
        self._rows = rows
        """Of each config the number of its kind, its floats and its seed."""

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> RunConfig: ...
    @overload
    def __getitem__(self, index: slice) -> "ConfigsOfPack": ...
    def __getitem__(self, index: int | slice) -> "RunConfig | ConfigsOfPack":
        if isinstance(index, slice):
            return ConfigsOfPack(self._kinds, self._rows[index])
        kind, values, seed = self._rows[index]
        return self._kinds[kind].config_of(values, seed)

    def __reduce__(self) -> tuple[Any, ...]:
        return _listed, (self._kinds, self._rows)


def _listed(
    kinds: Sequence[ConfigKind], rows: Sequence[tuple[int, tuple[float, ...], int]]
) -> list[RunConfig]:
    return list(ConfigsOfPack(kinds, rows))


class Completed:
    """The configs of settings: the kind of each, its floats, and the seeds that all have or count from their own."""

    def __init__(self, repeats: int, seeds: Sequence[int] | None, variants: Iterable[Variant] = ()) -> None:
        self._repeats = repeats
        self._seeds = seeds
        self._kinds: list[ConfigKind] = []
        numbers: dict[int, int] = {}
        codes, rows = array("q"), []
        for kind, values in variants:
            number = numbers.setdefault(id(kind), len(numbers))
            if number == len(self._kinds):
                self._kinds.append(kind)
            codes.append(number)
            rows.append(values)
        self._codes: Array = np.array(codes, np.int64)
        """The place of the kind of each setting."""
        self._floats: list[int] = [len(kind.paths) for kind in self._kinds]
        self._values: Array = np.full((len(rows), max(self._floats, default=0)), np.nan)
        """Its floats ``[settings, n]``, of which a kind may have fewer."""
        for number, count in enumerate(self._floats):
            own = np.flatnonzero(self._codes == number) if len(self._kinds) > 1 else range(len(rows))
            self._values[own, :count] = [rows[i] for i in own]

    def chosen(self, settings: Sequence[int]) -> "Completed":
        """Return those of the settings of some numbers."""
        found = Completed(self._repeats, self._seeds)
        chosen = np.asarray(settings, np.int64)
        found._kinds, found._floats = self._kinds, self._floats
        found._codes, found._values = self._codes[chosen], self._values[chosen]
        return found

    def __add__(self, other: "Completed") -> "Completed":
        found = Completed(self._repeats, self._seeds)
        found._kinds, found._floats = self._kinds + other._kinds, self._floats + other._floats
        found._codes = np.concatenate([self._codes, other._codes + len(self._kinds)])
        found._values = np.full((len(found._codes), max(found._floats, default=0)), np.nan)
        found._values[: len(self._codes), : self._values.shape[1]] = self._values
        found._values[len(self._codes) :, : other._values.shape[1]] = other._values
        return found

    @property
    def differ(self) -> bool:
        """Whether it is known without looking at the configs that no two settings have equal ones."""
        if len(self._kinds) != 1 or not self._values.size:
            return False
        # With the indices it is not by a hash table, for which NumPy imports its masked arrays.
        _, first = np.unique(self._values.view(np.int64), axis=0, return_index=True)
        return len(first) == len(self._values)

    @property
    def runs(self) -> range:
        """The numbers of the runs."""
        return range(len(self._codes) * self._repeats)

    @property
    def configs(self) -> Sequence[RunConfig]:
        """The config of each run."""
        return Made(self.runs, self._config)

    @property
    def documents(self) -> Sequence[dict[str, Any]]:
        """The same as plain values."""
        return Made(self.runs, self._document)

    def seeds(self, runs: Array) -> Array:
        """Return the seeds ``[n]`` of runs."""
        settings, repeats = np.divmod(runs, self._repeats)
        if self._seeds is not None:
            return np.array(self._seeds, np.int64)[repeats]
        return np.array([kind.config.seed for kind in self._kinds], np.int64)[self._codes[settings]] + repeats

    def of_kinds_and_seeds(self, runs: Sequence[int]) -> Iterator[tuple[tuple[ConfigKind, int], list[int]]]:
        """Yield each kind and seed that the configs of some runs have, and those of the runs that have these."""
        own = np.asarray(runs, np.int64)
        codes, seeds = self._codes[own // self._repeats], self.seeds(own)
        order = np.lexsort((own, seeds, codes))
        changes = (np.diff(codes[order]) != 0) | (np.diff(seeds[order]) != 0)
        for part in np.split(order, np.flatnonzero(changes) + 1):
            yield (self._kinds[codes[part[0]]], int(seeds[part[0]])), own[part].tolist()

    def of_pack(self, runs: Sequence[int]) -> Sequence[RunConfig]:
        """Return the configs of some runs."""
        own = np.asarray(runs, np.int64)
        settings, seeds = own // self._repeats, self.seeds(own).tolist()
        used, codes = np.unique(self._codes[settings], return_inverse=True)
        if len(used) == 1:
            kind, count = self._kinds[used[0]], self._floats[used[0]]
            return LaneColumns(kind.config_of, self._values[settings, :count], seeds)
        values = (
            tuple(row[: self._floats[used[code]]])
            for code, row in zip(codes, self._values[settings].tolist(), strict=True)
        )
        return ConfigsOfPack(
            [self._kinds[code] for code in used], [*zip(codes.tolist(), values, seeds, strict=True)]
        )

    def first_of_kinds(self) -> list[RunConfig]:
        """Return the first config of each kind."""
        return [kind.config for kind in self._kinds]

    def stored(self, first: int = 0) -> ConfigColumns:
        """Return the configs and seeds of the runs from ``first`` on, as a store has them."""
        runs = np.arange(first, len(self.runs))
        settings = runs // self._repeats
        patterns = [kind.pattern(lambda document: blobs.dumps(document, "config")) for kind in self._kinds]
        values = list(self._values[settings].T)
        return ConfigColumns(patterns, self._floats, self._codes[settings], values, self.seeds(runs))

    def texts(self, runs: range, *, whole: bool = False) -> Iterator[str]:
        """Yield the canonical text of what is determining in the config of each run, or of the whole of it."""
        text_of = partial(canonical_text, whole=whole)
        patterns = [kind.pattern(text_of) for kind in self._kinds]
        for first in range(0, len(runs), AT_ONCE):
            own = np.asarray(runs[first : first + AT_ONCE])
            settings = own // self._repeats
            rows = self._values[settings].tolist(), self._codes[settings].tolist(), self.seeds(own).tolist()
            for floats, code, seed in zip(*rows, strict=True):
                yield patterns[code].text([*floats[: self._floats[code]], seed])

    def _config(self, run: int) -> RunConfig:
        setting = run // self._repeats
        return self._kind(setting).config_of(self._floats_of(setting), self._seed(run))

    def _document(self, run: int) -> dict[str, Any]:
        setting = run // self._repeats
        return self._kind(setting).document_of(self._floats_of(setting), self._seed(run))

    def _kind(self, setting: int) -> ConfigKind:
        return self._kinds[int(self._codes[setting])]

    def _floats_of(self, setting: int) -> list[float]:
        values: list[float] = self._values[setting, : self._floats[self._codes[setting]]].tolist()
        return values

    def _seed(self, run: int) -> int:
        setting, repeat = divmod(run, self._repeats)
        return self._kind(setting).config.seed + repeat if self._seeds is None else self._seeds[repeat]
