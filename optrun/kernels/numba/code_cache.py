"""Compiled loops, kept on disk: what one process has compiled, the next one loads, without Numba."""

import contextlib
import ctypes
import hashlib
import os
import platform
import threading
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from optrun.arrays import Array
from optrun.kernels import user_cache
from optrun.kernels.numba.machine_code import machine_code
from optrun.kernels.threads import run_in_threads

FORM = "2"
"""Of the files and of the arguments of what is in them: another one is another name."""


def is_installed() -> bool:
    """Return whether there is a Numba, of a known version; it is not imported for that."""
    return find_spec("numba") is not None and _versions() is not None


class Loop(NamedTuple):
    """A source with the function `step`, whose arguments are flat arrays of these dtypes and so many integers."""

    source: str
    dtypes: tuple[str, ...]
    integers: int


def is_kept(loop: Loop) -> bool:
    """Return whether a loop was compiled before, in this process or an earlier one."""
    if loop in _loaded:
        return True
    return user_cache.is_kept(_file(loop))


@cache
def directory() -> Path:
    """Return where this user's loops are kept; every file in it may be removed."""
    return user_cache.directory("kernels")


def is_loaded(loop: Loop) -> bool:
    """Return whether this process can call the compiled loop at once."""
    return loop in _loaded


def compiled(loop: Loop) -> Callable[..., Callable[[], None]]:
    """Return what binds a loop to its arguments: to a function without any.

    The arrays are read and written where they are, while Python goes on with other threads. No argument is checked.
    """
    return partial(_bound, _library(loop))


def shared(
    loop: Loop, arrays: Sequence[Array], pieces: Sequence[Sequence[int]], threads: int
) -> Callable[[], None]:
    """Return the function that calls a loop with these arrays and each of the pieces, by so many threads.

    A thread takes the next piece without Python, whose lock would pass between them every time.
    """
    library = _library(loop)
    function: Any = _Function(library["share"])
    same = _words(arrays)
    words = [_arguments([*same, *piece]) for piece in pieces]
    begun, count = ctypes.c_ssize_t(), ctypes.c_ssize_t(len(words))
    function.held = library, arrays, words
    addresses = (ctypes.c_void_p * len(words))(*map(ctypes.addressof, words))
    take = partial(function, ctypes.byref(addresses), ctypes.byref(begun), count)
    by_threads = run_in_threads([lambda thread: take()] * threads, threads)

    def run() -> None:
        begun.value = 0
        try:
            by_threads()
        finally:
            begun.value = len(words)  # after an interruption nobody takes another piece

    return run


def _library(loop: Loop) -> Any:
    with _lock:  # two libraries of one loop would be one too many, and LLVM's are made one at a time
        library = _loaded.get(loop) or _kept(loop) or _made(loop)
        _loaded[loop] = library
    return library


_loaded: dict[Loop, Any] = {}
"""The library of each loop, which owns its machine code."""
_lock = threading.Lock()
_numbers = count()
_Function = ctypes.CFUNCTYPE(None)


def _bound(library: Any, *arguments: Array | int) -> Callable[[], None]:
    function: Any = _Function(library["step"])
    function.held = library, arguments  # what is at the addresses has to stay there
    return partial(function, ctypes.byref(_arguments(_words(arguments))))


def _words(arguments: Sequence[Array | int]) -> list[int]:
    words: list[int] = []
    for each in arguments:
        words += [each.ctypes.data, each.size] if isinstance(each, np.ndarray) else [each]
    return words


def _arguments(words: Sequence[int]) -> ctypes.Array[ctypes.c_ssize_t]:
    return (ctypes.c_ssize_t * len(words))(*words)


def _kept(loop: Loop) -> Any:
    """Return the library that is on disk, None where there is none or a damaged one."""
    content = user_cache.read(_file(loop))
    if content is None:
        return None
    code = content[hashlib.sha256().digest_size :]
    try:
        return _linked(code) if content == _sealed(code) else None
    except RuntimeError:
        return None


def _made(loop: Loop) -> Any:
    code = machine_code(*loop)
    library = _linked(code)
    with contextlib.suppress(OSError):  # the run goes on where nothing can be written
        user_cache.write(_file(loop), _sealed(code))
    return library


def _linked(code: bytes) -> Any:
    llvm: Any = import_module("llvmlite.binding")
    library = (
        llvm.JITLibraryBuilder()
        .add_object_img(code)
        .add_current_process()
        .export_symbol("step")
        .export_symbol("share")
    )
    return library.link(_linker(), f"step{next(_numbers)}")


@cache
def _linker() -> Any:
    llvm: Any = import_module("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler(suppress_errors=True)


def _sealed(code: bytes) -> bytes:
    """Return what is written of machine code: what is damaged must not run."""
    return hashlib.sha256(code).digest() + code


def _file(loop: Loop) -> Path:
    return directory() / hashlib.sha256(repr([*loop, FORM, *_machine()]).encode()).hexdigest()[:32]


@cache
def _versions() -> tuple[str, ...] | None:
    try:
        return tuple(version(package) for package in ("numba", "llvmlite", "numpy"))
    except PackageNotFoundError:
        return None


@cache
def _machine() -> tuple[str, ...]:
    """Return what machine code depends on."""
    settings = [os.environ.get(f"NUMBA_{name}", "") for name in ("OPT", "CPU_NAME", "CPU_FEATURES")]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        processor = platform.processor()
    return (*(_versions() or ()), *settings, platform.python_version(), platform.machine(), processor)


def _forget() -> None:
    """A forked process has the lock, but not the thread that holds it."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
