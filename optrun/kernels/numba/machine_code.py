"""Machine code of generated loops: LLVM makes it of what Numba has compiled, so that it runs without Numba."""

from importlib import import_module
from typing import Any


def machine_code(source: str) -> bytes:
    """Return an object file with the function `step` of a source, which also has Numba's `signature` of it.

    In C it is `int step(void **result, void **error, …)`, as Numba calls functions; an error would not be seen.
    """
    made = module(source)  # Numba tells LLVM of this machine
    code: bytes = target_machine().emit_object(made)
    return code


def module(source: str) -> Any:
    """Return what machine code is made of: the function `step` as LLVM has it, optimized."""
    numba: Any = import_module("numba")
    llvm: Any = import_module("llvmlite.binding")
    namespace: dict[str, Any] = {}
    exec(compile(source, "<optrun>", "exec"), namespace)
    # As NumPy has it, 1 / 0 is inf.
    compiled = numba.cfunc(namespace["signature"], error_model="numpy")(namespace["step"])
    made = llvm.parse_assembly(compiled.inspect_llvm())
    for function in made.functions:
        if function.name == compiled.native_name.removeprefix("cfunc."):
            function.name = "step"
        elif not function.is_declaration:  # what handles errors asks for functions of Numba and Python
            function.linkage = "available_externally"  # is not written
    return made


def target_machine() -> Any:
    """Return LLVM's description of this machine."""
    llvm: Any = import_module("llvmlite.binding")
    triple, name, features = processor()
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(name, features, opt=3, reloc="pic", jit=True)


def processor() -> tuple[str, str, str]:
    """Return the triple, the name and the features of this machine."""
    llvm: Any = import_module("llvmlite.binding")
    return llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
