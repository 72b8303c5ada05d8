"""Durations as people write them: 500ms, 30s, 5m, 1h."""

import re
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from optrun.config.explain import shown
from optrun.errors import ConfigError

_WRITTEN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(str):
    """A span of time that stays as it was written.

    Raises ConfigError for anything that is not a positive number with a unit: ms, s, m or h.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> "Duration":
        written = _WRITTEN.fullmatch(text) if isinstance(text, str) else None
        if not written or not float(written[1]):
            raise ConfigError(f"must be a duration such as 500ms, 30s, 5m or 1h (got {shown(text)})")
        return super().__new__(cls, text)

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        written = _WRITTEN.fullmatch(self)
        assert written
        return float(written[1]) * _SECONDS[written[2]]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(pattern=f"^(?=[0-9.]*[1-9]){_WRITTEN.pattern}$")
        return core_schema.no_info_plain_validator_function(cls, json_schema_input_schema=text)
