"""Checkpoints of single lanes: a pack is split into one checkpoint per lane, and restored from any such set."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import finalize

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.config.identity import canonical, determining
from optrun.errors import StateError
from optrun.schedulers.lane_state import join_lanes, select_lanes
from optrun.store import Checkpoint
from optrun.training.stopping import StoppingState

KEY_SEPARATOR = ":"
"""Part of every run key, which the keys of older versions lack."""


class PackState(BaseModel):
    """The state of a pack apart from its arrays, whose first axis is the lane."""

    problem: str
    optimizer: str
    steps: dict[str, int]
    schedulers: list[dict[str, Any]]
    average: int | None = None
    """Number of steps that the average has counted."""

    def select(self, lanes: Sequence[int]) -> "PackState":
        """Return the state of some of the lanes."""
        return self.model_copy(
            update={"schedulers": [select_lanes(state, lanes) for state in self.schedulers]}
        )


class Meta(BaseModel):
    """The part of a checkpoint that is stored as JSON."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    run: str = ""
    """The `run_key` of the run; empty for several lanes, empty or of another form if an older version wrote it."""
    step: NonNegativeInt
    seconds: NonNegativeFloat
    alone: bool = False
    """Whether it was alone in its pack all the time, so that the seconds are its own; older versions did not tell."""
    pack: PackState
    stopping: StoppingState


def select_arrays(arrays: Mapping[str, Array], lanes: Sequence[int]) -> dict[str, Array]:
    """Return copies of the arrays, restricted to some lanes."""
    return {name: values[list(lanes)] for name, values in arrays.items()}


def run_key(config: RunConfig) -> str:
    """Return the seed and a digest of the options that determine results; a checkpoint is valid for one key."""
    # Cached per config: packs pause often and have many lanes.
    if (key := _keys.get(id(config))) is None:
        key = _keys[id(config)] = _run_key(config)
        finalize(config, _keys.pop, id(config), None).atexit = False
    return key


_keys: dict[int, str] = {}


def _run_key(config: RunConfig) -> str:
    # Without defaults, so that the key does not change if a later version adds an option.
    chosen = canonical(determining(config.model_dump(mode="json", exclude_defaults=True)))
    return f"{config.seed}{KEY_SEPARATOR}{hashlib.sha256(chosen.encode()).hexdigest()[:16]}"


def checkpoint_of(lane: int, config: RunConfig, arrays: Mapping[str, Array], meta: Meta) -> Checkpoint:
    """Return the checkpoint of one lane, given the state of its pack."""
    own = meta.model_copy(
        update={
            "run": run_key(config),
            "pack": meta.pack.select([lane]),
            "stopping": meta.stopping.select([lane]),
        }
    )
    return Checkpoint(select_arrays(arrays, [lane]), own.model_dump())


def join_checkpoints(
    checkpoints: Sequence[Checkpoint], configs: Sequence[RunConfig]
) -> tuple[dict[str, Array], Meta]:
    """Join the checkpoints of single lanes to the state of a pack of these configs.

    Raises StateError if they are inconsistent, or if one belongs to another run.
    """
    if len(checkpoints) != len(configs):
        raise StateError(f"there are {len(configs)} lanes, but {len(checkpoints)} checkpoints")
    try:
        metas = [Meta.model_validate(checkpoint.meta) for checkpoint in checkpoints]
    except ValidationError as error:
        raise StateError(f"the checkpoint is damaged: {error.errors()[0]['msg']}") from None
    first = metas[0]
    for meta, config in zip(metas, configs, strict=True):
        if KEY_SEPARATOR in meta.run and meta.run != run_key(config):
            raise StateError(
                f"the checkpoint at step {meta.step} belongs to another run, or to another config"
            )
        if not len(meta.stopping.best) == len(meta.stopping.best_at) == 1 or len(meta.stopping.first) > 1:
            raise StateError(f"the checkpoint at step {meta.step} is not that of a single lane")
        for part in ("problem", "optimizer", "steps", "average"):
            if getattr(meta.pack, part) != getattr(first.pack, part):
                raise StateError(f"the checkpoints differ in {part}: they are not from one pack")
        if len(meta.pack.schedulers) != len(first.pack.schedulers):
            raise StateError("the checkpoints have different schedulers")
        if meta.step != first.step:
            raise StateError(f"the checkpoints are from different steps, {first.step} and {meta.step}")
    states = zip(*(meta.pack.schedulers for meta in metas), strict=True)
    pack = first.pack.model_copy(update={"schedulers": [join_lanes(each) for each in states]})
    stopping = StoppingState.join([meta.stopping for meta in metas])
    meta = Meta(
        step=first.step,
        seconds=max(meta.seconds for meta in metas),
        alone=len(metas) == 1 and first.alone,
        pack=pack,
        stopping=stopping,
    )
    return _concatenated([checkpoint.arrays for checkpoint in checkpoints]), meta


def _concatenated(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Concatenate the arrays along the lane axis; a state array that a lane lacks is zero."""
    arrays: dict[str, Array] = {}
    for name, example in {name: values for part in parts for name, values in part.items()}.items():
        values = [part[name] if name in part else np.zeros_like(example) for part in parts]
        if any(np.shape(each) != np.shape(example) for each in values) or np.shape(example)[:1] != (1,):
            raise StateError(f"the checkpoint's array {name!r} is not that of a single lane")
        arrays[name] = np.concatenate(values)
    return arrays
