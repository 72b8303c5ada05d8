"""What many steps at once cost, against the same loop in C and against optax: tables of `python -m tests.benchmarks`.

    trajectories    Rosenbrock's function of two variables, Adam, a cosine schedule, float32: 10,000 rates × 2,000 steps

Ours is all that a run does from the first step to the results in memory: the trainer, without building its pack. C is
the bare loop over blocks of lanes, of one thread, with the same operations and the same check of every loss: its
parameters have the same bits as ours, or the table says that they have not. optax runs all lanes under
jit(vmap(scan)). Each is in a process of its own on so many cores, after a first call that compiles; all take turns, and
the best counts: processor time of one core, the clock for the gain of two. What is not installed is left out, and said.
"""

import ctypes
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from optrun.config import RunConfig, from_mapping
from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.sweeps.plan.expand import expand
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.benchmarks.tables import Table, has

LANES, STEPS, ALONE = 10_000, 2_000, 200_000
Measured = tuple[tuple[float, float], int]
"""Seconds by the clock and of the processor, and a checksum of the parameters at the end."""
LOOP = """
#include <math.h>
enum { N = 64 };
long run(long lanes, long steps, const double *wave, const double *debias, const float *scale, const double *rates,
         float limit, float *p, float *losses) {
    const float b1 = 1.0 - 0.9, b2 = 0.999, c2 = 1.0 - 0.999, eps = 1e-8;
    long ended = 0;
    for (long begin = 0; begin < lanes; begin += N) {
        double rate[N];
        float x[N], y[N], m[N], n[N], v[N], w[N], loss[N];
        for (int i = 0; i < N; i++) {
            long lane = begin + i < lanes ? begin + i : lanes - 1;
            rate[i] = rates[lane]; x[i] = p[2 * lane]; y[i] = p[2 * lane + 1];
            m[i] = n[i] = v[i] = w[i] = 0;
        }
        long count = lanes - begin < N ? lanes - begin : N;
        for (long t = 0; t < steps; t++) {
            const double c = wave[t], d = debias[t];
            const float s = scale[t];
            for (int i = 0; i < N; i++) {
                double lr = c < 0.5 ? rate[i] * c : rate[i] - rate[i] * (1.0 - c);
                float a = lr / d;
                float r = y[i] - x[i] * x[i], q = 1.0f - x[i];
                loss[i] = 100.0f * (r * r) + q * q;
                float g = -2.0f * q + -400.0f * r * x[i], h = 200.0f * r;
                m[i] += b1 * (g - m[i]);
                n[i] += b1 * (h - n[i]);
                v[i] = b2 * v[i] + c2 * (g * g);
                w[i] = b2 * w[i] + c2 * (h * h);
                x[i] -= a * m[i] / (s * sqrtf(v[i]) + eps);
                y[i] -= a * n[i] / (s * sqrtf(w[i]) + eps);
            }
            int bad = 0;
            for (int i = 0; i < N; i++) bad |= !(fabsf(loss[i]) <= limit);
            ended += bad;
            if (losses) for (long i = 0; i < count; i++) losses[t * lanes + begin + i] = loss[i];
        }
        for (long i = 0; i < count; i++) { p[2 * (begin + i)] = x[i]; p[2 * (begin + i) + 1] = y[i]; }
    }
    return ended;
}
"""
OPTIONS = ["-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC"]


def shortest(prepare: Callable[[], Callable[[], object]], times: int = 6) -> tuple[float, float]:
    """Return the least seconds, by the clock and of the processor, of what is prepared anew each time."""
    found = []
    for _ in range(times):
        work = prepare()
        wall, cpu = time.perf_counter(), time.process_time()
        kept = work()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
        del kept
    walls, cpus = zip(*found, strict=True)
    return min(walls), min(cpus)


def rates() -> np.ndarray:
    """Return the rates of our lanes."""
    return np.array([each.optimizer.options["lr"] for each in configs_of(recorded=False)])


def in_c(*, recorded: bool) -> Measured:
    """Seconds of the loop, and a checksum of the parameters at its end."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "loop.c"), Path(folder, "loop.so")
        source.write_text(LOOP)
        subprocess.run(["gcc", *OPTIONS, str(source), "-o", str(library), "-lm"], check=True)
        loop: Any = ctypes.CDLL(str(library)).run
    t = np.arange(STEPS, dtype=np.float64)
    wave = (1.0 + np.cos(np.pi * (t / STEPS))) / 2
    first, second = (1 - np.power(np.full(STEPS, beta), t + 1) for beta in (0.9, 0.999))
    scale, rate = (1 / np.sqrt(second)).astype(np.float32), rates()
    p = np.empty((LANES, 2), np.float32)

    def work() -> object:
        p[:] = -1.2, 1.0
        losses = np.empty((STEPS, LANES), np.float32) if recorded else None
        out = [p.ctypes, None if losses is None else losses.ctypes]
        arrays = [each.ctypes for each in (wave, first, scale, rate)]
        loop(ctypes.c_long(LANES), ctypes.c_long(STEPS), *arrays, ctypes.c_float(np.inf), *out)
        return losses

    return shortest(lambda: work), zlib.crc32(p)


def configs_of(*, recorded: bool) -> list[RunConfig]:
    one = {"problem": "rosenbrock", "optimizer": "Adam", "steps": STEPS, "engine": "numba"}
    one |= {"scheduler": {"name": "CosineAnnealingLR", "T_max": STEPS}, "stop": {"divergence": None}}
    sweep = {"parameters": {"optimizer.lr": {"logspace": [1e-4, 1e-1, LANES]}}}
    record = {"every": 1 if recorded else STEPS}
    return list(expand(sweep_from_mapping({**one, "record": record, "sweep": sweep})).configs)


class Ends(MemoryStore):
    """Keeps no more than how runs have ended, as a map does."""

    def commit(self, *, states: Any, params: Any, **_: Any) -> None:
        self.ends = states, params


def ours(*, recorded: bool) -> Measured:
    configs = configs_of(recorded=recorded)
    packs: list[Pack] = []

    def prepared() -> Callable[[], object]:
        packs[:] = [Pack(configs)]
        store = MemoryStore(configs) if recorded else Ends(configs)
        return lambda: Trainer(packs[0], store).run()

    return shortest(prepared), zlib.crc32(np.ascontiguousarray(packs[0].params.data))


def in_optax(*, recorded: bool) -> Measured:
    import jax
    import jax.numpy as jnp
    import optax

    def valley(x: Any) -> Any:
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    def train(rate: Any) -> Any:
        adam, start = (
            optax.adam(optax.cosine_decay_schedule(rate, STEPS)),
            jnp.array([-1.2, 1.0], jnp.float32),
        )

        def step(carry: Any, _: None) -> Any:
            params, state = carry
            loss, grads = jax.value_and_grad(valley)(params)
            updates, state = adam.update(grads, state)
            return (optax.apply_updates(params, updates), state), loss if recorded else None

        (params, _), losses = jax.lax.scan(step, (start, adam.init(start)), length=STEPS)
        return params, losses

    many, given = jax.jit(jax.vmap(train)), jnp.asarray(rates(), jnp.float32)
    jax.block_until_ready(many(given))
    return shortest(lambda: lambda: jax.block_until_ready(many(given))), 0


def alone() -> Measured:
    """Seconds of one lane, every step recorded."""
    given = {"problem": "rosenbrock", "optimizer": {"name": "Adam", "lr": 1e-3}, "engine": "numba"}
    schedule = {"name": "CosineAnnealingLR", "T_max": ALONE}
    configs = [from_mapping({**given, "steps": ALONE, "scheduler": schedule})]
    return shortest(lambda: Trainer(Pack(configs), MemoryStore(configs)).run), 0


MEASURES: dict[str, Callable[..., Measured]] = {"C": in_c, "optrun": ours, "optax": in_optax}


def measured(name: str, cores: int, *, recorded: bool) -> Measured:
    """Return what a process of its own measures on so many cores."""
    command = [sys.executable, "-m", __name__, name, str(cores), str(int(recorded))]
    (wall, cpu), bits = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return (wall, cpu), bits


def trajectories(rounds: int = 4) -> Table:
    """Nanoseconds of a step of a lane on one core and on two, and the ratios of one core."""
    missing = [name for name, lacks in (("C", not shutil.which("gcc")), ("optax", not has("optax"))) if lacks]
    here = [name for name in MEASURES if name not in missing]
    best: dict[tuple[str, int, bool], tuple[float, float]] = {}
    bits: dict[tuple[str, bool], int] = {}
    single = np.inf
    for _ in range(rounds):
        for recorded in (False, True):
            for name, cores in [*((name, 1) for name in here), ("optrun", 2)]:
                key = name, cores, recorded
                found, bits[name, recorded] = measured(name, cores, recorded=recorded)
                wall, cpu = map(min, found, best.get(key, found))
                best[key] = wall, cpu
        single = min(single, measured("alone", 1, recorded=True)[0][1])
    rows = [
        [
            "ns of a step of a lane",
            "of C",
            "optax",
            "optrun",
            "2 cores",
            "optrun / C",
            "optax / optrun",
            "gain of 2",
        ]
    ]
    for recorded in (False, True):
        of = {name: best.get((name, 1, recorded), (np.nan, np.nan))[1] for name in MEASURES}
        one, two = (best["optrun", count, recorded][0] for count in (1, 2))
        cells = [f"{1e9 * each / (LANES * STEPS):.2f}" for each in (of["C"], of["optax"], of["optrun"], two)]
        ratios = [of["optrun"] / of["C"], of["optax"] / of["optrun"], one / two]
        same = (
            ""
            if bits.get(("C", recorded), bits["optrun", recorded]) == bits["optrun", recorded]
            else ", other bits"
        )
        title = "every loss recorded" if recorded else "nothing recorded"
        rows.append([title + same, *cells, *(f"{each:.2f}" for each in ratios)])
    rows.append(["one lane, recorded", "", "", f"{1e9 * single / ALONE:.0f}", "", "", "", ""])
    if missing:
        rows.append([f"not installed: {', '.join(missing)}", *[""] * 7])
    return rows


def sections() -> Iterator[tuple[str, Callable[[], Table]]]:
    """Yield the title of the table, and what measures it."""
    yield "Trajectories", trajectories


if __name__ == "__main__":
    of, count, is_recorded = sys.argv[1:]
    gc.set_threshold(100_000)  # as the command does
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(count)])
    print(json.dumps(alone() if of == "alone" else MEASURES[of](recorded=is_recorded == "1")))
