"""optrun: optimizer experiments from one YAML file.

run = optrun.run("configs/digits_mlp.yaml", overrides=["optimizer.lr=1e-2"])
run.curves["loss"], run.summary["test_accuracy"]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optrun import errors, optim, problems, schedulers
    from optrun.analysis.check import Check
    from optrun.api.checking import check
    from optrun.api.comparisons import Comparison, compare, noise
    from optrun.api.learning_rates import LearningRates, lr_find
    from optrun.api.maps import Map, map
    from optrun.api.reports import report
    from optrun.api.runs import Run, load_run, resume, run
    from optrun.api.sweeps import Sweep, load_sweep, sweep

__version__ = "0.1.0"
__all__ = [
    "Check",
    "Comparison",
    "LearningRates",
    "Map",
    "Run",
    "Sweep",
    "check",
    "compare",
    "errors",
    "load_run",
    "load_sweep",
    "lr_find",
    "map",
    "noise",
    "optim",
    "problems",
    "report",
    "resume",
    "run",
    "schedulers",
    "sweep",
]

_HOME = dict.fromkeys(["Run", "load_run", "resume", "run"], "optrun.api.runs")
_HOME |= dict.fromkeys(["Comparison", "compare", "noise"], "optrun.api.comparisons")
_HOME |= {"Check": "optrun.analysis.check", "check": "optrun.api.checking"}
_HOME |= dict.fromkeys(["LearningRates", "lr_find"], "optrun.api.learning_rates")
_HOME |= dict.fromkeys(["Map", "map"], "optrun.api.maps")
_HOME["report"] = "optrun.api.reports"
_HOME |= dict.fromkeys(["Sweep", "load_sweep", "sweep"], "optrun.api.sweeps")


def __getattr__(name: str) -> Any:
    # Loaded at the first use: `optrun --help` needs no NumPy.
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in __all__:
        return import_module(f"optrun.{name}")
    raise AttributeError(f"module 'optrun' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
