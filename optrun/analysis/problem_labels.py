"""What the problems of a sweep, or of several sweeps, are called."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optrun.analysis.run_difference import differing_labels
from optrun.config.same_problem import problem_block, problem_key, problem_keys


def problem_labels(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the label of each config's problem: its name, and the options in which problems of one name differ."""
    keys = [problem_key(config) for config in configs]
    by_name: defaultdict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for key, config in zip(keys, configs, strict=True):
        block = problem_block(config)
        by_name[str(block.get("name", ""))][key] = block
    labels = {}
    for name, alike in by_name.items():
        others = differing_labels([{"problem": block} for block in alike.values()])
        for key, other in zip(alike, others, strict=True):
            labels[key] = name if len(alike) == 1 else f"{name} {other}"
    return [labels[key] for key in keys]


def common_labels(sweeps: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    """Return the labels of the problems of several sweeps, given by their configs; each problem has one label."""
    labels = iter(problem_labels([config for configs in sweeps for config in configs]))
    return [[next(labels) for _ in configs] for configs in sweeps]


def labels_of_settings(
    settings: Sequence[Mapping[str, Any]], config_of: Callable[[int], Mapping[str, Any]]
) -> list[str]:
    """Return the label of the problem of each setting of a sweep; nothing where all are of one problem."""
    keys = problem_keys(settings, config_of)
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        first.setdefault(key, index)
    if len(first) < 2:
        return []
    labels = dict(zip(first, problem_labels([config_of(index) for index in first.values()]), strict=True))
    return [labels[key] for key in keys]
