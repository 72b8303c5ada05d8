"""What composed steps cost: clipping against torch and optax, and a step against those of its parts measured alone."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from optrun.arrays import Arrays, Parameters
from optrun.kernels import engine_named
from optrun.optim import SGD, Adam, AdamW, Muon
from optrun.optim.averaging import EMA
from optrun.optim.transforms import ClipNorm, composed
from tests.benchmarks.engines import Step, engines, in_turns
from tests.benchmarks.tables import Table, has

SIZES = [10**k for k in range(4, 8)]
MATRICES = {
    f"{name}.weight": shape for name, shape in {"a": (64, 256), "b": (256, 256), "c": (256, 10)}.items()
}
BIASES = {"a.bias": (256,), "b.bias": (256,), "c.bias": (10,)}
CLIP = [ClipNorm(max_norm=1.0)]


def parameters(shapes: Mapping[str, tuple[int, ...]]) -> Parameters:
    """Return parameters of these shapes, with a gradient."""
    params = Parameters(shapes, arrays=Arrays(dtype="float32"))
    params.grad[:] = np.random.default_rng(0).normal(size=params.grad.shape)
    return params


def ours(size: int, engine: str) -> Step:
    """Return the step of Adam with clipping."""
    rule: Any = composed(Adam, gradient=CLIP)
    step: Step = rule(parameters({"x": (size,)}), engine=engine_named(engine), lr=1e-3).step
    return step


def torchs(size: int) -> Step:
    """Return the same in torch: its fused Adam."""
    import torch

    x = torch.zeros(size, requires_grad=True)
    x.grad = torch.randn(size)
    optimizer = torch.optim.Adam([x], lr=1e-3, fused=True)

    def step() -> None:
        torch.nn.utils.clip_grad_norm_([x], 1.0)
        optimizer.step()

    return step


def optaxs(size: int) -> Step:
    """Return the same in optax, compiled as one function that reuses its memory."""
    import jax
    import optax

    made = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    grad = jax.random.normal(jax.random.key(0), (size,), "float32")
    x = jax.numpy.zeros(size, "float32")
    held = [x, made.init(x)]

    def update(x: Any, state: Any, grad: Any) -> Any:
        moved, state = made.update(grad, state, x)
        return optax.apply_updates(x, moved), state

    compiled = jax.jit(update, donate_argnums=(0, 1))

    def step() -> None:
        held[:] = compiled(*held, grad)
        jax.block_until_ready(held[0])

    return step


def clipped() -> Table:
    """Microseconds of a step of Adam with ClipNorm, and how many times ours go into those of the peers."""
    rows: Table = []
    for size in SIZES:
        steps = {f"optrun {name}": ours(size, name) for name in engines()}
        if has("torch"):
            steps["torch"] = torchs(size)
        if has("optax"):
            steps["optax jit"] = optaxs(size)
        taken = in_turns(steps)
        row = {"parameters": f"{size:,}"} | {name: f"{1e6 * each:,.1f}" for name, each in taken.items()}
        best = taken[f"optrun {engines()[-1]}"]
        row |= {
            f"{name} / ours": f"{taken[name] / best:.2f}" for name in ("torch", "optax jit") if name in taken
        }
        rows = [*(rows or [list(row)]), list(row.values())]
    return rows


def parts() -> Table:
    """Microseconds of a step of ClipNorm, Muon on matrices, AdamW on the rest and an average, and of each alone."""

    def step_of(rule: Any, shapes: Mapping[str, tuple[int, ...]], *groups: Any) -> Step:
        step: Step = rule(parameters(shapes), *groups, engine=engine_named(engines()[-1]), lr=1e-3).step
        return step

    every = {**MATRICES, **BIASES}
    together = parameters(every)
    of_biases = composed(AdamW, gradient=CLIP)
    groups = [{"params": [*MATRICES]}, {"params": [*BIASES], "rule": of_biases.func, **of_biases.keywords}]
    whole: Any = composed(Muon, gradient=CLIP)
    optimizer, average = (
        whole(together, groups, engine=engine_named(engines()[-1]), lr=1e-3),
        EMA(together, engine=engine_named(engines()[-1])),
    )

    def step() -> None:
        optimizer.step()
        average.step()

    taken = in_turns(
        {
            "all of it": step,
            "Muon on matrices": step_of(Muon, MATRICES),
            "AdamW on the rest": step_of(AdamW, BIASES),
            "SGD on all": step_of(SGD, every),
            "SGD with ClipNorm on all": step_of(composed(SGD, gradient=CLIP), every),
            "EMA of all": EMA(parameters(every), engine=engine_named(engines()[-1])).step,
        }
    )
    clip = taken["SGD with ClipNorm on all"] - taken["SGD on all"]
    alone = taken["Muon on matrices"] + taken["AdamW on the rest"] + taken["EMA of all"] + clip
    rows = [
        ["82,688 parameters, float32", "µs"],
        *([name, f"{1e6 * each:,.1f}"] for name, each in taken.items()),
    ]
    return [*rows, ["all of it, of its parts", f"{taken['all of it'] / alone:.2f}"]]


def sections() -> Iterator[tuple[str, Callable[[], Table]]]:
    """Yield the title of each table, and what measures it."""
    yield "A step of Adam with ClipNorm, float32, µs", clipped
    yield "A composed step", parts
