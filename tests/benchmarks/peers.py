"""The digits sweep in optax and in torch: `python -m tests.benchmarks.peers optax|torch` prints pairs of rates as JSON.

A pair is lane-steps a second, and a second of a core: on a machine that has other work, only the latter tells.

With `rosenbrock` it trains 10,000 lanes for 2,000 steps in optax and prints nothing.

Both train an MLP 64-64-10 in float32 by Adam on batches of 128, the data in memory, the loss kept every 10 steps.
"""

import importlib.util
import json
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np

SAMPLES, BATCH, STEPS, LANES = 1437, 128, 500, 256
WIDTHS = (1, 2, 4, 8, 16, 32, 64, 256)
TORCH_RUNS = 3
"""Runs of each process, of 128."""


def digits():
    """Return features and labels of the training samples."""
    package = importlib.util.find_spec("optrun").origin
    data = np.load(Path(package).parent / "problems" / "data" / "digits.npz")
    features = data["X"].astype("float32")
    return (features / features.max())[:SAMPLES], data["y"].astype("int32")[:SAMPLES]


def batches(seed, steps):
    """Return the indices [steps, BATCH] of shuffled epochs."""
    draws = np.random.default_rng(seed)
    whole = SAMPLES // BATCH
    epochs = [draws.permutation(SAMPLES)[: whole * BATCH] for _ in range(-(-steps // whole))]
    return np.concatenate(epochs).reshape(-1, BATCH)[:steps]


def optax_rates():
    """Return the best rate, over several widths, of jit(vmap(scan)) once it is compiled."""
    import jax
    import jax.numpy as jnp
    import optax

    features, labels = map(jnp.asarray, digits())
    rates = np.geomspace(1e-4, 1e-1, LANES // 4).repeat(4)

    def loss_of(params, batch):
        hidden = jax.nn.relu(features[batch] @ params["w1"] + params["b1"])
        scores = hidden @ params["w2"] + params["b2"]
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels[batch]).mean()

    def train(lr, key, order):
        first, second = jax.random.split(key)
        params = {
            "w1": jax.random.normal(first, (64, 64)) / 8,
            "b1": jnp.zeros(64),
            "w2": jax.random.normal(second, (64, 10)) / 8,
            "b2": jnp.zeros(10),
        }
        adam = optax.adam(lr)

        def step(carry, batch):
            params, state = carry
            loss, grads = jax.value_and_grad(loss_of)(params, batch)
            updates, state = adam.update(grads, state)
            return (optax.apply_updates(params, updates), state), loss

        (params, _), losses = jax.lax.scan(step, (params, adam.init(params)), order)
        return params, losses[::10]

    orders = jnp.asarray(np.stack([batches(seed, STEPS) for seed in range(4)]))
    rates_of = {}
    for width in WIDTHS:
        arguments = (
            jnp.asarray(rates[:width], jnp.float32),
            jax.random.split(jax.random.key(0), width),
            orders[jnp.arange(width) % 4],
        )
        many = jax.jit(jax.vmap(train))
        jax.block_until_ready(many(*arguments))
        repeats = max(1, 64 // width)
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            jax.block_until_ready(many(*arguments))
        steps = repeats * width * STEPS
        rates_of[width] = steps / (time.perf_counter() - began), steps / (time.process_time() - cpu)
    width = max(rates_of, key=rates_of.__getitem__)
    return {f"optax (the best of {', '.join(map(str, WIDTHS))} lanes at a time: {width})": rates_of[width]}


def rosenbrock():
    """Return where Adam ends from one start with 10,000 rates: the valley of Rosenbrock under jit(vmap(scan))."""
    import jax
    import jax.numpy as jnp
    import optax

    def valley(x):
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    def train(rate):
        adam, start = optax.adam(rate), jnp.array([-1.2, 1.0], jnp.float32)

        def step(carry, _):
            params, state = carry
            updates, state = adam.update(jax.grad(valley)(params), state)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (start, adam.init(start)), length=2_000)
        return params

    return np.asarray(jax.jit(jax.vmap(train))(np.logspace(-4, -1, 10_000, dtype=np.float32)))


def _torch_seconds(fused, barrier):
    """Return the seconds, and those of the core, of some runs in this process, begun together with the other one."""
    import torch

    torch.set_num_threads(1)
    features, labels = map(torch.from_numpy, digits())
    labels = labels.long()

    def train(seed, steps):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        loss_fn = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, fused=fused)
        losses = []
        for step, batch in enumerate(torch.from_numpy(batches(seed, steps))):
            loss = loss_fn(model(features[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            if step % 10 == 0:
                losses.append(loss.item())
            optimizer.step()

    train(0, 50)
    barrier.wait()
    began, cpu = time.perf_counter(), time.process_time()
    for seed in range(TORCH_RUNS):
        train(seed, STEPS)
    return time.perf_counter() - began, time.process_time() - cpu


def _torch_process(fused, barrier, results):
    results.put(_torch_seconds(fused, barrier))


def torch_rates():
    """Return the rates of torch's eager loop in two processes, with its Adam as it is and with the fused one."""
    context = get_context("spawn")
    rates_of = {}
    for fused in (False, True):
        barrier, results = context.Barrier(2), context.SimpleQueue()
        workers = [context.Process(target=_torch_process, args=(fused, barrier, results)) for _ in range(2)]
        for worker in workers:
            worker.start()
        seconds, cpu = zip(*[results.get() for _ in workers], strict=True)
        for worker in workers:
            worker.join()
        steps = 2 * TORCH_RUNS * STEPS
        name = f"torch, {'fused' if fused else 'default'} Adam (two processes, {2 * TORCH_RUNS} of {LANES} runs timed)"
        rates_of[name] = steps / max(seconds), steps / sum(cpu)
    return rates_of


PEERS = {"optax": ("jax", optax_rates), "torch": ("torch", torch_rates)}


def main(name):
    """Print the rates of a peer by how it was set up, or what it lacks."""
    package, rates = PEERS[name]
    missing = [each for each in sorted({package, name}) if importlib.util.find_spec(each) is None]
    if missing:
        print(json.dumps({"skipped": f"it needs {' and '.join(missing)}"}))
        return
    print(json.dumps(rates()))


if __name__ == "__main__":
    if sys.argv[1] == "rosenbrock":
        rosenbrock()
    else:
        main(sys.argv[1])
