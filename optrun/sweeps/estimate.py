"""About how long a sweep takes and how much it stores: one pack of each of the larger groups is tried for a moment."""

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.errors import PluginError, RunFailedError
from optrun.fallbacks import log
from optrun.plugins import load_plugin
from optrun.store import RunState, Status, Store
from optrun.store.blocks import LEAST_LANES
from optrun.store.config_columns import ConfigColumns
from optrun.store.curve_columns import CURVE, EVALUATION, STEP, CurveColumns
from optrun.store.locate import RESULTS
from optrun.store.pack_columns import PackColumns
from optrun.store.states import States
from optrun.sweeps.plan.expand import Plan
from optrun.sweeps.plan.packs import Group
from optrun.sweeps.workers.processes import starting
from optrun.training.estimate import Estimate, estimate

MOST_TRIALS = 4
"""How many groups are tried, those with the most work; the others are taken to be like them."""

LIMIT_SECONDS = 20.0
"""How long a process with plugins may take to start and to try a pack."""

STORED = 256
"""How many runs are stored on trial."""


@dataclass(frozen=True)
class SweepEstimate:
    """About what a sweep needs, if no run ends early."""

    seconds: float
    bytes: int
    tried: int
    """The packs that were tried; where that is none of them, nothing is known."""


@dataclass(frozen=True)
class _Need:
    """What one run of a group needs."""

    seconds: float
    storing: float
    """Seconds too, of the one process that stores."""
    bytes: float


def estimate_sweep(
    plan: Plan,
    groups: Sequence[Group],
    packs: Sequence[Sequence[int]],
    jobs: int,
    plugins: Sequence[str] = (),
) -> SweepEstimate:
    """Return about what these packs need with so many processes.

    With plugins, whose code may have no end, packs are tried in a process of their own.
    """
    group_of = {run: number for number, group in enumerate(groups) for run in group.runs}
    firsts: dict[int, Sequence[int]] = {}
    for pack in packs:
        firsts.setdefault(group_of[pack[0]], pack)
    chosen = sorted(firsts, key=lambda number: -groups[number].work)[:MOST_TRIALS]
    trials = {number: _tried(plan, firsts[number], plugins) for number in chosen}
    tried = {number: need for number, need in trials.items() if need is not None}
    work = {number: groups[number].work / len(groups[number].runs) for number in firsts}
    count = len(tried)
    if tried:
        pace = sum(need.seconds for need in tried.values()) / sum(work[number] for number in tried)
        storing, size = (
            sum(getattr(need, name) for need in tried.values()) / len(tried) for name in ("storing", "bytes")
        )
        for number in firsts.keys() - tried.keys():
            tried[number] = _Need(pace * work[number], storing, size)
    needs = [(len(pack), tried.get(group_of[pack[0]], _Need(0.0, 0.0, 0.0))) for pack in packs]
    spans = [runs * need.seconds for runs, need in needs]
    storing = sum(runs * need.storing for runs, need in needs)
    beside = max(sum(spans) / jobs, max(spans, default=0.0), storing)
    share = _share(plan)
    seconds = share * (sum(spans) + storing if jobs == 1 else beside)
    return SweepEstimate(seconds, round(share * sum(runs * need.bytes for runs, need in needs)), count)


def _share(plan: Plan) -> float:
    """Return how many steps there are at all stages for each of the runs that are known before, run to their end."""
    done, share = 0.0, 0.0
    for settings, until in plan.outline:
        end = 1.0 if until is None else until / (plan.configs[0].steps or until)
        share += settings * (end - done)
        done = end if until is not None else 0.0
    return share / len(plan.settings)


def _tried(plan: Plan, pack: Sequence[int], plugins: Sequence[str]) -> _Need | None:
    configs = [plan.configs[run] for run in pack]
    found = _estimated_apart(configs, plugins) if plugins else _estimated(configs)
    if found is None:
        return None
    storing, size = _stored(plan, pack[:STORED], found)
    return _Need(found.seconds / len(pack), storing, size)


def _estimated(configs: Sequence[RunConfig]) -> Estimate | None:
    try:
        return estimate(configs)
    except (RunFailedError, PluginError, MemoryError) as error:
        # Such a run fails, and the others of the sweep go on.
        log.debug("a pack is not estimated (%s: %s)", type(error).__name__, error)
        return None


def _estimated_apart(configs: Sequence[RunConfig], plugins: Sequence[str]) -> Estimate | None:
    """Return the estimate that another process comes to within a time; None where it dies, or has no end."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_estimate, args=(sender, configs, plugins), daemon=True)
    with starting():
        process.start()
    sender.close()
    try:
        found: Estimate | None = receiver.recv() if receiver.poll(LIMIT_SECONDS) else None
    except EOFError:
        log.debug("a pack is not estimated: the process that tried it died")
        return None
    finally:
        process.kill()
        process.join()
        receiver.close()
    if found is None:
        log.debug("a pack is not estimated: it fails, or takes more than %g s to try", LIMIT_SECONDS)
    return found


def _send_estimate(sender: Connection, configs: Sequence[RunConfig], plugins: Sequence[str]) -> None:
    for plugin in plugins:
        load_plugin(plugin)
    sender.send(_estimated(configs))


def _stored(plan: Plan, runs: Sequence[int], found: Estimate) -> tuple[float, float]:
    """Return how many seconds it takes to store a run, and bytes, by storing some whose values say nothing."""
    numbers = range(len(runs))
    stored = plan.rows()
    if isinstance(stored, ConfigColumns):
        stored = stored.part(np.asarray(runs))
    else:
        stored = [(plan.documents[run], run) for run in runs]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trial"
        with Store.create(Path(folder), "trial", directory=path, config_yaml="", runs=stored) as store:
            began = time.monotonic()
            if len(runs) >= LEAST_LANES:
                store.commit(packs=[_alike(numbers, found)])
            else:
                store.commit(
                    curves=dict.fromkeys(numbers, found.curves),
                    evaluations=dict.fromkeys(numbers, found.evaluations),
                    params=dict.fromkeys(numbers, found.params),
                    states=dict.fromkeys(numbers, RunState(status=Status.COMPLETED, steps=found.steps)),
                )
            seconds = time.monotonic() - began
        size = (path / RESULTS).stat().st_size
        return found.times * seconds / len(runs), found.times * size / len(runs)


def _alike(runs: range, found: Estimate) -> PackColumns:
    """Return what runs leave of which no two have equal values."""
    names = [name for name in found.evaluations if name != STEP]
    states = [
        RunState(status=Status.COMPLETED, steps=found.steps, summary=dict.fromkeys(names, float(run)))
        for run in runs
    ]

    def of(columns: Mapping[str, Array]) -> CurveColumns:
        counts = np.full(len(runs), len(columns.get(STEP, ())), np.int64)
        added = np.arange(len(runs))[:, None]
        each = {name: values + (0 if name == STEP else 1) * added for name, values in columns.items()}
        return CurveColumns(counts, {name: values.ravel() for name, values in each.items()})

    series = {CURVE: of(found.curves), EVALUATION: of(found.evaluations)}
    params = {name: np.stack([values + run for run in runs]) for name, values in found.params.items()}
    return PackColumns(runs, States.of(states), series, params)
