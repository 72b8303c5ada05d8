"""The state of a pack lane by lane: a checkpoint is that of one lane, whatever pack the lane is in."""

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
from optrun.schedulers.lane_state import joined_states, picked_state
from optrun.store import Checkpoint
from optrun.training.stopping import StoppingState

OF_RUN = ":"
"""Within the key of a run, by which it is told from those that older versions wrote."""


class PackState(BaseModel):
    """What resuming a pack needs beside arrays, all of which begin with the lane axis."""

    problem: str
    optimizer: str
    steps: dict[str, int]
    schedulers: list[dict[str, Any]]
    average: int | None = None
    """Steps that the average has counted."""

    def of(self, lanes: Sequence[int]) -> "PackState":
        """Return the state of some of the lanes."""
        return self.model_copy(
            update={"schedulers": [picked_state(state, lanes) for state in self.schedulers]}
        )


class Meta(BaseModel):
    """What a checkpoint holds beside arrays."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    run: str = ""
    """The `run_key` of the run; none in a state of several lanes, and none or another of an older optrun."""
    step: NonNegativeInt
    seconds: NonNegativeFloat
    pack: PackState
    stopping: StoppingState


def picked(arrays: Mapping[str, Array], lanes: Sequence[int]) -> dict[str, Array]:
    """Return copies of some of the lanes of arrays."""
    return {name: values[list(lanes)] for name, values in arrays.items()}


def run_key(config: RunConfig) -> str:
    """Return what tells a run's checkpoint from those of others: its seed, and a digest of what determines results."""
    # Made once for each config: packs pause often, and have many lanes.
    if (key := _keys.get(id(config))) is None:
        key = _keys[id(config)] = _run_key(config)
        finalize(config, _keys.pop, id(config), None).atexit = False
    return key


_keys: dict[int, str] = {}


def _run_key(config: RunConfig) -> str:
    # Without defaults, so that an option that a later version adds makes no other run of it.
    chosen = canonical(determining(config.model_dump(mode="json", exclude_defaults=True)))
    return f"{config.seed}{OF_RUN}{hashlib.sha256(chosen.encode()).hexdigest()[:16]}"


def checkpoint_of(lane: int, config: RunConfig, arrays: Mapping[str, Array], meta: Meta) -> Checkpoint:
    """Return the checkpoint of one lane, whose config is given."""
    own = meta.model_copy(
        update={
            "run": run_key(config),
            "pack": meta.pack.of([lane]),
            "stopping": meta.stopping.of([lane]),
        }
    )
    return Checkpoint(picked(arrays, [lane]), own.model_dump())


def joined(checkpoints: Sequence[Checkpoint], configs: Sequence[RunConfig]) -> tuple[dict[str, Array], Meta]:
    """Return checkpoints of one lane each as the state of a pack of these configs.

    Raises StateError where they do not fit together, or one is that of another run.
    """
    if len(checkpoints) != len(configs):
        raise StateError(f"the lanes are {len(configs)}, and the checkpoints {len(checkpoints)}")
    try:
        metas = [Meta.model_validate(checkpoint.meta) for checkpoint in checkpoints]
    except ValidationError as error:
        raise StateError(f"the checkpoint is damaged: {error.errors()[0]['msg']}") from None
    first = metas[0]
    for meta, config in zip(metas, configs, strict=True):
        if OF_RUN in meta.run and meta.run != run_key(config):
            raise StateError(
                f"the checkpoint at step {meta.step} is that of another run, or of another config"
            )
        if not len(meta.stopping.best) == len(meta.stopping.best_at) == 1 or len(meta.stopping.first) > 1:
            raise StateError(f"the checkpoint at step {meta.step} is not one of one lane")
        for part in ("problem", "optimizer", "steps", "average"):
            if getattr(meta.pack, part) != getattr(first.pack, part):
                raise StateError(f"the checkpoints differ in {part}: they are not those of one pack")
        if len(meta.pack.schedulers) != len(first.pack.schedulers):
            raise StateError("the checkpoints have different schedulers")
        if meta.step != first.step:
            raise StateError(f"the checkpoints are at the steps {first.step} and {meta.step}")
    states = zip(*(meta.pack.schedulers for meta in metas), strict=True)
    pack = first.pack.model_copy(update={"schedulers": [joined_states(each) for each in states]})
    stopping = StoppingState.joined([meta.stopping for meta in metas])
    meta = Meta(step=first.step, seconds=max(meta.seconds for meta in metas), pack=pack, stopping=stopping)
    return _concatenated([checkpoint.arrays for checkpoint in checkpoints]), meta


def _concatenated(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Return the arrays of all lanes; zeros stand where a lane lacks a state, for to it the state is nothing."""
    arrays: dict[str, Array] = {}
    for name, example in {name: values for part in parts for name, values in part.items()}.items():
        values = [part[name] if name in part else np.zeros_like(example) for part in parts]
        if any(np.shape(each) != np.shape(example) for each in values) or np.shape(example)[:1] != (1,):
            raise StateError(f"the checkpoint's array {name!r} is not that of one lane")
        arrays[name] = np.concatenate(values)
    return arrays
