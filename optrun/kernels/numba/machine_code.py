"""Machine code of generated loops: compiled by Numba, but called and kept without it, so as a plain function of C."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import count
from typing import Any

import numpy as np

TRAP = "llvm.trap"
"""What a loop does that raises; it is gone from the optimized text where none can."""


def machine_code(source: str, dtypes: Sequence[str], integers: int) -> bytes:
    """Return an object file with the function `step` of a source, in C `void step(const intptr_t *arguments)`.

    Its arguments are the address and the size of each flat array of these dtypes, then so many integers. Beside it is
    `void share(const intptr_t *const *pieces, intptr_t *begun, intptr_t count)`, for threads that call it at once: each
    takes the next piece, the arguments of a step, until as many as there are have been begun.
    """
    llvm: Any = import_module("llvmlite.binding")
    module = llvm.parse_assembly(optimized(source, dtypes, integers))
    code: bytes = target_machine().emit_object(module)
    return code


def optimized(source: str, dtypes: Sequence[str], integers: int) -> str:
    """Return what machine code is made of: LLVM's text of the functions `step` and `share`, optimized."""
    numba: Any = import_module("numba")
    cpu = import_module("numba.core.registry").cpu_target
    compiler: Any = import_module("numba.core.compiler")
    arrays = [numba.types.Array(numba.from_dtype(np.dtype(name)), 1, "C") for name in dtypes]
    types = [*arrays, *[numba.types.intp] * integers]
    flags = compiler.Flags()
    flags.error_model = "numpy"  # 1 / 0 is inf
    flags.noalias = True  # no two buffers overlap; else the compiler gives up vectors where there are five
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
    contexts = cpu.typing_context, cpu.target_context
    for context in contexts:
        context.refresh()
    with import_module("numba.core.compiler_lock").global_compiler_lock, _unchecked(numba.config):
        loop = compiler.compile_extra(*contexts, _function(source), types, numba.types.void, flags, {})
        _add_entry(loop, types)
        loop.library.finalize()
    text: str = loop.library.get_llvm_str()
    if TRAP in text:
        raise NotImplementedError("a compiled loop cannot raise an exception")
    return text


def target_machine() -> Any:
    """Return LLVM's description of this machine."""
    llvm: Any = import_module("llvmlite.binding")
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(llvm.get_host_cpu_name(), features, opt=3, reloc="pic", jit=True)


@contextmanager
def _unchecked(config: Any) -> Iterator[None]:
    """Check no index, though NUMBA_BOUNDSCHECK, which outweighs all flags, asks for it: a check can raise."""
    asked, config.BOUNDSCHECK = config.BOUNDSCHECK, None
    try:
        yield
    finally:
        config.BOUNDSCHECK = asked


def _function(source: str) -> Callable[..., None]:
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, "<optrun>", "exec"), namespace)
    function: Callable[..., None] = namespace["step"]
    return function


def _add_entry(loop: Any, types: Sequence[Any]) -> None:
    """Add `step`, which makes Numba's arrays of what it is given and calls the loop with them, and `share`."""
    numba: Any = import_module("numba")
    ir: Any = import_module("llvmlite.ir")
    context, signature, call = loop.target_context, loop.fndesc, loop.target_context.call_conv
    module = loop.library.create_ir_module("entry")
    word = context.get_value_type(numba.types.intp)
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [word.as_pointer()]), "step")
    entry.attributes.add("noinline")
    builder = ir.IRBuilder(entry.append_basic_block())
    words = (builder.load(builder.gep(entry.args[0], [word(index)])) for index in count())
    arguments = []
    for each in types:
        if each == numba.types.intp:
            arguments.append(next(words))
            continue
        array = context.make_array(each)(context, builder)
        address, size = builder.inttoptr(next(words), array.data.type), next(words)
        item = word(context.get_abi_sizeof(context.get_data_type(each.dtype)))
        numba.np.arrayobj.populate_array(
            array, data=address, shape=[size], strides=[item], itemsize=item, meminfo=None
        )
        arguments.append(array._getvalue())
    function = ir.Function(
        module, call.get_function_type(signature.restype, signature.argtypes), signature.llvm_func_name
    )
    status, _ = call.call_function(builder, function, signature.restype, signature.argtypes, arguments)
    with builder.if_then(status.is_error):
        builder.call(ir.Function(module, ir.FunctionType(ir.VoidType(), []), TRAP), [])
    builder.ret_void()
    _add_share(ir, module, entry, word)
    loop.library.add_ir_module(module)


def _add_share(ir: Any, module: Any, step: Any, word: Any) -> None:
    pointer = word.as_pointer()
    share = ir.Function(
        module, ir.FunctionType(ir.VoidType(), [pointer.as_pointer(), pointer, word]), "share"
    )
    pieces, begun, count_of_pieces = share.args
    start, next_piece, run, done = (share.append_basic_block() for _ in range(4))
    builder = ir.IRBuilder(start)
    builder.branch(next_piece)
    builder.position_at_end(next_piece)
    piece = builder.atomic_rmw("add", begun, word(1), "monotonic")
    builder.cbranch(builder.icmp_signed("<", piece, count_of_pieces), run, done)
    builder.position_at_end(run)
    builder.call(step, [builder.load(builder.gep(pieces, [piece]))])
    builder.branch(next_piece)
    builder.position_at_end(done)
    builder.ret_void()
