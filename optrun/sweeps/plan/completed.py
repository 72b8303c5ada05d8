"""The runs of a plan in columns: of each setting what varies, of which its configs are made when they are asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

from optrun.config import RunConfig
from optrun.config.identity import canonical_text
from optrun.config.json_pattern import JsonPattern
from optrun.config.sweep.variants import ConfigKind, Variant
from optrun.config.yaml.tree import YamlNode
from optrun.store import blobs
from optrun.sweeps.plan.spaces import Setting

T = TypeVar("T")


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
        self._values: list[tuple[float, ...]] = []
        for kind, values in variants:
            self._kinds.append(kind)
            self._values.append(values)
        self._patterns: dict[tuple[int, str], JsonPattern] = {}

    def chosen(self, settings: Sequence[int]) -> "Completed":
        """Return those of the settings of some numbers."""
        return Completed(
            self._repeats, self._seeds, (Variant(self._kinds[i], self._values[i]) for i in settings)
        )

    def __add__(self, other: "Completed") -> "Completed":
        found = Completed(self._repeats, self._seeds)
        found._kinds, found._values = self._kinds + other._kinds, self._values + other._values
        return found

    @property
    def runs(self) -> range:
        """The numbers of the runs."""
        return range(len(self._kinds) * self._repeats)

    @property
    def configs(self) -> Sequence[RunConfig]:
        """The config of each run."""
        return Made(self.runs, self._config)

    @property
    def documents(self) -> Sequence[dict[str, Any]]:
        """The same as plain values."""
        return Made(self.runs, self._document)

    def seed(self, run: int) -> int:
        """Return the seed of a run."""
        setting, repeat = divmod(run, self._repeats)
        return self._kinds[setting].config.seed + repeat if self._seeds is None else self._seeds[repeat]

    def kind_and_seed(self, run: int) -> tuple[ConfigKind, int]:
        """Return of which kind the config of a run is, and its seed."""
        return self._kinds[run // self._repeats], self.seed(run)

    def of_pack(self, runs: Sequence[int]) -> ConfigsOfPack:
        """Return the configs of some runs."""
        numbers: dict[int, int] = {}
        kinds: list[ConfigKind] = []
        rows = []
        for run in runs:
            setting = run // self._repeats
            kind = self._kinds[setting]
            number = numbers.setdefault(id(kind), len(kinds))
            if number == len(kinds):
                kinds.append(kind)
            rows.append((number, self._values[setting], self.seed(run)))
        return ConfigsOfPack(kinds, rows)

    def first_of_kinds(self) -> list[RunConfig]:
        """Return the first config of each kind."""
        return [kind.config for kind in {id(kind): kind for kind in self._kinds}.values()]

    def stored(self, run: int) -> str:
        """Return the config of a run as the JSON text that a store has."""
        return self._text(run, "stored", lambda document: blobs.dumps(document, "config"))

    def canonical(self, run: int) -> str:
        """Return the canonical text of what is determining in the config of a run."""
        return self._text(run, "determining", canonical_text)

    def whole(self, run: int) -> str:
        """Return the canonical text of the whole config of a run."""
        return self._text(run, "whole", lambda document: canonical_text(document, whole=True))

    def _text(self, run: int, form: str, text_of: Callable[[dict[str, Any]], str]) -> str:
        setting = run // self._repeats
        kind = self._kinds[setting]
        pattern = self._patterns.get((id(kind), form))
        if pattern is None:
            pattern = self._patterns[id(kind), form] = kind.pattern(text_of)
        return pattern.text((*self._values[setting], self.seed(run)))

    def _config(self, run: int) -> RunConfig:
        setting = run // self._repeats
        return self._kinds[setting].config_of(self._values[setting], self.seed(run))

    def _document(self, run: int) -> dict[str, Any]:
        setting = run // self._repeats
        return self._kinds[setting].document_of(self._values[setting], self.seed(run))
