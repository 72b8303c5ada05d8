"""The seeds of initialisation and of data, which may differ from the run's."""

from typing import Annotated, Literal

from annotated_types import Ge, Lt

from optrun.checks.types import INTEGRAL
from optrun.checks.unions import union
from optrun.config.model.options import Section
from optrun.registry import RUN_SEED, Added

Seed = Annotated[int, Ge(0), Lt(2**63), INTEGRAL]

_OwnSeed = union([Seed, Literal["seed"]])


class Seeds(Section):
    """The seeds of initialisation and of data; the word ``seed`` is the run's."""

    init: Annotated[_OwnSeed, Added(), "of the initial parameters; the word seed: the run's"] = RUN_SEED  # type: ignore[valid-type]
    data: Annotated[_OwnSeed, Added(), "of batches and sampled noise; the word seed: the run's"] = RUN_SEED  # type: ignore[valid-type]
