"""Unions of types as pydantic decides them: by the kind of a value, of words by themselves."""

from functools import reduce
from operator import or_
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Discriminator, Tag

from optrun.checks.messages import TAG, UNION

_KINDS = {bool: "bool", float: "number", int: "number", str: "string", list: "list", NoneType: "null"}
_WORDS = {
    bool: "true or false",
    float: "a number",
    int: "an integer",
    str: "a string",
    list: "a list",
    NoneType: "null",
}


def union(members: list[Any]) -> Any:
    """Return the union of these types, decided by the kind of a value so that only one member is tried."""
    if len(members) == 2 and NoneType in members:
        return reduce(or_, members)
    tagged = [Annotated[member, Tag(TAG + _kind_of_type(member))] for member in members]
    words = [word for member in members for word in _words(member)]
    texts = [member for member in members if _kind_of_type(member) == "string"]
    few = get_args(texts[0]) if len(texts) == 1 and get_origin(texts[0]) is Literal else ()
    chosen = Discriminator(
        lambda value: (
            None if few and isinstance(value, str) and value not in few else TAG + _kind_of_type(type(value))
        ),
        custom_error_type=UNION,
        custom_error_message=f"must be {' or '.join(words)}",
    )
    return Annotated[reduce(or_, tagged), chosen]


def _bare(annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _bare(get_args(annotation)[0])
    return type(get_args(annotation)[0]) if origin is Literal else origin or annotation


def _kind_of_type(member: Any) -> str:
    bare = _bare(member)
    return next((kind for of, kind in _KINDS.items() if issubclass(bare, of)), "mapping")


def _words(member: Any) -> list[str]:
    if get_origin(member) is Literal:
        return [*map(repr, get_args(member))]
    bare = _bare(member)
    return [getattr(bare, "in_words", _WORDS.get(bare, "a mapping"))]
