"""Runs of a store, chosen by a condition and sorted, and a table of them."""

from optrun.analysis.conditions import fulfilled
from optrun.analysis.run_columns import RunColumns
from optrun.store import Store
from optrun.store.run_table import RunTable, What, run_table


def choose(columns: RunColumns, where: str | None, sort: str | None) -> list[int]:
    """Return the indices of the runs that fulfil a condition, sorted by a name; by default all in their order.

    Raises ConfigError for a wrong condition or name.
    """
    order = range(columns.size) if sort is None else columns.order(sort)
    chosen = range(columns.size) if where is None else set(fulfilled(where, columns))
    return [index for index in order if index in chosen]


def stored_table(
    store: Store, what: What, run: int | None = None, where: str | None = None, sort: str | None = None
) -> RunTable:
    """Return a table of the runs of a store, or of one; all, or those that `choose` finds.

    Raises StoreError where a run is damaged, and ConfigError for a wrong condition or name.
    """
    columns = RunColumns.of(store, run)
    read, names = (store.curves, store.columns) if what == "curves" else (store.evaluations, None)
    indices = choose(columns, where, sort)
    settings = columns.settings
    if where is not None or sort is not None:
        settings = [settings[index] for index in indices]
    return run_table(
        what,
        [columns.records[index] for index in indices],
        settings,
        [columns.statuses[index] for index in indices],
        read,
        names,
    )
