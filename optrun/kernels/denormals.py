"""Denormals, the floats below the smallest normal one: Intel processors take a hundred times as long for a product."""

import ctypes
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from optrun.fallbacks import log

FENV_BYTES = 512
"""More than any system's `fenv_t`, in which C's `fegetenv` puts the modes and flags of a thread's processor."""

ALL = 0xFFFF_FFFF
_MXCSR_BITS, _FPCR_BITS = 1 << 15 | 1 << 6, 1 << 24
"""Results that are denormal become zeros, and so do operands: two bits of x86-64, one of AArch64."""


@contextmanager
def denormals(*, flushed: bool) -> Iterator[None]:
    """Within, this thread takes denormals for zeros, or it does not; then it does again what it did before.

    It makes no difference on a processor or a system that does not tell how.
    """
    exchange = _exchange()
    before = exchange(ALL if flushed else 0)
    try:
        yield
    finally:
        exchange(before)


def are_flushed() -> bool:
    """Return whether this thread takes denormals for zeros."""
    smallest_normal = sys.float_info.min
    return smallest_normal / 2 == 0.0


@cache
def _exchange() -> Callable[[int], int]:
    """Return the function that sets these bits of the calling thread's mode, and returns what they were."""
    try:
        return _by_fenv()
    except (OSError, AttributeError, TypeError):
        log.debug("denormals are not flushed on %s %s", sys.platform, platform.machine(), exc_info=True)
        return lambda bits: 0


def _by_fenv() -> Callable[[int], int]:
    machine, is_darwin = platform.machine().lower(), sys.platform == "darwin"
    # The place of the register in `fenv_t`, in words of 32 bits.
    if machine in ("x86_64", "amd64"):
        place, mask = 1 if is_darwin else 7, _MXCSR_BITS
    elif machine in ("aarch64", "arm64"):
        place, mask = 2 if is_darwin else 0, _FPCR_BITS
    else:
        raise OSError("no such register is known")
    libm = ctypes.CDLL(None)
    get, put = libm.fegetenv, libm.fesetenv

    def exchange(bits: int) -> int:
        environment = (ctypes.c_uint32 * (FENV_BYTES // 4))()
        get(environment)
        before = environment[place]
        environment[place] = before & ~mask | bits & mask
        if environment[place] != before:
            put(environment)
        return before & mask

    return exchange
