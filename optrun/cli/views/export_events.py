"""`export --to tensorboard`: write curves and evaluations as event files."""

import re
from pathlib import Path

from optrun.analysis.chosen_runs import choose
from optrun.analysis.run_columns import RunColumns
from optrun.cli.text.setting_table import Labels
from optrun.errors import ConfigError
from optrun.store import Store
from optrun.store.locate import find_numbered
from optrun.store.tensorboard import write_events

LONGEST = 120
"""The most characters of the name of a run's folder."""


def export_events(run_directory: Path, folder: str, where: str | None) -> None:
    """Write the runs that fulfil a condition to a new folder; ConfigError if it is not one, or for a wrong condition.

    The folder of a run is named after its number and its setting.
    """
    if folder == "-":
        raise ConfigError("--to tensorboard writes a folder: give it with -o")
    path, number = find_numbered(run_directory)
    with Store.open(path) as store:
        columns = RunColumns.of(store, number)
        labels = Labels(columns.settings)
        width = len(str(max(store.size - 1, 0)))
        names = {}
        for index in choose(columns, where, None):
            run = columns.records[index].run
            setting = re.sub(r"[^\w.=+-]+", ",", labels.text(columns.settings[index]))
            names[run] = f"{run:0{width}} {setting}".strip()[:LONGEST]
        write_events(Path(folder), names, store.curves, store.evaluations)
