"""More steps for a run: allowed where those that it has made are the first ones of the longer run, to the bit."""

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
"""Steps of which the values of schedules are compared together."""


def prolong(store: Store, pack: Pack, *, steps: int | None, epochs: int | None) -> Pack:
    """Have the run of a store, which is that of a pack, go on to more steps or epochs, if it has completed or waits.

    Return the pack of the longer run.

    Raises ConfigError where they are no more than it has made, or where a schedule has other values in the longer run,
    and StoreError where it ended otherwise, or has not kept from where to go on.
    """
    record = store.run(0)
    if record.status.final and record.status is not Status.COMPLETED:
        raise StoreError(
            f"{store.path}: ended after {counted(record.steps, 'step')} as {record.status}: "
            "only a run that completed takes more"
        )
    new = from_mapping({**pack.configs[0].to_dict(), "steps": steps, "epochs": epochs})
    packs = pack, Pack([new], problem=pack.problem)
    field = "steps" if epochs is None else "epochs"
    if packs[1].steps <= record.steps or packs[1].steps < packs[0].steps:
        made = f"{packs[1].steps:,} steps are no more than the {packs[0].steps:,} that it has"
        raise ConfigError(f"{field}: {made}", field=field)
    if packs[1].steps == packs[0].steps:
        return pack
    if (differs := differing_schedule(*packs, record.steps)) is not None:
        raise ConfigError(
            f"{differs} depends on the length of the run: with {packs[1].steps:,} steps it has other values in the "
            f"{record.steps:,} that were made; run it anew",
            field=differs,
        )
    checkpoint = store.checkpoint()
    if checkpoint is None and record.status.final:
        raise StoreError(
            f"{store.path}: keeps no checkpoint of its end to go on from: its config has checkpoint: null, or an older "
            "optrun ran it"
        )
    if checkpoint is not None:
        checkpoint = Checkpoint(checkpoint.arrays, {**checkpoint.meta, "run": run_key(new)})
    before = {name: record.config.get(name) for name in ("steps", "epochs")}
    store.prolong(0, new.to_dict(), checkpoint, {LONGER: {"before": before}})
    return packs[1]


def settle_config(store: Store) -> None:
    """Have config.yaml say how long a run is to be, where it says what it was to be before.

    The store comes first, so a kill may have come between the two.
    """
    record, longer = store.run(0), store.events(LONGER)
    if not longer:
        return
    before = longer[-1].details.get("before")
    if not isinstance(before, dict):
        raise StoreError(f"{store.path}: what is noted of the length of the run is damaged")
    file = store.path / CONFIG
    try:
        old = as_in_file(file, from_mapping(record.config | before))
    except ConfigErrors:  # it says how long the run is, or something else, which is not for here
        log.debug("%s stays as it is: it is not the config as it was before", file)
        return
    now = {name: record.config.get(name) for name in before}
    content = from_mapping(old.to_dict() | now).to_yaml().encode()
    with store_errors(store.path):
        replace_file(file, lambda stream: stream.writelines([content]))


def differing_schedule(one: Pack, other: Pack, steps: int) -> str | None:
    """Return which schedule has other values in two packs of one run before a step, by its name; None for none."""
    for mine, its in zip(one.schedulers, other.schedulers, strict=True):
        for first in range(0, steps, COMPARED_AT_ONCE):
            chunk = np.arange(first, min(first + COMPARED_AT_ONCE, steps))
            tables = [[np.array(values) for *_, values in each.values_at(chunk)] for each in (mine, its)]
            if any(a.tobytes() != b.tobytes() for a, b in zip(*tables, strict=True)):
                return type(mine).__name__
    return None
