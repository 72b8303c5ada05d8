"""optrun: optimizer experiments from one YAML file.

run = optrun.run("configs/digits_mlp.yaml", overrides=["optimizer.lr=1e-2"])
run.curves["loss"], run.summary["test_accuracy"]
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optrun.api import Run, load_run, resume, run
    from optrun.sweeps import Sweep, load_sweep, sweep

__version__ = "0.1.0"
__all__ = ["Run", "Sweep", "load_run", "load_sweep", "resume", "run", "sweep"]


def __getattr__(name: str) -> Any:
    # Loaded at the first use: `optrun --help` needs no NumPy.
    if name in __all__:
        from optrun import api, sweeps

        return getattr(sweeps if name in ("Sweep", "load_sweep") else api, name)
    raise AttributeError(f"module 'optrun' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__", "errors"]


class _Package(ModuleType):
    """Keeps `optrun.sweep` the function where Python would bind the package of that name to it."""

    @property
    def sweep(self) -> Any:
        from optrun import sweeps

        return sweeps.sweep

    @sweep.setter
    def sweep(self, package: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
