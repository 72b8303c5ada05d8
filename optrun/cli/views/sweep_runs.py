"""`ls SWEEP`: the runs of a sweep."""

import json as json_module
from pathlib import Path

from optrun.analysis.chosen_runs import choose
from optrun.analysis.leaderboard import plan_of
from optrun.analysis.run_columns import RunColumns
from optrun.analysis.summaries import run_object
from optrun.cli.text.console import counted, emit, quoted, status_text, suggest
from optrun.cli.text.metrics import number
from optrun.cli.text.setting_table import Labels, settings_table
from optrun.cli.text.tables import Column
from optrun.cli.views.run_list import MOST_RUNS, check_statuses
from optrun.store import Store


def print_sweep_runs(
    path: Path,
    run: int | None,
    statuses: tuple[str, ...],
    limit: int | None,
    where: str | None = None,
    sort: str | None = None,
    *,
    json: bool,
) -> None:
    """Print the runs of a store by number, or only ``run``; ConfigError for an unknown status or name.

    ``where`` is a condition that they fulfil, and ``sort`` the name of what they are sorted by. Without a limit, the
    table has the first 20 runs, JSON all.
    """
    check_statuses(statuses)
    with Store.open(path) as store:
        plan = plan_of(store)
        columns = RunColumns.of(store, run)
        named = choose(columns, where, sort)
        most = MOST_RUNS if limit is None and not json else limit
        chosen = [each for each in named if not statuses or columns.statuses[each] in statuses]
        shown = [
            (columns.statuses[each], columns.records[each], columns.settings[each])
            for each in (chosen[:most] if most else chosen)
        ]
        if json:
            documents = [
                {**run_object(path, status, record, record.run if plan else None), "setting": setting}
                for status, record, setting in shown
            ]
            print(json_module.dumps(documents, ensure_ascii=False, allow_nan=False))
            return
    if not shown:
        emit(f"none of {counted(columns.size, 'run')} in {path} is as asked for")
        return
    metric = plan.metric if plan else "final_loss"
    figures = [record.summary.get(metric) for _, record, _ in shown]
    before = [
        Column("run", [str(record.run) for _, record, _ in shown], right=True),
        Column("status", [status_text(status) for status, *_ in shown]),
        Column("steps", [f"{record.steps:,}" for _, record, _ in shown], right=True),
        Column(metric, ["" if figure is None else number(figure) for figure in figures], right=True),
    ]
    name = (sort or "").removeprefix("-")
    if name != metric and any(name in record.summary for _, record, _ in shown):
        values = [record.summary.get(name) for _, record, _ in shown]
        before.append(Column(name, ["" if each is None else number(each) for each in values], right=True))
    seeds = Column("seed", [str(record.seed) for _, record, _ in shown])
    settings = [setting for *_, setting in shown]
    emit(settings_table(before, Labels(plan.settings if plan else []), settings, [seeds]))
    if len(shown) < len(chosen):
        options = "".join(
            f" {option} {quoted(value)}" for option, value in (("--where", where), ("--sort", sort)) if value
        )
        suggest(f"ls {quoted(path)}{options} --limit 0")
    else:
        suggest(f"show {quoted(path)}:{shown[0][1].run}")
