"""Durations as people write them: 500ms, 30s, 5m, 1h30m."""

import re
from typing import Any, ClassVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from optrun.checks.messages import shown
from optrun.errors import ConfigError

_WRITTEN = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|s|m|h))+")
_PART = re.compile(r"([0-9.]+)(ms|s|m|h)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(str):
    """A span of time that stays as it was written.

    Raises ConfigError for anything that is not a positive number with a unit: ms, s, m or h.
    """

    __slots__ = ()
    in_words: ClassVar = "a duration such as 30s"

    def __new__(cls, text: str) -> "Duration":
        if not isinstance(text, str) or not _WRITTEN.fullmatch(text) or not _seconds(text):
            raise ConfigError(f"must be a duration such as 500ms, 30s, 5m or 1h30m (got {shown(text)})")
        return super().__new__(cls, text)

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return _seconds(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(pattern=f"^(?=.*[1-9]){_WRITTEN.pattern}$")
        return core_schema.no_info_plain_validator_function(cls, json_schema_input_schema=text)


def _seconds(text: str) -> float:
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
