"""`doctor`: the machine and its packages, or the damage of a store."""

import json as json_module
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from optrun.cli.text.console import emit, table
from optrun.diagnostics import findings
from optrun.errors import counted, install, printable
from optrun.store.check import faults
from optrun.store.locate import find_whole


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
    """Read the whole store of a run or a sweep and print its damage; return whether there is none."""
    path = find_whole(run, "doctor")
    size, found = faults(path)
    if json:
        print(json_module.dumps({"path": str(path), "runs": size, "damage": found}, ensure_ascii=False))
    for fault in () if json else found:
        emit(Text(f"{printable(str(path))}: {fault}", "red"))
    if not (json or found):
        what = "every page and row is undamaged and consistent"
        emit(Text(f"{printable(str(path))}: {counted(size, 'run')}, {what}", "green"))
    return not found


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
