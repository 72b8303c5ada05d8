"""Compiled loops: kept on disk, safe with several processes, and no harm where the disk is not."""

import re
import subprocess
import sys

import pytest

from optrun.arrays import Arrays, Parameters
from optrun.kernels import compiled
from optrun.kernels.numba_engine import NumbaEngine
from optrun.optim import Adam
from tests.kernels.engines import NEEDS_NUMBA
from tests.optim.samples import EVERY_DTYPE

pytestmark = NEEDS_NUMBA

STEPS = """
import sys
import numpy as np
from optrun.arrays import Parameters
from optrun.kernels import compiled
from optrun.kernels.numba_engine import NumbaEngine
from optrun.optim import Adam

params = Parameters({"a": (50,)})
optimizer = Adam(params, engine=NumbaEngine())
for t in range(3):
    params.grad[:] = np.sin(np.arange(50) + t)
    optimizer.step()
hits = sum(sum(of.stats.cache_hits.values()) for of, _ in compiled._compiled.values())
misses = sum(sum(of.stats.cache_misses.values()) for of, _ in compiled._compiled.values())
print(hits, misses, params.data.tobytes().hex())
"""


def begun(cache):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", STEPS],
        env={"XDG_CACHE_HOME": str(cache), "LOCALAPPDATA": str(cache), "HOME": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process):
    out, _ = process.communicate()
    assert process.returncode == 0
    hits, misses, data = out.split()
    return int(hits), int(misses), data


def test_a_second_process_compiles_nothing(tmp_path):
    first, second = ended(begun(tmp_path)), ended(begun(tmp_path))
    assert first[0] == 0
    assert first[1] > 0
    assert second[:2] == (first[1], 0)
    assert second[2] == first[2]


def test_processes_that_begin_at_once_do_not_disturb_each_other(tmp_path):
    found = [ended(process) for process in [begun(tmp_path) for _ in range(3)]]
    assert len({data for _, _, data in found}) == 1
    assert ended(begun(tmp_path)) == (found[0][0] + found[0][1], 0, found[0][2])


@pytest.mark.parametrize("damage", [b"", b"\x80\x04nonsense", None])
def test_what_is_damaged_is_made_anew(tmp_path, damage):
    whole = ended(begun(tmp_path))
    files = [path for path in tmp_path.rglob("step*") if path.is_file()]
    assert {path.suffix for path in files} == {".py", ".nbi", ".nbc"}
    for path in files:
        path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    assert ended(begun(tmp_path))[2] == whole[2]
    assert ended(begun(tmp_path))[2] == whole[2]
    assert ended(begun(tmp_path)) == (whole[1], 0, whole[2])


def test_without_a_directory_it_compiles_for_itself(tmp_path):
    (tmp_path / "file").touch()
    assert ended(begun(tmp_path / "file"))[2] == ended(begun(tmp_path))[2]


# x86 and ARM: a product and a sum in one instruction, rounded once.
CONTRACTED = re.compile(r"\b(vfn?m(add|sub)\w*|fn?m(add|sub)|fml[as])\b")


@EVERY_DTYPE
def test_loops_are_vectors_and_no_operation_is_contracted(dtype, tmp_path, monkeypatch):
    # What is read from the disk cannot be looked into.
    monkeypatch.setattr(compiled, "_root", lambda: tmp_path)
    monkeypatch.setattr(compiled, "_compiled", {})
    optimizer = Adam(Parameters({"a": (50,)}, arrays=Arrays(dtype=dtype)), lr=0.1, engine=NumbaEngine(1))
    optimizer.step()
    real = {"float32": "float", "float64": "double"}[dtype]
    loops = [of for of, _ in compiled._compiled.values()]
    assert loops
    for loop in loops:
        (code,), (assembly,) = loop.inspect_llvm().values(), loop.inspect_asm().values()
        for operation in ("fadd", "fsub", "fmul", "fdiv"):
            assert re.search(rf"\b{operation} <\d+ x {real}>", code), operation
        assert CONTRACTED.findall(assembly) == []
