"""Update rules as traced programs, and the engines that run them."""

from typing import TYPE_CHECKING

from optrun.errors import ConfigError

if TYPE_CHECKING:
    from optrun.kernels.stepper import Engine

ENGINES = ("auto", "numpy", "numba", "cupy")
"""Names that a config's `engine` may take; `auto` is the fastest one at hand."""

BACKENDS = {"numpy": "numpy", "numba": "numpy", "cupy": "cupy"}
"""The backend on whose arrays each engine runs."""


def engine_at_odds(name: str, backend: str) -> str:
    """Return what is wrong with an engine for arrays of this backend; nothing where it runs on them."""
    if name not in ENGINES:
        return f"unknown engine {name!r}: there are {', '.join(ENGINES)}"
    if name != "auto" and BACKENDS[name] != backend:
        own = BACKENDS[name]
        return f"the {name} engine runs on the {own} backend, not on {backend}: set backend to {own}, or engine to auto"
    return ""


def engine_named(name: str, backend: str = "numpy") -> "Engine":
    """Return the engine of this name for arrays of this backend.

    Raises ConfigError where there is none, and MissingExtraError where it is not installed, or broken.
    """
    if wrong := engine_at_odds(name, backend):
        raise ConfigError(wrong, field="engine")
    if backend == "cupy":
        from optrun.kernels.cuda.engine import CupyEngine

        return CupyEngine()
    if name == "numpy":
        from optrun.kernels.numpy_engine import NumpyEngine

        return NumpyEngine()
    if name == "numba":
        from optrun.kernels.numba.engine import NumbaEngine

        return NumbaEngine().proven()
    from optrun.kernels.auto_engine import AutoEngine

    return AutoEngine()
