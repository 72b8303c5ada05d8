"""What problems cost, packs alone and whole processes: tables of `python -m tests.benchmarks`.

    products              the matrix products of one step of the digits network alone, in np.matmul: the peak, beside
                          that of one large product
    digits                MLP 64-64-10, batch 128, float32, Adam, 64 rates × 4 seeds × 500 steps
    rosenbrock recorded   two dimensions, Adam, 10,000 rates × 2,000 steps, by the trainer, which keeps every loss and
                          every run's result in memory

Ours run in one process per core at once, each the pack that a sweep would give it; without expansion, starting and
storing. optax runs all lanes under jit(vmap(scan)), where it is installed, after a first call that compiles; the
machine is its own. All take turns; the best counts. On a busy machine read the processor time: lane-steps per second
of a core. From the start of Python: `optrun sweep` of the second, from its file to its store, without curves, with
loops that an earlier process has kept and with none; optax writes nothing.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from optrun.arrays import one_blas_thread
from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.kernels.threads import cores
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.plan.packs import divided, grouped
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.benchmarks.tables import Table, has

LANES, SAMPLES, FEATURES, HIDDEN, CLASSES = 8, 128, 64, 64, 10
FLOPS = 2 * SAMPLES * HIDDEN * (2 * FEATURES + 3 * CLASSES)
SWEEPS = {
    "digits": {
        "problem": {"name": "mlp", "data": "digits", "hidden": [HIDDEN], "batch_size": SAMPLES},
        "optimizer": "Adam",
        "steps": 500,
        "sweep": {"parameters": {"optimizer.lr": {"logspace": [1e-4, 1e-1, 64]}}, "repeats": 4},
    },
    "rosenbrock": {
        "problem": "rosenbrock",
        "optimizer": "Adam",
        "steps": 2_000,
        "sweep": {"parameters": {"optimizer.lr": {"logspace": [1e-4, 1e-1, 10_000]}}},
    },
}
Measured = tuple[float, float]
"""Seconds of one lane's step: by the wall clock, and of the processor."""


def timed(work: Callable[[], object], lane_steps: int) -> Measured:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) / lane_steps, (time.process_time() - cpu) / lane_steps


def products() -> Measured:
    """The five products of a step, each over lanes of their own contiguous matrices."""
    draws = np.random.default_rng(0)
    shapes = (
        (SAMPLES, FEATURES),
        (FEATURES, HIDDEN),
        (SAMPLES, HIDDEN),
        (HIDDEN, CLASSES),
        (CLASSES, SAMPLES),
    )
    x, w1, h, w2, z = (draws.standard_normal((LANES, *shape), np.float32) for shape in shapes)
    g1, g2 = np.empty_like(w1), np.empty_like(w2)

    def step() -> None:
        np.matmul(x, w1, out=h)
        np.matmul(w2.swapaxes(1, 2), h.swapaxes(1, 2), out=z)
        np.matmul(h.swapaxes(1, 2), z.swapaxes(1, 2), out=g2)
        np.matmul(z.swapaxes(1, 2), w2.swapaxes(1, 2), out=h)
        np.matmul(x.swapaxes(1, 2), h, out=g1)

    with one_blas_thread, np.errstate(all="ignore"):
        step()
        z[:], h[:] = 0.5, 0.5
        return min(timed(lambda: [step() for _ in range(20)], 20 * LANES) for _ in range(20))


def square() -> Measured:
    """Seconds of a floating-point operation of one large product, in place of a lane's step."""
    one = np.random.default_rng(0).standard_normal((1024, 1024), np.float32)
    out = np.empty_like(one)
    with one_blas_thread:
        return min(timed(lambda: np.matmul(one, one, out=out), 2 * 1024**3) for _ in range(40))


def packed(name: str) -> Measured:
    """One of the packs into which the sweep is divided for this machine; the first time warms up, as compilers do."""
    engine = "numba" if has("numba") else "numpy"  # as `auto` has it, once loops are kept
    plan = expand(sweep_from_mapping({**SWEEPS[name.split()[0]], "engine": engine}))
    runs = divided(grouped(plan), range(len(plan.configs)), cores())[0]
    configs = [plan.configs[run] for run in runs]
    found = []
    with np.errstate(all="ignore"):
        for _ in range(4):
            pack = Pack(configs)
            lane_steps = pack.lanes * pack.steps
            if name.endswith("recorded"):
                found.append(timed(Trainer(pack, MemoryStore(configs)).run, lane_steps))
            else:
                with one_blas_thread:
                    found.append(timed(partial(deque, pack.iterate(0), 0), lane_steps))
    return min(found[1:])


def in_optax(name: str) -> Measured:
    """All lanes of the sweep in optax, under jit(vmap(scan)); data and batches are in memory before."""
    import jax
    import jax.numpy as jnp
    import optax

    name, _, recorded = name.partition(" ")
    config = SWEEPS[name]
    rates = np.logspace(-4, -1, 64 if name == "digits" else 10_000).astype(np.float32)
    problem = Pack(expand(sweep_from_mapping(config)).configs[:4]).problem

    def network(params, batch):
        x, y = jnp.asarray(problem.parts["train"][0])[batch], targets[batch]
        outputs = jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]
        return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()

    def valley(x, _):
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    if name == "digits":
        targets = jnp.asarray(problem.parts["train"][1].astype(np.int32))
        batches = problem.batches([0, 1, 2, 3])
        full = [t for t in range(600) if batches[t].shape[1] == SAMPLES][: config["steps"]]
        drawn = jnp.asarray(np.stack([batches[t] for t in full], axis=1))
        starts = [problem.initial(seed) for seed in range(4)]
        names = {"w1": "layer1.weight", "b1": "layer1.bias", "w2": "layer2.weight", "b2": "layer2.bias"}
        start = {
            key: jnp.asarray(np.stack([each[of] for each in starts]), jnp.float32)
            for key, of in names.items()
        }
        loss, lanes = network, len(rates) * 4
    else:
        start, drawn, loss, lanes = jnp.array([-1.2, 1.0], jnp.float32), None, valley, len(rates)

    def run(params, rate, batches):
        rule = optax.adam(rate)

        def step(carry, batch):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params, batch)
            updates, state = rule.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), value if recorded else None

        return jax.lax.scan(step, (params, rule.init(params)), batches, length=config["steps"])

    over_rates = jax.vmap(run, (None, 0, None))
    work = jax.jit(jax.vmap(over_rates, (0, None, 0)) if name == "digits" else over_rates)
    jax.block_until_ready(work(start, rates, drawn))
    repeats = 2 if name == "digits" else 5
    return min(
        timed(lambda: jax.block_until_ready(work(start, rates, drawn)), lanes * config["steps"])
        for _ in range(repeats)
    )


def from_start(rounds: int = 5) -> Table:
    """Seconds of whole processes, taken in turns; optax's imports nothing of optrun."""
    config = {**SWEEPS["rosenbrock"], "record": "none"}
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as kept:
        file = Path(kept, "rosenbrock.yaml")
        file.write_text(json.dumps(config))  # which is YAML
        ours = [sys.executable, "-m", "optrun", "sweep", str(file), "-q", "-o"]
        commands = {"optrun, loops kept": ours, "optrun, first run": ours}
        if has("optax"):
            commands["optax"] = [sys.executable, "-m", "tests.benchmarks.peers", "rosenbrock"]
        if has("numba"):
            first = [*ours, str(Path(kept, "runs")), "engine=numba"]
            subprocess.run(first, check=True, env=keeping(kept), stdout=subprocess.DEVNULL)
        for _ in range(rounds):
            for name, command in commands.items():
                with tempfile.TemporaryDirectory() as none:
                    own = [str(Path(none, "runs"))] if command is ours else []
                    env = keeping(none if "first" in name else kept)
                    began = time.perf_counter()
                    subprocess.run([*command, *own], check=True, env=env, stdout=subprocess.DEVNULL)
                    best[name] = min(best.get(name, np.inf), time.perf_counter() - began)
    theirs = best.get("optax", np.nan)
    return [
        ["Rosenbrock, 10,000 rates × 2,000 steps", "seconds", "optax's time / this"],
        *([name, f"{taken:.2f}", f"{theirs / taken:.2f}"] for name, taken in best.items()),
    ]


def keeping(directory: str) -> dict[str, str]:
    """Return the environment of a process that keeps its loops in a directory."""
    return os.environ | {"XDG_CACHE_HOME": directory, "LOCALAPPDATA": directory, "HOME": directory}


OURS = ["products", "digits", "rosenbrock recorded"]


def measure(name: str) -> Measured:
    if name in ("products", "square"):
        return products() if name == "products" else square()
    return in_optax(name.removeprefix("optax ")) if name.startswith("optax") else packed(name)


def rates(name: str, processes: int) -> tuple[float, float]:
    """Lane-steps a second, of all processes by the wall clock, and of a core's processor time."""
    command = [sys.executable, "-m", __name__, "--one", name]
    begun = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(processes)]
    answers = [each.communicate()[0] for each in begun]
    if failed := [each.returncode for each in begun if each.returncode]:
        raise subprocess.CalledProcessError(failed[0], command)
    found = [json.loads(answer) for answer in answers]
    return sum(1 / wall for wall, _ in found), max(1 / cpu for _, cpu in found)


def packs(rounds: int = 5) -> Table:
    """Lane-steps a second, by the wall clock and of a core's processor time; and the ratios to products and optax."""
    best: dict[str, tuple[float, float]] = {}
    peers = [f"optax {name}" for name in OURS[1:] if has("optax")]
    for _ in range(rounds):
        for name in [*OURS, *peers, "square"]:
            found = rates(name, 1 if name in peers else cores())
            best[name] = tuple(map(max, found, best.get(name, found)))
    square_ = best.pop("square")
    rows = [["lane-steps a second", f"{cores()} cores", "a core"]]
    rows += [[name, *(f"{each:,.0f}" for each in of)] for name, of in best.items()]
    rows.append(["Gflop/s of the products", *(f"{FLOPS * each / 1e9:.1f}" for each in best["products"])])
    rows.append(["Gflop/s of 1024 × 1024", *(f"{each / 1e9:.1f}" for each in square_)])
    ratios = {"digits / products": ("digits", "products")}
    ratios |= {f"{name} / optax": (name, f"optax {name}") for name in OURS[1:] if peers}
    for text, (one, other) in ratios.items():
        rows.append([text, *(f"{a / b:.2f}" for a, b in zip(best[one], best[other], strict=True))])
    return rows


def sections() -> Iterator[tuple[str, Callable[[], Table]]]:
    """Yield the title of each table, and what measures it."""
    yield "From the start of Python to the result", from_start
    yield "Packs while they run", packs


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--one", name]:
            print(json.dumps(measure(name)))
        case _:
            sys.exit("python -m tests.benchmarks prints the tables")
