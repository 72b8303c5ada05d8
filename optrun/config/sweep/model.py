"""What a `sweep:` block may say."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt, MinLen
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from optrun.config.model.messages import failure
from optrun.config.model.options import INTEGRAL, Model
from optrun.config.model.unions import union
from optrun.config.sweep.axes import AxisOf, listed
from optrun.config.sweep.rules import at_odds
from optrun.config.yaml.tree import Path
from optrun.errors import counted

Count = Annotated[int, Ge(1), INTEGRAL]
Seed = Annotated[int, Ge(0), Lt(2**63), INTEGRAL]


def _each_once(values: list[Any]) -> list[Any]:
    return list(listed(values, ()))


def _of_one_length(group: dict[str, list[Any]]) -> dict[str, list[Any]]:
    lengths = {path: len(values) for path, values in group.items()}
    for path, length in lengths.items():
        first = next(iter(lengths))
        if not length:
            raise failure(((path,), "is empty: a parameter needs values"))
        if length != lengths[first]:
            raise failure(
                (
                    (path,),
                    f"has {counted(length, 'value')}, and {first}, which it is paired with, {lengths[first]}",
                )
            )
    return group


Goal = Literal["minimize", "maximize"]


def usual_goal(metric: str) -> Goal:
    """Return which end of a figure is the better one: accuracies are to be high, all else is to be low."""
    return "maximize" if metric.endswith("accuracy") else "minimize"


class Metric(Model):
    """By which figure of a run's summary settings are ranked."""

    name: Annotated[str, MinLen(1), "a figure of the summary, such as final_loss or test_accuracy"] = (
        "final_loss"
    )
    goal: Annotated[Goal, "which end is the better one; by default the higher one of accuracies alone"] = (
        Field(default_factory=lambda data: usual_goal(data.get("name", "")))
    )

    @classmethod
    def prepared(cls, data: dict[str, Any]) -> tuple[dict[str, Any], Mapping[str | int, Path]]:
        """Return the keys without a goal that is turned off: an override of the name may need another one."""
        return {key: value for key, value in data.items() if (key, value) != ("goal", None)}, {}


class Halving(Model):
    """When successive halving compares settings, and how many of them go on."""

    min_steps: Annotated[
        Count, "steps before the first comparison, the lowest rung; each rung is factor times higher"
    ]
    factor: Annotated[
        Annotated[int, Ge(2), INTEGRAL], "the best 1/factor of the settings go on from each rung"
    ] = 3


class Optuna(Model):
    """How Optuna chooses settings."""

    sampler: Annotated[
        Literal["tpe", "cmaes"], "Tree-structured Parzen Estimator, or CMA-ES for numbers alone"
    ] = "tpe"
    batch: Annotated[Count, "settings that are chosen together, before any of them has run"] = 16


class SpaceBlock(Model):
    """Parameters that vary together; a sweep may be made of several such spaces."""

    parameters: Annotated[
        dict[str, AxisOf], "paths of the config, each with a list, or such as {logspace: [1e-4, 1, 5]}"
    ] = Field(default={})
    zip: Annotated[
        list[Annotated[dict[str, list[Any]], MinLen(1), AfterValidator(_of_one_length)]],
        "paths with lists of one length, whose values are paired and not crossed",
    ] = Field(default=[])
    exclude: Annotated[list[dict[str, Any]], "settings to leave out: those that have all these values"] = (
        Field(default=[])
    )
    trials: Annotated[Count | None, "settings to draw"] = None


class SweepBlock(SpaceBlock):
    """What varies between the runs of a sweep."""

    spaces: Annotated[
        list[SpaceBlock], "sets of parameters, each crossed with those beside; the sweep is their union"
    ] = Field(default=[], json_schema_extra={"minItems": 1})
    method: Annotated[
        Literal["grid", "random", "sobol", "halving", "optuna"],
        "every combination, as many as there are trials, those that stay among the best, or what Optuna asks for",
    ] = "grid"
    halving: Annotated[Halving | None, "rungs of successive halving"] = None
    optuna: Annotated[Optuna | None, "options of Optuna"] = None
    include: Annotated[list[dict[str, Any]], "settings to add, each a mapping of paths to values"] = Field(
        default=[]
    )
    repeats: Annotated[
        union([Count, Annotated[list[Seed], MinLen(1), AfterValidator(_each_once)]]),  # type: ignore[valid-type]
        "seeds of each setting: how many, from the config's on, or which",
    ] = 1
    metric: Annotated[Metric, "by which settings are ranked"] = Metric()
    seed: Annotated[Seed, "of what is drawn"] = 0

    @property
    def draws(self) -> bool:
        """Whether settings are drawn, in place of every combination of values."""
        return self.trials is not None or any(space.trials is not None for space in self.spaces)

    @property
    def seeds(self) -> int:
        """How many seeds each setting has."""
        return self.repeats if isinstance(self.repeats, int) else len(self.repeats)

    @classmethod
    def at_odds(cls, data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
        """Return which paths are swept twice or not at all, and what does not go with the method."""
        return [
            (path, PydanticCustomError("config", "{said}", {"said": said})) for path, said in at_odds(data)
        ]
