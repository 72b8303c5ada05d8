"""Compiled loops: kept on disk, safe with several processes, and no harm where the disk is not."""

import gc
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.kernels.numba import code_cache, engine
from optrun.kernels.numba.engine import PROBE, NumbaEngine
from optrun.kernels.numba.machine_code import module, target_machine
from optrun.optim import Adam
from tests.kernels.engines import NEEDS_NUMBA
from tests.optim.samples import EVERY_DTYPE
from tests.problems.cases import build, pack

pytestmark = NEEDS_NUMBA

STEPS = """
import sys
import numpy as np
from optrun.arrays import Parameters
from optrun.kernels.numba import code_cache
from optrun.kernels.numba.engine import PROBE, NumbaEngine
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


def sealed(content):
    return hashlib.sha256(content).digest() + content


def test_what_is_damaged_is_not_run_but_made_anew(whole, tmp_path):
    cache, (loops, _, data) = whole
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    for path in kept(tmp_path):
        path.write_bytes(path.read_bytes()[:-20])
    assert ended(begun(tmp_path)) == (loops, True, data)
    assert ended(begun(tmp_path)) == (loops, False, data)


@pytest.mark.skipif(sys.platform == "win32", reason="no modes here")
@pytest.mark.parametrize(("of", "mode"), [("file", 0o770), ("directory", 0o702)])
def test_what_others_can_write_is_not_run(whole, tmp_path, of, mode):
    cache, (loops, _, data) = whole
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    for path in kept(tmp_path):
        (path if of == "file" else path.parent).chmod(mode)
    assert ended(begun(tmp_path)) == (loops, True, data)
    assert len(kept(tmp_path)) == loops
    assert ended(begun(tmp_path)) == (loops, of == "directory", data)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="no such setting here")
@pytest.mark.parametrize("value", ["", "cache", "./cache"])
def test_a_cache_beside_the_current_directory_is_none(monkeypatch, value):
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert code_cache.directory() == Path.home() / ".cache" / "optrun" / "kernels"


@pytest.mark.parametrize("name", ["NUMBA_OPT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"])
def test_other_settings_of_the_compiler_are_other_loops(monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    before = code_cache._file(PROBE)
    monkeypatch.setenv(name, "1")
    assert code_cache._file(PROBE) != before


def test_another_processor_or_numba_is_another_loop(monkeypatch):
    before = code_cache._file(PROBE)
    with monkeypatch.context() as patch:
        patch.setattr(code_cache, "processor", lambda: ("x86_64", "another", "+sse2"))
        assert code_cache._file(PROBE) != before
    monkeypatch.setattr(code_cache, "_versions", lambda: ("0.1", "0.1"))
    assert code_cache._file(PROBE) != before


def test_without_a_directory_it_compiles_for_itself(whole, tmp_path):
    (tmp_path / "file").touch()
    assert ended(begun(tmp_path / "file")) == whole[1]


def adding(number):
    return f"""
signature = "void(CPointer(CPointer(float64)), CPointer(CPointer(uint8)), CPointer(intp))"

def step(numbers, conditions, integers):
    to, given, chosen = numbers[0], numbers[1], conditions[0]
    for at in range(integers[0], integers[1]):
        if chosen[at]:
            to[at] += {number} * given[at]
"""


def bound(number, to, given):
    return code_cache.bound(
        adding(number), [to, given], [np.array([True, True, False, True, True])], np.array([1, 4])
    )


@pytest.fixture
def empty(monkeypatch, tmp_path):
    """Nothing is loaded, and nothing kept in this directory."""
    place = tmp_path / "optrun" / "kernels"
    monkeypatch.setattr(code_cache, "directory", lambda: place)
    monkeypatch.setattr(code_cache, "_loaded", {})
    return place


@pytest.mark.parametrize(
    "damaged",
    [
        lambda content: b"",
        lambda content: b"nonsense",
        lambda content: content[:-20],
        lambda content: content[:-20] + bytes(20),
        lambda content: content[:700] + bytes([content[700] ^ 1]) + content[701:],
    ],
)
def test_whatever_the_damage_it_is_found(empty, damaged, caplog):
    caplog.set_level("DEBUG", "optrun")
    to = np.zeros(5)
    bound(7, to, np.ones(5))
    (path,) = kept(empty)
    path.write_bytes(damaged(path.read_bytes()))
    for count in (1, 0):
        code_cache._loaded.clear()
        caplog.clear()
        bound(7, to, np.ones(5))()
        assert caplog.text.count(f"{path} is not read") == len(caplog.messages) == count
    assert to.tolist() == [0, 14, 0, 14, 0]


def test_what_keeps_a_loop_from_being_kept_or_loaded_is_said(empty, caplog):
    caplog.set_level("DEBUG", "optrun")
    code_cache.compiled(PROBE)
    assert caplog.messages == []
    (path,) = kept(empty)
    for harm, said in {
        lambda: path.write_bytes(b"nonsense"): "not read (ValueError: damaged)",
        lambda: path.write_bytes(sealed(b"no machine code")): "is compiled anew (RuntimeError",
        lambda: path.chmod(0o666): "not read (PermissionError: others can write there)",
        lambda: empty.chmod(0o777): "not kept for later processes (PermissionError: others can write there)",
        lambda: (shutil.rmtree(empty), empty.touch()): "not kept for later processes (",
    }.items():
        code_cache._loaded.clear()
        caplog.clear()
        harm()
        code_cache.compiled(PROBE)
        assert said in caplog.text
        assert str(path) in caplog.text


def test_a_user_without_a_home_keeps_nothing(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(code_cache, "_loaded", {})
    to = np.zeros(5)
    bound(7, to, np.ones(5))()
    assert to.tolist() == [0, 7, 0, 7, 0]
    assert not code_cache._file(adding(7)).exists()


def test_what_is_bound_keeps_its_arrays():
    to, given = np.zeros(5), np.ones(5)
    seen = weakref.ref(given)
    add = bound(1, to, given)
    del given
    gc.collect()
    assert seen() is not None
    add()
    add()
    assert to.tolist() == [0, 2, 0, 2, 0]


THREADS = 4


def test_threads_that_begin_with_one_loop_share_its_code(monkeypatch, empty):
    together, made, linked = threading.Barrier(THREADS), [], code_cache._linked

    def link(code):
        made.append(linked(code))
        return made[-1]

    def begun(to):
        together.wait()
        return bound(3, to, to)

    monkeypatch.setattr(code_cache, "_linked", link)
    with ThreadPoolExecutor(THREADS) as pool:
        arrays = [np.ones(5) for _ in range(THREADS)]
        steps = list(pool.map(begun, arrays))
    assert len(made) == 1
    for step in steps:
        step()
    assert [array.tolist() for array in arrays] == [[1, 4, 1, 4, 1]] * THREADS


def test_what_is_bound_keeps_its_code(monkeypatch, empty):
    class Library:
        def __init__(self, real):
            self.real = real

        def __getitem__(self, name):
            return self.real[name]

    linked = code_cache._linked
    monkeypatch.setattr(code_cache, "_linked", lambda code: Library(linked(code)))
    to = np.ones(5)
    step = bound(5, to, to)
    seen = weakref.ref(code_cache._loaded.pop(adding(5)))
    gc.collect()
    assert seen() is not None
    step()
    assert to.tolist() == [1, 6, 1, 6, 1]


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


# x86 and ARM: a product and a sum in one instruction, rounded once.
CONTRACTED = re.compile(r"\b(vfn?m(add|sub)\w*|fn?m(add|sub)|fml[as])\b")


@pytest.mark.full
@EVERY_DTYPE
@pytest.mark.parametrize("made", ["Adam", "many buffers"])
def test_loops_are_vectors_and_no_operation_is_contracted(made, dtype, monkeypatch):
    sources, run = [], engine.bound
    monkeypatch.setattr(engine, "bound", lambda source, *of: sources.append(source) or run(source, *of))
    if made == "Adam":
        params = Parameters({"a": (50,)}, arrays=Arrays(dtype=dtype))
        Adam(params, lr=0.1, engine=NumbaEngine(1)).step()
    else:
        problem = build(("rosenbrock", {"dim": 20}), dtype)
        problem.use(NumbaEngine(1))
        params = pack(problem, [1, 2], lane_fast=True)
        problem.loss_and_grad(params, params.grads, None)
    assert sources
    real = {"float32": "float", "float64": "double"}[dtype]
    for source in sources:
        code = module(source)
        for operation in ("fadd", "fsub", "fmul", *(["fdiv"] if made == "Adam" else [])):
            assert re.search(rf"\b{operation} <\d+ x {real}>", str(code)), operation
        assert CONTRACTED.findall(target_machine().emit_assembly(code)) == []
