"""The card of a run: all that it takes to predict with its parameters, by any program."""

from typing import Any

from optrun.store import Store
from optrun.training.prepared import preparation_of

VERSION = 1


def card_of(store: Store, run: int) -> dict[str, Any]:
    """Return the card of a run as plain data; its preparation is None without data, and if an older version ran it.

    Raises StoreError if the run is damaged.
    """
    record = store.run(run)
    preparation = preparation_of(store, record)
    return {
        "version": VERSION,
        "run": run,
        "status": str(record.status),
        "steps": record.steps,
        "figures": dict(record.summary),
        "weights": "[in, out]",
        "preparation": None if preparation is None else preparation.to_json(),
        "config": record.config,
    }
