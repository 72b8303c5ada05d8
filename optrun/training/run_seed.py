"""Problems that depend on the seed of the run, since one of their options is the word ``seed``."""

from collections.abc import Mapping
from typing import Any

from optrun.config import RunConfig
from optrun.registry import RUN_SEED, problems


def problem_options(config: RunConfig) -> dict[str, Any]:
    """Return the options of which a run's problem is built: the run's seed in place of the word."""
    options = config.problem.options
    return options | dict.fromkeys(_seeded(config.problem.name, options), config.seed)


def follows_seed(problem: Mapping[str, Any]) -> bool:
    """Return whether a config's problem depends on the run's seed, so that only runs of one seed can share it."""
    return bool(_seeded(problem["name"], problem))


def _seeded(name: str, options: Mapping[str, Any]) -> list[str]:
    if (
        RUN_SEED not in options.values()
    ):  # without a look at the classes, of which a sweep has one for each run
        return []
    known = problems.find(name).options()
    return [key for key, option in known.items() if option.may_be_seed and options.get(key) == RUN_SEED]
