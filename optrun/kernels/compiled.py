"""Compiled loops, kept on disk: what one process has compiled, the next one reads."""

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def is_installed() -> bool:
    """Return whether there is a Numba; it is not imported for that."""
    return find_spec("numba") is not None


def is_kept(source: str) -> bool:
    """Return whether a source was compiled before, in this process or an earlier one."""
    return source in _compiled or any(_directory(source).glob("*/*.nbi"))


def is_loaded(source: str) -> bool:
    """Return whether this process can call the compiled source at once."""
    return source in _compiled


def compiled(source: str, dtypes: Sequence[str], integers: int) -> Callable[..., None]:
    """Return the function `step` of a source, whose arguments are flat arrays of these dtypes and so many integers.

    It checks no argument.
    """
    if source not in _compiled:
        _compiled[source] = _compile(source, dtypes, integers)
    return _compiled[source][1]


_compiled: dict[str, tuple[Any, Callable[..., None]]] = {}
"""By source the dispatcher, which owns the machine code, and its function."""


def _compile(source: str, dtypes: Sequence[str], integers: int) -> tuple[Any, Callable[..., None]]:
    numba: Any = import_module("numba")
    arrays = [numba.types.Array(getattr(numba.types, name), 1, "C") for name in dtypes]
    signature = (*arrays, *[numba.types.intp] * integers)
    path = _written(source)
    for kept in (True, False) if path else (False,):
        try:
            dispatcher = numba.njit(
                _function(source, str(path) if kept else "<optrun>"),
                cache=kept,
                error_model="numpy",  # 1 / 0 is inf
                nogil=True,
                _nrt=False,  # views need no counting of references
            )
            dispatcher._compiler._customize_flags = _without_aliases
            dispatcher.compile(signature)
        except Exception:
            # What is on disk is damaged, or cannot be written: the run goes on without.
            if not kept:
                raise
            shutil.rmtree(_directory(source), ignore_errors=True)
        else:
            break
    return dispatcher, dispatcher.overloads[signature].entry_point


def _without_aliases(flags: Any) -> Any:
    """Let the compiler know that no two buffers overlap; else it gives up vectors where there are five."""
    flags.noalias = True
    return flags


def _function(source: str, path: str) -> Callable[..., None]:
    # What is kept names its module, which has to be there when it is read.
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, path, "exec"), namespace)
    function: Callable[..., None] = namespace["step"]
    return function


def _written(source: str) -> Path | None:
    """Return the file of a source, beside which Numba keeps the machine code; None where none can be written."""
    path = _directory(source) / "step.py"
    try:
        if path.read_text(encoding="utf-8") == source:
            return path
    except (OSError, ValueError):
        pass
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # what is read there is run
        handle, partial = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(source)
        os.utime(partial, (0, 0))  # Numba knows a source by its time: whoever writes it last changes nothing
        os.replace(partial, path)
    except OSError:
        return None
    return path


def _directory(source: str) -> Path:
    return _root() / hashlib.sha256("\n".join([source, *_machine()]).encode()).hexdigest()[:32]


@cache
def _root() -> Path:
    """Return the directory of this user's compiled loops."""
    home = Path("~").expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "optrun" / "kernels"


@cache
def _machine() -> tuple[str, ...]:
    """Return what machine code depends on."""
    versions = [version(package) for package in ("numba", "llvmlite", "numpy")]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        processor = platform.processor()
    return (*versions, platform.python_version(), platform.machine(), processor)
