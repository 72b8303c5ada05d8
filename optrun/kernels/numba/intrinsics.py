"""What Numba's Python lacks: floats as integers with the same bits, and back, and blocks of numbers on the stack."""

from importlib import import_module
from typing import Any

from numba.extending import intrinsic

from optrun.kernels.coefficients import BLOCK

types: Any = import_module("numba.types")
cgutils: Any = import_module("numba.core.cgutils")
ir: Any = import_module("llvmlite.ir")

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


def _pointer_to(value: Any) -> Any:
    """Return the function that makes of a pointer one to numbers of a type."""

    def typed(context: Any, pointer: Any) -> Any:
        def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], target.get_value_type(signature.return_type))

        return types.CPointer(value)(pointer), code

    return intrinsic(typed)


def _block(context: Any, value: Any) -> Any:
    """Of numbers of the argument's type; LLVM knows that no other pointer leads there."""

    def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        room = cgutils.alloca_once(builder, ir.ArrayType(target.get_data_type(value), BLOCK))
        room.align = BLOCK
        return builder.bitcast(room, target.get_value_type(signature.return_type))

    return types.CPointer(value)(value), code


def _fetch(context: Any, pointer: Any, place: Any) -> Any:
    """Have the processor fetch the line of a number that is written soon; a place outside an array does no harm."""

    def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.bitcast(builder.gep(args[0], [args[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        fetch = builder.module.declare_intrinsic(
            "llvm.prefetch", [address.type], ir.FunctionType(ir.VoidType(), [address.type, flag, flag, flag])
        )
        builder.call(fetch, [address, flag(1), flag(3), flag(1)])
        return target.get_dummy_value()

    return types.void(pointer, place), code


bits_of = intrinsic(_cast)
number_of = intrinsic(_cast)
block = intrinsic(_block)
fetch = intrinsic(_fetch)
doubles = _pointer_to(types.float64)
places = _pointer_to(types.intp)
