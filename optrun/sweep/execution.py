"""How the packs of a sweep are executed: the choices of whoever starts it, none of which changes a result."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from optrun.errors import ConfigError, did_you_mean
from optrun.kernels.threads import cores
from optrun.sweep.local import Local
from optrun.sweep.workers import Brought, Here, Running, Workers

EXECUTORS = ("local", "dask")


@dataclass(frozen=True)
class Execution:
    """How packs are executed; raises ConfigError for choices that do not go together."""

    executor: str | Executor = "local"
    jobs: int | None = None
    """Packs at the same time; None is one locally, and as many as there is room for elsewhere."""
    lanes: int | None = None
    """The most lanes of a pack."""
    address: str | None = None
    """Of a Dask scheduler that runs already."""
    timeout: float | None = None
    """Seconds that an attempt to run a pack may take."""
    fail_fast: bool = False
    """Whether the first run that fails ends the sweep."""
    plugins: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.executor, str) and self.executor not in EXECUTORS:
            names = " or ".join(EXECUTORS)
            hint = did_you_mean(self.executor, EXECUTORS)
            raise ConfigError(f"unknown executor {self.executor!r}: {names}.{hint}", field="executor")
        if not isinstance(self.executor, (str, Executor)):
            got = type(self.executor).__name__
            raise ConfigError(
                f"an executor is a name or a concurrent.futures.Executor, not {got}", field="executor"
            )
        if self.address is not None and self.executor != "dask":
            raise ConfigError(
                "an address is that of a Dask scheduler: the executor is to be dask", field="address"
            )

    @property
    def split(self) -> int:
        """Into how many packs, at least, the work is to be divided."""
        return self.jobs or (1 if self.executor == "local" else cores())

    def workers(
        self, packs: int, interrupted: Callable[[], bool], observe: Callable[[Sequence[Running]], None]
    ) -> Workers:
        """Return the workers, to be closed by whoever asks for them."""
        if isinstance(self.executor, Executor):
            return Brought(self.executor, self.jobs, self.plugins, self.timeout)
        if self.executor == "dask":
            from optrun.sweep.dask import Dask

            jobs = self.jobs if self.address else min(self.split, packs)
            return Dask(jobs, self.address, self.plugins, self.timeout)
        jobs = min(self.split, packs)
        # What runs too long can only be ended with its process.
        if self.split == 1 and self.timeout is None:
            return Here(interrupted, observe)
        return Local(jobs, self.plugins, self.timeout)
