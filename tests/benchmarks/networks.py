"""One large network on all cores, against torch with one thread and with all: a table of `python -m tests.benchmarks`.

MLP 64-h-h-10 on digits, float32, Adam (torch's fused one, denormals flushed). Each peer is a process that waits for
its turn; a turn is a tenth of a second, and the shortest step of all turns counts.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from optrun.arrays import one_blas_thread
from optrun.config import from_mapping
from optrun.kernels.denormals import denormals
from optrun.kernels.threads import cores
from optrun.training.pack import Pack
from tests.benchmarks.peers import digits
from tests.benchmarks.tables import Table, has

SHAPES = [(256, 128), (256, 512), (512, 128), (512, 512), (1024, 128), (1024, 512), (2048, 128), (2048, 512)]
TURN = 0.1

Step = Callable[[], object]


def in_optrun(hidden: int, batch: int) -> Step:
    """Return a step of ours, with compiled loops where they can be had, as a longer run has them."""
    options = {"name": "mlp", "hidden": [hidden, hidden], "batch_size": batch, "sampling": "replacement"}
    engine = "numba" if has("numba") else "numpy"
    config = from_mapping({"problem": options, "optimizer": "Adam", "steps": 10**7, "engine": engine})
    steps = Pack([config]).iterate(0)
    return lambda: next(steps)


def in_torch(hidden: int, batch: int) -> Step:
    """Return a step of torch's eager loop."""
    import torch

    features, labels = map(torch.from_numpy, digits())
    labels = labels.long()
    layers = [torch.nn.Linear(*each) for each in pairwise((64, hidden, hidden, 10))]
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        chosen = torch.randint(len(features), (batch,))
        loss = torch.nn.functional.cross_entropy(model(features[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def serve(threads: int, hidden: int, batch: int) -> None:
    """Print the seconds of the shortest step of a turn for each line read; 0 threads are ours."""
    if threads:
        import torch

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
    with one_blas_thread, denormals(flushed=True), np.errstate(all="ignore"):
        step = (in_torch if threads else in_optrun)(hidden, batch)
        step()
        for _ in sys.stdin:
            step()
            marks = [time.perf_counter()]
            while len(marks) < 2 or marks[-1] < marks[0] + TURN:
                step()
                marks.append(time.perf_counter())
            print(np.diff(marks).min(), flush=True)


def large_runs(rounds: int = 15) -> Table:
    """Milliseconds of a step, in turns, and the ratio to the better of the peers."""
    peers = {"optrun": 0}
    if has("torch"):
        peers |= {"torch, one thread": 1, f"torch, {cores()} threads": cores()}
    rows = [["h, batch", *(f"{name}, ms" for name in peers), "best of torch / optrun"]]
    for shape in SHAPES:
        arguments = [str(each) for each in shape]
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", __name__, str(threads), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for threads in peers.values()
        ]
        found = np.array([[_turn(worker) for worker in workers] for _ in range(rounds)]).min(axis=0)
        for worker in workers:
            worker.communicate()
        ratio = found[1:].min() / found[0] if len(found) > 1 else np.nan
        rows.append([", ".join(arguments), *(f"{1e3 * each:.2f}" for each in found), f"{ratio:.2f}"])
    return rows


def _turn(worker: "subprocess.Popen[str]") -> float:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def sections() -> Iterator[tuple[str, Callable[[], Table]]]:
    """Yield the title of the table, and what measures it."""
    yield "One large network, MLP 64-h-h-10", large_runs


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
