"""`run --dry-run`: what would run, an estimate of the time, and where it would be stored."""

import json as json_module
import sys
from pathlib import Path

from optrun.cli.live.throughput import clock
from optrun.config import Component, RunConfig
from optrun.config.model.run import Divergence
from optrun.errors import printable
from optrun.store import check_free, slug
from optrun.store.locate import RUNS
from optrun.training.estimate import Estimate


def destination(config: RunConfig, output: Path | None, *, save: bool) -> str | None:
    """Return where a run would be stored, None if it is not saved; StoreError if the directory cannot be used."""
    if not save:
        return None
    if output is None:
        return f"{RUNS}/<time>-{slug(config.name)}-<4 hex digits>"
    check_free(output)
    return str(output)


def print_plan(config: RunConfig, work: Estimate, where: str | None, *, json: bool) -> None:
    """Print the main parts of a config, the size of its run and where it would be stored."""
    if json:
        size = {"steps": work.steps, "parameters": work.parameters, "lanes": 1, "seconds": work.seconds}
        print(json_module.dumps({"run": where, **size, "config": config.to_dict()}, allow_nan=False))
        return
    print(f"{printable(config.name)} would run")
    constant = "none" if "lr" in config.schedules else "none: the learning rate is constant"
    scheduler = f"{config.scheduler.name}" if config.scheduler else constant
    schedules = [f"{name} {schedule.name}" for name, schedule in config.schedules.items()]
    rows = {
        "problem": f"{config.problem.name}, {work.parameters:,} parameters, {config.dtype}",
        "optimizer": f"{config.optimizer.name}, lr {config.optimizer.options['lr']:g}",
        "scheduler": scheduler,
        **({"average": f"{average.name}, {_options(average)}"} if (average := config.average) else {}),
        **({"schedules": ", ".join(schedules)} if schedules else {}),
        "seed": ", ".join(
            [f"{config.seed}", *(f"{of} {seed}" for of, seed in config.seeds.model_dump().items())]
        ),
        "steps": f"{work.steps:,}",
        "time": f"about {about(work.seconds)} ({work.steps_per_second:,.0f} steps/s in a trial)",
        "ends early": _endings(config),
        "stored in": where or "nowhere: the run is not saved",
    }
    for name, value in rows.items():
        print(f"  {name:<10}  {printable(value)}")
    print("nothing was written", file=sys.stderr)


def about(seconds: float) -> str:
    """Format an estimated duration."""
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 100 else clock(seconds)


def _options(component: Component) -> str:
    return ", ".join(f"{name} {value}" for name, value in component.options.items())


def _endings(config: RunConfig) -> str:
    stop = config.stop.model_dump(exclude_none=True)
    if isinstance(config.stop.divergence, Divergence):
        stop["divergence"] = f"{config.stop.divergence.factor:g} × the first loss"
    return ", ".join(f"{name} {value}" for name, value in stop.items()) or "only if the loss is not finite"
