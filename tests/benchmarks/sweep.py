"""What sweeps cost, beside their peers: `python -m tests.benchmarks.sweep [JOBS]`; nothing here is a test.

    digits      MLP 64-64-10, batch 128, float32, Adam, 64 rates × 4 seeds × 500 steps; peers optax and torch
    quadratic   10,000 runs of 100 steps
    rosenbrock  10,000 rates, Adam, 2,000 steps, float32, recorded every 10

Each is run from the YAML to the store by the command line's own path, with JOBS processes (by default one per core),
and then by the command itself, whose seconds of all cores together tell more where a machine has other work. Peers run
once ours are through, not in turns with them: read ratios on a machine without other work, or by the second of a core.
A peer that is not installed is skipped: python -m pip install jax optax torch.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from optrun.api import sweeps
from optrun.config.sweep.resolve import load_sweep
from optrun.kernels.threads import cores
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.plan.packs import divided, grouped

ROOT = Path(__file__).parents[2]

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
    "rosenbrock": """\
problem: rosenbrock
optimizer: Adam
steps: 2000
record: {every: 10}
sweep:
  parameters: {optimizer.lr: {logspace: [1e-4, 1e-1, 10000]}}
""",
}


def measure(name: str, jobs: int) -> dict[str, float]:
    """Print how long the parts of a sweep take; return its rates, lane-steps a second, while packs run and at all."""
    path = Path(f"{name}.yaml")
    path.write_text(SWEEPS[name])
    began = time.perf_counter()
    plan = expand(load_sweep(path))
    expanded = time.perf_counter()
    groups = grouped(plan)
    packs = divided(groups, range(len(plan.configs)), jobs)
    packed = time.perf_counter()
    ended: list[tuple[float, int]] = []
    result = sweeps.sweep_plan(
        plan,
        groups,
        directory=Path(f"{name}-parts"),
        jobs=jobs,
        observe=lambda now: ended.append((time.perf_counter(), now.executed)),
    )
    done = time.perf_counter()
    steps = sum(state.steps for state in result.states)
    per_run = steps / len(result.states)
    # From the end of the first pack on, workers have started.
    ended = [each for each in ended if each[1]]
    (first, few), (last, many) = ended[0], ended[-1]
    warm = (many - few) * per_run / (last - first) if many > few else float("nan")
    command = [sys.executable, "-m", "optrun", "sweep", str(path), "-j", str(jobs), "-q", "-o", name]
    started, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole, after = time.perf_counter() - started, os.times()
    core = after.children_user + after.children_system - before.children_user - before.children_system
    print(
        f"{name}: {len(plan.configs):,} runs, {len(packs)} packs of {len(packs[0])} lanes, -j {jobs}\n"
        f"  expansion and validation  {expanded - began:8.2f} s\n"
        f"  packing                   {packed - expanded:8.2f} s\n"
        f"  execution and storing     {done - packed:8.2f} s   {steps / (done - packed):12,.0f} lane-steps/s\n"
        f"  after the first pack                  {warm:20,.0f} lane-steps/s\n"
        f"  end to end                {done - began:8.2f} s   {steps / (done - began):12,.0f} lane-steps/s\n"
        f"  the whole command         {whole:8.2f} s   {steps / whole:12,.0f} lane-steps/s\n"
        f"  on all cores together     {core:8.2f} s   {steps / core:12,.0f} lane-steps/s of a core",
        flush=True,
    )
    return {
        "while packs run": warm,
        "end to end": steps / (done - began),
        "the whole command": steps / whole,
        "a second of a core": steps / core,
    }


def compare(rates: dict[str, float]) -> None:
    """Print the rates of the peers on the digits sweep, and how many times as fast ours are."""
    for peer in ("optax", "torch"):
        command = [sys.executable, "-m", "tests.benchmarks.peers", peer]
        answer = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
        if "skipped" in answer:
            print(f"  {peer} is skipped: {answer['skipped']}")
            continue
        for how, (wall, core) in answer.items():
            ratios = [
                f"{rate / (core if 'core' in when else wall):.1f} × {when}" for when, rate in rates.items()
            ]
            print(
                f"  {how}: {wall:,.0f} lane-steps/s, {core:,.0f} of a core;\n    optrun: {', '.join(ratios)}",
                flush=True,
            )


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else cores()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation has its bytecode
        gc.set_threshold(100_000)  # as the command does
        for each in SWEEPS:
            measured = measure(each, wanted)
            if each == "digits":
                compare(measured)
