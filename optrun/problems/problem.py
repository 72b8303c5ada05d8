"""The contract of a problem: loss and gradient of every lane, written by hand."""

import inspect
import re
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from optrun.arrays import Array, Arrays
from optrun.errors import PluginError
from optrun.hyperparameters import option_named
from optrun.kernels.capture import LoopEngine
from optrun.kernels.stepper import Engine
from optrun.plugin_code import definition_of
from optrun.registry import Option, PathOrName, check_annotated, options_of, problems
from optrun.regular_files import files_digest


class _Checked(ABCMeta):
    """Checks the options before the ``__init__`` of any class sees them."""

    options: Callable[[], dict[str, Option]]
    fingerprint: Any

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if missing := ", ".join(sorted(cls.__abstractmethods__)):
            raise PluginError(f"problem {cls.__name__} lacks {missing} ({definition_of(cls)})")
        known = cls.options()
        for name, value in options.items():
            if name != "arrays":
                options[name] = option_named(name, known, {}, cls.__name__).check(value, cls.__name__)
        chosen = [options.get(name) for name, option in known.items() if option.may_be_path]
        paths = [each for each in chosen if isinstance(each, str) and PathOrName.is_path(each)]
        digest = files_digest(paths) if cls.fingerprint is Problem.fingerprint else ""
        problem = super().__call__(*args, **options)
        problem._fingerprint = digest
        return problem


class Problem(metaclass=_Checked):
    """A function of named parameters whose loss and gradient are computed for all lanes at once.

    A subclass names its options as the keyword-only arguments of ``__init__`` and is registered under its
    class name in snake case. An ``__init__`` that ends in ``**options`` adds to those of the class above it.
    Lanes share the problem and its options; what differs between them is the seed.

    Shapes: B lanes; parameters ``[B, *shape]``; a loss ``[B]``.

    On a device what a step launches is replayed without Python, so `loss_and_grad` depends on its arguments and on
    arrays that stay where they are, and alone writes into arrays. What differs from step to step comes from `batches`:
    a counter in Python, or an array that is replaced, would stay as it was when the step was captured.

    Raises ConfigError, naming the option, where one is unknown, of another type, out of bounds or not finite.
    """

    lane_fast: bool = False
    """Whether the operations are elementwise along the lanes, so that they may lie side by side in memory."""

    steps_per_epoch: int = 1
    """Batches in one pass over the data; 1 where there is no data."""

    inferred: str = ""
    """What was inferred from the data, in one line; empty where nothing was."""

    notes: Sequence[str] = ()
    """What of the data or the options may be a mistake, a line each."""

    _fingerprint: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_") and ABC not in cls.__bases__:
            check_annotated(cls.__name__, cls.__init__)
            problems.add(cls, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower())

    @classmethod
    @cache
    def options(cls) -> dict[str, Option]:
        """Return the problem's options, by name."""
        found: dict[str, Option] = {}
        for base in cls.__mro__:
            if "__init__" not in vars(base):
                continue
            init = vars(base)["__init__"]
            found |= {name: option for name, option in options_of(init).items() if name not in found}
            parameters = inspect.signature(init).parameters.values()
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
                break
        return found

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.loops: LoopEngine | None = None
        """What makes loops of the calls of a step; None where there is nothing that does."""
        self._scratch: dict[tuple[str, tuple[int, ...]], Array] = {}

    def use(self, engine: Engine) -> None:
        """Take steps by this engine, where it has something faster than the calls, with the same bits."""
        self.loops = engine if isinstance(engine, LoopEngine) else None

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters' names and shapes, in their order."""

    @property
    def inputs_first(self) -> frozenset[str]:
        """The weights of layers that lie `[in, out]`; a rule takes any other matrix for torch's `[out, in]`."""
        return frozenset()

    @property
    def fingerprint(self) -> str:
        """A hash of the data that is no part of the config: a run is not resumed on other data.

        By default it is that of the files that options name, as they were before ``__init__``; empty without one.
        """
        return self._fingerprint

    @property
    def minimum(self) -> float | None:
        """The lowest value of the full objective, where it is known."""
        return None

    @property
    def minimizers(self) -> Sequence[Mapping[str, Array]]:
        """Points (name → ``[*shape]``) where the full objective is lowest, where they are known."""
        return ()

    @abstractmethod
    def initial(self, seed: int) -> dict[str, Array]:
        """Return the parameters (float64, on the host) at which the run of this seed starts."""

    def batches(self, seeds: Sequence[int]) -> "Batches":
        """Return what each step draws: one seed per lane."""
        return Batches()

    @abstractmethod
    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        """Return the loss ``[B]`` on a batch, and write its gradient into ``grads``.

        The returned array may be overwritten by the next call. Values may overflow where a run diverges;
        the caller decides, by ``numpy.errstate``, whether that is worth a warning.
        """

    @abstractmethod
    def evaluate(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return full-data metrics by name, each ``[B]`` on the host; ``loss`` is the full objective."""

    def scratch(self, name: str, *shape: int) -> Array:
        """Return the array of this name and shape, allocated at its first use: a step allocates nothing."""
        key = (name, shape)
        if key not in self._scratch:
            self._scratch[key] = self.arrays.empty(shape)
        return self._scratch[key]


class Batches:
    """What step t draws: nothing, for a problem without data or noise.

    ``batches[t]`` is a pure function of the seeds and of t, so that a run can be resumed at any step.
    """

    def __getitem__(self, t: int) -> Any:
        return None
