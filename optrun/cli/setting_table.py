"""Tables with the swept parameters as columns, which are cut where the terminal has no room for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from optrun.cli.look import GAP, console, table
from optrun.config.writer import inline
from optrun.errors import printable

LEAST_TITLE, LEAST_CELL = 5, 4
"""The columns that are left of a parameter's title and of its values, where they have to be cut."""

Setting = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column beside the parameters, which is never cut."""

    title: str
    cells: Sequence[str | Text]
    right: bool = False


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
        self._texts = {path: _told_apart(found) for path, found in columns.items()}
        self.titles = [printable(_shortest(path, columns)) for path in columns]
        """The columns: the shortest ends of the paths that no other one has."""

    def cells(self, setting: Setting) -> list[str]:
        """Return the values of a setting, one for each title, empty where it has none."""
        found = {self._homes[path]: repr(value) for path, value in setting.items()}
        return [texts[found[path]] if path in found else "" for path, texts in self._texts.items()]

    def text(self, setting: Setting) -> str:
        """Return a setting in a line."""
        cells = zip(self.titles, self.cells(setting), strict=True)
        return " ".join(f"{title}={cell}" for title, cell in cells if cell)


def settings_table(
    before: Sequence[Column], labels: Labels, settings: Sequence[Setting], after: Sequence[Column]
) -> Table:
    """Return a table of settings, one in a row, with columns before and after their parameters.

    Where the terminal has no room for all, values are cut; where even that is not enough, the last parameters go.
    """
    rows = [labels.cells(setting) for setting in settings]
    columns = [[title, *(row[index] for row in rows)] for index, title in enumerate(labels.titles)]
    fixed = [*before, *after]
    taken = sum(max(map(_width, (each.title, *each.cells))) + GAP for each in fixed) - GAP
    widths = _fitted(columns, console().width - taken)
    shown = [
        Column(*_cut_all(column, width)) for column, width in zip(columns, widths, strict=False) if width
    ]
    if len(shown) < len(columns):
        shown.append(Column("…", [""] * len(rows)))
    every = [*before, *shown, *after]
    made = table(*(each.title for each in every), right=[each.title for each in every if each.right])
    for row in zip(*(each.cells for each in every), strict=True):
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return made


def setting_text(setting: Setting) -> str:
    """Return a setting in a line, with all of its values."""
    return " ".join(f"{printable(path)}={value_text(value)}" for path, value in setting.items())


def value_text(value: Any) -> str:
    """Return a value of a config in a word or a few."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict) and "name" in value:
        return " ".join(
            [value_text(value["name"]), *_options(value, [key for key in value if key != "name"])]
        )
    return printable(value if isinstance(value, str) else inline(value))


def _options(value: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    return [f"{printable(key)}={value_text(value[key])}" for key in keys if key in value]


def _shortest(path: str, paths: Mapping[str, Any]) -> str:
    steps = path.split(".")
    # A name alone says nothing of what it names.
    least = 2 if steps[-1] == "name" or steps[-1].isdecimal() else 1
    for count in range(least, len(steps)):
        end = ".".join(steps[-count:])
        if not any(other != path and f".{other}".endswith(f".{end}") for other in paths):
            return end
    return path


def _told_apart(values: Mapping[str, Any]) -> dict[str, str]:
    """Return a label for each value: its name alone, or with the options that differ from others of the name."""
    by_name: dict[str | None, list[Any]] = {}
    for value in values.values():
        by_name.setdefault(_name(value), []).append(value)
    return {key: _label(value, by_name[_name(value)]) for key, value in values.items()}


def _name(value: Any) -> str | None:
    name = value.get("name") if isinstance(value, dict) else value
    return name if isinstance(name, str) else None


def _label(value: Any, alike: Sequence[Any]) -> str:
    if not isinstance(value, dict):
        return value_text(value)
    options = [each if isinstance(each, dict) else {} for each in alike]
    keys = [
        key for key in value if key != "name" and len({repr(each.get(key, Ellipsis)) for each in options}) > 1
    ]
    words = [value_text(value["name"])] if "name" in value else []
    return " ".join([*words, *_options(value, keys)]) or value_text(value)


def _fitted(columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return how wide each column is to be, its title at its top; 0 where there is no room for it."""
    whole = [max(map(_width, column)) for column in columns]
    least = [max(min(_width(title), LEAST_TITLE), *map(_width, cells), 0) for title, *cells in columns]
    count = len(columns)
    while count and sum(min(width, LEAST_CELL) + GAP for width in least[:count]) > room - (
        (1 + GAP) * (count < len(columns))
    ):
        count -= 1
    room -= GAP * count + (1 + GAP) * (count < len(columns))
    most = max(whole[:count], default=0)
    widths = [min(width, LEAST_CELL) for width in least[:count]]
    # Values have what there is before titles do, and narrow columns before wide ones.
    for wanted in (least, whole):
        for width in range(LEAST_CELL, most + 1):
            for index in range(count):
                if widths[index] < min(width, wanted[index]) and sum(widths) < room:
                    widths[index] += 1
    return widths


def _cut_all(column: Sequence[str], width: int) -> tuple[str, list[str]]:
    texts = [Text(text) for text in column]
    for text in texts:
        text.truncate(width, overflow="ellipsis")
    title, *cells = (text.plain for text in texts)
    return title, cells


def _width(cell: str | Text) -> int:
    return cell_len(str(cell))
