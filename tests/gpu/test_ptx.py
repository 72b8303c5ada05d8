"""Every kernel compiles for a device, and none of its operations is contracted, approximate or flushes to zero."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from optrun.kernels.cuda.source import OPTIONS, fetch_source, watch_source
from optrun.training.leaps import leaps_of
from optrun.training.pack import Pack
from tests.gpu import stand_in
from tests.gpu.test_kernels import params_of
from tests.gpu.test_trajectories import CASES, on
from tests.optim.samples import VARIANTS, in_turn, per_lane
from tests.training.test_leaps import STEPS, configs

NVCC = shutil.which("nvcc")
INEXACT = re.compile(r"\b(fma|mad|div|sqrt|rcp|rsqrt)\.(\w+\.)*(f32|f64)\b.*|.*\.(approx|ftz|full)\b.*")
EXACT = re.compile(r"\b(div|sqrt|rcp)\.rn\.f(32|64)\b")


def inexact(ptx):
    lines = [line.strip() for line in ptx.splitlines()]
    return [
        line for line in lines if not line.startswith("//") and INEXACT.match(line) and not EXACT.search(line)
    ]


def sources_of(dtype, rng):
    """Return every kernel of three steps of every rule, alone or with hyperparameters that differ, in turn.

    And the trajectories of a few rules.
    """
    sources = {fetch_source(dtype), watch_source(dtype)}
    made = [(rule, options) for rule, options in VARIANTS if not rule.needs_closure]
    layouts = (
        [(1, False), (2, False), (2, True)] if dtype == "float32" else [(2, True), (1, False), (2, False)]
    )
    for rule, options, (lanes, lane_fast) in in_turn(made, layouts):
        values = per_lane(rule, options, lanes, rng) if lanes > 1 else {}
        optimizer = rule(params_of("cupy", rule, lanes, dtype, lane_fast), **{**options, **values})
        for _ in range(3):
            optimizer.step(loss=np.ones(lanes))
    for rule, function, of, lanes in CASES[::4]:
        if of == dtype:
            leaps = leaps_of(Pack(on("cupy", configs(rule, lanes, problem={"name": function}, dtype=dtype))))
            assert leaps.is_worth(STEPS)
            bounds = np.full(lanes, 1e9), 1e-9 if lanes > 1 else -np.inf, np.ones(lanes, bool)
            leaps.make(0, STEPS, 3, np.empty((STEPS, lanes)), *bounds)
    return sorted(sources | stand_in.sources)


@pytest.mark.full
@pytest.mark.skipif(NVCC is None, reason="there is no nvcc")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kernel_rounds_each_operation_as_ieee_754_says(dtype, transfers, monkeypatch, tmp_path, rng):
    monkeypatch.setattr(stand_in.Kernel, "_launch", lambda *_: None)
    with np.errstate(all="ignore"):
        sources = sources_of(dtype, rng)
    assert len(sources) > 30
    named = [re.sub(r"void (\w+)\(", rf"void k{i}_\1(", source) for i, source in enumerate(sources)]
    (tmp_path / "kernels.cu").write_text("\n".join(named))
    command = [
        NVCC,
        "-arch=sm_90",
        *OPTIONS,
        "-Werror",
        "all-warnings",
        "-ptx",
        "kernels.cu",
        "-o",
        "kernels.ptx",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ptx = (tmp_path / "kernels.ptx").read_text()
    assert ptx.count(".visible .entry") == len(sources)
    assert EXACT.search(ptx)
    assert inexact(ptx) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cupy_compiles_them_so(dtype, monkeypatch):
    compiler = pytest.importorskip("cupy").cuda.compiler
    # Which device there is decides the target, and here is none.
    monkeypatch.setattr(
        compiler, "_get_arch_for_options_for_nvrtc", lambda arch=None: ("-arch=compute_90", "ptx")
    )
    real = {"float32": "float", "float64": "double"}[dtype]
    source = f'extern "C" __global__ void k({real}* a) {{ a[0] = a[1] * a[2] + sqrt(a[3]) / a[4]; }}'
    try:
        ptx, _ = compiler.compile_using_nvrtc(source, OPTIONS)
    except (OSError, RuntimeError) as error:
        pytest.skip(f"CuPy finds no NVRTC: {error}")
    assert EXACT.search(ptx.decode())
    assert inexact(ptx.decode()) == []


@pytest.mark.skipif(NVCC is None, reason="there is no nvcc")
def test_the_options_are_what_makes_them_so(tmp_path):
    source = 'extern "C" __global__ void k(float* a) { a[0] = a[1] * a[2] + a[3] / sqrtf(a[4]); }'
    (tmp_path / "k.cu").write_text(source)
    command = [NVCC, "-arch=sm_90", "--use_fast_math", "-ptx", "k.cu", "-o", "k.ptx"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert inexact((tmp_path / "k.ptx").read_text())
