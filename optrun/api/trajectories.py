"""The ways of runs through the function that they minimise."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from optrun.analysis.landscape import Landscape, Trajectory, landscape_of
from optrun.analysis.problem_labels import chosen_problem
from optrun.analysis.run_difference import differing_labels
from optrun.analysis.setting_curves import MOST_CURVES, ended_settings
from optrun.api.runs import Run
from optrun.api.sweeps import Sweep
from optrun.config.model.components import class_of
from optrun.errors import ConfigError, printable
from optrun.store import Status

OF_LABELS = ("name", "problem", "optimizer", "scheduler", "schedules", "seed", "steps", "dtype")
"""The parts of configs by whose differences runs are told apart."""


def runs_of(sweep: Sweep, problem: str | None = None) -> tuple[list[Run], int]:
    """Return the first run of each of the best settings, in turn of each problem; how many more settings there are."""
    label = None if problem is None else chosen_problem(sweep.ranking.problems, problem)
    by_problem = defaultdict(list)
    for of, runs in ended_settings(sweep.ranking, sweep.states):
        if label in (None, of):
            by_problem[of].append(runs[0])
    in_turn = [run for place in zip_longest(*by_problem.values()) for run in place if run is not None]
    return [sweep.runs[run] for run in in_turn[:MOST_CURVES]], len(in_turn[MOST_CURVES:])


def ways_of(runs: Sequence[Run]) -> tuple[Landscape, list[Trajectory]]:
    """Return the function of runs, and their ways through it; ConfigError where there are none to draw."""
    if not runs:
        raise ConfigError("no trajectories yet: no run has ended")
    landscape = landscape_of([run.config for run in runs])
    names = dict.fromkeys(axis.partition("[")[0] for axis in landscape.axes)
    swept = all(run.setting for run in runs)
    parts = [{key: run.config[key] for key in OF_LABELS if key in run.config} for run in runs]
    for section in ("optimizer", "scheduler"):
        parts = _without_own_defaults(parts, section)
    labels = differing_labels(
        [{"name": run.config.get("name", "run"), **run.setting} for run in runs] if swept else parts
    )
    ways = []
    for run, label in zip(runs, labels, strict=True):
        steps, params = run.trajectory()
        if len(steps) < 2:
            where = run.path or run.config.get("name", "run")
            kept = "record: {params: {every: 1}}"
            raise ConfigError(
                f"{where}: no parameters are kept along the way: run it with {kept}", field="record.params"
            )
        points = np.concatenate([params[name].reshape(len(steps), -1) for name in names], axis=1)
        ways.append(
            Trajectory(printable(label), steps, points.astype(np.float64), run.status is Status.DIVERGED)
        )
    return landscape, ways


def _without_own_defaults(parts: Sequence[dict[str, Any]], section: str) -> list[dict[str, Any]]:
    """Return parts of configs without the options of a section that not all have, where they have their defaults."""
    sections = [each.get(section) or {} for each in parts]
    shared = set.intersection(*map(set, sections))

    def is_told(of: Mapping[str, Any], key: str) -> bool:
        cls = class_of(section, of)
        option = cls.options().get(key) if cls is not None else None
        return key in shared or option is None or of[key] != option.default

    return [
        {**each, section: {key: value for key, value in of.items() if is_told(of, key)}} if of else each
        for each, of in zip(parts, sections, strict=True)
    ]
