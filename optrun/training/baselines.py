"""The figures of what predicts without training, computed once for the data of a run and kept in its store."""

from collections.abc import Iterable, Mapping
from typing import Any

from optrun.plugin_code import guarded
from optrun.registry import prediction_metrics
from optrun.store import Event
from optrun.store.event_names import BASELINES
from optrun.training.identity import data_key
from optrun.training.pack import Pack

Baselines = Mapping[str, Mapping[str, float]]
"""By the name of what predicts, figures by their names."""


def baselines_of(pack: Pack, documents: Iterable[Mapping[str, Any]] = ()) -> dict[str, Baselines]:
    """Return the baselines of a pack's problem by its `data_key`, as the event keeps them; empty without any.

    They are those of all configs, given as ``documents``, that differ in its numbers alone.
    """
    config = pack.configs[0]
    measure = [name for name in config.evaluate.metrics or () if name in prediction_metrics]
    with guarded(config.problem.name):
        found = pack.problem.baselines(measure)
    return {data_key(each): found for each in (config.to_dict(), *documents)} if found else {}


def stored_baselines(events: Iterable[Event], config: Mapping[str, Any]) -> Baselines:
    """Return the baselines of the data of a run, given its config, that the events of a store have recorded."""
    key = data_key(config)
    found: dict[str, Mapping[str, float]] = {}
    for event in events:
        kept = event.details.get("figures") if event.kind == BASELINES else None
        of_data = kept.get(key) if isinstance(kept, Mapping) else None
        if isinstance(of_data, Mapping):
            found |= {str(name): of for name, of in of_data.items() if isinstance(of, Mapping)}
    return found
