"""Dense layers trained on a data set: options, samples, batches and full-data metrics."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Self

import numpy as np

from optrun.arrays import Array, Arrays
from optrun.errors import ConfigError
from optrun.kernels.stepper import Engine
from optrun.problems.batches import SampleBatches, Sampling, phases_of
from optrun.problems.data import Preparation
from optrun.problems.data_problem import DataProblem
from optrun.problems.layers import Layers
from optrun.problems.losses import ClassLoss, CrossEntropy, Loss
from optrun.problems.metrics.prediction import ClassPredictions
from optrun.problems.model import DenseModel, inputs_of
from optrun.problems.number_losses import MeanSquaredError
from optrun.problems.passes import Chunk, Passes
from optrun.problems.penalties import AbsolutePenalty, Penalty, SquaredPenalty
from optrun.problems.problem import Batches
from optrun.problems.scratch import Scratch
from optrun.registry import Added, Epochs, NonNegative, PerLane, PositiveInt


class Supervised(DataProblem, ABC):
    """Dense layers; the objective is the mean loss over the training samples plus a penalty on the weights.

        f(θ) = 1/n Σᵢ loss(outputs(xᵢ; θ), yᵢ) + l2/2 ‖weights‖² + l1 ‖weights‖₁

    Samples of more than one dimension, such as images, are flattened. Raises ConfigError if batch_size exceeds the
    number of training samples.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        batch_size: Annotated[PositiveInt | None, "samples per step; null for all of them"] = None,
        batch_milestones: Annotated[
            list[Epochs] | None, Added(), "epochs, in their order, at which batches become larger"
        ] = None,
        batch_gamma: Annotated[
            PositiveInt, Added(), "how many times as large, at most all training samples"
        ] = 2,
        l2: Annotated[
            NonNegative, PerLane(), "strength of the penalty on the weights; biases have none"
        ] = 0.0,
        l1: Annotated[
            NonNegative,
            Added(),
            PerLane(),
            "strength of the penalty on the absolute values of the weights; biases have none",
        ] = 0.0,
        bias: Annotated[bool, "whether layers have biases"] = True,
        sampling: Annotated[
            Sampling,
            Added(),
            "of batches: a new order in each epoch, draws with replacement, or the order of the data",
        ] = "shuffle",
        **options: Any,
    ) -> None:
        milestones = batch_milestones or []
        for option, is_given in (("sampling", sampling != "shuffle"), ("batch_milestones", milestones)):
            if batch_size is None and is_given:
                said = "needs a batch_size: without one each step uses all training samples"
                name = f"sampling: {sampling}" if option == "sampling" else option
                raise ConfigError(f"{name} {said}", field=option)
        if any(later <= earlier for earlier, later in pairwise(milestones)):
            raise ConfigError(f"batch_milestones must increase (got {milestones})", field="batch_milestones")
        super().__init__(arrays, **options)
        samples = len(self.parts["train"][0])
        if batch_size is not None and batch_size > samples:
            raise ConfigError(
                f"batch_size: {batch_size:,} is more than the {samples:,} training samples",
                field="batch_size",
            )
        self.sampling = sampling
        self.l2: float | Array = l2
        self.l1: float | Array = l1
        self.batch_size = batch_size
        self._phases = phases_of(samples, batch_size or samples, milestones, batch_gamma)
        self.steps_per_epoch = len(self._phases[0].starts)
        self.epochs_vary = len(self._phases) > 1
        self.inputs: dict[str, Array] = {
            part: inputs_of(arrays, x, bias=bias, batch_size=batch_size)
            for part, (x, _) in self.parts.items()
        }
        """The features of each part ``[n, d]``, with a column of ones if there are biases."""
        features = self.inputs["train"].shape[1] - bias
        # Options that layers and the loss depend on are attributes of the same name.
        self.layers = self.layers_of(arrays, features, self.loss.outputs, bias, vars(self))
        self.model = DenseModel(arrays, self.layers, self.loss, self.preparation.target)
        self.parts = {part: (self.inputs[part][:, :features], y) for part, (_, y) in self.parts.items()}
        self._bound: dict[tuple[int, ...], Passes] = {}

    def for_lanes(self, numbers: Mapping[str, Any]) -> Self:
        made = super().for_lanes(numbers)
        vars(made).pop("_penalties", None)
        return made

    @classmethod
    @abstractmethod
    def layers_of(
        cls, arrays: Arrays, features: int, outputs: int, bias: bool, options: Mapping[str, Any]
    ) -> Layers:
        """Return the layers of a problem with these options."""

    @classmethod
    def loss_of(cls, arrays: Arrays, scratch: Scratch, classes: int, options: Mapping[str, Any]) -> Loss:
        """Return the loss of a problem with these options for so many classes, 0 for a real target."""
        return CrossEntropy(arrays, scratch, classes) if classes else MeanSquaredError(arrays, scratch)

    @classmethod
    def model_of(cls, arrays: Arrays, options: Mapping[str, Any], preparation: Preparation) -> DenseModel:
        """Return the model of a problem with these options, all of them, without its data."""
        target = preparation.target
        loss = cls.loss_of(arrays, Scratch(arrays), len(target.classes), options)
        loss.weights = target.weights or None
        features = math.prod(preparation.shape)
        layers = cls.layers_of(arrays, features, loss.outputs, options["bias"], options)
        return DenseModel(arrays, layers, loss, target)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.layers.shapes

    @property
    def inputs_first(self) -> frozenset[str]:
        """The weights, all of which are `[in, out]`."""
        return frozenset(self.layers.weights)

    def use(self, engine: Engine) -> None:
        super().use(engine)
        self.model.use(self.loops)
        self._bound.clear()

    def batches(self, seeds: Sequence[int]) -> Batches:
        if self.batch_size is None:
            return Batches()
        return SampleBatches(self.arrays, seeds, len(self.parts["train"][0]), self._phases, self.sampling)

    def steps_in(self, epochs: int) -> int:
        """Return the number of steps of the first epochs."""
        return next(of.steps_before(epochs) for of in reversed(self._phases) if of.epoch <= epochs)

    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        return self._made(self._passes_of(params, grads, batch), params, grads, batch)

    def smooth_gradient(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any = None
    ) -> None:
        # Passes of their own: those of the steps stay bound to the parameters of the run.
        shape = (1, len(self.inputs["train"])) if batch is None else batch.shape
        smooth = self.for_lanes({"l1": 0.0})
        smooth._made(self.model.bind(params, grads, *shape), params, grads, batch)

    def _made(
        self, passes: Passes, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Array | None
    ) -> Array:
        passes.gather()
        for chunk in passes.chunks:
            x, targets = self._samples(chunk, batch)
            for tile in chunk.tiles:
                self.loss(tile.run.forward(tile.matrices, x), targets, tile.loss)
                tile.run.backward(tile.matrices, tile.grads, x)
        passes.scatter()
        for penalty in self._penalties:
            passes.loss += penalty.value(params, self.layers.weights)
            penalty.add_gradient(params, grads, self.layers.weights)
        return passes.loss

    def evaluate(self, params: Mapping[str, Array], *, measure: Sequence[str] = ()) -> dict[str, Array]:
        """Return ``loss`` (with penalty), and for each part the mean loss (without penalty) and the accuracy.

        ``measure`` names metrics of predictions, which are returned beside them.
        """
        metrics: dict[str, Array] = {}
        for part, x in self.inputs.items():
            figures = self.model.figures(params, x, self.parts[part][1], self.targets[part], measure)
            metrics |= {f"{part}_{name}": values for name, values in figures.items()}
        full = metrics["train_loss"]
        for penalty in self._penalties:
            full = full + self.arrays.to_host(penalty.value(params, self.layers.weights))
        return {"loss": full, **metrics}

    def confusion(self, params: Mapping[str, Array]) -> tuple[tuple[str, ...], Mapping[str, Array]]:
        if not isinstance(self.loss, ClassLoss):
            return super().confusion(params)
        found: dict[str, Array] = {}
        for part, x in self.inputs.items():
            said = [
                self.model.predictions(self.targets[part], outputs[:, 0])
                for outputs, _ in self.model.outputs(params, x)
            ]
            found[part] = np.concatenate(
                [each.confusion for each in said if isinstance(each, ClassPredictions)]
            )
        return tuple(map(str, self.preparation.target.classes)), found

    def _passes_of(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Array | None
    ) -> Passes:
        """Return the passes bound to these arrays, which rarely change."""
        key = (1, len(self.inputs["train"])) if batch is None else batch.shape
        passes = self._bound.get(key)
        if passes is not None and not passes.is_bound_to(params, grads):
            self._bound.clear()
            passes = None
        if passes is None:
            self._bound[key] = passes = self.model.bind(params, grads, *key)
        return passes

    def _samples(self, chunk: Chunk, batch: Array | None) -> tuple[Array, Array]:
        """Return the inputs and the targets of some rows of a batch."""
        x, y = self.inputs["train"], self.parts["train"][1]
        if batch is None:
            return x, self.loss.prepared(y[None])
        index = batch[chunk.seeds]
        some_x = self.arrays.take(x, index, self.scratch("x", *index.shape, x.shape[1]))
        some_y = self.arrays.take(y, index, self.scratch("y", *index.shape))
        return some_x, self.loss.prepared(some_y)

    @cached_property
    def _penalties(self) -> list[Penalty]:
        """The penalties that some lane has."""
        kinds = ((SquaredPenalty, self.l2), (AbsolutePenalty, self.l1))
        return [kind(self.arrays, self.scratch, strength) for kind, strength in kinds if np.any(strength)]
