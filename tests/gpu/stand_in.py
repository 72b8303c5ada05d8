"""A stand-in for the module `cupy`, whose device is NumPy and whose kernels a C compiler has made.

It is as strict as CuPy, or stricter, where arrays of NumPy and of the device meet: nothing is converted by itself, and
what goes over is written down. What is launched has happened, but while a stream captures: then arrays change only
when the graph is launched.
"""

import sys
from collections import Counter
from contextlib import nullcontext
from functools import partial
from types import ModuleType, SimpleNamespace

import numpy as np

from tests.gpu.compiled_c import compiled

transfers = Counter()
"""How often values went `to host` and `to device`."""

launched = Counter()
"""How often each kernel, and a graph, was launched."""

sources = set()
"""Of the kernels that were made."""

settings = SimpleNamespace(captures=True)

_recording = None
"""What a graph being captured will do."""


def _change(act):
    """Change an array of the device."""
    act() if _recording is None else _recording.append(act)


def _new(compute, *seen):
    """Return a new array, or a view of one that was seen, which needs no computing."""
    made = compute()
    is_view = isinstance(made, np.ndarray) and any(np.may_share_memory(made, each) for each in seen)
    made = made if is_view else np.asarray(made)
    if _recording is not None and not is_view:
        _recording.append(lambda: np.copyto(made, compute()))
    return ndarray(made)


def _goes_over(direction):
    if _recording is not None:
        raise CUDARuntimeError("operation not permitted when stream is capturing")
    transfers[direction] += 1


ON_THE_DEVICE = (
    "abs absolute add any all argmax bitwise_and bitwise_or concatenate copyto divide empty_like equal exp floor"
    " greater greater_equal isfinite left_shift less less_equal log log1p logical_and logical_not logical_or matmul max"
    " maximum mean min minimum multiply negative not_equal ones_like right_shift sign"
    " sqrt square stack subtract sum take tanh where zeros_like"
)


class ndarray:
    """An array of the device: neither NumPy nor Python looks into it unless it is asked for its values."""

    __hash__ = None

    def __init__(self, values):
        self._values = values

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if method != "__call__" or options or not all(isinstance(each, ndarray) for each in inputs):
            raise TypeError(f"Unsupported type for {ufunc.__name__} of the device")
        return _new(lambda: ufunc(*map(_own, inputs)))

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
            if name == "fill":
                return lambda value: _change(lambda: method(value))
            return lambda *args, **kwargs: _new(
                lambda: method(*map(_own, args), **_owned(kwargs)), self._values
            )
        raise AttributeError(f"'ndarray' object has no attribute {name!r}")

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        return (ndarray(np.asarray(each)) for each in self._values)

    def __getitem__(self, key):
        place = _index(key)
        return _new(lambda: np.asarray(self._values[place]), self._values)

    def __setitem__(self, key, value):
        place, source = _index(key), _own(value)
        _change(lambda: self._values.__setitem__(place, source))

    def get(self):
        _goes_over("to host")
        return self._values.copy()

    def set(self, values):
        assert isinstance(values, np.ndarray)
        assert (values.dtype, values.shape) == (self.dtype, self.shape)
        _goes_over("to device")
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
        own = [_own(other) for other in others]
        if name.startswith("__i") and name != "__invert__":
            _change(lambda: method(self._values, *own))
            return self
        return _new(lambda: method(self._values, *own))

    return operate


for _name in ("add", "sub", "mul", "truediv", "matmul", "and", "or"):
    for _form in (f"__{_name}__", f"__r{_name}__", f"__i{_name}__"):
        setattr(ndarray, _form, _operator(_form))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "invert", "abs"):
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
        _goes_over("to device")
        return key
    return tuple(map(_index, key)) if isinstance(key, tuple) else _own(key)


def _function(name):
    function = getattr(np, name)

    def call(*args, **kwargs):
        own, named = list(map(_own, args)), _owned(kwargs)
        if name in ("matmul", "take") and "out" in kwargs:
            # NumPy takes an output to which the result can be broadcast or cast.
            result = function(*own, **{key: value for key, value in named.items() if key != "out"})
            assert (result.shape, result.dtype) == (named["out"].shape, named["out"].dtype)
        if name == "copyto" or "out" in kwargs:
            _change(lambda: function(*own, **named))
            return kwargs.get("out")
        return _new(lambda: function(*own, **named))

    return call


def asarray(values, dtype=None, order=None):
    if isinstance(values, ndarray):
        return ndarray(np.asarray(values._values, dtype, order=order))
    _goes_over("to device")
    return ndarray(np.array(values, dtype, order=order or "K"))


def asnumpy(values):
    return values.get() if isinstance(values, ndarray) else np.asarray(values)


def compile_using_nvrtc(source, options):
    sources.add(source)
    return source.encode(), None


class Module:
    def load(self, image):
        self._source = image.decode()

    def get_function(self, name):
        return Kernel(self._source, name)


class Kernel:
    def __init__(self, source, name):
        self._source, self._name = source, name

    def __call__(self, grid, block, args):
        assert all(size > 0 for size in (*grid, *block))
        assert np.prod(block) <= 1024
        assert all(isinstance(each, (ndarray, np.int64, np.float64)) for each in args)
        _change(partial(self._launch, *map(_own, args)))

    def _launch(self, *args):
        launched[self._name] += 1
        compiled(self._source, self._name)(*args)


class CUDARuntimeError(RuntimeError):
    pass


class Stream:
    def __init__(self, non_blocking):
        assert non_blocking  # any other waits for the stream of everything else, which cannot be captured

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def begin_capture(self, mode):
        global _recording
        if not settings.captures:
            raise CUDARuntimeError("the operation is not supported")
        _recording = []

    def end_capture(self):
        global _recording
        captured, _recording = _recording, None
        return Graph(captured)


class Graph:
    def __init__(self, acts):
        self._acts = acts

    def launch(self):
        launched["graph"] += 1
        for act in self._acts:
            act()


def module():
    """Return a module that can be imported as `cupy`."""
    made = ModuleType("cupy")
    made.__version__ = "0 (stand-in)"
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=lambda: 1,
        getDevice=lambda: 0,
        runtimeGetVersion=lambda: 12040,
        getDeviceProperties=lambda _: {"name": b"NumPy"},
        streamCaptureModeRelaxed=2,
    )
    made.cuda = SimpleNamespace(
        runtime=runtime,
        Stream=Stream,
        Module=Module,
        compiler=SimpleNamespace(compile_using_nvrtc=compile_using_nvrtc),
        MemoryPool=lambda: SimpleNamespace(malloc=None),
        using_allocator=lambda _: nullcontext(),
    )
    for each in (ndarray, asarray, asnumpy):
        setattr(made, each.__name__, each)
    for name in ("empty", "zeros", "full", "ones"):
        setattr(made, name, _function(name))
    for name in ON_THE_DEVICE.split():
        setattr(made, name, _function(name))
    return made


def installed(monkeypatch):
    """Let `import cupy` give the stand-in while a test runs; return how often values go over."""
    from optrun import arrays
    from optrun.kernels.cuda import engine

    monkeypatch.setitem(sys.modules, "cupy", module())
    for cached in (arrays._cupy, engine.kernel):
        cached.cache_clear()
    monkeypatch.setattr(settings, "captures", True)
    for of_this_test in (transfers, launched, sources):
        of_this_test.clear()
    return transfers


def removed():
    """Forget the stand-in."""
    from optrun import arrays
    from optrun.kernels.cuda import engine

    for cached in (arrays._cupy, engine.kernel):
        cached.cache_clear()
