"""A registered class's signature as a pydantic model."""

from collections.abc import Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

from annotated_types import MinLen
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from optrun.config.model.messages import explained, failure, unknown_key
from optrun.config.model.unions import TAGS, union
from optrun.config.yaml.tree import Path
from optrun.registry import Option, bounded

GROUPS = "param_groups"
SCHEDULES = "schedules"
SWEEP = "sweep"
MAX_EXACT = 2**53


def _integral(value: Any) -> Any:
    exact = isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT
    return int(value) if exact else bounded(value)


INTEGRAL = BeforeValidator(_integral)
"""Beside `int`: an integer may be written `5e2`, and fits into 64 bits."""


class Model(BaseModel):
    """A strict mapping whose errors are in words."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
        protected_namespaces=(),
    )

    @classmethod
    def known_keys(cls) -> list[str]:
        """Return the keys that are known."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def prepared(cls, data: dict[str, Any]) -> tuple[dict[str, Any], Mapping[str | int, Path]]:
        """Return the keys as the model has them, and where each that had another name was found."""
        return data, {}

    @classmethod
    def at_odds(cls, data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
        """Return what is wrong with keys beside each other, whatever their values are."""
        return []

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, data: Any, handler: ModelWrapValidatorHandler["Model"]) -> "Model":
        moved: Mapping[str | int, Path] = {}
        beside = cls.at_odds(data) if isinstance(data, dict) else []
        if isinstance(data, dict):
            data, moved = cls.prepared(data)
        try:
            model = handler(data)
        except ValidationError as error:
            raise explained(error, cls.known_keys(), moved, TAGS, beside) from None
        if beside:
            raise failure(*beside)
        return model


class Section(Model):
    """A part of the config; what is off is left out of its dump."""

    @model_serializer(mode="wrap")
    def _what_is_on(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {
            key: value
            for key, value in dumped.items()
            if value != {} and not (value is None and fields[key].default is None)
        }


class Options(Model):
    """The options of a registered class."""

    tuples: ClassVar[Mapping[str, Sequence[str]]] = {}

    @classmethod
    def known_keys(cls) -> list[str]:
        """Return the options' names, and torch's names for several of them at once."""
        return [*super().known_keys(), *cls.tuples]

    @classmethod
    def at_odds(cls, data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
        """Return which tuples do not have their parts, or have them beside."""
        problems: list[tuple[Path, PydanticCustomError]] = []
        for joint, parts in cls.tuples.items():
            values, both = data.get(joint), [part for part in parts if part in data]
            if joint in data and (not isinstance(values, list) or len(values) != len(parts)):
                said = f"must be a list of {len(parts)}: [{', '.join(parts)}]"
            elif joint in data and both:
                said = f"{joint} and {both[0]} are both set: choose one"
            else:
                continue
            problems.append(((joint,), PydanticCustomError("config", "{said}", {"said": said})))
        return problems

    @classmethod
    def prepared(cls, data: dict[str, Any]) -> tuple[dict[str, Any], Mapping[str | int, Path]]:
        """Return the options with each tuple (`betas`) split into its parts."""
        moved: dict[str | int, Path] = {}
        for joint, parts in cls.tuples.items():
            if joint not in data:
                continue
            data = dict(data)
            values = data.pop(joint)
            if not isinstance(values, list) or len(values) != len(parts) or not data.keys().isdisjoint(parts):
                continue  # `at_odds` says so
            data.update(zip(parts, values, strict=True))
            moved.update({part: (joint, i) for i, part in enumerate(parts)})
        return data, moved

    @classmethod
    def option(cls, name: str, value: Any) -> Any:
        """Return a value of one option as it is when all are validated together; raises ValidationError."""
        return _validator(cls, _field(name)).validate_python(value)

    def given(self) -> dict[str, Any]:
        """Return what was set, by name."""
        fields = type(self).model_fields
        return {
            fields[name].alias or name: getattr(self, name)
            for name in fields
            if name in self.model_fields_set
        }

    def every(self) -> dict[str, Any]:
        """Return all options, by name."""
        return {field.alias or name: getattr(self, name) for name, field in type(self).model_fields.items()}


class NamedOptions(Options):
    """The options of a registered class beside its name, which is read before."""

    @classmethod
    def known_keys(cls) -> list[str]:
        """Return the options' names after `name`."""
        return ["name", *super().known_keys()]


class GroupOptions(Options):
    """The options in which a parameter group differs, and schedules of them."""

    owner: ClassVar[Any]

    @classmethod
    def at_odds(cls, data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
        """Return which schedules are of no hyperparameter."""
        return [*super().at_odds(data), *unschedulable(cls.owner, data.get(SCHEDULES))]


@cache
def _validator(model: type[Model], field: str) -> TypeAdapter[Any]:
    return TypeAdapter(model.model_fields[field].rebuild_annotation(), config=model.model_config)


def floats_of(options: Mapping[str, Option]) -> list[str]:
    """Return the names of the options that are floats, which may be scheduled and recorded."""
    return [name for name, option in options.items() if option.is_float]


def unschedulable(cls: Any, schedules: Any) -> list[tuple[Path, PydanticCustomError]]:
    """Return which of the schedules are of no float among a class's options."""
    options, tuples = cls.options(), getattr(cls, "tuples", {})
    problems: list[tuple[Path, PydanticCustomError]] = []
    for name in schedules if isinstance(schedules, dict) else ():
        if name in tuples:
            said = f"is a tuple: schedule {' or '.join(tuples[name])}"
        elif name in options:
            said = "is no float: it cannot be scheduled"
        else:
            problems.append(((SCHEDULES, name), unknown_key(floats_of(options))))
            continue
        if name not in floats_of(options):
            problems.append(((SCHEDULES, name), PydanticCustomError("config", "{said}", {"said": said})))
    return problems


Chosen = TypeVar("Chosen", bound=Options)


@cache
def options_model(
    cls: Any, nested: Any, schedules: Any = None, base: type[Options] = NamedOptions
) -> type[Options]:
    """Return the model of a class's options, with parameter groups where there are schedules of their options.

    `nested` stands where the options mention a base of the class.
    """
    fields: dict[str, Any] = {
        _field(name): (_type(option.annotation, cls, nested), _default(option))
        for name, option in cls.options().items()
    }
    if schedules is not None:
        group = group_model(cls, nested, schedules)
        fields[_field(GROUPS)] = (list[group] | None, Field(None, alias=GROUPS))  # type: ignore[valid-type]
    return _model(base, cls, cls.__name__, fields)


@cache
def group_model(cls: Any, nested: Any, schedules: Any) -> type[Options]:
    """Return the model of a parameter group: the parameters it is for, any of the class's options, their schedules."""
    fields: dict[str, Any] = {
        _field(name): (_type(option.annotation, cls, nested), Field(None, alias=name, validate_default=False))
        for name, option in cls.options().items()
    }
    glob = Annotated[str, MinLen(1)]
    globs = Annotated[
        list[glob],
        MinLen(1),
        BeforeValidator(_listed, json_schema_input_type=glob | Annotated[list[glob], MinLen(1)]),
    ]
    fields[_field(SCHEDULES)] = (schedules, Field(None, alias=SCHEDULES, validate_default=False))
    model = _model(GroupOptions, cls, f"{cls.__name__}Group", {"params": (globs, ...), **fields})
    model.owner = cls
    return model


def _model(base: type[Chosen], cls: type[Any], name: str, fields: dict[str, Any]) -> type[Chosen]:
    model: type[Chosen] = create_model(name, __base__=base, **fields)
    model.tuples = getattr(cls, "tuples", {})
    return model


def _field(name: str) -> str:
    # A plug-in may call an option `copy` or `json`, which a pydantic field cannot be called.
    return f"{name}_"


def _default(option: Option) -> Any:
    if option.required:
        return Field(alias=option.name, description=option.help or None)
    default = list(option.default) if isinstance(option.default, tuple) else option.default
    return Field(default, alias=option.name, description=option.help or None)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _type(annotation: Any, cls: type[Any], nested: Any) -> Any:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        # The bounds belong to the integer itself, so the conversion has to come after them.
        bounded = (int, *args[1:], INTEGRAL) if args[0] is int else (_type(args[0], cls, nested), *args[1:])
        return Annotated[bounded]
    if origin in (Union, UnionType):
        return union([_type(arg, cls, nested) for arg in args])
    if origin is list:
        return list[_type(args[0], cls, nested)]  # type: ignore[misc]
    if annotation is int:
        return Annotated[int, INTEGRAL]
    if isinstance(annotation, type) and annotation is not object and issubclass(cls, annotation):
        return nested
    return annotation
