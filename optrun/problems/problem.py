"""Problem, the interface for losses and gradients of all lanes."""

import inspect
import math
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import cache
from typing import Any, Self

import numpy as np

from optrun.arrays import Array, Arrays, Parameters, lane_sum
from optrun.errors import ConfigError, PluginError, StateError
from optrun.hyperparameters import option_named
from optrun.kernels.stepper import Engine, LoopEngine
from optrun.kernels.trajectory import Elements
from optrun.plugin_code import definition_of
from optrun.problems.scratch import Scratch
from optrun.registry import Option, PathOrName, check_annotated, options_of, problems, snake_case
from optrun.regular_files import files_digest


class _Checked(ABCMeta):
    """Validates the options before ``__init__`` is called."""

    options: Callable[[], dict[str, Option]]
    fingerprint: Any

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if missing := ", ".join(sorted(cls.__abstractmethods__)):
            raise PluginError(f"problem {cls.__name__} lacks {missing} ({definition_of(cls)})")
        known = cls.options()
        for name, value in options.items():
            if name != "arrays":
                option = option_named(name, known, {}, cls.__name__)
                if other := option.excluded_by(options):
                    raise ConfigError(f"{name}: it has no effect beside {other}", field=name)
                options[name] = option.check(value, cls.__name__)
        chosen = [options.get(name) for name, option in known.items() if option.marks(PathOrName)]
        paths = [each for each in chosen if isinstance(each, str) and PathOrName.is_path(each)]
        digest = files_digest(paths) if cls.fingerprint is Problem.fingerprint else ""
        problem = super().__call__(*args, **options)
        problem._fingerprint = digest
        return problem


class Problem(metaclass=_Checked):
    """A function of named parameters whose loss and gradient are computed for all lanes at once.

    A subclass declares its options as the keyword-only arguments of ``__init__``, and is registered under its class
    name in snake case. If ``__init__`` ends in ``**options``, it also has the options of its base class. Lanes differ
    in the seed, and in the floats of options that are marked `PerLane`; all else of the problem they share.

    Shapes: B lanes; parameters ``[B, *shape]``; a loss ``[B]``.

    On a device the launches of a step are captured and replayed without Python. So `loss_and_grad` must depend only on
    its arguments and on arrays that are never reallocated, and no other method may write to arrays. What changes from
    step to step must come from `batches`; a Python counter or a replaced array would keep its captured value.

    Raises ConfigError, which names the option, for an unknown or invalid option.
    """

    lane_fast: bool = False
    """Whether operations are elementwise along the lanes, so that lanes may be contiguous in memory."""

    steps_per_epoch: int = 1
    """Batches per epoch, or per epoch at first; 1 without data."""

    epochs_vary: bool = False
    """Whether some epochs have other numbers of batches, so that no schedule can count them."""

    inferred: str = ""
    """One line about what was inferred from the data; empty if nothing was."""

    notes: Sequence[str] = ()
    """Possible mistakes in the data or the options, one line each."""

    _fingerprint: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_") and ABC not in cls.__bases__:
            check_annotated(cls.__name__, cls.__init__)
            problems.add(cls, snake_case(cls.__name__))

    @classmethod
    @cache
    def options(cls) -> dict[str, Option]:
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
        """The engine that can run listings as compiled loops; None if the engine cannot."""
        self.scratch = Scratch(arrays)
        """Arrays by name and shape, allocated on first use: ``self.scratch("g", lanes, size)``."""

    def use(self, engine: Engine) -> None:
        """Let an engine run what it can as compiled loops, with the same bits."""
        self.loops = engine if isinstance(engine, LoopEngine) else None

    def for_lanes(self, numbers: Mapping[str, Any]) -> Self:
        """Return the problem with other values of the options that are `PerLane`, each float a number or ``[B]``.

        They are its attributes of these names. What does not depend on them is shared.
        """
        made = copy(self)
        vars(made).update(numbers)
        return made

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters' shapes by name, in order."""

    @property
    def inputs_first(self) -> frozenset[str]:
        """The weights that are `[in, out]`; a rule assumes torch's `[out, in]` for all other matrices."""
        return frozenset()

    @property
    def fingerprint(self) -> str:
        """A hash of data that are not part of the config; a run is not resumed with other data.

        By default a hash of the files that options name, taken before ``__init__``; empty without files.
        """
        return self._fingerprint

    @property
    def elements(self) -> Elements | None:
        """What an engine needs to make many steps at once; None if `loss_and_grad` has to be called for each."""
        return None

    minimum_if = ""
    """With which options the minimum is known, where that depends on them."""

    @property
    def minimum(self) -> float | Array | None:
        """The minimum of the full objective, ``[B]`` where lanes have others; None if unknown."""
        return None

    @property
    def minimizers(self) -> Sequence[Mapping[str, Array]]:
        """Minimizers of the full objective, each by name as ``[*shape]``; empty if unknown."""
        return ()

    @abstractmethod
    def initial(self, seed: int) -> dict[str, Array]:
        """Return the initial parameters for a seed, as float64 on the host."""

    def state(self) -> Mapping[str, Array]:
        """Return what the lanes keep from step to step beside their parameters, each ``[B, …]``, for checkpoints."""
        return {}

    def load_state(self, arrays: Mapping[str, Array]) -> None:
        """Restore what `state` returned; StateError if that fits no state of the problem."""
        if arrays:
            raise StateError(f"the checkpoint holds {', '.join(arrays)} of a problem that keeps nothing")

    def begin(self, params: Parameters, seeds: Iterable[int]) -> None:
        """Write the initial parameters of each lane."""
        for lane, seed in enumerate(seeds):
            params.set_lane(lane, self.initial(seed))

    def steps_in(self, epochs: int) -> int:
        """Return the number of steps of the first epochs."""
        return epochs * self.steps_per_epoch

    def batches(self, seeds: Sequence[int]) -> "Batches":
        """Return the random draws of each step, given one seed per lane."""
        return Batches()

    @abstractmethod
    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        """Return the loss ``[B]`` on a batch, and write its gradient to ``grads``.

        The next call may overwrite the returned array. Values may overflow if a run diverges; the caller decides by
        ``numpy.errstate`` whether NumPy warns.
        """

    def smooth_gradient(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any = None
    ) -> None:
        """Write the gradient of the full objective to ``grads``; by default that of `loss_and_grad` without a batch.

        A problem on samples takes those of a batch. Left out are noise, and penalties whose slope has jumps only.
        """
        self.loss_and_grad(params, grads, None)

    def hessian_times(self, params: Mapping[str, Array], vectors: Array, batch: Any = None) -> Array:
        """Return the products of the lanes' Hessians with vectors, both float64 ``[B, P]`` on the host.

            H v ≈ (∇f(θ + h v) - ∇f(θ - h v)) / 2h        h = ε^⅓ max(1, ‖θ‖) / ‖v‖,  ε of the dtype

        P are the parameters in order, flat. The error is of order h². 0 where v is 0; f and ``batch`` as in
        `smooth_gradient`.
        """
        shapes = {name: of.shape[1:] for name, of in params.items()}

        def flat(tensors: Mapping[str, Array]) -> Array:
            rows = [self.arrays.to_host(of).reshape(len(vectors), -1) for of in tensors.values()]
            return np.concatenate(rows, axis=1).astype(np.float64)

        at = flat(params)
        size, length = (np.sqrt(lane_sum(each * each)) for each in (at, vectors))
        epsilon = float(np.finfo(self.arrays.dtype).eps) ** (1 / 3)
        step = (epsilon * np.maximum(1, size) / np.where(length > 0, length, 1))[:, None]
        found = []
        for sign in (1, -1):
            moved = named(at + sign * step * vectors, shapes)
            moved = {name: self.arrays.array(of) for name, of in moved.items()}
            grads = {name: self.arrays.empty(of.shape) for name, of in moved.items()}
            self.smooth_gradient(moved, grads, batch)
            found.append(flat(grads))
        difference: Array = (found[0] - found[1]) / (2 * step)
        return difference

    @abstractmethod
    def evaluate(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return full-data metrics by name, each ``[B]`` on the host; ``loss`` is the full objective.

        A problem that predicts also takes ``measure``, the names of metrics that are not `unmeasured`.
        """

    def unmeasured(self, metric: str) -> str:
        """Return why a metric of predictions does not suit the problem; empty where it does."""
        return "which predicts nothing: metrics of the parameters, such as param_norm, suit every problem"

    def confusion(self, params: Mapping[str, Array]) -> tuple[tuple[str, ...], Mapping[str, Array]]:
        """Return the C classes, and for each part how many samples of each were predicted as each, ``[B, C, C]``.

        Raises ConfigError if the problem predicts no classes.
        """
        raise ConfigError("confusion: the problem predicts no classes", field="problem")

    def baselines(self, measure: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
        """Return the figures of what predicts without training, by its name; ``measure`` as in `evaluate`."""
        return {}


def named(vectors: Array, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Return vectors ``[n, P]`` as parameters of these shapes by name, each ``[n, *shape]``."""
    parts = np.split(vectors, np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1], axis=1)
    return {
        name: np.ascontiguousarray(part).reshape(len(vectors), *shapes[name])
        for name, part in zip(shapes, parts, strict=True)
    }


class Batches:
    """The random draws of each step; None for a problem without data or noise.

    ``batches[t]`` must be a pure function of the seeds and t, so that a run can be resumed at any step.
    """

    def __getitem__(self, t: int) -> Any:
        return None
