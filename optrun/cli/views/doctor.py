"""`doctor`: the machine and its packages, or the damage of a store."""

import json as json_module
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from rich.text import Text

from optrun.analysis.leaderboard import plugins_of
from optrun.cli.text.console import emit, quoted, suggest, table, with_plugins
from optrun.config.sweep.resolve import is_sweep
from optrun.diagnostics import findings
from optrun.errors import StoreError, counted, install, printable
from optrun.store import Store, export
from optrun.store.check import faults
from optrun.store.formats import METRICS
from optrun.store.locate import CONFIG, find_whole

RUN = re.compile(r"\brun (\d+)\b")
MOST = 10
"""How many runs are listed that can be read."""


def print_findings(*, json: bool) -> bool:
    """Print the hardware and packages of this machine; return whether optrun can work here."""
    found = findings()
    if json:
        print(json_module.dumps(found, ensure_ascii=False))
        return not found["problems"]
    made = table("", "", "")
    made.columns[2].no_wrap = False
    made.columns[2].overflow = "fold"
    for section, values in found.items():
        lines = (
            _extras(values)
            if section == "extras"
            else {name: Text(_value(of)) for name, of in values.items()}
        )
        for index, (name, text) in enumerate(lines.items()):
            made.add_row(Text("" if index else section, "bold"), Text(printable(name)), text)
    emit(made)
    if found["problems"]:
        emit(Text("\noptrun cannot work here: see problems", "red"))
    else:
        emit(Text("\nall required packages are installed; extras are listed above", "green"))
    return not found["problems"]


def print_faults(run: str, *, json: bool) -> bool:
    """Read the whole store of a run or a sweep and print its damage, and what to do; return whether there is none."""
    path = find_whole(run, "doctor")
    try:
        size, found = faults(path)
    except StoreError as error:
        if not isinstance(error.__cause__, sqlite3.DatabaseError):
            raise
        raise StoreError("\nnext: optrun ".join([str(error), *_again(path)])) from error.__cause__
    if json:
        print(json_module.dumps({"path": str(path), "runs": size, "damage": found}, ensure_ascii=False))
    for fault in () if json else found:
        emit(Text(f"{printable(str(path))}: {fault}", "red"))
    if found and not json:
        _print_rescue(path, size, found)
    if not (json or found):
        what = "every page and row is undamaged and consistent"
        emit(Text(f"{printable(str(path))}: {counted(size, 'run')}, {what}", "green"))
    return not found


def _print_rescue(path: Path, size: int, found: Sequence[str]) -> None:
    """Print what of a damaged store can still be read, and the commands that export it and run the rest again."""
    damaged = {int(run) for fault in found for run in RUN.findall(fault)}
    whole = [run for run in range(size) if run not in damaged]
    commands = []
    if whole and _is_readable(path, whole[0]):
        run, name = ("", "curves") if size == 1 else (f":{whole[0]}", f"run-{whole[0]}")
        commands.append(f"export {quoted(path)}{run} -o {name}.csv")
        said = "the curves of the run" if size == 1 else f"{counted(len(whole), 'run')} of {size}"
        numbers = "" if size == 1 else f": {', '.join(map(str, whole[:MOST]))}{', …' * (len(whole) > MOST)}"
        emit(f"{said} can still be read{numbers}")
    elif (path / METRICS).exists():
        emit(f"{printable(str(path / METRICS))} has the curves as they were written before")
    suggest(*commands, *_again(path))


def _is_readable(path: Path, run: int) -> bool:
    try:
        with Store.open(path) as store:
            export(store, run, "csv", BytesIO())
    except StoreError:
        return False
    return True


def _again(path: Path) -> list[str]:
    """Return the command that repeats a run or a sweep beside the damaged one, if its config is there."""
    config = path / CONFIG
    plugins: tuple[str, ...] = ()
    with suppress(StoreError), Store.open(path) as store:
        plugins = plugins_of(store)
    command = "sweep" if is_sweep(config) else "run"
    again = f"{command} {quoted(config)} -o {quoted(f'{path}-again')}{with_plugins(plugins)}"
    return [again] if config.is_file() else []


def _extras(extras: Mapping[str, Mapping[str, str | None]]) -> dict[str, Text]:
    lines = {}
    for extra, distributions in extras.items():
        there = ", ".join(f"{name} {version}" for name, version in distributions.items() if version)
        missing = [name for name, version in distributions.items() if version is None]
        text = Text(there)
        if missing:
            text.append(f"{'; ' if there else ''}{', '.join(missing)} missing: {install(*missing)}", "yellow")
        lines[extra] = text
    return lines


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {of}" for name, of in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "—" if value is None else printable(str(value))
