"""Tables with the swept parameters as columns; values are never cut, whatever the width of the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from rich.table import Table

from optrun.cli.text.console import console
from optrun.cli.text.tables import Column, TableLayout
from optrun.config.yaml.writer import inline, rounded, told_apart
from optrun.errors import printable
from optrun.store.setting_columns import SettingColumns

DIGITS, FEWER, ALL = 6, (5, 4, 3), 17
"""The significant digits of numbers: usual, on narrow terminals (tried in this order), and all."""

NEAR_ONE = 0.9
"""Numbers between this and 1 keep their digits: of a decay such as 0.9999, the distance from 1 matters."""

LEAST_SETTING = 20
"""The least width of a column that holds whole settings as text."""

MOST_SPARSE = 8
"""The most columns of their own that parameters have which are in less than half of the settings."""

Setting = Mapping[str, Any]


MOST_TOLD_APART = 10_000
"""The most settings from all of which each label differs."""


class Labels:
    """Labels of swept parameters and their values, as short as they can be while distinct."""

    def __init__(self, settings: Sequence[Setting]) -> None:
        of = settings if isinstance(settings, SettingColumns) else SettingColumns.of(settings)
        values = {path: {repr(value): value for value in of.distinct(path)} for path in of.paths}
        combinations = [{*paths} for paths in of.combinations]
        # `optimizer` and `optimizer.name` share a column, unless a setting has both.
        self._columns_of = {
            path: parent
            if (parent := path.removesuffix(".name")) != path
            and not any({parent, path} <= paths for paths in combinations)
            else path
            for path in values
        }
        columns: dict[str, dict[str, Any]] = {}
        for path, found in values.items():
            columns.setdefault(self._columns_of[path], {}).update(found)
        self._values = columns
        self._texts = self._of_digits(DIGITS)
        self.titles = [printable(_shortest(path, columns)) for path in columns]
        """The column titles: the shortest unique suffixes of the paths."""

    def cells(self, setting: Setting) -> list[str]:
        """Return the values of a setting, one for each title; empty if it has none."""
        found = {self._columns_of[path]: repr(value) for path, value in setting.items()}
        return [texts[found[path]] if path in found else "" for path, texts in self._texts.items()]

    def rounded(self, digits: int) -> "Labels":
        """Return the labels with numbers rounded to so many significant digits."""
        found = copy(self)
        found._texts = self._of_digits(digits)
        return found

    def columns(self, settings: Sequence[Setting]) -> list[Column]:
        """Return the table columns of these settings; where many would be nearly empty, they are one."""
        rows = [self.cells(setting) for setting in settings]
        columns = [Column(title, [row[index] for row in rows]) for index, title in enumerate(self.titles)]
        sparse = [each for each in columns if not each.is_empty and not all(each.cells)]
        filled = sum(bool(cell) for each in sparse for cell in each.cells)
        if len(sparse) <= MOST_SPARSE or 2 * filled >= len(sparse) * len(rows):
            return columns
        texts = [
            " ".join(f"{each.title}={each.cells[row]}" for each in sparse if each.cells[row])
            for row in range(len(rows))
        ]
        return [*(each for each in columns if all(each.cells)), Column("setting", texts)]

    def _of_digits(self, digits: int) -> dict[str, dict[str, str]]:
        return {path: _value_labels(values, digits) for path, values in self._values.items()}

    def text(self, setting: Setting) -> str:
        """Return a setting as one line."""
        cells = zip(self.titles, self.cells(setting), strict=True)
        return " ".join(f"{title}={cell}" for title, cell in cells if cell)


def labels_of(shown: Sequence[Setting], settings: Sequence[Setting]) -> Labels:
    """Return labels that tell settings from all others, or, where these are very many, those that are shown."""
    return Labels(shown if len(settings) > MOST_TOLD_APART else settings)


def settings_table(
    before: Sequence[Column], labels: Labels, settings: Sequence[Setting], after: Sequence[Column]
) -> Table:
    """Return a table of settings, one per row, with columns before and after their parameters.

    If the table is wider than the terminal, these steps are tried in order: drop empty columns, drop spare columns, cut
    titles, round numbers, wrap values, write each setting as one text. No value is cut.
    """
    width = console().width
    for layout in _layouts(before, labels, settings, after):
        if layout.fits(width):
            break
    return layout.table(width)


def _layouts(
    before: Sequence[Column], labels: Labels, settings: Sequence[Setting], after: Sequence[Column]
) -> Iterator[TableLayout]:
    """Yield layouts of a table, each narrower than the one before."""
    columns = [*before, *labels.columns(settings), *after]
    yield TableLayout(columns, [each.full_width for each in columns])
    columns = [each for each in columns if not each.is_empty]
    yield TableLayout(columns, [each.full_width for each in columns])
    columns = [each for each in columns if not each.spare]
    yield TableLayout(columns, [each.full_width for each in columns])
    yield TableLayout(columns, [each.value_width for each in columns])
    before, after = _narrowed(before), _narrowed(after)
    parameters = labels.columns(settings)
    for digits in FEWER:
        rounded = labels.rounded(digits)
        fewer = rounded.columns(settings)
        if any(len({*new.cells}) < len({*old.cells}) for new, old in zip(fewer, parameters, strict=True)):
            break
        labels, parameters = rounded, fewer
        columns = [each for each in (*before, *parameters, *after) if not each.is_empty]
        yield TableLayout(columns, [each.value_width for each in columns])
    parameters = [each for each in parameters if not each.is_empty]
    columns = [*before, *parameters, *after]
    yield TableLayout(
        columns,
        [
            *(each.value_width for each in before),
            *(each.word_width for each in parameters),
            *(each.value_width for each in after),
        ],
    )
    texts = Column("setting", [labels.text(setting) for setting in settings])
    columns = [*before, *([] if texts.is_empty else [texts]), *after]
    yield TableLayout(columns, [LEAST_SETTING if each is texts else each.value_width for each in columns])


def _narrowed(columns: Sequence[Column]) -> list[Column]:
    return [
        replace(each, cells=each.short or each.cells) for each in columns if not (each.spare or each.is_empty)
    ]


def setting_text(setting: Setting) -> str:
    """Return a setting as one line, with full paths and all digits."""
    return " ".join(f"{printable(path)}={value_text(value, ALL)}" for path, value in setting.items())


def value_text(value: Any, digits: int = DIGITS) -> str:
    """Format a value of a config briefly."""
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
    # `name` or an index needs its parent to be understood.
    least = 2 if steps[-1] == "name" or steps[-1].isdecimal() else 1
    for count in range(least, len(steps)):
        end = ".".join(steps[-count:])
        if not any(other != path and f".{other}".endswith(f".{end}") for other in paths):
            return end
    return path


def _value_labels(values: Mapping[str, Any], digits: int) -> dict[str, str]:
    """Return a label for each value: its name, and the options in which values of the same name differ."""
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
