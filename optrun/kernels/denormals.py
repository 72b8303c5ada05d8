"""Denormals, the floats below the smallest normal one: Intel processors take a hundred times as long for a product."""

import ctypes
import logging
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

_log = logging.getLogger("optrun")

FENV_BYTES = 512
"""More than any system's `fenv_t`, in which C's `fegetenv` puts the modes and flags of a thread's processor."""

_MXCSR_BITS, _FPCR_BITS = 1 << 15 | 1 << 6, 1 << 24
"""Results that are denormal become zeros, and so do operands: two bits of x86-64, one of AArch64."""
_DN_FLUSH, _MCW_DN = 0x0100_0000, 0x0300_0000
"""The same for `_controlfp_s` of Windows, and the bits that it is about."""


@contextmanager
def denormals(*, flushed: bool) -> Iterator[None]:
    """Within, this thread takes denormals for zeros, or it does not; then it does again what it did before.

    It makes no difference on a processor or a system that does not tell how.
    """
    set_flushed = _setter()
    before = set_flushed(flushed)
    try:
        yield
    finally:
        set_flushed(before)


def are_flushed() -> bool:
    """Return whether this thread takes denormals for zeros."""
    smallest_normal = sys.float_info.min
    return smallest_normal / 2 == 0.0


@cache
def _setter() -> Callable[[bool], bool]:
    """Return the function that sets the mode of the thread that calls it, and returns what it was."""
    try:
        return _by_controlfp() if sys.platform == "win32" else _by_fenv()
    except (OSError, AttributeError):
        _log.debug("denormals are not flushed on %s %s", sys.platform, platform.machine(), exc_info=True)
        return lambda flushed: False


def _by_fenv() -> Callable[[bool], bool]:
    machine, is_darwin = platform.machine().lower(), sys.platform == "darwin"
    # The place of the register in `fenv_t`, in words of 32 bits.
    if machine in ("x86_64", "amd64"):
        place, bits = 1 if is_darwin else 7, _MXCSR_BITS
    elif machine in ("aarch64", "arm64"):
        place, bits = 2 if is_darwin else 0, _FPCR_BITS
    else:
        raise OSError("no such register is known")
    libm = ctypes.CDLL(None)
    get, put = libm.fegetenv, libm.fesetenv

    def set_flushed(flushed: bool) -> bool:
        environment = (ctypes.c_uint32 * (FENV_BYTES // 4))()
        get(environment)
        before = environment[place]
        environment[place] = before | bits if flushed else before & ~bits
        if environment[place] != before:
            put(environment)
        return before & bits == bits

    return set_flushed


def _by_controlfp() -> Callable[[bool], bool]:
    control = ctypes.CDLL("ucrtbase")._controlfp_s

    def set_flushed(flushed: bool) -> bool:
        now = ctypes.c_uint()
        control(ctypes.byref(now), 0, 0)
        before = now.value & _MCW_DN == _DN_FLUSH
        control(ctypes.byref(now), _DN_FLUSH if flushed else 0, _MCW_DN)
        return before

    return set_flushed
