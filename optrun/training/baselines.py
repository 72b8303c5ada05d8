"""The figures of what predicts without training, computed once for the data of a run and kept in its store."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from optrun.config.same_problem import HYPERPARAMETERS
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
    return baselines_in(known_baselines(events), config)


def known_baselines(events: Iterable[Event]) -> dict[str, Baselines]:
    """Return all baselines that the events of a store have recorded, for `baselines_in`."""
    found: dict[str, dict[str, Mapping[str, float]]] = {}
    for event in events:
        kept = event.details.get("figures") if event.kind == BASELINES else None
        for key, of_data in kept.items() if isinstance(kept, Mapping) else ():
            if isinstance(of_data, Mapping):
                figures = {str(name): of for name, of in of_data.items() if isinstance(of, Mapping)}
                found.setdefault(_samples(key), {}).update(figures)
    return dict(found)


def baselines_in(known: Mapping[str, Baselines], config: Mapping[str, Any]) -> Baselines:
    """Return the baselines of the data of a run, which may be recorded of a run with other batches."""
    return known.get(_samples(data_key(config)), {})


def _samples(key: str) -> str:
    """Return what of a `data_key` tells the samples, their preparation and their loss."""
    with suppress(ValueError, TypeError, AttributeError):  # of a damaged store
        problem, *others = json.loads(key)
        kept = {name: of for name, of in problem.items() if name not in HYPERPARAMETERS}
        return json.dumps([kept, *others], sort_keys=True)
    return key
