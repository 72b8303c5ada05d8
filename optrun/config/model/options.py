"""Sections of a config, and the options of registered classes: every mistake at once, each at its place."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from optrun.checks.messages import MISSING, conflict, explained, failure, in_words, unknown_key
from optrun.checks.tuples import spelled_out
from optrun.checks.types import STRICT, Reader
from optrun.config.yaml.tree import Path
from optrun.errors import counted
from optrun.plugin_code import guarded
from optrun.registry import REQUIRED, TRANSFORMS, Added, Option, tuples_of

_KEY = "[key]"
"""The last step to what pydantic says of a key."""

GROUPS = "param_groups"
SCHEDULES = "schedules"
SWEEP = "sweep"
MAP = "map"
NOTHING = "none"
"""In place of what is recorded: no more than the first step."""
START = ["problem", "start"]
"""The steps to where a run starts, of which numbers may be given by their places."""
MOST_WRITTEN = 5_000
"""Of how many numbers a start is written into a config of which one is given by its place."""
METRIC = [SWEEP, "metric"]
"""The steps to the metric of a sweep, which may be its name alone."""


class Model(BaseModel):
    """A strict mapping whose errors are in words."""

    model_config = STRICT | ConfigDict(
        extra="forbid", frozen=True, validate_default=True, protected_namespaces=()
    )

    @classmethod
    def known_keys(cls) -> list[str]:
        """Return the keys that are known."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def prepared(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Return the keys as the model has them."""
        return data

    @classmethod
    def at_odds(cls, data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
        """Return what is wrong with keys beside each other, whatever their values are."""
        return []

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, data: Any, handler: ModelWrapValidatorHandler["Model"]) -> "Model":
        beside = cls.at_odds(data) if isinstance(data, dict) else []
        try:
            model = handler(cls.prepared(data) if isinstance(data, dict) else data)
        except ValidationError as error:
            raise explained(error, cls.known_keys(), beside) from None
        if beside:
            raise failure(*beside)
        return model


class Section(Model):
    """A part of the config; what is off, and what is `Added` and has its default, is left out of its dump."""

    @model_serializer(mode="wrap")
    def _what_is_on(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {
            key: value
            for key, value in dumped.items()
            if value != {}
            and not (value is None and fields[key].default is None)
            and not (value == fields[key].default and Added() in fields[key].metadata)
        }


class Found(list[tuple[Path, PydanticCustomError]]):
    """What is wrong, and where."""

    @contextmanager
    def at(self, *path: str | int) -> Iterator[None]:
        """Add the errors that are raised within, below a path."""
        try:
            yield
        except ValidationError as error:
            details = error.errors(include_url=False)
            # What is below a key that is wrong is not looked at.
            wrong = {each["loc"][:-1] for each in details if each["loc"][-1:] == (_KEY,)}
            self += [
                ((*path, *(each["loc"][:-1] if each["loc"][-1:] == (_KEY,) else each["loc"])), in_words(each))
                for each in details
                if each["loc"][-1:] == (_KEY,) or not any(each["loc"][: len(key)] == key for key in wrong)
            ]

    def check(self) -> None:
        """Raise ValidationError where anything is wrong."""
        if self:
            raise failure(*self)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_GLOB = Annotated[str, MinLen(1)]
_GLOBS = Annotated[list[_GLOB], MinLen(1)]
_PARAMS = Option(
    "params", Annotated[_GLOBS, BeforeValidator(_listed, json_schema_input_type=_GLOB | _GLOBS)], REQUIRED
)
GROUPS_OPTION = {GROUPS: Option(GROUPS, list[dict[str, Any]] | None, None)}


def options_of_group(cls: Any, schedules: Any, transforms: Mapping[str, Option]) -> dict[str, Option]:
    """Return what a group may say: its parameters, any of the class's options, its transforms, schedules of floats."""
    own = {name: replace(option, default=None) for name, option in cls.options().items()}
    return {"params": _PARAMS, **own, **transforms, SCHEDULES: Option(SCHEDULES, schedules, None)}


def read_options(
    cls: Any,
    options: Mapping[str, Option],
    given: Mapping[str, Any],
    reader: Reader | None = None,
    *,
    complete: bool = True,
    beside: Sequence[str] = (),
) -> tuple[dict[str, Any], Found]:
    """Return the options of a class that are given, in their order, and what is wrong with them.

    Where they are to be complete, the others have their defaults, except that `Added` options are left out where they
    have theirs, and options that exclude each other (`Unless`) are so. Keys that stand ``beside`` them are known.
    """
    found = Found()
    values, places, wrong = spelled_out(given, tuples_of(cls))
    found += [
        ((joint,), PydanticCustomError("config", "{said}", {"said": said})) for joint, said in wrong.items()
    ]
    known = [*beside, *options, *tuples_of(cls)]
    found += [((key,), unknown_key(known)) for key in values if key not in options]
    read: dict[str, Any] = {}
    # A start comes behind the number of its dimensions.
    for name, option in sorted(options.items(), key=lambda each: each[0] == START[-1]):
        if complete and (other := option.excluded_by(values)):
            if values.get(name) is not None:  # an override may turn off what a file says
                off = f"has no effect beside {name}: leave it out, or set {name}: null"
                said = f"has no effect beside {other}: leave it out, or set {other}: null"
                found.append(((name,), conflict(said, other, off)))
        elif name in values:
            with found.at(*places.get(name, (name,))):
                read[name] = option.validated(_whole(cls, option, values[name], read), reader)
        elif option.required:
            found.append(((name,), MISSING))
        elif complete:
            with found.at(name):
                default = option.default
                read[name] = option.validated(
                    list(default) if isinstance(default, tuple) else default, reader
                )
        if complete and option.marks(Added) and read.get(name) == option.default:
            read.pop(name, None)
    return {name: read[name] for name in options if name in read}, found


def _whole(cls: Any, option: Option, given: Any, options: Mapping[str, Any]) -> Any:
    """Return a value, or, of a start of which numbers are given by their places, these among the usual ones.

    ``options`` are those before it.
    """
    may_lack = option.name == START[-1] and hasattr(cls, "usual_start") and not option.required
    if not (may_lack and isinstance(given, dict) and given):
        return given
    if "dim" in cls.options() and "dim" not in options:
        raise failure()  # what is wrong with it is said there
    dim = options.get("dim", cls.dim)
    if dim > MOST_WRITTEN:
        raise failure(
            ((), f"more than {MOST_WRITTEN:,} numbers are not written out: give init, or another dim")
        )
    with guarded(cls.__name__, cls):
        usual = {str(place): number for place, number in enumerate(cls.usual_start(dim).tolist())}
    if wrong := [place for place in given if place not in usual]:
        said = f"is no place in a start of {counted(dim, 'number')}: they count from 0"
        raise failure(*(((place,), f"{place!r} {said}") for place in wrong))
    return list({**usual, **given}.values())


def floats_of(options: Mapping[str, Option]) -> list[str]:
    """Return the names of the options that are floats, which may be scheduled and recorded."""
    return [name for name, option in options.items() if option.is_float]


def options_within(cls: Any, *given: Any) -> dict[str, Option]:
    """Return an optimizer's options and those of its transforms, as ``gradient.0.max_norm``, as far as they are named.

    ``given`` are sections that list transforms; of each kind the first list counts.
    """
    options = dict(cls.options())
    for kind, known in TRANSFORMS.items():
        lists = (each[kind] for each in given if isinstance(each, dict) and kind in each)
        listed = next(lists, None)
        for i, each in enumerate(listed if isinstance(listed, list) else ()):
            name = each.get("name") if isinstance(each, dict) else getattr(each, "name", each)
            if isinstance(name, str) and name in known:
                of = known.find(name).options()
                options |= {f"{kind}.{i}.{key}": option for key, option in of.items()}
    return options


def unschedulable(
    cls: Any, options: Mapping[str, Option], schedules: Any
) -> list[tuple[Path, PydanticCustomError]]:
    """Return which of the schedules are of no float among a class's options, given with those of its transforms."""
    tuples = tuples_of(cls)
    problems: list[tuple[Path, PydanticCustomError]] = []
    for name in schedules if isinstance(schedules, dict) else ():
        if name in tuples:
            said = f"is a tuple: schedule {' or '.join(tuples[name])}"
        elif name in options:
            said = "is no float: it cannot be scheduled"
        elif name.removeprefix("problem.") == "batch_size":
            said = "has no schedule: the batch grows at the epochs problem.batch_milestones"
        else:
            problems.append(((SCHEDULES, name), unknown_key(floats_of(options))))
            continue
        if name not in floats_of(options):
            problems.append(((SCHEDULES, name), PydanticCustomError("config", "{said}", {"said": said})))
    return problems
