"""NumPy and CuPy arrays: allocation, transfer, random streams, and sums whose bits do not depend on memory layout.

Every array has a leading lane axis, one lane per run, and no operation mixes lanes.
"""

import math
import sys
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from optrun.errors import ConfigError, MissingExtraError, install
from optrun.fallbacks import log
from optrun.forks import renew_after_fork

Array: TypeAlias = NDArray[Any]  # CuPy arrays have the same interface

LINE = 64
"""Bytes of a cache line, and of the widest SIMD vectors."""


@dataclass(frozen=True)
class Arrays:
    """The backend and the dtype of a pack's arrays."""

    backend: str = "numpy"
    dtype: str = "float32"

    @property
    def xp(self) -> Any:
        """The array module: numpy or cupy."""
        return _cupy() if self.backend == "cupy" else np

    @property
    def is_on_device(self) -> bool:
        """Whether the arrays are on a device, so that the host must copy them to read them."""
        return self.backend != "numpy"

    def zeros(self, lanes: int, size: int, *, lane_fast: bool = False) -> Array:
        """Return zeros `[lanes, size]`; with ``lane_fast``, the lanes of an element are contiguous in memory."""
        order: Literal["C", "F"] = "F" if lane_fast else "C"
        if self.xp is np:
            return _aligned_zeros((lanes, size), np.dtype(self.dtype), order)
        array: Array = self.xp.zeros((lanes, size), self.dtype, order=order)
        return array

    def empty(self, shape: tuple[int, ...]) -> Array:
        """Return an uninitialised array of this dtype."""
        array: Array = self.xp.empty(shape, self.dtype)
        return array

    def filled(self, shape: tuple[int, ...], value: float) -> Array:
        """Return an array of this dtype with one value."""
        array: Array = self.xp.full(shape, value, self.dtype)
        return array

    def array(self, values: Any) -> Array:
        """Return host values as an array of this backend and dtype."""
        array: Array = self.xp.asarray(values, self.dtype)
        return array

    def take(self, rows: Array, index: Array, out: Array) -> Array:
        """Write ``rows[index]`` into ``out``; the indices are not checked."""
        if self.xp is np:
            # To check the indices, NumPy would copy ``out``.
            return np.take(rows, index, axis=0, out=out, mode="clip")
        taken: Array = self.xp.take(rows, index, axis=0, out=out)
        return taken

    def to_host(self, array: Array) -> Array:
        """Return the values as a NumPy array; device arrays are copied."""
        return array if self.xp is np else self.xp.asnumpy(array)


def _aligned_zeros(shape: tuple[int, ...], dtype: np.dtype[Any], order: Literal["C", "F"]) -> Array:
    """Return zeros aligned to a cache line; unaligned SIMD access is 20 % slower."""
    size = math.prod(shape) * dtype.itemsize
    room = np.zeros(size + LINE, np.uint8)
    start = -room.__array_interface__["data"][0] % LINE
    return room[start : start + size].view(dtype).reshape(shape, order=order)


@cache
def _cupy() -> Any:
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the cupy backend needs CuPy: {install('cupy-cuda12x[ctk]')}") from error
    except ImportError as error:
        raise MissingExtraError(f"CuPy cannot be imported: {error}") from error
    runtime = cupy.cuda.runtime
    try:
        devices = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise MissingExtraError(f"the cupy backend needs a CUDA device: {error}") from error
    if not devices:
        raise MissingExtraError("the cupy backend needs a CUDA device: there is none")
    return cupy


class Parameters(Mapping[str, Array]):
    """Named tensors of all lanes, in one flat buffer, and their gradients in another.

    ``data`` and ``grad`` are ``[B, P]`` for B lanes of P elements; ``parameters["w"]`` is a view ``[B, *shape]`` of
    ``data``, ``parameters.grads["w"]`` one of ``grad``. ``shapes`` gives the order in memory. ``inputs_first`` names
    the weights that are ``[in, out]``; torch's are ``[out, in]``. ``seeds`` are those of the lanes, by default 0, on
    which depends what an optimizer draws.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        lanes: int = 1,
        arrays: Arrays | None = None,
        lane_fast: bool = False,
        inputs_first: Set[str] = frozenset(),
        seeds: Sequence[int] | None = None,
    ) -> None:
        self.arrays = arrays or Arrays()
        self.shapes = dict(shapes)
        self.lanes = lanes
        self.lane_fast = lane_fast
        self.inputs_first = frozenset(inputs_first)
        self.seeds: Sequence[int] = [0] * lanes if seeds is None else seeds
        self.slices: dict[str, slice] = {}
        size = 0
        for name, shape in self.shapes.items():
            self.slices[name] = slice(size, size + math.prod(shape))
            size = self.slices[name].stop
        self.size = size
        self.data = self.zeros()
        self.grad = self.zeros()
        self._views = self.split(self.data)
        self.grads: Mapping[str, Array] = self.split(self.grad)

    def __getstate__(self) -> dict[str, Any]:
        layout = ("shapes", "lanes", "arrays", "lane_fast", "inputs_first", "seeds")
        values = {name: self.arrays.to_host(getattr(self, name)) for name in ("data", "grad")}
        return {**{name: getattr(self, name) for name in layout}, "values": values}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # Built again, so that the views of a copy are views of its own buffers.
        layout = {name: value for name, value in state.items() if name != "values"}
        Parameters.__init__(self, layout.pop("shapes"), **layout)
        for name, values in state["values"].items():
            getattr(self, name)[:] = self.arrays.array(values)

    def __setattr__(self, name: str, value: object) -> None:
        # `params.data *= 2` assigns the same array, which is allowed.
        if name in ("data", "grad") and self.__dict__.get(name, value) is not value:
            raise AttributeError(f"optimizers keep a reference to the array: write params.{name}[:] = ...")
        super().__setattr__(name, value)

    @classmethod
    def of(cls, tensors: Mapping[str, Any], *, arrays: Arrays | None = None) -> "Parameters":
        """Return the parameters of one lane with these values; ConfigError unless they are real numbers."""
        values = {name: real(tensor, name) for name, tensor in tensors.items()}
        parameters = cls({name: value.shape for name, value in values.items()}, arrays=arrays)
        parameters.set_lane(0, values)
        return parameters

    @cached_property
    def noise(self) -> Array:
        """Normal numbers, laid out like ``data``, for rules that read them; made on first use."""
        return self.zeros()

    @cached_property
    def curvature(self) -> Array:
        """A sample of the Hessian's diagonal, laid out like ``data``, for rules that read one; made on first use."""
        return self.zeros()

    def zeros(self) -> Array:
        """Return zeros in the shape and layout of ``data``."""
        return self.arrays.zeros(self.lanes, self.size, lane_fast=self.lane_fast)

    def split(self, flat: Array) -> dict[str, Array]:
        """Return the views ``[B, *shape]``, by name, of a buffer laid out like ``data``."""
        return {
            name: flat[:, self.slices[name]].reshape(self.lanes, *shape)
            for name, shape in self.shapes.items()
        }

    def copy(self) -> "Parameters":
        copied = Parameters(
            self.shapes,
            lanes=self.lanes,
            arrays=self.arrays,
            lane_fast=self.lane_fast,
            inputs_first=self.inputs_first,
            seeds=self.seeds,
        )
        copied.data[:] = self.data
        return copied

    def set_lane(self, lane: int, values: Mapping[str, Array]) -> None:
        """Copy host values to one lane, rounded to the dtype; ConfigError unless they are real numbers."""
        for name, view in self._views.items():
            view[lane] = self.arrays.array(real(values[name], name))

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)


def real(values: Any, what: str) -> Array:
    """Return values as float64; ConfigError, with ``what`` as prefix, unless they are real numbers."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        kind = "rows of different lengths, or objects" if array.dtype.kind == "O" else array.dtype
        raise ConfigError(f"{what} must be real numbers (got {kind})", field=what)
    return array.astype(np.float64)


def adjacent_view(first: Array, second: Array) -> Array | None:
    """Return ``[B, n, k]`` and the following ``[B, k]`` in memory as one view ``[B, n + 1, k]``.

    Returns None unless the second directly follows the first in memory, in every lane.
    """
    if not isinstance(first, np.ndarray):
        return None
    lanes, rows, columns = first.shape
    size = first.itemsize
    begin, end = (array.__array_interface__["data"][0] for array in (first, second))
    is_matrix = first.strides[1:] == (columns * size, size) and second.strides[1:] == (size,)
    is_even = lanes == 1 or first.strides[0] == second.strides[0]
    if not (is_matrix and is_even and begin + rows * columns * size == end):
        return None
    return np.lib.stride_tricks.as_strided(first, (lanes, rows + 1, columns), first.strides)


def arrays_of(values: Array) -> Arrays:
    """Return the backend and the dtype of an array."""
    return Arrays("numpy" if isinstance(values, np.ndarray) else "cupy", values.dtype.name)


def lane_sum(terms: Array) -> Array:
    """Return the sums ``[B]`` or ``[B, k]`` of terms ``[B, n]`` or ``[B, k, n]``, which it overwrites.

    The terms are added pairwise and elementwise, so the order of the additions, and with it the bits of the sum, do not
    depend on the memory layout or the number of lanes.
    """
    n = terms.shape[-1]
    while n > 1:
        half = n // 2
        first = terms[..., :half]
        first += terms[..., n - half : n]
        n -= half
    return terms[..., 0]


def chunk_length(lanes: int) -> int:
    """Return for how many steps a table with one value per lane is evaluated in advance; it must fit into the cache."""
    return max(8, min(max(256, 2**12 // lanes), 2**18 // lanes))


def power(base: Any, exponent: Any) -> Array:
    """Return `base ** exponent` in float64; the bits do not depend on the number of elements.

    NumPy replaces a power by a multiplication if a single exponent of 2 applies to a whole array, so each base gets its
    own.
    """
    bases, exponents = np.broadcast_arrays(np.asarray(base, np.float64), np.asarray(exponent, np.float64))
    padded: Array = np.power(np.append(bases, 1.0), np.append(exponents, 1.0))
    return padded[:-1].reshape(bases.shape)


def stream(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return the random generator of a purpose, e.g. the batch order of epoch 3, for a seed.

    The draws depend only on the arguments, so no generator state is stored to resume a run.
    """
    key = (zlib.crc32(purpose.encode()), *index)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


class _OneBlasThread:
    """Limits BLAS to one thread while any thread of the process is within the block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        renew_after_fork(vars(self), "_lock")
        self._within = 0
        self._limits: AbstractContextManager[Any] | None = None
        self._libraries: Any = None
        self._modules = 0

    def __enter__(self) -> None:
        from threadpoolctl import ThreadpoolController

        with self._lock:
            self._within += 1
            if self._limits is None:
                # A library comes with a module: until there are others, the same ones are here.
                if self._modules != len(sys.modules):
                    self._modules = len(sys.modules)
                    self._libraries = ThreadpoolController().select(user_api="blas")
                    if not self._libraries.info():
                        log.debug(
                            "no BLAS is known here: it may use several threads, and give other bits by that"
                        )
                self._limits = self._libraries.limit(limits=1)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0 and self._limits is not None:
                self._limits.__exit__(None, None, None)
                self._limits = None


one_blas_thread = _OneBlasThread()
"""Use as ``with one_blas_thread:``: the bits of a matrix product depend on the number of BLAS threads."""
