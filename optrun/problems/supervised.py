"""Dense layers trained on a data set: options, samples, batches and full-data metrics."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from optrun.arrays import Array, Arrays
from optrun.errors import ConfigError
from optrun.kernels.stepper import Engine
from optrun.problems.batches import SampleBatches, Sampling
from optrun.problems.data_problem import DataProblem
from optrun.problems.layers import Layers, Pass
from optrun.problems.losses import ClassLoss
from optrun.problems.metrics.prediction import measured
from optrun.problems.passes import Chunk, Passes
from optrun.problems.problem import Batches
from optrun.registry import Added, NonNegative, PositiveInt

TILE_BYTES = 1 << 18
"""Approximate size of a pass's widest array, so that the arrays of a few lanes fit into the L2 cache."""

DEVICE_TILE_BYTES = 1 << 28
"""The same on a device, where larger tiles are faster."""


class Supervised(DataProblem, ABC):
    """Dense layers; the objective is the mean loss over the training samples plus a penalty on the weights.

        f(θ) = 1/n Σᵢ loss(outputs(xᵢ; θ), yᵢ) + l2/2 ‖weights‖²

    Samples of more than one dimension, such as images, are flattened. Raises ConfigError if batch_size exceeds the
    number of training samples.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        batch_size: Annotated[PositiveInt | None, "samples per step; null for all of them"] = None,
        l2: Annotated[NonNegative, "strength of the penalty on the weights; biases have none"] = 0.0,
        bias: Annotated[bool, "whether layers have biases"] = True,
        sampling: Annotated[
            Sampling,
            Added(),
            "of batches: a new order in each epoch, draws with replacement, or the order of the data",
        ] = "shuffle",
        **options: Any,
    ) -> None:
        if batch_size is None and sampling != "shuffle":
            raise ConfigError(
                f"sampling: {sampling} needs a batch_size: without one each step uses all training samples",
                field="sampling",
            )
        super().__init__(arrays, **options)
        samples = len(self.parts["train"][0])
        if batch_size is not None and batch_size > samples:
            raise ConfigError(
                f"batch_size: {batch_size:,} is more than the {samples:,} training samples",
                field="batch_size",
            )
        self.sampling = sampling
        self.l2 = l2
        self.batch_size = batch_size
        self.steps_per_epoch = -(-samples // (batch_size or samples))
        # In full-batch steps, products are faster if the samples of a feature are contiguous.
        order = "F" if batch_size is None else "C"
        self.inputs: dict[str, Array] = {
            part: self._input(x, bias, order) for part, (x, _) in self.parts.items()
        }
        """The features of each part ``[n, d]``, with a column of ones if there are biases."""
        features = self.inputs["train"].shape[1] - bias
        self.layers = self._layers(features, bias)
        self.parts = {part: (self.inputs[part][:, :features], y) for part, (_, y) in self.parts.items()}
        self._passes: dict[tuple[int, ...], Pass] = {}
        self._bound: dict[tuple[int, ...], Passes] = {}

    def _input(self, x: Array, bias: bool, order: str) -> Array:
        flat = x.reshape(len(x), -1)
        if bias:
            flat = self.arrays.xp.concatenate([flat, self.arrays.filled((len(x), 1), 1)], axis=1)
        ordered: Array = self.arrays.xp.asarray(flat, order=order)
        return ordered

    @abstractmethod
    def _layers(self, features: int, bias: bool) -> Layers: ...

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.layers.shapes

    @property
    def inputs_first(self) -> frozenset[str]:
        """The weights, all of which are `[in, out]`."""
        return frozenset(self.layers.weights)

    def use(self, engine: Engine) -> None:
        super().use(engine)
        self._passes.clear()
        self._bound.clear()

    def batches(self, seeds: Sequence[int]) -> Batches:
        if self.batch_size is None:
            return Batches()
        return SampleBatches(self.arrays, seeds, len(self.parts["train"][0]), self.batch_size, self.sampling)

    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        passes = self._passes_of(params, grads, batch)
        passes.gather()
        for chunk in passes.chunks:
            x, targets = self._samples(chunk, batch)
            for tile in chunk.tiles:
                self.loss(tile.run.forward(tile.matrices, x), targets, tile.loss)
                tile.run.backward(tile.matrices, tile.grads, x)
        passes.scatter()
        if self.l2:
            passes.loss += self._penalty(params)
            self._add_penalty_grad(params, grads)
        return passes.loss

    def evaluate(self, params: Mapping[str, Array], *, measure: Sequence[str] = ()) -> dict[str, Array]:
        """Return ``loss`` (with penalty), and for each part the mean loss (without penalty) and the accuracy.

        ``measure`` names metrics of predictions, which are returned beside them.
        """
        metrics: dict[str, Array] = {}
        for part, x in self.inputs.items():
            y = self.parts[part][1]
            passes = self._bind(params, {}, 1, len(x))
            passes.gather()
            targets = self.loss.prepared(y[None])
            accuracies = []
            measures: defaultdict[str, list[Array]] = defaultdict(list)
            for tile in passes.chunks[0].tiles:
                outputs = tile.run.forward(tile.matrices, x)
                if isinstance(self.loss, ClassLoss):
                    accuracies.append(self.loss.accuracy(outputs[:, 0], y))
                if measure:
                    for name, values in measured(measure, self.predictions(part, outputs[:, 0])).items():
                        measures[f"{part}_{name}"].append(values)
                self.loss(outputs, targets, tile.loss)
            if accuracies:
                metrics[f"{part}_accuracy"] = self.arrays.xp.concatenate(accuracies)
            metrics[f"{part}_loss"] = passes.loss
            of_part = {name: np.concatenate(of_tiles) for name, of_tiles in measures.items()}
            metrics |= {name: values for name, values in of_part.items() if name not in metrics}
        full = metrics["train_loss"]
        metrics = {"loss": full + self._penalty(params) if self.l2 else full, **metrics}
        return {name: self.arrays.to_host(values) for name, values in metrics.items()}

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
            self._bound[key] = passes = self._bind(params, grads, *key)
        return passes

    def _bind(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], seeds: int, samples: int
    ) -> Passes:
        # Lanes with the same samples share their inputs.
        widest = samples * max(self.layers.widths[seeds == 1 :])
        lane = widest * np.dtype(self.arrays.dtype).itemsize
        tile = TILE_BYTES if self.arrays.xp is np else DEVICE_TILE_BYTES
        at_once = max(1, round(tile / lane))
        return Passes(
            self.layers, params, grads, self._pass, seeds=seeds, samples=samples, lanes_at_once=at_once
        )

    def _pass(self, lanes: tuple[int, int], samples: int) -> Pass:
        """Return the pass for this shape, whose arrays are reused tile by tile."""
        key = (*lanes, samples)
        if key not in self._passes:
            self._passes[key] = Pass(self.layers, lanes, samples, self.loops)
        return self._passes[key]

    def _samples(self, chunk: Chunk, batch: Array | None) -> tuple[Array, Array]:
        """Return the inputs and the targets of some rows of a batch."""
        x, y = self.inputs["train"], self.parts["train"][1]
        if batch is None:
            return x, self.loss.prepared(y[None])
        index = batch[chunk.seeds]
        some_x = self.arrays.take(x, index, self.scratch("x", *index.shape, x.shape[1]))
        some_y = self.arrays.take(y, index, self.scratch("y", *index.shape))
        return some_x, self.loss.prepared(some_y)

    def _penalty(self, params: Mapping[str, Array]) -> Array:
        """Return l2/2 ‖weights‖² ``[B]``."""
        lanes = len(params[self.layers.weights[0]])
        total, of_layer = self.scratch("penalty", 2, lanes)
        total[...] = 0
        for name in self.layers.weights:
            squares = self.scratch(f"squares {name}", *params[name].shape)
            self.arrays.xp.multiply(params[name], params[name], out=squares)
            total += self.arrays.xp.sum(squares.reshape(lanes, -1), axis=1, out=of_layer)
        total *= self.l2 / 2
        penalty: Array = total
        return penalty

    def _add_penalty_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
        """Add the gradient of the penalty, l2 · weights."""
        for name in self.layers.weights:
            scaled = self.scratch(f"squares {name}", *params[name].shape)
            grad = grads[name]
            grad += self.arrays.xp.multiply(params[name], self.l2, out=scaled)
