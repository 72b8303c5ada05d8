"""What a `sweep:` block may say."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt, MinLen
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from optrun.config.axes import DRAWN, AxisOf, listed
from optrun.config.explain import failure
from optrun.config.extends import EXTENDS
from optrun.config.schema import INTEGRAL, SWEEP, Model
from optrun.config.tree import Path
from optrun.config.unions import union
from optrun.errors import did_you_mean

_FIXED = ("name", SWEEP, EXTENDS)

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
                ((path,), f"has {length} values, and {first}, which it is paired with, {lengths[first]}")
            )
    return group


class Metric(Model):
    """By which figure of a run's summary settings are ranked."""

    name: Annotated[str, MinLen(1), "a figure of the summary, such as final_loss or test_accuracy"] = (
        "final_loss"
    )
    goal: Annotated[Literal["minimize", "maximize"], "which end is the better one"] = "minimize"


class Sweep(Model):
    """What varies between the runs of a sweep."""

    parameters: Annotated[
        dict[str, AxisOf], "paths of the config, each with a list, or such as {logspace: [1e-4, 1, 5]}"
    ] = Field(default={})
    zip: Annotated[
        list[Annotated[dict[str, list[Any]], MinLen(1), AfterValidator(_of_one_length)]],
        "paths with lists of one length, whose values are paired and not crossed",
    ] = Field(default=[])
    method: Annotated[Literal["grid", "random"], "every combination, or as many as there are trials"] = "grid"
    trials: Annotated[Count | None, "settings to draw at random"] = None
    include: Annotated[list[dict[str, Any]], "settings to add, each a mapping of paths to values"] = Field(
        default=[]
    )
    exclude: Annotated[list[dict[str, Any]], "settings to leave out: those that have all these values"] = (
        Field(default=[])
    )
    repeats: Annotated[
        union([Count, Annotated[list[Seed], MinLen(1), AfterValidator(_each_once)]]),  # type: ignore[valid-type]
        "seeds of each setting: how many, from the config's on, or which",
    ] = 1
    metric: Annotated[Metric, "by which settings are ranked"] = Metric()
    seed: Annotated[Seed, "of what is drawn at random"] = 0

    @classmethod
    def at_odds(cls, data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
        """Return which paths are swept twice or not at all, and what does not go with the method."""
        return [
            (path, PydanticCustomError("config", "{said}", {"said": said})) for path, said in _at_odds(data)
        ]


def _at_odds(data: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    parameters = data.get("parameters") if isinstance(data.get("parameters"), dict) else {}
    assert parameters is not None
    groups = [group for group in _list(data.get("zip")) if isinstance(group, dict)]
    swept: dict[str, Path] = {path: ("parameters", path) for path in parameters}
    for i, group in enumerate(groups):
        for path in group:
            if path in swept:
                yield ("zip", i, path), "is swept already: choose one"
            swept[path] = ("zip", i, path)
    random = data.get("method") == "random"
    for path, value in parameters.items():
        kind = next(iter(value), None) if isinstance(value, dict) else None
        if kind in DRAWN and not random:
            advice = (
                "list its values" if kind == "choice" else "or space its values: linspace, logspace, range"
            )
            yield (
                ("parameters", path, kind),
                f"is drawn at random: add 'method: random' and 'trials', {advice}",
            )
    if random and data.get("trials") is None:
        yield ("method",), "how many settings are drawn? Give trials"
    if random and not swept:
        yield ("method",), "there is nothing to draw: give parameters"
    if not random and data.get("trials") is not None:
        yield ("trials",), "a grid has all its settings: add 'method: random', or leave trials out"
    for i, each in enumerate(_list(data.get("include"))):
        for path in each if isinstance(each, dict) else ():
            swept.setdefault(path, ("include", i, path))
    for path, place in swept.items():
        if said := _unsweepable(path):
            yield place, said
    for i, each in enumerate(_list(data.get("exclude"))):
        for path in each if isinstance(each, dict) else ():
            if path not in swept:
                yield ("exclude", i, path), f"is not swept.{did_you_mean(path, swept)}"
        if each == {}:
            yield ("exclude", i), "leaves everything out"


def _unsweepable(path: str) -> str:
    if not path.isprintable() or not all(path.split(".")):
        return "a parameter is a path of the config, such as optimizer.lr"
    if path == "seed":
        return "seeds are not compared but repeated: give repeats, such as 'repeats: 5'"
    return "is one for all runs of a sweep" if path.split(".")[0] in _FIXED else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
