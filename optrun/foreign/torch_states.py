"""States of torch's optimizers as plain values and arrays, with what is one object or one memory kept so."""

import types
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from optrun.errors import PluginError

if TYPE_CHECKING:
    import torch

_CONSTANT = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)
"""Types of values that the constructor makes again, and that no step changes."""

_PARTS = ("state", "groups", "attributes")


def state_of(optimizer: Any, tensors: Sequence["torch.Tensor"]) -> dict[str, Any]:
    """Return all that the next step of an optimizer depends on but the values of its ``tensors``.

    These are its state, its groups and its attributes, without those of every optimizer, such as hooks, and without
    functions, types and the like, which its constructor makes. Raises PluginError, with its name, for a value that
    cannot be saved, such as an optimizer within this one.
    """
    write = _Writer(tensors)
    own = {name: value for name, value in vars(optimizer).items() if name not in _of_every_optimizer()}
    groups = [
        {name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups
    ]
    return {
        "state": write.items(optimizer.state, lambda key: "state"),
        "groups": [
            write.items(_changing(each, optimizer), "param_groups[...][{!r}]".format) for each in groups
        ],
        "attributes": write.items(_changing(own, optimizer), "{}".format),
    }


def restore(optimizer: Any, tensors: Sequence["torch.Tensor"], saved: Any) -> None:
    """Give a new optimizer of ``tensors`` what `state_of` returned."""
    read = _Reader(tensors)
    for key, value in read.items(saved["state"]):
        optimizer.state[key] = value
    for group, of in zip(optimizer.param_groups, saved["groups"], strict=True):
        group.update(read.items(of))
    for name, value in read.items(saved["attributes"]):
        setattr(optimizer, name, value)


def is_state(saved: Any) -> bool:
    """Return whether a tree has the parts of what `state_of` returns."""
    return isinstance(saved, dict) and {*_PARTS} == saved.keys()


@cache
def _of_every_optimizer() -> frozenset[str]:
    import torch

    return frozenset(vars(torch.optim.Optimizer([torch.zeros(1)], {})))


def _changing(values: dict[str, Any], optimizer: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not _is_constant(value, optimizer)}


def _is_constant(value: Any, optimizer: Any) -> bool:
    import torch

    if isinstance(value, types.MethodType):
        return value.__self__ is optimizer
    return isinstance(value, (*_CONSTANT, torch.dtype, torch.device))


class _Writer:
    """Writes each object and storage once: an optimizer may keep one tensor in two places, and a view beside it."""

    def __init__(self, tensors: Sequence["torch.Tensor"]) -> None:
        self._parameters = {id(each): i for i, each in enumerate(tensors)}
        self._storages = {each.untyped_storage().data_ptr(): -1 - i for i, each in enumerate(tensors)}
        self._seen: dict[int, int] = {}

    def items(self, values: Any, where: Any) -> list[Any]:
        """Return the items of a mapping; ``where`` tells of a key how an error calls its value."""
        return [[self._tree(key, where(key)), self._tree(value, where(key))] for key, value in values.items()]

    def _tree(self, value: Any, where: str) -> Any:
        import torch

        if value is None or type(value) in (bool, int, float, str):
            return value
        if id(value) in self._parameters:
            return ["parameter", self._parameters[id(value)]]
        if type(value) in (tuple, torch.Size):
            kind = "size" if type(value) is torch.Size else "tuple"
            return [kind, [self._tree(each, f"{where}[{i}]") for i, each in enumerate(value)]]
        if id(value) in self._seen:
            return ["seen", self._seen[id(value)]]
        self._seen[id(value)] = len(self._seen)
        if type(value) in (list, deque):
            rows = [self._tree(each, f"{where}[{i}]") for i, each in enumerate(value)]
            return ["list", rows] if type(value) is list else ["deque", rows, value.maxlen]
        if type(value) in (dict, OrderedDict):
            kind = "dict" if type(value) is dict else "ordered"
            return [kind, self.items(value, lambda key: f"{where}[{key!r}]")]
        if isinstance(value, torch.Generator) and value.device.type == "cpu":
            return ["generator", value.get_state().numpy()]
        if type(value) is np.ndarray and value.dtype.kind in "biuf":
            return ["array", value]
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            return ["number", np.asarray(value)]
        is_plain = type(value) in (torch.Tensor, torch.nn.Parameter) and value.layout is torch.strided
        if is_plain and value.is_cpu and not value.is_quantized:
            return ["tensor", *self._tensor(value)]
        raise PluginError(f"{where} is a {type(value).__name__}, which no checkpoint can hold")

    def _tensor(self, value: "torch.Tensor") -> Iterator[Any]:
        import torch

        storage = value.untyped_storage()
        known = self._storages.get(storage.data_ptr()) if storage.nbytes() else None
        if known is None:
            yield torch.empty(0, dtype=torch.uint8).set_(storage).numpy().copy()
            if storage.nbytes():
                self._storages[storage.data_ptr()] = len(self._seen) - 1
        else:
            yield known
        yield str(value.dtype).removeprefix("torch.")
        yield from (list(value.shape), list(value.stride()), value.storage_offset())
        yield isinstance(value, torch.nn.Parameter), value.requires_grad


class _Reader:
    """Reads what a `_Writer` wrote, with other tensors for the parameters."""

    def __init__(self, tensors: Sequence["torch.Tensor"]) -> None:
        self._parameters = tensors
        self._storages = {-1 - i: each.untyped_storage() for i, each in enumerate(tensors)}
        self._seen: list[Any] = []

    def items(self, rows: list[Any]) -> list[tuple[Any, Any]]:
        return [(self._value(key), self._value(each)) for key, each in rows]

    def _value(self, tree: Any) -> Any:
        import torch

        if not isinstance(tree, list):
            return tree
        kind, of, *more = tree
        if kind == "parameter":
            return self._parameters[of]
        if kind == "seen":
            return self._seen[of]
        if kind in ("tuple", "size"):
            return (tuple if kind == "tuple" else torch.Size)(self._value(each) for each in of)
        place = len(self._seen)
        self._seen.append(None)
        if kind in ("list", "deque"):
            found: Any = [] if kind == "list" else deque(maxlen=more[0])
            self._seen[place] = found
            found.extend(self._value(each) for each in of)
        elif kind in ("dict", "ordered"):
            found = {} if kind == "dict" else OrderedDict()
            self._seen[place] = found
            found.update(self.items(of))
        elif kind == "generator":
            found = torch.Generator()
            found.set_state(torch.from_numpy(of))
        elif kind == "tensor":
            found = self._tensor(place, of, *more)
        else:
            found = of[()] if kind == "number" else of
        self._seen[place] = found
        return found

    def _tensor(self, place: int, of: Any, dtype: str, shape: Any, strides: Any, at: int, how: Any) -> Any:
        import torch

        if not isinstance(of, int):
            self._storages[place] = torch.from_numpy(of).untyped_storage()
            of = place
        found = torch.empty(0, dtype=getattr(torch, dtype)).set_(self._storages[of], at, shape, strides)
        is_parameter, requires_grad = how
        return (
            torch.nn.Parameter(found, requires_grad) if is_parameter else found.requires_grad_(requires_grad)
        )
