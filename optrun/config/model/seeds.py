"""The seeds of initialisation and of data, which may differ from the run's."""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt
from pydantic import SerializerFunctionWrapHandler, model_serializer

from optrun.checks.types import INTEGRAL
from optrun.checks.unions import union
from optrun.config.model.options import Section
from optrun.registry import RUN_SEED

Seed = Annotated[int, Ge(0), Lt(2**63), INTEGRAL]

_OwnSeed = union([Seed, Literal["seed"]])


class Seeds(Section):
    """The seeds of initialisation and of data; the word ``seed`` is the run's, and left out of a dump."""

    init: Annotated[_OwnSeed, "of the initial parameters; the word seed: the run's"] = RUN_SEED  # type: ignore[valid-type]
    data: Annotated[_OwnSeed, "of batches and sampled noise; the word seed: the run's"] = RUN_SEED  # type: ignore[valid-type]

    @model_serializer(mode="wrap")
    def _what_is_on(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: seed for name, seed in handler(self).items() if seed != RUN_SEED}
