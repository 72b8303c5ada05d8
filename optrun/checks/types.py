"""The types of options as pydantic checks them: strictly, and by the same rules in a config and in Python."""

from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from optrun.checks.messages import explained, shown
from optrun.checks.scalars import MAX_WHOLE
from optrun.checks.unions import union
from optrun.errors import ConfigError

MAX_EXACT = 2**53
MEMBER = "x-optrun-member"
"""In a JSON schema from pydantic, what stands for a member of the kind of the class whose option it is."""

STRICT = ConfigDict(strict=True, allow_inf_nan=False)

Reader = Callable[[Any], Any]
"""Returns what a config's value of a member becomes, or raises ValidationError or ConfigError."""


def _integral(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT:
        return int(value)
    if type(value) is int and abs(value) > MAX_WHOLE:
        raise ConfigError(f"must be < 2⁶³ (got a whole number of {value.bit_length():,} bits)")
    return value


INTEGRAL = BeforeValidator(_integral)
"""Beside `int`: an integer may be written `5e2`, and fits into 64 bits."""


@dataclass(frozen=True)
class _Member:
    """A class of which others are registered: an instance of it in Python, in a config what a reader makes of it."""

    base: type

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {MEMBER: True}

    def _read(self, value: Any, info: ValidationInfo) -> Any:
        reader: Reader | None = info.context
        if reader is not None:
            return reader(value)
        if not isinstance(value, self.base):
            raise ConfigError(f"must be of {self.base.__name__} (got {shown(value)})")
        return value


def strictly(annotation: Any) -> Any:
    """Return an annotation for pydantic: integers may be written `5e2`, unions are decided by the kind of a value."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        # The bounds belong to the integer itself, so the conversion has to come after them.
        parts = (int, *args[1:], INTEGRAL) if args[0] is int else (strictly(args[0]), *args[1:])
        return Annotated[parts]
    if origin in (Union, UnionType):
        return union([strictly(arg) for arg in args])
    if origin is list:
        return list[strictly(args[0])]  # type: ignore[misc]
    if origin is dict:
        return dict[args[0], strictly(args[1])]  # type: ignore[misc, valid-type]
    if annotation is int:
        return Annotated[int, INTEGRAL]
    if isinstance(annotation, type) and hasattr(annotation, "options"):
        return Annotated[Any, _Member(annotation)]
    return annotation


def adapter_of(annotation: Any) -> TypeAdapter[Any]:
    """Return what checks values against an annotation; making one costs as much as a thousand checks."""
    return TypeAdapter(strictly(annotation), config=STRICT | {"arbitrary_types_allowed": True})


def validated(adapter: TypeAdapter[Any], value: Any, reader: Reader | None = None) -> Any:
    """Return a value as its type has it, or raise ValidationError in words; a reader reads members of a config."""
    try:
        return adapter.validate_python(value, context=reader)
    except ValidationError as error:
        raise explained(error) from None
