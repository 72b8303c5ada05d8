"""What sweeps cost: `python -m tests.benchmarks.sweep [JOBS]` prints rates; nothing here is a test.

    digits      MLP 64-64-10, batch 128, float32, Adam, 64 rates × 4 seeds × 500 steps
    quadratic   10,000 runs of 100 steps: expanded, packed, executed and stored

Each is run from the YAML to the store by the command line's own path, with JOBS processes (by default one per core).
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from optrun import sweeps
from optrun.config.sweep import load_sweep
from optrun.sweep.expand import expand
from optrun.sweep.packs import cores, divided, grouped

SWEEPS = {
    "digits": """\
problem: {name: mlp, data: digits, hidden: [64], batch_size: 128}
optimizer: {name: Adam}
steps: 500
record: {every: 10}
sweep:
  parameters: {optimizer.lr: {logspace: [1e-4, 1e-1, 64]}}
  repeats: 4
""",
    "quadratic": """\
problem: quadratic
optimizer: Adam
steps: 100
sweep:
  parameters:
    optimizer.lr: {logspace: [1e-4, 1, 50]}
    optimizer.beta1: {linspace: [0.5, 0.99, 50]}
  repeats: 4
""",
}


def measure(name: str, jobs: int) -> None:
    """Print how long the parts of a sweep take, and what that is in lane-steps a second."""
    path = Path(f"{name}.yaml")
    path.write_text(SWEEPS[name])
    began = time.perf_counter()
    plan = expand(load_sweep(path))
    expanded = time.perf_counter()
    groups = grouped(plan)
    packs = divided(groups, range(len(plan.configs)), jobs)
    packed = time.perf_counter()
    first: list[tuple[float, int]] = []
    result = sweeps.sweep_plan(
        plan, groups, jobs=jobs, observe=lambda now: first.append((time.perf_counter(), now.executed))
    )
    done = time.perf_counter()
    steps = sum(state.steps for state in result.states)
    per_run = steps / len(result.states)
    # From the end of the first pack on, workers have started.
    warm = (
        (first[-1][1] - first[1][1]) * per_run / (first[-1][0] - first[1][0])
        if len(first) > 2
        else float("nan")
    )
    print(
        f"{name}: {len(plan.configs):,} runs, {len(packs)} packs of {len(packs[0])} lanes, -j {jobs}\n"
        f"  expansion and validation  {expanded - began:8.2f} s\n"
        f"  packing                   {packed - expanded:8.2f} s\n"
        f"  execution and storing     {done - packed:8.2f} s   {steps / (done - packed):12,.0f} lane-steps/s\n"
        f"  after the first pack               {warm:23,.0f} lane-steps/s\n"
        f"  end to end                {done - began:8.2f} s   {steps / (done - began):12,.0f} lane-steps/s"
    )


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else cores()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for each in SWEEPS:
            measure(each, wanted)
