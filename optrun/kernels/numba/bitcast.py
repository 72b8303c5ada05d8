"""Numba's floats as integers with the same bits, and back."""

from typing import Any

from numba import types
from numba.extending import intrinsic

_OTHER: dict[Any, Any] = {
    types.float32: types.int32,
    types.float64: types.int64,
    types.int32: types.float32,
    types.int64: types.float64,
}


def _cast(context: Any, value: Any) -> Any:
    def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], target.get_value_type(signature.return_type))

    return _OTHER[value](value), code


bits_of = intrinsic(_cast)
number_of = intrinsic(_cast)
