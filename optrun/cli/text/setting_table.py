"""Tables with the swept parameters as columns, whose values are whole on any terminal."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from rich.table import Table

from optrun.cli.text.console import console
from optrun.cli.text.tables import Column, Way
from optrun.config.yaml.writer import inline, rounded, told_apart
from optrun.errors import printable

DIGITS, FEWER, ALL = 6, (5, 4, 3), 17
"""The significant digits of a number, and those where there is no room for so many."""

NEAR_ONE = 0.9
"""From here to 1 numbers have all digits: of 0.9999 what matters is how far it is from 1."""

LEAST_SETTING = 20
"""The least columns of a setting that is one text."""

Setting = Mapping[str, Any]


class Labels:
    """What swept parameters and their values are called: as short as still tells them apart."""

    def __init__(self, settings: Sequence[Setting]) -> None:
        values: dict[str, dict[str, Any]] = {}
        together = {frozenset(setting) for setting in settings}
        for setting in settings:
            for path, value in setting.items():
                values.setdefault(path, {})[repr(value)] = value
        # A section and its name alone are one parameter, where no setting has both.
        self._homes = {
            path: home
            if (home := path.removesuffix(".name")) != path
            and not any({home, path} <= paths for paths in together)
            else path
            for path in values
        }
        columns: dict[str, dict[str, Any]] = {}
        for path, found in values.items():
            columns.setdefault(self._homes[path], {}).update(found)
        self._values = columns
        self._texts = self._of_digits(DIGITS)
        self.titles = [printable(_shortest(path, columns)) for path in columns]
        """The columns: the shortest ends of the paths that no other one has."""

    def cells(self, setting: Setting) -> list[str]:
        """Return the values of a setting, one for each title, empty where it has none."""
        found = {self._homes[path]: repr(value) for path, value in setting.items()}
        return [texts[found[path]] if path in found else "" for path, texts in self._texts.items()]

    def rounded(self, digits: int) -> "Labels":
        """Return the same labels with numbers of fewer digits."""
        found = copy(self)
        found._texts = self._of_digits(digits)
        return found

    def columns(self, settings: Sequence[Setting]) -> list[Column]:
        """Return the columns of a table with these settings as rows."""
        rows = [self.cells(setting) for setting in settings]
        return [Column(title, [row[index] for row in rows]) for index, title in enumerate(self.titles)]

    def _of_digits(self, digits: int) -> dict[str, dict[str, str]]:
        return {path: _told_apart(values, digits) for path, values in self._values.items()}

    def text(self, setting: Setting) -> str:
        """Return a setting in a line."""
        cells = zip(self.titles, self.cells(setting), strict=True)
        return " ".join(f"{title}={cell}" for title, cell in cells if cell)


def settings_table(
    before: Sequence[Column], labels: Labels, settings: Sequence[Setting], after: Sequence[Column]
) -> Table:
    """Return a table of settings, one in a row, with columns before and after their parameters.

    Where the terminal has no room for all, columns go that are empty or spare, titles are cut, numbers rounded, values
    folded, and at last a setting is one text. No value is cut.
    """
    room = console().width
    for way in _ways(before, labels, settings, after):
        if way.fits(room):
            break
    return way.table(room)


def _ways(
    before: Sequence[Column], labels: Labels, settings: Sequence[Setting], after: Sequence[Column]
) -> Iterator[Way]:
    """Yield ways to lay a table out, each for less room than the one before."""
    columns = [*before, *labels.columns(settings), *after]
    yield Way(columns, [each.whole for each in columns])
    columns = [each for each in columns if not each.is_empty]
    yield Way(columns, [each.whole for each in columns])
    columns = [each for each in columns if not each.spare]
    yield Way(columns, [each.whole for each in columns])
    yield Way(columns, [each.values for each in columns])
    before, after = _narrowed(before), _narrowed(after)
    parameters = labels.columns(settings)
    for digits in FEWER:
        rounded = labels.rounded(digits)
        fewer = rounded.columns(settings)
        if any(len({*new.cells}) < len({*old.cells}) for new, old in zip(fewer, parameters, strict=True)):
            break
        labels, parameters = rounded, fewer
        columns = [each for each in (*before, *parameters, *after) if not each.is_empty]
        yield Way(columns, [each.values for each in columns])
    parameters = [each for each in parameters if not each.is_empty]
    columns = [*before, *parameters, *after]
    yield Way(
        columns,
        [
            *(each.values for each in before),
            *(each.words for each in parameters),
            *(each.values for each in after),
        ],
    )
    texts = Column("setting", [labels.text(setting) for setting in settings])
    columns = [*before, *([] if texts.is_empty else [texts]), *after]
    yield Way(columns, [LEAST_SETTING if each is texts else each.values for each in columns])


def _narrowed(columns: Sequence[Column]) -> list[Column]:
    return [
        replace(each, cells=each.short or each.cells) for each in columns if not (each.spare or each.is_empty)
    ]


def setting_text(setting: Setting) -> str:
    """Return a setting in a line, with all of its values in all of their digits."""
    return " ".join(f"{printable(path)}={value_text(value, ALL)}" for path, value in setting.items())


def value_text(value: Any, digits: int = DIGITS) -> str:
    """Return a value of a config in a word or a few."""
    if value is None:
        return "null"
    if isinstance(value, float) and digits == ALL:
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, float):
        return rounded(value, DIGITS if NEAR_ONE <= abs(value) < 1 else digits)
    if isinstance(value, dict) and "name" in value:
        keys = [key for key in value if key != "name"]
        return " ".join([value_text(value["name"]), *_options(value, keys, digits)])
    return printable(value if isinstance(value, str) else inline(value))


def _options(value: Mapping[str, Any], keys: Sequence[str], digits: int) -> list[str]:
    return [f"{printable(key)}={value_text(value[key], digits)}" for key in keys if key in value]


def _shortest(path: str, paths: Mapping[str, Any]) -> str:
    steps = path.split(".")
    # A name alone says nothing of what it names.
    least = 2 if steps[-1] == "name" or steps[-1].isdecimal() else 1
    for count in range(least, len(steps)):
        end = ".".join(steps[-count:])
        if not any(other != path and f".{other}".endswith(f".{end}") for other in paths):
            return end
    return path


def _told_apart(values: Mapping[str, Any], digits: int) -> dict[str, str]:
    """Return a label for each value: its name alone, or with the options that differ from others of the name."""
    floats = [value for value in values.values() if isinstance(value, float)]
    if len(floats) == len(values):
        near = any(NEAR_ONE <= abs(value) < 1 for value in floats)
        return dict(zip(values, told_apart(floats, DIGITS if near else digits), strict=True))
    by_name: dict[str | None, list[Any]] = {}
    for value in values.values():
        by_name.setdefault(_name(value), []).append(value)
    return {key: _label(value, by_name[_name(value)], digits) for key, value in values.items()}


def _name(value: Any) -> str | None:
    name = value.get("name") if isinstance(value, dict) else value
    return name if isinstance(name, str) else None


def _label(value: Any, alike: Sequence[Any], digits: int) -> str:
    if not isinstance(value, dict):
        return value_text(value, digits)
    options = [each if isinstance(each, dict) else {} for each in alike]
    keys = [
        key for key in value if key != "name" and len({repr(each.get(key, Ellipsis)) for each in options}) > 1
    ]
    words = [value_text(value["name"])] if "name" in value else []
    return " ".join([*words, *_options(value, keys, digits)]) or value_text(value, digits)
