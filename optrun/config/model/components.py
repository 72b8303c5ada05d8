"""The parts of a run that have a name in a registry: problem, optimizer, scheduler, average."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from optrun import registry
from optrun.checks.messages import MISSING, failure, shown, unknown_key
from optrun.config.model.options import (
    GROUPS,
    GROUPS_OPTION,
    SCHEDULES,
    Found,
    options_of_group,
    options_within,
    read_options,
    unschedulable,
)
from optrun.config.yaml.tree import Path
from optrun.errors import ConfigError, UnknownNameError, did_you_mean
from optrun.intervals import INTERVAL, interval_within, without_default
from optrun.plugin_code import guarded
from optrun.registry import DECAY, SECTIONS, TRANSFORMS, Added, DecayMode, Option, Registry, tuples_of

if TYPE_CHECKING:
    from optrun.arrays import Array

MOST_KNOWN = 1 << 12
"""Of how many values of options it is kept what is validated of them."""

NESTED = "x-optrun-component"
"""In a JSON schema from pydantic, what stands for a component of a kind."""


class Component(BaseModel):
    """A registered class, by its canonical name, with every one of its options, but `Added` ones at their defaults.

    In a config and in a dump the options stand beside the name. An option that is itself a component (the
    schedulers of a SequentialLR) is one here too. The interval of one that counts as the one around it is left out.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    options: dict[str, Any]

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {"name": self.name, **without_default(self.options)}


class ParamGroupOptions(BaseModel):
    """Parameters, chosen by globs on their names, the hyperparameters in which they differ, and schedules of them."""

    model_config = ConfigDict(frozen=True)

    params: list[str]
    name: str | None = None
    """The rule of these parameters, if it is another one."""
    options: dict[str, Any]
    schedules: dict[str, Component] = {}

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        name = {"name": self.name} if self.name else {}
        schedules = {SCHEDULES: self.schedules} if self.schedules else {}
        return {"params": self.params, **name, **self.options, **schedules}


class OptimizerComponent(Component):
    """An optimizer with its parameter groups; parameters that no glob matches have the options as they are."""

    param_groups: list[ParamGroupOptions] = []

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        groups = {GROUPS: self.param_groups} if self.param_groups else {}
        return {"name": self.name, **self.options, **groups}


def schema_key(known: Registry[Any]) -> str:
    """Return the name of a registry's definition in the JSON schema."""
    return known.kind.replace(" ", "_")


@dataclass(frozen=True)
class Named:
    """Says of an annotation that its value is one of a registry's classes with its options."""

    registry: Registry[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validated)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # Its definition is no model's, and pydantic knows no references but its own.
        return {NESTED: schema_key(self.registry)}

    def validated(self, value: Any) -> Component:
        """Return the component that a name, or a mapping with a name, stands for."""
        value = value.model_dump() if isinstance(value, Component) else value
        value = {"name": value} if isinstance(value, str) else value
        if not isinstance(value, dict):
            raise ConfigError(f"must be {self._a_name}, or a mapping with 'name' (got {shown(value)})")
        value = self._of_family(value)
        cls, name = self._found(value)
        given = {key: each for key, each in value.items() if key != "name"}
        options, found = read_options(cls, self.known(cls), given, self.validated, beside=["name"])
        groups = []
        for i, each in enumerate(options.pop(GROUPS, None) or []):
            with found.at(GROUPS, i):
                groups.append(self._group(cls, each, given))
        found.check()
        self._check(cls, options)
        for i, group in enumerate(groups):
            self._check_group(cls, options, group, i)
        if self.registry.kind != "optimizer":
            return Component(name=name, options=options)
        return OptimizerComponent(name=name, options=options, param_groups=groups)

    def _group(self, cls: Any, given: dict[str, Any], whole: dict[str, Any]) -> ParamGroupOptions:
        """Return a parameter group of a whole; with a name of its own it is of that rule."""
        name, found = None, Found()
        if "name" in given:
            cls, name = self._found(given)
        known = options_of_group(cls, Schedules, TRANSFORMS_OF_GROUPS)
        own = {key: value for key, value in given.items() if key != "name"}
        options, wrong = read_options(cls, known, own, self.validated, complete=False, beside=["name"])
        found += [*wrong, *unschedulable(cls, options_within(cls, given, whole), given.get(SCHEDULES))]
        found.check()
        schedules = options.pop(SCHEDULES, {})
        return ParamGroupOptions(
            params=options.pop("params"), name=name, options=options, schedules=schedules
        )

    def known(self, cls: Any) -> dict[str, Option]:
        """Return what may stand beside the name of a class."""
        options: dict[str, Option] = cls.options()
        return {**options, **_COMPOSED, **GROUPS_OPTION} if self.registry.kind == "optimizer" else options

    def variation(
        self, component: Component, paths: Sequence[Sequence[str]]
    ) -> Callable[[Sequence[float]], dict[str, Any]]:
        """Return what returns the options of a component, given other values of some of them or of numbers in them.

        ``paths`` tell of which; they hold no component. It raises ValidationError.
        """
        cls: Any = self.registry.find(component.name)
        known = self.known(cls)
        groups = component.param_groups if isinstance(component, OptimizerComponent) else []

        @lru_cache(MOST_KNOWN)  # a grid has few values of each option
        def validated(name: str, value: float) -> Any:
            return known[name].validated(value)

        def options_with(values: Sequence[float]) -> dict[str, Any]:
            given: dict[str, Any] = {}
            for (name, *steps), value in zip(paths, values, strict=True):
                given[name] = with_value(given.get(name, component.options.get(name)), steps, value)
            options = component.options | {
                # A zero has a sign, which equality does not tell.
                name: validated(name, value)
                if type(value) is float and value
                else known[name].validated(value)
                for name, value in given.items()
            }
            self._check(cls, options)
            for i, group in enumerate(groups):
                self._check_group(cls, options, group, i)
            return options

        return options_with

    def accepts(self, component: Component, names: Sequence[str], values: "Array") -> "Array":
        """Return which rows ``[n, k]`` of values of options are valid and what they are, as far as that is known."""
        import numpy as np  # a config that is no sweep needs none

        cls: Any = self.registry.find(component.name)
        known, check = self.known(cls), getattr(cls, "validate_options", None)
        has_groups = isinstance(component, OptimizerComponent) and component.param_groups
        is_asked = check is not None and not getattr(check, "checks_nothing", False)
        accepted = np.full(len(values), not (has_groups or is_asked))
        for name, column in zip(names, values.T, strict=True):
            accepted &= np.isfinite(column) & (name in known and known[name].is_bounded_float)
            for bound in known[name].bounds if name in known else ():
                accepted &= bound.holds(column)
        return accepted

    def nested(self, option: str) -> "Named":
        """Return of what kind the components in an option are: transforms in an optimizer's, otherwise of its own."""
        return Named(TRANSFORMS[option]) if option in TRANSFORMS else self

    @property
    def _a_name(self) -> str:
        return f"the name of {registry.a_kind(self.registry)}"

    def _of_family(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return a mapping such as ``{torch: timm.optim.Adan}`` with the name that it stands for."""
        for prefix in self.registry.families:
            if isinstance(value.get(prefix), str) and "name" not in value:
                rest = {key: each for key, each in value.items() if key != prefix}
                return {"name": f"{prefix}:{value[prefix]}", **rest}
        return value

    def _found(self, value: dict[str, Any]) -> tuple[Any, str]:
        if "name" not in value:
            for prefix in registry.FAMILIES if self.registry.kind == "optimizer" else ():
                if prefix in value and prefix not in self.registry.families:
                    raise failure(((prefix,), registry.of_library(f"{prefix}:")))
            if names := [key for key in value if key in self.registry]:
                spelled = self.registry.spelled(names[0])
                raise failure(
                    (
                        (names[0],),
                        f"is {self._a_name}, no key: write {{name: {spelled}}}, and its options beside the name",
                    )
                )
            raise failure(*self._strange(value), (("name",), MISSING))
        if not isinstance(value["name"], str):
            raise failure((("name",), f"must be {self._a_name} (got {shown(value['name'])})"))
        try:
            cls = self.registry.find(value["name"])
        except UnknownNameError as error:
            raise failure((("name",), str(error))) from None
        return cls, self.registry.spelled(value["name"])

    def _strange(self, value: Iterable[str]) -> Iterator[tuple[Path, str | PydanticCustomError]]:
        """Yield which keys no class of this kind has."""
        known: set[str] = set()
        for name in self.registry:
            cls: Any = self.registry.find(name)
            known.update(self.known(cls), tuples_of(cls))
        for key in value:
            if did_you_mean(key, ["name"]):
                yield (key,), unknown_key(["name"])
            elif key not in known:
                hint = did_you_mean(key, known)
                yield (key,), f"no {self.registry.kind} has this key" + (f".{hint}" if hint else "")

    def _check_group(self, cls: Any, options: dict[str, Any], chosen: ParamGroupOptions, i: int) -> None:
        group = chosen.options
        if chosen.name is not None:
            cls = self.registry.find(chosen.name)
            options = cls.defaults_of_options()
        try:
            self._check(cls, options | group, (GROUPS, i))
        except ValidationError as error:
            (each,) = error.errors(include_url=False)
            if each["loc"][-1] in group:
                raise
            own = list(group)
            to_blame = next((key for key in own if self._passes(cls, options, group, key)), own[0])
            raise failure(((GROUPS, i, to_blame), each["msg"])) from None

    def _passes(self, cls: type[Any], options: dict[str, Any], group: dict[str, Any], without: str) -> bool:
        try:
            self._check(cls, options | {key: group[key] for key in group if key != without})
        except ValidationError:
            return False
        return True

    def _check(self, cls: type[Any], options: dict[str, Any], path: Path = ()) -> None:
        check = getattr(cls, "validate_options", None)
        try:
            if check is not None:
                of_user = not check.__module__.startswith("optrun.")
                with guarded(cls.__name__, cls) if of_user else nullcontext():
                    beside = _NO_OPTIONS if self.registry.kind == "optimizer" else ()
                    check({name: value for name, value in options.items() if name not in beside})
        except ConfigError as error:
            fields = error.field.split(".") if error.field else [""]
            message = str(error).removeprefix(f"{fields[-1]}: ")
            raise failure(((*path, *filter(None, fields)), message)) from None


def with_value(whole: Any, steps: Sequence[str], value: Any) -> Any:
    """Return a list or a mapping with another value at the end of the steps."""
    if not steps:
        return value
    step, *rest = steps
    changed = copy(whole)
    key = int(step) if isinstance(whole, list) else step
    changed[key] = with_value(whole[key], rest, value)
    return changed


def class_of(section: str, given: Any) -> type[Any] | None:
    """Return the class that a section of a config names, as far as it names one."""
    name = given.get("name") if isinstance(given, dict) else getattr(given, "name", given)
    known = SECTIONS[section]
    return known.find(name) if isinstance(name, str) and name in known else None


def _with_interval(schedule: Component) -> Component:
    """Return a schedule that says what it counts; ValidationError where a member counts steps, and it epochs."""
    if INTERVAL.name not in schedule.options:
        return schedule
    if wrong := list(_wrong_intervals(schedule, "step", ())):
        raise failure(*wrong)
    interval = schedule.options[INTERVAL.name] or "step"
    return schedule.model_copy(update={"options": {**schedule.options, INTERVAL.name: interval}})


def _wrong_intervals(schedule: Component, enclosing: str, path: Path) -> Iterator[tuple[Path, str]]:
    own, wrong = interval_within(schedule.options, enclosing)
    if wrong:
        yield (*path, INTERVAL.name), wrong
    for name, option in schedule.options.items():
        for i, each in enumerate(option if isinstance(option, list) else []):
            if isinstance(each, Component):
                yield from _wrong_intervals(each, own, (*path, name, i))


def _those_on(schedules: Any) -> Any:
    if isinstance(schedules, dict):
        return {name: schedule for name, schedule in schedules.items() if schedule is not None}
    return {} if schedules is None else schedules


_COMPOSED = {
    kind: Option(kind, Annotated[list[Annotated[Component, Named(known)]] | None, Added()], None)
    for kind, known in TRANSFORMS.items()
}
_COMPOSED[DECAY] = Option(DECAY, Annotated[DecayMode | None, Added()], None)
TRANSFORMS_OF_GROUPS = {kind: _COMPOSED[kind] for kind in ("gradient", "update", DECAY)}
"""What a parameter group may have of its own; what is around the rule is around all groups."""
_NO_OPTIONS = ("params", *_COMPOSED)

Schedule = Annotated[Component, Named(registry.schedulers), AfterValidator(_with_interval)]
"""A schedule that is within none."""

Schedules = Annotated[
    dict[str, Schedule],
    BeforeValidator(_those_on, json_schema_input_type=dict[str, Schedule | None] | None),
]
"""Schedules by the names of hyperparameters; null is off."""
