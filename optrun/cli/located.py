"""Attach the file position to errors raised while the objects of a config are built."""

from collections.abc import Iterator
from contextlib import contextmanager

from optrun.config import ConfigErrors, Resolved, RunConfig
from optrun.errors import ConfigError, OutOfMemoryError


@contextmanager
def located(resolved: Resolved) -> Iterator[None]:
    """Re-raise a ConfigError whose ``field`` is in the config as ConfigErrors with the position of that field."""
    try:
        yield
    except ConfigErrors:
        raise
    except OutOfMemoryError as error:
        raise resolved.located(ConfigError(str(error), field=error.field)) from error
    except ConfigError as error:
        if error.field.partition(".")[0] in RunConfig.model_fields:
            raise resolved.located(error) from error
        raise
