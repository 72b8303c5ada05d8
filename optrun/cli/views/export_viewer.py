"""`export --to`: write curves and evaluations for a program that shows them."""

import re
from pathlib import Path

from optrun.analysis.best_run import find_numbered
from optrun.analysis.chosen_runs import choose
from optrun.analysis.run_columns import RunColumns
from optrun.analysis.run_difference import flatten
from optrun.cli.arguments import Viewer
from optrun.cli.text.setting_table import Labels
from optrun.cli.views.export import check_not_own
from optrun.errors import ConfigError
from optrun.store import Store
from optrun.store.mlflow import NamedRun, write_runs
from optrun.store.tensorboard import write_events

LONGEST = 120
"""The most characters of the name of a run."""

WRITES = {
    Viewer.TENSORBOARD: "a folder",
    Viewer.MLFLOW: "into a database such as mlflow.db, or a server such as http://localhost:5000",
}


def export_to(viewer: Viewer, run_directory: Path, output: str, where: str | None) -> None:
    """Write the runs that fulfil a condition; ConfigError without a place for them, or for a wrong condition.

    A run is named after its number and its setting.
    """
    if output == "-":
        raise ConfigError(f"--to {viewer} writes {WRITES[viewer]}: give it with -o")
    check_not_own(Path(output))
    path, number = find_numbered(run_directory)
    with Store.open(path) as store:
        columns = RunColumns.of(store, number)
        labels = Labels(columns.settings)
        width = len(str(max(store.size - 1, 0)))
        names = {}
        chosen = choose(columns, where, None)
        for index in chosen:
            run = columns.records[index].run
            setting = re.sub(r"[^\w.=+-]+", ",", labels.text(columns.settings[index]))
            names[run] = f"{run:0{width}} {setting}".strip()[:LONGEST]
        if viewer is Viewer.TENSORBOARD:
            write_events(Path(output), names, store.curves, store.evaluations)
            return
        records = [columns.records[index] for index in chosen]
        runs = [
            NamedRun(names[each.run], f"{path.resolve()}:{each.run}", each, flatten(each.config))
            for each in records
        ]
        experiment = str(records[0].config.get("name", path.name)) if records else path.name
        write_runs(output, experiment, runs, store.curves, store.evaluations)
