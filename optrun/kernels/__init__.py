"""Update rules as traced programs, and the engines that run them."""

from typing import TYPE_CHECKING

from optrun.errors import ConfigError

if TYPE_CHECKING:
    from optrun.kernels.stepper import Engine

ENGINES = ("auto", "numpy", "numba")
"""Names that a config's `engine` may take; `auto` is the fastest one at hand."""


def engine_named(name: str, backend: str = "numpy") -> "Engine":
    """Return the engine of this name for arrays of this backend.

    Raises ConfigError where there is none, and MissingExtraError where it is not installed.
    """
    if name not in ENGINES:
        raise ConfigError(f"unknown engine {name!r}: there are {', '.join(ENGINES)}", field="engine")
    if backend != "numpy":
        raise ConfigError(f"no engine runs on the {backend} backend", field="backend")
    if name == "numpy":
        from optrun.kernels.numpy_engine import NumpyEngine

        return NumpyEngine()
    if name == "numba":
        from optrun.kernels.numba_engine import NumbaEngine

        return NumbaEngine()
    from optrun.kernels.auto_engine import AutoEngine

    return AutoEngine()
