"""Refusals that come late, when a config's parts are built, with the place of the part that is to blame."""

from collections.abc import Iterator
from contextlib import contextmanager

from optrun.config import ConfigErrors, Resolved, RunConfig
from optrun.errors import ConfigError, OutOfMemoryError


@contextmanager
def located(resolved: Resolved) -> Iterator[None]:
    """Raise a ConfigError that names a part of the config as ConfigErrors, with the place of that part."""
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
