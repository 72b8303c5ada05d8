"""What `doctor` prints."""

import json as json_module
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from optrun.cli.text.console import emit, table
from optrun.diagnostics import findings
from optrun.store import Store
from optrun.store.locate import find_whole
from optrun.store.schema import printable


def print_findings(*, json: bool) -> bool:
    """Print what optrun finds on this machine; return whether it can work."""
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
        emit(Text("\neverything that is needed is there; extras are as listed", "green"))
    return not found["problems"]


def print_verified(run: str, *, json: bool) -> None:
    """Read all that is stored of a run or a sweep, and print that it is undamaged; StoreError where it is not."""
    path = find_whole(run, "doctor")
    with Store.open(path) as store:
        store.verify()
        size = store.size
    if json:
        print(json_module.dumps({"path": str(path), "runs": size, "damage": None}, ensure_ascii=False))
    else:
        emit(Text(f"{printable(str(path))}: every page and every row is undamaged", "green"))


def _extras(extras: Mapping[str, Mapping[str, str | None]]) -> dict[str, Text]:
    lines = {}
    for extra, distributions in extras.items():
        there = ", ".join(f"{name} {version}" for name, version in distributions.items() if version)
        missing = [name for name, version in distributions.items() if version is None]
        text = Text(there)
        if missing:
            command = f"python -m pip install {' '.join(missing)}"
            text.append(f"{'; ' if there else ''}{', '.join(missing)} missing: {command}", "yellow")
        lines[extra] = text
    return lines


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {of}" for name, of in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "—" if value is None else printable(str(value))
