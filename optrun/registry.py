"""Names of optimizers, schedulers, problems, averages, metrics and sweep methods; signatures read as options.

A class enters its registry when it is defined. What its signature says after ``*`` is all there is to know
about its options: the config schema, the command-line help and the tests are derived from it.
"""

import importlib
import inspect
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Gt, Le, Lt

from optrun import sources
from optrun.errors import ConfigError, UnknownNameError, did_you_mean, fold, nearest
from optrun.plugin_code import definition_of, guarded

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from optrun.checks.tuples import Tuples
    from optrun.checks.types import Reader

T = TypeVar("T")
_Kind: TypeAlias = type[T]

NonNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Decay = Annotated[float, Ge(0), Lt(1)]
Fraction = Annotated[float, Ge(0), Le(1)]
PositiveInt = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Unit:
    """Marks, in an annotation, what a number counts, or is a value of."""

    name: str


Steps = Annotated[int, Ge(1), Unit("steps")]
"""Annotates an option that counts updates, or epochs where a schedule has them for its interval."""
NonNegativeSteps = Annotated[int, Ge(0), Unit("steps")]
Epochs = Annotated[int, Ge(1), Unit("epochs")]
"""Annotates an option that counts epochs always."""
Rate = Annotated[float, Ge(0), Unit("rate")]
"""Annotates a value that a schedule gives to the rate, whatever the optimizer's own is."""
Number = Annotated[Any, "one number per lane, carried from step to step"]
"""Annotates state of an update rule that is no array."""

_SLIP = 0.85  # so near to a known name that it is one misspelt; `MyAdam` is not

REQUIRED: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class PathOrName:
    """Marks, in an annotation, an option that is a name or a path; who reads the config resolves the path."""

    @staticmethod
    def is_path(value: str) -> bool:
        """Whether it is a path: not a bare word, such as ``digits``, nor a call, such as ``blobs(…)``."""
        return re.fullmatch(r"[\w-]+(\(.*\))?", value) is None


@dataclass(frozen=True)
class PathsWithin:
    """Marks, in an annotation, an option that may be a mapping whose texts are paths."""


@dataclass(frozen=True)
class Added:
    """Marks, in an annotation, an option that a config leaves out where it has its default.

    A class that gains an option keeps the configs of its earlier runs, and what is found by them: stores, checkpoints.
    """


@dataclass(frozen=True)
class Unless:
    """Marks, in an annotation, an option that is refused, and left out of a config, where another one is set."""

    other: str
    but_mapping: bool = False
    """Whether the other one may be a mapping."""


@dataclass(frozen=True)
class PerLane:
    """Marks, in an annotation, an option of a problem whose floats may differ from lane to lane, as those of rules do.

    It may be a float, or lists and mappings of floats.
    """

    unless: str = ""
    """The option that, where it is set, makes this one the same in all lanes."""


RUN_SEED = "seed"


@dataclass(frozen=True)
class RunSeed:
    """Marks, in an annotation, an integer that may be the word ``seed`` in a config: it is then the seed of the run."""


OwnOrRunSeed = Annotated[Annotated[int, Ge(0)] | Literal["seed"], RunSeed()]


@dataclass(frozen=True)
class Bound:
    """A bound of a number: `≥ 0`, say."""

    sign: str
    compare: Callable[[Any, Any], Any]
    limit: Any

    def __str__(self) -> str:
        return f"{self.sign} {self.limit}"

    def holds(self, values: Any) -> Any:
        """Return whether a number, or each of an array, lies within."""
        return self.compare(values, self.limit)


_SIGNS: Mapping[type, tuple[str, Callable[[Any, Any], Any]]] = {
    Ge: ("≥", operator.ge),
    Gt: (">", operator.gt),
    Le: ("≤", operator.le),
    Lt: ("<", operator.lt),
}


@dataclass(frozen=True)
class Option:
    """One keyword of a registered class: a hyperparameter of a rule, an option of a problem."""

    name: str
    annotation: Any
    default: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return Option, (self.name, self.annotation, self.default)

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED

    @property
    def type(self) -> Any:
        """The annotation without its bounds."""
        return get_args(self.annotation)[0] if get_origin(self.annotation) is Annotated else self.annotation

    @cached_property
    def adapter(self) -> "TypeAdapter[Any]":
        """What pydantic makes of the annotation."""
        from optrun.checks.types import adapter_of

        return adapter_of(self.annotation)

    def validated(self, value: Any, reader: "Reader | None" = None) -> Any:
        """Return a value as the annotation has it; raises ValidationError, in words, for each mistake.

        Where the annotation has a class of which others are registered, ``reader`` makes a component of what a config
        says; without one it is an instance.
        """
        from optrun.checks.types import validated

        return validated(self.adapter, value, reader)

    def check(self, value: Any, owner: str) -> Any:
        """Return a value as the annotation has it; raises ConfigError with the first mistake, which names the owner."""
        from pydantic import ValidationError

        try:
            return self.validated(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, (self.name, *first["loc"])))
            raise ConfigError(said_of(owner, place, first["msg"]), field=place) from None

    @cached_property
    def is_float(self) -> bool:
        """Whether it is a float, which may differ from lane to lane; any other type is one for the pack."""
        return self.type is float

    def marks(self, kind: _Kind[T]) -> list[T]:
        """Return what of a kind stands anywhere in the annotation."""
        return [each for each in self._parts if isinstance(each, kind)]

    @cached_property
    def _parts(self) -> tuple[Any, ...]:
        return tuple(_parts(self.annotation))

    def excluded_by(self, values: Mapping[str, Any]) -> str:
        """Return the option beside whose value this one is refused; empty if there is none."""
        for mark in self.marks(Unless):
            value = values.get(mark.other)
            if value is not None and not (mark.but_mapping and isinstance(value, dict)):
                return mark.other
        return ""

    def is_per_lane(self, values: Mapping[str, Any]) -> bool:
        """Whether its floats may differ from lane to lane of a problem with these options."""
        return any(not values.get(mark.unless) for mark in self.marks(PerLane))

    @cached_property
    def unit(self) -> str:
        """What its numbers count: ``steps``, ``epochs``; ``rate`` is a value of the rate; empty for all else."""
        return next((unit.name for unit in self.marks(Unit)), "")

    @property
    def bounds(self) -> list[Bound]:
        """The bounds, in the order in which the annotation lists them."""
        return [
            Bound(*_SIGNS[type(extra)], getattr(extra, type(extra).__name__.lower()))
            for extra in self._extras
            if type(extra) in _SIGNS
        ]

    @cached_property
    def is_bounded_float(self) -> bool:
        """Whether it takes each finite float within its bounds, as it is."""
        marks = (str, Unit, Added, Unless, PerLane)
        return self.is_float and all(type(of) in _SIGNS or isinstance(of, marks) for of in self._extras)

    @property
    def help(self) -> str:
        """What the annotation says in words."""
        return " ".join(extra for extra in self._extras if isinstance(extra, str))

    @property
    def _extras(self) -> tuple[Any, ...]:
        return get_args(self.annotation)[1:] if get_origin(self.annotation) is Annotated else ()


def said_of(owner: str, option: str, message: str) -> str:
    """Return a message about an option for Python users, who see no place in a config."""
    return f"{owner}: {option}{' ' if message.startswith(('must ', 'is ')) else ': '}{message}"


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield an annotation, and whatever stands anywhere in it."""
    yield annotation
    for each in get_args(annotation):
        yield from _parts(each)


@cache
def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """Return the keyword-only arguments of a function, by name."""
    hints = get_type_hints(function, include_extras=True)
    return {
        name: Option(name, hints.get(name, Any), parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def check_annotated(owner: str, function: Callable[..., Any]) -> None:
    """Raise TypeError where an option has no type: it would be no hyperparameter that a config can set or schedule."""
    for name, option in options_of(function).items():
        if option.annotation is Any:
            raise TypeError(f"{owner}: {name} needs a type, such as {name}: float")


def checks_nothing(function: Callable[..., None]) -> Callable[..., None]:
    """Mark a `validate_options` that accepts all options, so that it need not be asked about each of many."""
    function.checks_nothing = True  # type: ignore[attr-defined]
    return function


def tuples_of(cls: Any) -> "Tuples":
    """Return torch's tuples of a class's options, such as ``betas``: the names of the parts by that of the tuple."""
    tuples: Tuples = getattr(cls, "tuples", {})
    return tuples


def snake_case(class_name: str) -> str:
    """Return the name in snake case: `GradNorm` is `grad_norm`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()


class Registry(Generic[T]):
    """Classes of one kind by name; case, underscores and hyphens do not matter when one is looked up."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.plural = f"{kind.split()[-1]}s"
        self._package = package
        self._classes: dict[str, type[T]] = {}
        self._names: dict[str, str] = {}
        self._lacking: dict[str, tuple[type[T], str]] = {}
        self.families: dict[str, Callable[[str], type[T]]] = {}
        """The functions that make classes on demand, by the prefixes of their names."""
        self._loaded = False

    def add(self, cls: type[T], name: str) -> None:
        """Register a class under a name.

        Raises ConfigError where another class has the name.
        """
        known = self._classes.get(fold(name), cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            by = definition_of(known) or f"optrun ({known.__module__})"
            raise ConfigError(
                f"{self.kind} {name!r} is already registered by {by}: another class needs another name"
            )
        sources.source_of(cast(Any, cls))
        self._classes[fold(name)] = cls
        self._names[fold(name)] = name

    def add_family(self, prefix: str, make: Callable[[str], type[T]]) -> None:
        """Have names such as ``prefix:rest`` stand for the classes that a function makes of the rest, on demand.

        In a config they may be written ``{prefix: rest}``. They are in no list.
        """
        self.families[prefix] = make

    def _of_family(self, name: str) -> type[T] | None:
        prefix, colon, rest = name.partition(":")
        self._load()
        make = self.families.get(prefix) if colon else None
        return None if make is None else make(rest)

    @property
    def classes(self) -> set[type[T]]:
        """What is registered so far."""
        return set(self._classes.values())

    def add_lacking(self, cls: type[T], what: str) -> None:
        """Remember a class that is not registered, for want of a method: one that others inherit from may be so."""
        self._lacking[fold(cls.__name__)] = cls, what

    def lacking(self) -> dict[type[T], str]:
        """Return what classes lack that are not registered and from which no other class inherits."""
        return {
            cls: f"{cls.__name__} is no {self.kind}: it lacks {what} ({definition_of(cls)})"
            for cls, what in list(self._lacking.values())
            if not cls.__subclasses__()
        }

    def find(self, name: str) -> type[T]:
        """Return the class of this name, or raise UnknownNameError with the nearest one."""
        if (made := self._of_family(name)) is not None:
            return made
        try:
            return self._classes[fold(name)]
        except KeyError:
            cls, _ = self._lacking.get(fold(name), (None, ""))
            if cls is not None and cls in (lacking := self.lacking()):
                raise UnknownNameError(lacking[cls]) from None
            if needed := of_library(name):
                raise UnknownNameError(f"{name!r}: {needed}") from None
            if place := _place_of(name, self):
                raise UnknownNameError(f"{name!r} is no {self.kind}: {place}") from None
            hint = did_you_mean(name, self) or f" There are: {', '.join(self)}."
            if nearest(name, self, cutoff=_SLIP) is None:
                hint += " A class of your own needs --plugin FILE."
            raise UnknownNameError(f"unknown {self.kind} {name!r}.{hint}") from None

    def spelled(self, name: str) -> str:
        """Return the name under which the class of this name was registered."""
        self.find(name)
        return self._names.get(fold(name), name)

    def in_order(self) -> list[str]:
        """Return the names in the order in which their classes were defined."""
        self._load()
        return list(self._names.values())

    def __contains__(self, name: str) -> bool:
        try:
            return self._of_family(name) is not None or fold(name) in self._classes
        except ConfigError:
            return False

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, sorted."""
        self._load()
        return iter(sorted(self._names.values(), key=str.lower))

    def __len__(self) -> int:
        self._load()
        return len(self._classes)

    def _load(self) -> None:
        if not self._loaded:
            importlib.import_module(self._package)
            self._loaded = True
        _load_entry_points()


optimizers: Registry[Any] = Registry("optimizer", "optrun.optim")
schedulers: Registry[Any] = Registry("scheduler", "optrun.schedulers")
problems: Registry[Any] = Registry("problem", "optrun.problems")
averages: Registry[Any] = Registry("average", "optrun.optim.averaging")
metrics: Registry[Any] = Registry("metric", "optrun.optim.metrics")
prediction_metrics: Registry[Any] = Registry("prediction metric", "optrun.problems.metrics")
gradient_transforms: Registry[Any] = Registry("gradient transform", "optrun.optim.transforms")
update_transforms: Registry[Any] = Registry("update transform", "optrun.optim.transforms")
wrappers: Registry[Any] = Registry("wrapper", "optrun.optim.transforms")
methods: Registry[Any] = Registry("sweep method", "optrun.sweeps.methods")


REGISTRIES = (
    optimizers,
    schedulers,
    problems,
    averages,
    gradient_transforms,
    update_transforms,
    wrappers,
    methods,
    metrics,
    prediction_metrics,
)

FAMILIES = {"torch": "optrun.foreign", "optax": "optrun.foreign"}
"""The plugins that come with optrun, by the keys of a config that need them."""

SECTIONS: dict[str, Registry[Any]] = {
    each.kind: each for each in (problems, optimizers, schedulers, averages)
}
"""By the sections of a config that name a registered class."""

TRANSFORMS: dict[str, Registry[Any]] = {
    "gradient": gradient_transforms,
    "update": update_transforms,
    "wrap": wrappers,
}
"""By the options of an optimizer that list transforms and wrappers."""


def of_library(name: str) -> str:
    """Return which plugin a name such as ``torch:AdamW`` needs; empty for another one."""
    prefix, colon, _ = name.partition(":")
    return (
        f"an optimizer of {prefix} needs --plugin {FAMILIES[prefix]}" if colon and prefix in FAMILIES else ""
    )


def a_kind(registry: Registry[Any]) -> str:
    """Return what a registry has, as one of these."""
    return f"{'an' if registry.kind[0] in 'aeiou' else 'a'} {registry.kind}"


def _place_of(name: str, asked: Registry[Any]) -> str:
    """Return where a name belongs that another registry has; empty if none has it."""
    lists = [(known, f"list it under optimizer.{key}") for key, known in TRANSFORMS.items()]
    sections = [(known, f"its place is {key}") for key, known in SECTIONS.items()]
    return next(
        (
            f"it is {a_kind(known)}, {do}"
            for known, do in (*lists, *sections)
            if known is not asked and name in known
        ),
        "",
    )


DECAY = "decay"
"""The option of an optimizer that tells how its weight decay is applied."""

Over = Literal["run", "group", "tensor"]
"""What a sum is over: all parameters of the run, those of each parameter group, or each tensor."""

DecayMode = Literal["coupled", "decoupled", "independent", "corrected", "cautious"]
"""How the parameters decay, λ weight_decay, u the update, η lr:

    coupled         g ← g + λ θ                          an L² penalty; behind the transforms of the gradient
    decoupled       θ ← (1 - η λ) θ                      Loshchilov & Hutter (2019), arXiv:1711.05101
    independent     θ ← (1 - λ) θ                        whatever the learning rate is
    corrected       θ ← (1 - η² λ / η_max) θ             Defazio (2025), arXiv:2506.02285
    cautious        θ ← (1 - η λ) θ where u θ ≥ 0        Chen et al. (2025), arXiv:2510.12402

each but the first before the update is subtracted. η_max is lr as it is given, before schedules.
"""


def owner_of(name: str) -> type | None:
    """Return the class that is registered under a name, of whatever kind."""
    return next((each.find(name) for each in REGISTRIES if name in each), None)


@cache
def _load_entry_points() -> None:
    for entry_point in entry_points(group="optrun.plugins"):
        with guarded(f"plugin {entry_point.name!r} ({entry_point.value})", passed=()):
            entry_point.load()
