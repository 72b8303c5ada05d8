"""Compiled loops, kept on disk: what one process has compiled, the next one loads, without Numba.

Numba's own cache needs Numba to be imported: 0.6 s of each process, a quarter of what a short sweep takes.
"""

import ctypes
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from optrun.arrays import Array
from optrun.fallbacks import Fallback
from optrun.forks import renew_after_fork
from optrun.kernels import user_cache
from optrun.kernels.numba.machine_code import machine_code, processor

FORM = "3"
"""Of the files and of the arguments of what is in them: another one is another name."""

_loaded: dict[str, Any] = {}
"""Of each source the library, which owns its machine code."""
_lock = threading.Lock()
renew_after_fork(globals(), "_lock")
_numbers = count()
_Function = ctypes.CFUNCTYPE(None)


def is_installed() -> bool:
    """Return whether there is a Numba, of a known version; it is not imported for that."""
    return find_spec("numba") is not None and _versions() is not None


def directory() -> Path:
    """Return where this user's loops are kept; every file in it may be removed."""
    return user_cache.directory("kernels")


def bound(
    source: str, numbers: Sequence[Array], conditions: Sequence[Array], integers: Array
) -> Callable[[], None]:
    """Return the function that calls `step` of a source with the addresses of arrays, and one of integers.

    The arrays are read and written where they are, while Python goes on with other threads. No argument is checked.
    """
    library = compiled(source)
    function: Any = _Function(library["step"])
    function.held = library, numbers, conditions, integers  # what is at the addresses has to stay there
    addresses = [
        (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        for arrays in (numbers, conditions)
    ]
    words = ctypes.c_ssize_t.from_address(integers.ctypes.data)
    result, error = ctypes.c_void_p(), ctypes.c_void_p()
    return partial(function, *(ctypes.byref(each) for each in (result, error, *addresses, words)))


def compiled(source: str) -> Any:
    """Return the library with the function `step` of a source."""
    with _lock:  # two libraries of one loop would be one too many, and LLVM's are made one at a time
        if source not in _loaded:
            path = _file(source)
            _loaded[source] = _kept(path) or _made(source, path)
        return _loaded[source]


def _kept(path: Path) -> Any:
    """Return the library in a file, None where there is none that can be used."""
    with Fallback(f"the loop in {path} is compiled anew", RuntimeError):
        code = user_cache.read(path)
        return code and _linked(code)


def _made(source: str, path: Path) -> Any:
    code = machine_code(source)
    library = _linked(code)
    user_cache.write(path, code)
    return library


def _linked(code: bytes) -> Any:
    llvm: Any = import_module("llvmlite.binding")
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol("step")
    return builder.link(_linker(), f"step{next(_numbers)}")


@cache
def _linker() -> Any:
    llvm: Any = import_module("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler(suppress_errors=True)


def _file(source: str) -> Path:
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith("NUMBA_"))
    key = repr([source, FORM, _versions(), processor(), settings])
    return directory() / hashlib.sha256(key.encode()).hexdigest()[:32]


@cache
def _versions() -> tuple[str, ...] | None:
    try:
        return version("numba"), version("llvmlite")
    except PackageNotFoundError:
        return None
