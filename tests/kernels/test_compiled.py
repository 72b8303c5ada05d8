"""Compiled loops: kept on disk, safe with several processes, and no harm where the disk is not."""

import gc
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.kernels.numba import code_cache, engine
from optrun.kernels.numba.code_cache import Loop
from optrun.kernels.numba.engine import NumbaEngine
from optrun.kernels.numba.machine_code import optimized, target_machine
from optrun.optim import Adam
from tests.kernels.engines import NEEDS_NUMBA
from tests.optim.samples import EVERY_DTYPE

pytestmark = NEEDS_NUMBA

STEPS = """
import sys
import numpy as np
from optrun.arrays import Parameters
from optrun.kernels.numba import code_cache
from optrun.kernels.numba.engine import NumbaEngine
from optrun.optim import Adam

params = Parameters({"a": (50,)})
optimizer = Adam(params, engine=NumbaEngine())
for t in range(3):
    params.grad[:] = np.sin(np.arange(50) + t)
    optimizer.step()
print(len(code_cache._loaded), "numba" in sys.modules, params.data.tobytes().hex())
"""


def begun(cache, **settings):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", STEPS],
        env=os.environ
        | {"XDG_CACHE_HOME": str(cache), "LOCALAPPDATA": str(cache), "HOME": str(cache)}
        | settings,
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Return how many loops a process has run, whether it imported Numba for them, and the bits they gave."""
    out, _ = process.communicate()
    assert process.returncode == 0
    loops, imported, data = out.split()
    return int(loops), imported == "True", data


def kept(cache):
    return [path for path in cache.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A cache that a process has filled, and what it has found."""
    cache = tmp_path_factory.mktemp("cache")
    return cache, ended(begun(cache))


def test_a_second_process_compiles_nothing_and_does_not_import_numba(whole):
    cache, (loops, imported, data) = whole
    assert loops > 0
    assert imported
    assert len(kept(cache)) == loops
    assert ended(begun(cache)) == (loops, False, data)
    if sys.platform != "win32":
        for depth in (0, 1):
            assert {stat.S_IMODE(path.parents[depth].stat().st_mode) for path in kept(cache)} == {0o700}


def test_processes_that_begin_at_once_do_not_disturb_each_other(tmp_path):
    found = [ended(process) for process in [begun(tmp_path) for _ in range(3)]]
    ((loops, data),) = {(loops, data) for loops, _, data in found}
    assert len(kept(tmp_path)) == loops
    assert ended(begun(tmp_path)) == (loops, False, data)


def foreign(content):
    """Return whole machine code that calls what is not in a process without Numba."""
    import llvmlite.binding as llvm

    code_cache._linker()
    module = llvm.parse_assembly(
        "declare void @numba_has_this() define void @step(i64 %a) { call void @numba_has_this() ret void }"
    )
    return code_cache._sealed(target_machine().emit_object(module))


@pytest.mark.parametrize(
    "damaged",
    [
        lambda content: b"",
        lambda content: b"nonsense",
        lambda content: content[:-20],
        lambda content: content[:-20] + bytes(20),
        lambda content: content[:700] + bytes([content[700] ^ 1]) + content[701:],
        lambda content: code_cache._sealed(b"no machine code"),
        foreign,
    ],
)
def test_what_is_damaged_is_not_run_but_made_anew(whole, tmp_path, damaged):
    cache, (loops, _, data) = whole
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    for path in kept(tmp_path):
        path.write_bytes(damaged(path.read_bytes()))
    assert ended(begun(tmp_path)) == (loops, True, data)
    assert ended(begun(tmp_path)) == (loops, False, data)


@pytest.mark.skipif(sys.platform == "win32", reason="no modes here")
@pytest.mark.parametrize("of", ["file", "directory"])
@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_what_others_can_write_is_not_run(whole, tmp_path, of, mode):
    cache, (loops, _, data) = whole
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    for path in kept(tmp_path):
        (path if of == "file" else path.parent).chmod(mode)
    assert ended(begun(tmp_path)) == (loops, True, data)
    assert len(kept(tmp_path)) == loops
    assert ended(begun(tmp_path)) == (loops, of == "directory", data)


@pytest.mark.skipif(sys.platform == "win32", reason="no owners here")
def test_what_belongs_to_another_user_is_not_run(monkeypatch, tmp_path):
    monkeypatch.setattr(code_cache, "directory", lambda: tmp_path / "a" / "b")
    monkeypatch.setattr(code_cache, "_loaded", {})
    loop = Loop("def step(to):\n    to[0] += 9\n", ("float64",), 0)
    code_cache.compiled(loop)
    code_cache._loaded.clear()
    assert code_cache.is_kept(loop)
    assert code_cache._kept(loop) is not None
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert not code_cache.is_kept(loop)
    assert code_cache._kept(loop) is None


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="no such setting here")
@pytest.mark.parametrize("value", ["", "cache", "./cache"])
def test_a_cache_beside_the_current_directory_is_none(monkeypatch, value):
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert code_cache.directory.__wrapped__() == code_cache.Path.home() / ".cache" / "optrun" / "kernels"


def test_loops_do_not_follow_a_check_of_bounds(whole, tmp_path):
    loops, imported, data = ended(begun(tmp_path, NUMBA_BOUNDSCHECK="1"))
    assert (loops, imported, data) == whole[1]


@pytest.mark.parametrize("name", ["NUMBA_OPT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"])
def test_other_settings_of_the_compiler_are_other_loops(monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    before = code_cache._machine.__wrapped__()
    monkeypatch.setenv(name, "1")
    assert code_cache._machine.__wrapped__() != before


def test_without_a_directory_it_compiles_for_itself(whole, tmp_path):
    (tmp_path / "file").touch()
    assert ended(begun(tmp_path / "file")) == whole[1]


def test_a_user_without_a_home_keeps_nothing(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(code_cache.Path, "home", homeless)
    root = code_cache.directory.__wrapped__()
    monkeypatch.setattr(code_cache, "directory", lambda: root)
    loop = Loop("def step(a):\n    a[0] = 7\n", ("float64",), 0)
    assert not code_cache.is_kept(loop)
    to = np.zeros(1)
    code_cache.compiled(loop)(to)()
    assert to.tolist() == [7]
    assert not code_cache._file(loop).exists()


ADD = "def step(to, given, first, end):\n    for at in range(first, end):\n        to[at] += given[at]\n"


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_what_is_bound_keeps_its_arrays(dtype):
    to, given = np.zeros(5), np.ones(5, dtype)
    seen = weakref.ref(given)
    add = code_cache.compiled(Loop(ADD, ("float64", dtype), 2))(to, given, 1, 4)
    del given
    gc.collect()
    assert seen() is not None
    add()
    add()
    assert to.tolist() == [0, 2, 2, 2, 0]


THREADS = 4


def test_threads_that_begin_with_one_loop_share_its_code(monkeypatch, tmp_path):
    monkeypatch.setattr(code_cache, "directory", lambda: tmp_path)
    loop = Loop("def step(to):\n    to[0] += 3\n", ("float64",), 0)
    together, made, linked = threading.Barrier(THREADS), [], code_cache._linked

    def link(code):
        made.append(linked(code))
        return made[-1]

    def bound(to):
        together.wait()
        return code_cache.compiled(loop)(to)

    monkeypatch.setattr(code_cache, "_linked", link)
    with ThreadPoolExecutor(THREADS) as pool:
        arrays = [np.zeros(1) for _ in range(THREADS)]
        steps = list(pool.map(bound, arrays))
    assert len(made) == 1
    for step in steps:
        step()
    assert [array.tolist() for array in arrays] == [[3.0]] * THREADS


def test_what_is_bound_keeps_its_code(monkeypatch, tmp_path):
    class Library:
        def __init__(self, real):
            self.real = real

        def __getitem__(self, name):
            return self.real[name]

    monkeypatch.setattr(code_cache, "directory", lambda: tmp_path)
    monkeypatch.setattr(code_cache, "_loaded", {})
    linked = code_cache._linked
    monkeypatch.setattr(code_cache, "_linked", lambda code: Library(linked(code)))
    loop = Loop("def step(to):\n    to[0] += 5\n", ("float64",), 0)
    to = np.zeros(1)
    step = code_cache.compiled(loop)(to)
    seen = weakref.ref(code_cache._loaded.pop(loop))
    gc.collect()
    assert seen() is not None
    step()
    assert to.tolist() == [5]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_forked_while_a_thread_compiles_is_not_locked_out(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", FORKED], env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)}, timeout=60
    )
    assert found.returncode == 0


FORKED = """
import os
from optrun.kernels.numba import code_cache

with code_cache._lock:
    child = os.fork()
    if not child:
        os._exit(0 if code_cache._lock.acquire(timeout=0) else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_loop_that_could_raise_is_refused():
    source = "def step(to):\n    if to[0] > 3:\n        raise ValueError('no')\n"
    with pytest.raises(NotImplementedError, match="cannot raise"):
        code_cache.compiled(Loop(source, ("float64",), 0))


# x86 and ARM: a product and a sum in one instruction, rounded once.
CONTRACTED = re.compile(r"\b(vfn?m(add|sub)\w*|fn?m(add|sub)|fml[as])\b")


@EVERY_DTYPE
def test_loops_are_vectors_and_no_operation_is_contracted(dtype, monkeypatch):
    import llvmlite.binding as llvm

    loops = []
    monkeypatch.setattr(engine, "compiled", lambda loop: loops.append(loop) or code_cache.compiled(loop))
    Adam(Parameters({"a": (50,)}, arrays=Arrays(dtype=dtype)), lr=0.1, engine=NumbaEngine(1)).step()
    assert loops
    real = {"float32": "float", "float64": "double"}[dtype]
    for loop in loops:
        code = optimized(*loop)
        for operation in ("fadd", "fsub", "fmul", "fdiv"):
            assert re.search(rf"\b{operation} <\d+ x {real}>", code), operation
        assembly = target_machine().emit_assembly(llvm.parse_assembly(code))
        assert CONTRACTED.findall(assembly) == []
