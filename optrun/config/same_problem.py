"""Which runs are of one problem: those that differ in nothing of it but its hyperparameters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optrun.config.identity import canonical

HYPERPARAMETERS = ("batch_size", "batch_milestones", "batch_gamma", "sampling")
"""Options of a problem that are hyperparameters: runs that differ in them alone are of one problem.

They tell how batches are drawn, and change neither the objective nor the data.
"""


def tells_problem(path: str) -> bool:
    """Whether runs that differ at a path of the config are of different problems."""
    section, _, option = path.partition(".")
    return section == "problem" and option not in HYPERPARAMETERS


def problem_block(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a config's problem that tell it from other problems."""
    return {key: value for key, value in config["problem"].items() if key not in HYPERPARAMETERS}


def problem_key(config: Mapping[str, Any]) -> str:
    """Return a text that is equal for the configs of one problem, and for no others."""
    return canonical(problem_block(config))


def problem_keys(
    settings: Sequence[Mapping[str, Any]], config_of: Callable[[int], Mapping[str, Any]]
) -> list[str]:
    """Return the key of the problem of each setting of a sweep; all empty where no setting changes the problem.

    ``config_of`` returns the config of a setting, given its index. It is called once for all settings that have the
    same values of the problem's options, since a store may hold many thousands of configs.
    """
    paths = getattr(settings, "paths", None)  # of columns
    if not any(map(tells_problem, {path for each in settings for path in each} if paths is None else paths)):
        return [""] * len(settings)
    parts = [
        repr([(path, value) for path, value in each.items() if tells_problem(path)]) for each in settings
    ]
    first: dict[str, int] = {}
    for index, part in enumerate(parts):
        first.setdefault(part, index)
    if len(first) < 2:
        return [""] * len(settings)
    keys = {part: problem_key(config_of(index)) for part, index in first.items()}
    return [keys[part] for part in parts]
