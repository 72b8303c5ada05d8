"""What a `sweep:` block may say."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt, MinLen
from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from optrun.checks.messages import failure, shown
from optrun.checks.types import INTEGRAL
from optrun.checks.unions import union
from optrun.config.goal import Goal, goal_of, usual_goal
from optrun.config.model.options import Model, read_options
from optrun.config.sweep.axes import AxisOf, listed
from optrun.config.sweep.rules import GRID, at_odds
from optrun.config.yaml.tree import Path
from optrun.errors import counted
from optrun.registry import methods

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


class Metric(Model):
    """By which figure of a run's summary settings are ranked."""

    name: Annotated[str, MinLen(1), "a figure of the summary, such as final_loss or test_accuracy"] = (
        "final_loss"
    )
    goal: Annotated[
        Goal, "which end is the better one; by default that of the metric: higher for accuracy or r2"
    ] = Field(default_factory=lambda data: usual_goal(data.get("name", "")))

    def goal_of(self, name: str) -> Goal:
        """Return the goal of a figure where this metric has its own."""
        return goal_of(name, self.name, self.goal)

    @classmethod
    def prepared(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Return the keys without a goal that is turned off: an override of the name may need another one."""
        return {key: value for key, value in data.items() if (key, value) != ("goal", None)}


def _named(metric: Any) -> Any:
    return {"name": metric} if isinstance(metric, str) else metric


class Confirm(Model):
    """The best settings of a sweep, run again on seeds that were not used to select them."""

    by: Annotated[
        Annotated[str, MinLen(1)] | None,
        "the path whose values are compared, or several separated by commas; by default optimizer.name or "
        "scheduler.name, where it varies",
    ] = None
    top: Annotated[Count, "how many of the best settings of each problem and each value of by"] = 1
    seeds: Annotated[int, Ge(2), INTEGRAL, "fresh seeds of each setting"] = 10

    @model_validator(mode="before")
    @classmethod
    def _check_mapping(cls, given: Any) -> Any:
        if given is True or type(given) is int:
            meant = f"{{seeds: {given}}}" if given is not True else "{}, for its defaults"
            raise PydanticCustomError(
                "confirm",
                "must be a mapping (got {got}); it is written {meant}",
                {"got": shown(given), "meant": meant},
            )
        return given


def _known_method(name: str) -> str:
    return methods.spelled(name)


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
    optimizers: Annotated[
        union([Literal["all"], Annotated[list[str], MinLen(1), AfterValidator(_each_once)]]) | None,  # type: ignore[valid-type]
        "optimizers that become spaces, each with the search space that its class declares; or all",
    ] = None
    method: Annotated[str, AfterValidator(_known_method), "how settings are chosen"] = GRID
    include: Annotated[list[dict[str, Any]], "settings to add, each a mapping of paths to values"] = Field(
        default=[]
    )
    cross: Annotated[
        list[str], "swept paths with each of whose values every drawn setting runs, such as problem"
    ] = Field(default=[])
    repeats: Annotated[
        union([Count, Annotated[list[Seed], MinLen(1), AfterValidator(_each_once)]]),  # type: ignore[valid-type]
        "seeds of each setting: how many, from the config's on, or which",
    ] = 1
    metric: Annotated[
        Metric,
        BeforeValidator(_named, json_schema_input_type=Metric | str),
        "by which settings are ranked: a name, or a mapping",
    ] = Metric()
    seed: Annotated[Seed, "of what is drawn"] = 0
    confirm: Annotated[
        Confirm | None, "the best settings run again on fresh seeds, once the sweep is through"
    ] = None

    @property
    def draws(self) -> bool:
        """Whether settings are drawn, in place of every combination of values."""
        return self.trials is not None or any(space.trials is not None for space in self.spaces)

    @property
    def seeds(self) -> int:
        """How many seeds each setting has."""
        return self.repeats if isinstance(self.repeats, int) else len(self.repeats)

    @property
    def method_options(self) -> dict[str, Any]:
        """The options of the method that were given, and the defaults of the others; nothing where none was given."""
        return getattr(self, f"{self.method}_", None) or {}

    @classmethod
    def at_odds(cls, data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
        """Return which paths are swept twice or not at all, and what does not go with the method."""
        return [
            (path, PydanticCustomError("config", "{said}", {"said": said})) for path, said in at_odds(data)
        ]


def sweep_model() -> type[SweepBlock]:
    """Return the model of a block with the options of every method that is registered, each under its name."""
    return _model_with(tuple((name, cls) for name in methods if (cls := methods.find(name)).options()))


def _options(cls: Any, given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    options, found = read_options(cls, cls.options(), given)
    found.check()
    return options


@cache
def _model_with(known: Sequence[tuple[str, Any]]) -> type[SweepBlock]:
    fields: dict[str, Any] = {
        f"{name}_": (
            Annotated[
                dict[str, Any] | None, BeforeValidator(partial(_options, cls)), f"options of method: {name}"
            ],
            Field(None, alias=name),
        )
        for name, cls in known
    }
    return create_model("SweepBlock", __base__=SweepBlock, **fields)
