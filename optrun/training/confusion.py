"""The confusion matrices of a run that has ended, from its parameters and its data."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.errors import ChangedError, StoreError
from optrun.plugin_code import guarded
from optrun.training.identity import Identity, changes
from optrun.training.pack import Pack


@dataclass(frozen=True)
class Confusion:
    """How many samples of each class, along rows, were predicted as each, along columns."""

    classes: tuple[str, ...]
    counts: Mapping[str, Array]
    """``[C, C]`` for each part."""


def confusion_of(config: RunConfig, params: Mapping[str, Array], identity: Identity) -> Confusion:
    """Return the confusion matrices of a run's parameters, given the identity of its data and code.

    Raises StoreError without parameters, ConfigError if the problem predicts no classes or its data cannot be read, and
    ChangedError if data or code have changed.
    """
    if not params:
        raise StoreError("the run has no final parameters: it has failed, or not ended")
    pack = Pack([config], at_start=False)
    if changed := list(changes(identity, Identity.of(config, pack.problem.fingerprint))):
        what = " and ".join(dict.fromkeys(each.what for each in changed))
        raise ChangedError(f"{what} changed since the run: restore what the run had")
    for name, view in pack.params.items():
        view[0] = pack.arrays.array(params[name])
    with guarded(config.problem.name), np.errstate(all="ignore"):
        labels, found = pack.problem.confusion(pack.params)
    return Confusion(labels, {part: counts[0] for part, counts in found.items()})
