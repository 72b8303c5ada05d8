"""Parameters in files of their own, NPZ or safetensors, each run with a card: what it takes to use them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, BinaryIO

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError, MissingExtraError, install
from optrun.store import blobs
from optrun.store.store import Store

PARAM_FORMATS = ("npz", "safetensors")

CARD = "card"
"""The name of a run's card: the text of a JSON object."""


def write_params(
    store: Store,
    runs: Sequence[int],
    format: str,
    stream: BinaryIO,
    *,
    numbered: bool,
    card: Callable[[int], Mapping[str, Any]],
) -> None:
    """Write the parameters of runs in one of PARAM_FORMATS, and the ``card`` of each.

    Those of an NPZ are called ``step10/layer1.weight``, those of the end by the step that they are of; those of the
    end are called ``layer1.weight`` in safetensors, whose metadata hold the card. Where they are ``numbered``, the
    names begin with the run: ``run3/step10/layer1.weight``. Raises ConfigError where there are none, StoreError where
    a run is damaged, MissingExtraError without safetensors.
    """
    if not any(store.snapshot_steps(run) or store.params(run) for run in runs):
        raise ConfigError(
            "no parameters are kept: those of the end are, of runs that have ended, and record.params"
        )
    prefixes = {run: f"run{run}/" if numbered else "" for run in runs}
    cards = {
        f"{prefix}{CARD}": json.dumps(card(run), ensure_ascii=False, allow_nan=False)
        for run, prefix in prefixes.items()
    }
    if format == "npz":
        blobs.write_npz(stream, _named(store, prefixes, with_step=True), cards)
        return
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise MissingExtraError(f"safetensors files need safetensors: {install('safetensors')}") from error
    # In C order: the library writes the memory as it is.
    arrays = {name: np.ascontiguousarray(values) for name, values in _named(store, prefixes, with_step=False)}
    stream.write(save(arrays, cards))


def _named(store: Store, prefixes: Mapping[int, str], *, with_step: bool) -> Iterator[tuple[str, Array]]:
    states = store.states()
    for run, prefix in prefixes.items():
        end = f"step{states[run].params_step}"
        before = f"{end}/" if with_step else ""
        final = {f"{before}{name}": values for name, values in store.params(run).items()}
        for name, values in chain(snapshots_of(store, run, end if final else ""), final.items()):
            yield f"{prefix}{name}", values


def snapshots_of(store: Store, run: int, end: str = "") -> Iterator[tuple[str, Array]]:
    """Yield the parameters that a run keeps along its way, but those of its ``end``."""
    for step in (each for each in store.snapshot_steps(run) if f"step{each}" != end):
        for name, values in store.snapshot(run, step).items():
            yield f"step{step}/{name}", values
