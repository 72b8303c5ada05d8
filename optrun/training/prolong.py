"""Prolong a run: allowed if the steps already made equal, bit for bit, the first steps of the longer run."""

import numpy as np

from optrun.config import ConfigErrors, from_mapping
from optrun.config.edited import as_in_file
from optrun.errors import ConfigError, StoreError, counted
from optrun.fallbacks import log
from optrun.store import Checkpoint, Status, Store
from optrun.store.directory import replace_file
from optrun.store.event_names import LONGER
from optrun.store.locate import CONFIG
from optrun.store.store_errors import store_errors
from optrun.training.checkpoints import run_key
from optrun.training.pack import Pack

COMPARED_AT_ONCE = 1 << 16
"""Number of steps whose schedule values are compared at once."""


def prolong(store: Store, pack: Pack, *, steps: int | None, epochs: int | None) -> Pack:
    """Prolong the run of a store to more steps or epochs, if it has completed or is waiting; return the longer pack.

    Raises ConfigError if the new length is not larger, or if the value of a schedule at a past step would change, and
    StoreError if the run ended in another way or has no checkpoint.
    """
    record = store.run(0)
    if record.status.final and record.status is not Status.COMPLETED:
        raise StoreError(
            f"{store.path}: ended after {counted(record.steps, 'step')} as {record.status}: "
            "only a completed run can be prolonged"
        )
    new = from_mapping({**pack.configs[0].to_dict(), "steps": steps, "epochs": epochs})
    packs = pack, Pack([new], problem=pack.problem)
    field = "steps" if epochs is None else "epochs"
    if packs[1].steps <= record.steps or packs[1].steps < packs[0].steps:
        made = f"{packs[1].steps:,} steps are not more than the run's {packs[0].steps:,}"
        raise ConfigError(f"{field}: {made}", field=field)
    if packs[1].steps == packs[0].steps:
        return pack
    if (differs := differing_schedule(*packs, record.steps)) is not None:
        raise ConfigError(
            f"{differs} depends on the length of the run: with {packs[1].steps:,} steps its values at the "
            f"{record.steps:,} past steps would be others; start a new run",
            field=differs,
        )
    checkpoint = store.checkpoint()
    if checkpoint is None and record.status.final:
        raise StoreError(
            f"{store.path}: has no final checkpoint: its config has checkpoint: null, or an older optrun ran it"
        )
    if checkpoint is not None:
        checkpoint = Checkpoint(checkpoint.arrays, {**checkpoint.meta, "run": run_key(new)})
    before = {name: record.config.get(name) for name in ("steps", "epochs")}
    store.prolong(0, new.to_dict(), checkpoint, {LONGER: {"before": before}})
    return packs[1]


def update_config_file(store: Store) -> None:
    """Set the length of the run in config.yaml if it is still the one before the run was prolonged.

    The store is changed first, so a kill in between leaves config.yaml behind.
    """
    record, longer = store.run(0), store.events(LONGER)
    if not longer:
        return
    before = longer[-1].details.get("before")
    if not isinstance(before, dict):
        raise StoreError(f"{store.path}: the record of the run's length is damaged")
    file = store.path / CONFIG
    try:
        old = as_in_file(file, from_mapping(record.config | before))
    except ConfigErrors:  # it has the new length already, or was edited
        log.debug("%s is left unchanged: it differs from the config before the run was prolonged", file)
        return
    now = {name: record.config.get(name) for name in before}
    content = from_mapping(old.to_dict() | now).to_yaml().encode()
    with store_errors(store.path):
        replace_file(file, lambda stream: stream.writelines([content]))


def differing_schedule(one: Pack, other: Pack, steps: int) -> str | None:
    """Return the name of the first schedule whose values differ between two packs before a step; None if none does."""
    for mine, its in zip(one.schedulers, other.schedulers, strict=True):
        for first in range(0, steps, COMPARED_AT_ONCE):
            chunk = np.arange(first, min(first + COMPARED_AT_ONCE, steps))
            tables = [[np.array(values) for *_, values in each.values_at(chunk)] for each in (mine, its)]
            if any(a.tobytes() != b.tobytes() for a, b in zip(*tables, strict=True)):
                return type(mine).__name__
    return None
