"""What a step costs in every engine, against torch and optax on the same work: tables of `python -m tests.benchmarks`.

Every figure is the shortest of many, taken in turns, so that what else the machine does weighs on all alike.
"""

import cProfile
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from optrun.arrays import Arrays, Parameters
from optrun.kernels import engine_named
from optrun.kernels.threads import cores, run_in_threads
from optrun.optim import SGD, Adam, Optimizer, RMSprop
from tests.benchmarks.main_path import rosenbrock, torch_rosenbrock
from tests.benchmarks.tables import Table, has

SIZES = [10**k for k in range(2, 8)]
RULES: dict[str, tuple[type[Optimizer], dict[str, float]]] = {
    "Adam": (Adam, {"lr": 1e-3}),
    "SGD": (SGD, {"lr": 1e-3, "momentum": 0.9}),
    "RMSprop": (RMSprop, {"lr": 1e-3}),
}
PASSES = 7
"""Buffers that a step of Adam reads or writes: p, m and v both, g once."""

Step = Callable[[], object]


def in_turns(steps: Mapping[str, Step], seconds: float = 1.5) -> dict[str, float]:
    """Return the shortest time in seconds of one call of each, taken in turns for so long each."""
    for step in steps.values():
        step()
        step()
    calls, spent = {}, {}
    for name, step in steps.items():
        began = time.perf_counter()
        step()
        calls[name] = max(1, min(1000, int(2e-3 / (time.perf_counter() - began))))
        spent[name] = np.inf
    began = time.perf_counter()
    rounds = 0
    while rounds < 5 or time.perf_counter() - began < seconds * len(steps):
        rounds += 1
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                step()
            spent[name] = min(spent[name], (time.perf_counter() - start) / calls[name])
    return spent


def ours(rule: str, size: int, engine: str, lanes: int = 1, *, lane_fast: bool = False) -> Step:
    """Return the step of optrun."""
    made, options = RULES[rule]
    params = Parameters({"x": (size,)}, lanes=lanes, arrays=Arrays(dtype="float32"), lane_fast=lane_fast)
    params.grad[:] = np.random.default_rng(0).normal(size=params.grad.shape)
    return made(params, engine=engine_named(engine), **options).step


def torch_steps(rule: str, size: int) -> Iterator[tuple[str, Step]]:
    """Yield the steps of torch's implementations."""
    import torch

    made, options = getattr(torch.optim, rule), RULES[rule][1]
    kinds: dict[str, dict[str, bool]] = {"torch": {"foreach": False}, "torch foreach": {"foreach": True}}
    if rule != "RMSprop":
        kinds["torch fused"] = {"fused": True}
    for name, kind in kinds.items():
        x = torch.zeros(size, requires_grad=True)
        x.grad = torch.randn(size)
        yield name, made([x], **options, **kind).step


def optax_step(rule: str, size: int) -> Step:
    """Return optax's update and its application, compiled as one function that reuses its memory."""
    import jax
    import optax

    lr = RULES[rule][1]["lr"]
    made = {
        "Adam": lambda: optax.adam(lr),
        "SGD": lambda: optax.sgd(lr, momentum=0.9),
        "RMSprop": lambda: optax.rmsprop(lr, decay=0.99, eps=1e-8),
    }[rule]()
    x = jax.numpy.zeros(size, "float32")
    grad = jax.random.normal(jax.random.key(0), (size,), "float32")
    held = [x, made.init(x)]

    def update(x, state):
        moved, state = made.update(grad, state, x)
        return optax.apply_updates(x, moved), state

    compiled = jax.jit(update, donate_argnums=(0, 1))

    def step() -> None:
        held[:] = compiled(*held)
        jax.block_until_ready(held[0])

    return step


def steps_of_all(rule: str, size: int) -> dict[str, Step]:
    """Return the steps of all engines and peers at hand."""
    steps = {f"optrun {name}": ours(rule, size, name) for name in engines()}
    if has("torch"):
        steps |= torch_steps(rule, size)
    if has("optax"):
        steps["optax jit"] = optax_step(rule, size)
    return steps


def engines() -> list[str]:
    """Return the names of the engines at hand."""
    return ["numpy", "numba"] if has("numba") else ["numpy"]


def step_cost(rule: str) -> Table:
    """Microseconds of one step, and how many times ours go into those of the peers."""
    rows: Table = []
    for size in SIZES:
        taken = in_turns(steps_of_all(rule, size))
        peers = [each for name, each in taken.items() if not name.startswith("optrun")]
        row = {"parameters": f"{size:,}"} | {name: f"{each * 1e6:,.1f}" for name, each in taken.items()}
        if "torch" in taken:
            row["numpy against torch"] = f"{taken['torch'] / taken['optrun numpy']:.2f}"
        if peers and "optrun numba" in taken:
            row["numba against the fastest peer"] = f"{min(peers) / taken['optrun numba']:.2f}"
        rows = [*(rows or [list(row)]), list(row.values())]
    return rows


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the exponent of the power law through some points."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def scaling() -> Table:
    """The exponents with which the cost of Adam grows: 0 where the cost of a call rules, 1 where elements do."""
    rows = [["engine", "against", "from … to", "exponent"]]
    for engine in engines():
        for against, sizes, made in (
            ("parameters", [10**k for k in (2, 3)], lambda n, engine=engine: ours("Adam", n, engine)),
            ("parameters", [10**k for k in (5, 6, 7)], lambda n, engine=engine: ours("Adam", n, engine)),
            (
                "lanes of 2 parameters",
                [10**k for k in (4, 5, 6)],
                lambda n, engine=engine: ours("Adam", 2, engine, n, lane_fast=True),
            ),
            (
                "lanes of 4,810 parameters",
                [8, 64, 512],
                lambda n, engine=engine: ours("Adam", 4810, engine, n),
            ),
            ("steps of 1,000 parameters", [10, 100, 1000], lambda n, engine=engine: repeated(engine, n)),
        ):
            taken = in_turns({str(n): made(n) for n in sizes}, 0.5)
            rows.append(
                [
                    engine,
                    against,
                    f"{sizes[0]:,} … {sizes[-1]:,}",
                    f"{slope(sizes, list(taken.values())):.2f}",
                ]
            )
    return rows


def repeated(engine: str, steps: int) -> Step:
    """Return so many steps as one call."""
    step = ours("Adam", 1000, engine)

    def run() -> None:
        for _ in range(steps):
            step()

    return run


def bandwidth() -> Table:
    """Bytes that a step of Adam moves in a second, against the fastest copy and the fastest pass in place.

    A copy moves more than it is counted for: its target is read into the cache before it is written, as Adam's is not.
    """
    size = 10**7
    buffers = 4  # as many as Adam has
    source, target = (np.ones(buffers // 2 * size, np.float32) for _ in range(2))

    def copy(parts: int) -> Step:
        pairs = zip(np.array_split(target, parts), np.array_split(source, parts), strict=True)
        return run_in_threads([lambda _, pair=pair: np.copyto(*pair) for pair in pairs], cores())

    def in_place(parts: int) -> Step:
        pieces = np.array_split(target, parts)
        return run_in_threads(
            [lambda _, piece=piece: np.negative(piece, out=piece) for piece in pieces], cores()
        )

    counts = (1, cores(), 8 * cores())
    copies = {f"copy in {parts} parts": copy(parts) for parts in counts}
    places = {f"in place in {parts} parts": in_place(parts) for parts in counts}
    taken = in_turns(copies | places | {name: ours("Adam", size, name) for name in engines()})
    copied = 2 * source.nbytes / min(taken[name] for name in copies)
    replaced = 2 * target.nbytes / min(taken[name] for name in places)
    rows = [
        ["10,000,000 parameters, float32", "GB/s", "of the copy", "of x ← -x"],
        ["copy", f"{copied / 1e9:.1f}", "1.00", f"{copied / replaced:.2f}"],
        ["x ← -x", f"{replaced / 1e9:.1f}", f"{replaced / copied:.2f}", "1.00"],
    ]
    for name in engines():
        moved = PASSES * 4 * size / taken[name]
        rows.append(
            [f"Adam, {name}", f"{moved / 1e9:.1f}", f"{moved / copied:.2f}", f"{moved / replaced:.2f}"]
        )
    return rows


def one_lane() -> Table:
    """Steps per second of a small problem with every step recorded, against torch's eager loop."""
    steps = 5000
    runs = {f"optrun {name}": partial(rosenbrock, 1, steps, engine=name) for name in engines()}
    if has("torch"):
        runs["torch"] = partial(torch_rosenbrock, steps)
    rounds = [{name: run() for name, run in runs.items()} for _ in range(7)]
    taken = {name: min(each[name] for each in rounds) for name in runs}
    theirs = taken.get("torch", np.nan)
    return [
        ["Rosenbrock, Adam, cosine", "steps/s", "against torch"],
        *([name, f"{steps / each:,.0f}", f"{theirs / each:.1f}"] for name, each in taken.items()),
    ]


def python_left(steps: int = 5000, most: int = 8) -> Table:
    """Where the time of one lane's step goes, by cProfile, which itself takes longer than most of what it sees."""
    profile = cProfile.Profile()
    engine = engines()[-1]
    rosenbrock(1, steps, engine=engine)
    profile.runcall(rosenbrock, 1, steps, engine=engine)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    own = sorted(((of[2], of[1], where) for where, of in stats.items()), reverse=True)
    total = sum(seconds for seconds, _, _ in own)
    rows = [["function", "calls a step", "µs a step", "of all"]]
    for seconds, calls, (file, line, name) in own[:most]:
        where = name if line == 0 else f"{Path(file).stem}.{name}"
        rows.append([where, f"{calls / steps:.1f}", f"{1e6 * seconds / steps:.2f}", f"{seconds / total:.0%}"])
    return rows


def startup() -> Table:
    """Seconds of the command against those of importing what it is made of."""
    packages = "import numpy, pydantic, rich, threadpoolctl, typer, yaml"
    commands = {
        "imports of its packages": ["-c", packages],
        "optrun --version": ["-m", "optrun", "--version"],
        "optrun run, 1 step": ["-m", "optrun", "run", "a.yaml", "-q"],
    }
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "a.yaml").write_text("problem: rosenbrock\noptimizer: SGD\nsteps: 1\n")
        taken = in_turns(
            {
                name: lambda words=words: subprocess.run(
                    [sys.executable, *words], check=True, capture_output=True, cwd=directory
                )
                for name, words in commands.items()
            }
        )
    first = taken["imports of its packages"]
    return [
        ["command", "seconds", "of the imports"],
        *([name, f"{each:.2f}", f"{each / first:.2f}"] for name, each in taken.items()),
    ]


def sections() -> Iterator[tuple[str, Callable[[], Table]]]:
    """Yield the title of each table, and what measures it."""
    yield "One lane, every step recorded", one_lane
    for rule in RULES:
        yield f"A step of {rule}, float32, µs", partial(step_cost, rule)
    yield "Memory", bandwidth
    yield "How the cost of a step grows", scaling
    yield "The Python left in a step of one lane", python_left
    yield "Start", startup
