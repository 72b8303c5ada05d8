"""How the packs of a sweep are executed: the choices of whoever starts it, none of which changes a result."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from optrun.errors import ConfigError, brief, did_you_mean
from optrun.kernels.threads import cores
from optrun.sweeps.workers.base import CallerExecutor, Running, ThisProcess, Workers
from optrun.sweeps.workers.processes import LocalProcesses

if TYPE_CHECKING:
    from optrun.sweeps.workers.dask import Connection

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
    apart: bool = False
    """Whether one local job, too, has a process of its own, which a run may end."""
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
        for name in ("jobs", "lanes"):
            check_count(name, getattr(self, name))
        _check_timeout(self.timeout)
        if self.timeout is not None and self.jobs is None and isinstance(self.executor, Executor):
            raise ConfigError(
                "with a timeout it must be known how many workers an executor has: jobs=", field="jobs"
            )
        if self.address is not None:
            _check_address(self.address)

    @property
    def split(self) -> int:
        """Into how many packs, at least, the work is to be divided."""
        return self.jobs or (1 if self.executor == "local" else cores())

    def connection(self) -> AbstractContextManager["Connection | None"]:
        """Return what must be there before a sweep is written anywhere: Dask, and the scheduler at the address.

        Raises MissingExtraError without Dask, and ConfigError where no scheduler answers.
        """
        if self.executor != "dask":
            return nullcontext()
        from optrun.sweeps.workers.dask import Connection

        return Connection(self.address)

    def workers(
        self,
        packs: int,
        interrupted: Callable[[], bool],
        observe: Callable[[Sequence[Running]], None],
        connection: "Connection | None" = None,
    ) -> Workers:
        """Return the workers, to be closed by whoever asks for them."""
        if isinstance(self.executor, Executor):
            return CallerExecutor(self.executor, self.jobs, self.plugins, self.timeout)
        if connection is not None:
            from optrun.sweeps.workers.dask import Dask

            jobs = self.jobs if self.address else min(self.split, packs)
            return Dask(connection, jobs, self.plugins, self.timeout)
        jobs = min(self.split, packs)
        # What runs too long can only be ended with its process.
        if self.split == 1 and self.timeout is None and not self.apart:
            return ThisProcess(interrupted, observe)
        return LocalProcesses(jobs, self.plugins, self.timeout)


def check_count(name: str, value: Any) -> None:
    """Raise ConfigError where a number of something is neither None nor a whole number of 1 or more."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(f"{name} must be a whole number of 1 or more (got {brief(value)})", field=name)


def _check_timeout(value: Any) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and isfinite(value) and value > 0):
        raise ConfigError(
            f"timeout must be a number of seconds above 0 (got {brief(value)})", field="timeout"
        )


def _check_address(address: str) -> None:
    scheme, _, place = address.rpartition("://")
    if scheme not in ("", "tcp", "tls", "ws", "wss"):
        return
    try:
        parts = urlsplit(f"//{place}")
        is_whole = bool(parts.hostname and parts.port)
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ConfigError(
            f"the address of a Dask scheduler is tcp://HOST:8786, with its port (got {address!r})",
            field="address",
        )
