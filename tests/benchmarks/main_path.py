"""The figures of the guide, each with its peer in the same run: `python -m tests.benchmarks.main_path`.

Needs torch for the peers.
"""

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from optrun.arrays import one_blas_thread
from optrun.config import from_mapping
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer

ROOT = Path(__file__).parents[2]

TORCH_DIGITS = """
import numpy as np, torch
from pathlib import Path
import importlib.util
torch.manual_seed(0)
data = np.load(Path(importlib.util.find_spec("optrun").origin).parent / "problems" / "data" / "digits.npz")
x = torch.tensor(data["X"].astype("float32"))
x = x / x.max()
y = torch.tensor(data["y"].astype("int64"))
order = torch.randperm(len(x))
test, train = order[:360], order[360:]
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
loss_fn = torch.nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)
losses, rates, step = [], [], 0
while step < 500:
    for batch in train[torch.randperm(len(train))].split(128):
        if step == 500:
            break
        loss = loss_fn(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
        step += 1
with torch.no_grad():
    accuracy = (model(x[test]).argmax(1) == y[test]).float().mean().item()
np.savetxt("curves.csv", np.c_[range(500), losses, rates], delimiter=",", header="step,loss,lr")
print(accuracy)
"""


def seconds(command: list[str], directory: str, repeats: int = 5) -> float:
    """Return the median wall time of a command."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def digits() -> None:
    """The main job against the same training in torch, both from the start of Python."""
    config = ROOT / "configs" / "digits_mlp.yaml"
    with tempfile.TemporaryDirectory() as directory:
        ours = seconds([sys.executable, "-m", "optrun", "run", str(config), "-q"], directory)
        theirs = seconds([sys.executable, "-c", TORCH_DIGITS], directory)
    print(
        f"digits MLP, 500 steps, whole command: optrun {ours:.2f} s, torch {theirs:.2f} s, ratio {ours / theirs:.2f}"
    )


def accuracy() -> None:
    """The test accuracy of the main job for ten seeds."""
    import optrun

    config = ROOT / "configs" / "digits_mlp.yaml"
    runs = [optrun.run(config, overrides=[f"seed={seed}"], save=False) for seed in range(10)]
    found = [run.summary["test_accuracy"] for run in runs]
    print(f"digits MLP, test accuracy of seeds 0 … 9: {' '.join(f'{value:.4f}' for value in found)}")


def rosenbrock(lanes: int, steps: int, every: int = 1, dtype: str = "float64", engine: str = "auto") -> float:
    """Return the seconds of a pack of Rosenbrock + Adam + cosine, built and run in memory."""
    base = {
        "problem": "rosenbrock",
        "optimizer": {"name": "Adam", "lr": 1e-2},
        "scheduler": {"name": "CosineAnnealingLR", "T_max": steps},
        "steps": steps,
        "dtype": dtype,
        "engine": engine,
        "record": {"every": every},
    }
    config = from_mapping(base)
    configs = [
        config.model_copy(
            update={
                "optimizer": config.optimizer.model_copy(
                    update={"options": {**config.optimizer.options, "lr": float(lr)}}
                )
            }
        )
        for lr in np.geomspace(1e-3, 1e-1, lanes)
    ]
    pack, memory = Pack(configs), MemoryStore(configs)
    began = time.perf_counter()
    Trainer(pack, memory).run()
    return time.perf_counter() - began


def torch_rosenbrock(steps: int) -> float:
    """Return the seconds of torch's eager loop on the same."""
    import torch

    x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses, rates = [], []
    began = time.perf_counter()
    for _ in range(steps):
        loss = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return time.perf_counter() - began


def best(measured: Callable[[], float], repeats: int = 3) -> float:
    """Return the shortest of several times."""
    return min(measured() for _ in range(repeats))


def one_lane() -> None:
    """Steps per second of one lane, every step recorded, with and without a compiled loop; torch's eager loop."""
    steps = 5000  # too few to compile a loop for
    theirs = steps / best(lambda: torch_rosenbrock(steps))
    for ours in (steps, 10 * steps):
        rate = ours / best(lambda: rosenbrock(1, ours))  # noqa: B023
        print(
            f"Rosenbrock, one lane, every step of {ours:,} recorded: optrun {rate:,.0f} steps/s, "
            f"torch {theirs:,.0f} steps/s, ratio {rate / theirs:.1f}"
        )


def many_lanes() -> None:
    """Nanoseconds per lane-step of a wide pack."""
    lanes, steps = 10_000, 2_000
    for dtype in ("float32", "float64"):
        for every in (1, 10):
            taken = best(lambda: rosenbrock(lanes, steps, every, dtype), 2)  # noqa: B023
            print(
                f"Rosenbrock, {lanes:,} lanes × {steps:,} steps, {dtype}, recorded every {every}: "
                f"{taken:.2f} s, {taken / lanes / steps * 1e9:.0f} ns per lane-step"
            )


def memory() -> None:
    """Peak memory of a million recorded steps, stored: with an empty directory of compiled loops, then with them."""
    peaks = []
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "million.yaml")
        config.write_text("problem: rosenbrock\noptimizer: SGD\nsteps: 1000000\n")
        command = [sys.executable, "-m", "optrun", "run", config, "-q"]
        for _ in range(2):
            process = subprocess.Popen(
                command,
                cwd=directory,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "XDG_CACHE_HOME": directory},
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            peaks.append(usage.ru_maxrss / 1024)
    print(
        f"a million recorded steps, stored: peak {peaks[1]:.0f} MB, {peaks[0]:.0f} MB where the loop is compiled first"
    )


def main() -> None:
    """Print every figure."""
    if importlib.util.find_spec("torch") is None:
        sys.exit("the peers of the benchmark need torch: python -m pip install torch")
    memory()
    digits()
    accuracy()
    with one_blas_thread:
        one_lane()
        many_lanes()


if __name__ == "__main__":
    main()
