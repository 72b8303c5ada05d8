"""Update rules traced into programs, and the engines that run them."""

from typing import TYPE_CHECKING

from optrun.errors import ConfigError

if TYPE_CHECKING:
    from optrun.kernels.stepper import Engine

ENGINES = ("auto", "numpy", "numba", "cupy")
"""Valid names of a config's `engine`; `auto` chooses the fastest available one."""

BACKENDS = {"numpy": "numpy", "numba": "numpy", "cupy": "cupy"}
"""The array backend of each engine."""


def engine_mismatch(name: str, backend: str) -> str:
    """Return why an engine cannot run on arrays of this backend; an empty string if it can."""
    if name not in ENGINES:
        return f"unknown engine {name!r}: choose one of {', '.join(ENGINES)}"
    if name != "auto" and BACKENDS[name] != backend:
        own = BACKENDS[name]
        return f"the {name} engine runs on the {own} backend, not on {backend}: set backend to {own}, or engine to auto"
    return ""


def engine_named(name: str, backend: str = "numpy") -> "Engine":
    """Return the engine of this name for arrays of this backend.

    Raises ConfigError for an invalid name, and MissingExtraError if the engine is not installed, or broken.
    """
    if wrong := engine_mismatch(name, backend):
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
