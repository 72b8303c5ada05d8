"""What the problems of a sweep, or of several sweeps, are called."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optrun.analysis.run_difference import differing_labels
from optrun.config.same_problem import problem_block, problem_key, problem_keys
from optrun.errors import ConfigError, did_you_mean


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


def chosen_problem(problems: Sequence[str], name: str) -> str:
    """Return the label that a name means: the whole of it, or a part that no other label has.

    ``problems`` are the labels of a sweep's settings. Raises ConfigError for a name that means none, or several.
    """
    labels = list(dict.fromkeys(problems))
    if not labels:
        raise ConfigError("the sweep has one problem: none is to be chosen", field="problem")
    found = [label for label in labels if label == name] or [label for label in labels if name in label]
    if len(found) != 1:
        means = "means several" if found else "is none"
        hint = "" if found else did_you_mean(name, labels)
        raise ConfigError(
            f"{name!r} {means} of the problems {', '.join(labels)}.{hint}".rstrip("."), field="problem"
        )
    return found[0]


def several_problems(problems: Sequence[str], what: str) -> ConfigError:
    """Return the error for what shows one problem, and none of several has been chosen."""
    labels = ", ".join(dict.fromkeys(problems))
    return ConfigError(f"{what} is of one problem: --problem takes one of {labels}", field="problem")
