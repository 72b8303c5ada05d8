"""Runs a kernel's source as plain C, in one thread that does the work of all."""

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

COMPILER = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")

PRELUDE = """\
#include <math.h>
#include <stdbool.h>
static const struct { int x, y; } blockIdx = {0, 0}, threadIdx = {0, 0}, blockDim = {1, 1}, gridDim = {1, 1};
#define __syncthreads()
"""


def needs_a_compiler():
    if COMPILER is None:
        pytest.skip("there is no C compiler")


@cache
def compiled(source, name):
    """Return the function of a kernel; it takes NumPy arrays, and numbers of 64 bits."""
    plain = PRELUDE + source.replace('extern "C" __global__ ', "")
    with tempfile.TemporaryDirectory() as directory:
        file, library = Path(directory, "kernel.c"), Path(directory, "kernel.so")
        file.write_text(plain)
        command = [
            COMPILER,
            "-O2",
            "-std=c11",
            "-ffp-contract=off",
            "-Wall",
            "-Werror",
            "-Wno-unused-variable",
        ]
        subprocess.run([*command, "-shared", "-fPIC", "-o", library, file, "-lm"], check=True)
        function = ctypes.CDLL(str(library))[name]
    function.restype = None

    def run(*arguments):
        function(*map(_argument, arguments))

    return run


def _argument(value):
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(value)
