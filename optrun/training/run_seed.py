"""The seeds of a run: of its initialisation and its data, and of a problem whose option is the word ``seed``."""

from collections.abc import Mapping
from typing import Any

from optrun.config import RunConfig
from optrun.errors import ConfigError
from optrun.registry import RUN_SEED, RunSeed, problems


def own_seed(config: RunConfig) -> int:
    """Return the seed of the run, on which depends what its optimizer draws."""
    return config.seed


def init_seed(config: RunConfig) -> int:
    """Return the seed of the initial parameters."""
    own = config.seeds.init
    return config.seed if own == RUN_SEED else own


def data_seed(config: RunConfig) -> int:
    """Return the seed of batches and sampled noise."""
    own = config.seeds.data
    return config.seed if own == RUN_SEED else own


def problem_options(config: RunConfig) -> dict[str, Any]:
    """Return the options of which a run's problem is built: the run's seed in place of the word."""
    options = config.problem.options
    seeded = _seeded(config.problem.name, options)
    if {"fold", "split_seed"} <= {*seeded}:
        raise ConfigError(
            "split_seed: with fold: seed each run would draw its fold of other ones, so that together they do not test "
            "each sample once: give a number",
            field="split_seed",
        )
    return options | dict.fromkeys(seeded, config.seed)


def follows_seed(problem: Mapping[str, Any]) -> bool:
    """Return whether a config's problem depends on the run's seed, so that only runs of one seed can share it."""
    return bool(_seeded(problem["name"], problem))


def _seeded(name: str, options: Mapping[str, Any]) -> list[str]:
    if (
        RUN_SEED not in options.values()
    ):  # without a look at the classes, of which a sweep has one for each run
        return []
    known = problems.find(name).options()
    return [key for key, option in known.items() if option.marks(RunSeed) and options.get(key) == RUN_SEED]
