"""A stand-in for the module `cupy`, whose device is NumPy and whose kernels a C compiler has made.

It is as strict as CuPy, or stricter, where arrays of NumPy and of the device meet: nothing is converted by itself, and
what goes over is written down. It knows no streams: what is launched has happened.
"""

import sys
from collections import Counter
from types import ModuleType, SimpleNamespace

import numpy as np

from tests.gpu.compiled_c import compiled

transfers = Counter()
"""How often values went `to host` and `to device`."""

launched = Counter()
"""How often each kernel was launched."""

ON_THE_DEVICE = (
    "abs absolute add any all argmax concatenate copyto divide equal exp greater greater_equal isfinite less less_equal"
    " log log1p logical_and matmul max maximum mean min minimum multiply negative not_equal ones_like sign sqrt"
    " square stack subtract sum take tanh where zeros_like"
)


class ndarray:
    """An array of the device: neither NumPy nor Python looks into it unless it is asked for its values."""

    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, values):
        self._values = values

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __getattr__(self, name):
        if name in ("shape", "dtype", "ndim", "size", "strides", "itemsize", "nbytes", "flags"):
            return getattr(self._values, name)
        if name in ("T",):
            return ndarray(getattr(self._values, name))
        if name in (
            "argmax",
            "astype",
            "copy",
            "fill",
            "max",
            "mean",
            "ravel",
            "reshape",
            "sum",
            "swapaxes",
            "view",
        ):
            method = getattr(self._values, name)
            return lambda *args, **kwargs: _wrapped(method(*map(_own, args), **_owned(kwargs)))
        raise AttributeError(f"'ndarray' object has no attribute {name!r}")

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        return (ndarray(np.asarray(each)) for each in self._values)

    def __getitem__(self, key):
        return ndarray(np.asarray(self._values[_index(key)]))

    def __setitem__(self, key, value):
        self._values[_index(key)] = _own(value)

    def get(self):
        transfers["to host"] += 1
        return self._values.copy()

    def set(self, values):
        assert isinstance(values, np.ndarray)
        assert (values.dtype, values.shape) == (self.dtype, self.shape)
        transfers["to device"] += 1
        self._values[...] = values

    def item(self):
        return self.get().item()

    def __bool__(self):
        return bool(self.get())

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())


def _operator(name):
    method = getattr(np.ndarray, name)

    def operate(self, *others):
        found = method(self._values, *map(_own, others))
        if name.startswith("__i"):
            return self
        return NotImplemented if found is NotImplemented else _wrapped(found)

    return operate


for _name in ("add", "sub", "mul", "truediv", "matmul", "and", "or"):
    for _form in (f"__{_name}__", f"__r{_name}__", f"__i{_name}__"):
        setattr(ndarray, _form, _operator(_form))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "invert"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def _own(value):
    """Return what NumPy computes with; an array of the host does not belong here."""
    if isinstance(value, ndarray):
        return value._values
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return type(value)(map(_own, value)) if isinstance(value, (list, tuple)) else value


def _owned(kwargs):
    return {name: _own(value) for name, value in kwargs.items()}


def _index(key):
    if isinstance(key, (list, np.ndarray)):
        transfers["to device"] += 1
        return key
    return tuple(map(_index, key)) if isinstance(key, tuple) else _own(key)


def _wrapped(value):
    return ndarray(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value


def _function(name):
    function = getattr(np, name)
    return lambda *args, **kwargs: _wrapped(function(*map(_own, args), **_owned(kwargs)))


def asarray(values, dtype=None):
    if isinstance(values, ndarray):
        return ndarray(np.asarray(values._values, dtype))
    transfers["to device"] += 1
    return ndarray(np.array(values, dtype))


def asnumpy(values):
    return values.get() if isinstance(values, ndarray) else np.asarray(values)


class RawKernel:
    def __init__(self, code, name, options=(), backend="nvrtc"):
        self.name = name
        self._run = compiled(code, name)

    def __call__(self, grid, block, args):
        assert all(size > 0 for size in (*grid, *block))
        assert np.prod(block) <= 1024
        assert all(isinstance(each, (ndarray, np.int64, np.float64)) for each in args)
        launched[self.name] += 1
        self._run(*map(_own, args))


class CUDARuntimeError(RuntimeError):
    pass


class Stream:
    """Takes nothing up: a capture fails, as it does where something cannot be captured."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def begin_capture(self, mode=None):
        raise CUDARuntimeError("the stand-in captures nothing")


def module():
    """Return a module that can be imported as `cupy`."""
    made = ModuleType("cupy")
    made.__version__ = "0 (stand-in)"
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda _: {"name": b"NumPy"},
        streamCaptureModeRelaxed=2,
    )
    made.cuda = SimpleNamespace(runtime=runtime, Stream=Stream)
    for each in (ndarray, asarray, asnumpy, RawKernel):
        setattr(made, each.__name__, each)
    for name in ("empty", "zeros", "full", "ones"):
        setattr(made, name, _function(name))
    for name in ON_THE_DEVICE.split():
        setattr(made, name, _function(name))
    return made


def installed(monkeypatch):
    """Let `import cupy` give the stand-in while a test runs; return how often values go over."""
    from optrun import arrays
    from optrun.kernels import cupy_engine

    monkeypatch.setitem(sys.modules, "cupy", module())
    for cached in (arrays._cupy, cupy_engine.kernel):
        cached.cache_clear()
    transfers.clear()
    launched.clear()
    return transfers


def removed():
    """Forget the stand-in."""
    from optrun import arrays
    from optrun.kernels import cupy_engine

    for cached in (arrays._cupy, cupy_engine.kernel):
        cached.cache_clear()
