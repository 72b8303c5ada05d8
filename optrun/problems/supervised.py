"""Dense layers trained on a data set: options, samples, batches and full-data metrics."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Lt

from optrun.arrays import Array, Arrays
from optrun.errors import ConfigError
from optrun.kernels.stepper import Engine
from optrun.problems.batches import SampleBatches, Sampling
from optrun.problems.data import (
    Dataset,
    DataSource,
    Layout,
    Task,
    drawn_parts,
    given_parts,
    load,
    standardized,
)
from optrun.problems.layers import Layers, Pass
from optrun.problems.losses import ClassLoss, Loss
from optrun.problems.passes import Chunk, Passes
from optrun.problems.problem import Batches, Problem
from optrun.registry import Added, NonNegative, OwnOrRunSeed, PositiveInt, Unless

TILE_BYTES = 1 << 18
"""Approximate size of a pass's widest array, so that the arrays of a few lanes fit into the L2 cache."""

DEVICE_TILE_BYTES = 1 << 28
"""The same on a device, where larger tiles are faster."""


class Supervised(Problem, ABC):
    """Dense layers; the objective is the mean loss over the training samples plus a penalty on the weights.

        f(θ) = 1/n Σᵢ loss(outputs(xᵢ; θ), yᵢ) + l2/2 ‖weights‖²

    The validation and the test samples depend only on ``split_seed``. Unless it follows the seed of the run, all runs
    are evaluated on the same ones.

    Raises ConfigError if the data cannot be read or do not suit the loss, and if batch_size exceeds the number of
    training samples.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        data: DataSource,
        target: Annotated[str | int | None, "target column of a CSV file, by default the last"] = None,
        task: Annotated[
            Task | None, "by default classification where targets are names or a few whole numbers"
        ] = None,
        header: Annotated[
            bool | None, "whether a CSV file's first line names its columns, by default where it is no sample"
        ] = None,
        index: Annotated[
            bool | None,
            "whether a CSV file's first column is left out, by default where it has no name and numbers the rows",
        ] = None,
        batch_size: Annotated[PositiveInt | None, "samples per step; null for all of them"] = None,
        l2: Annotated[NonNegative, "strength of the penalty on the weights; biases have none"] = 0.0,
        bias: Annotated[bool, "whether layers have biases"] = True,
        standardize: Annotated[
            bool, "scale features, and a real target, to mean 0 and variance 1 in training"
        ] = True,
        test_fraction: Annotated[
            float, Ge(0), Lt(1), Unless("split"), "part of the samples held out for testing"
        ] = 0.2,
        split_seed: Annotated[
            OwnOrRunSeed,
            Unless("split"),
            "chooses the samples held out; the word seed: the run's, so that each has its own",
        ] = 0,
        validation_fraction: Annotated[
            float,
            Ge(0),
            Lt(1),
            Added(),
            Unless("split"),
            "part of the samples held out for selection: val_loss, val_accuracy",
        ] = 0.0,
        split: Annotated[
            str | int | None,
            Added(),
            "column of a CSV file, or array of an NPZ file, that says train, val or test for each sample",
        ] = None,
        sampling: Annotated[
            Sampling,
            Added(),
            "of batches: a new order in each epoch, draws with replacement, or the order of the data",
        ] = "shuffle",
    ) -> None:
        super().__init__(arrays)
        if isinstance(split_seed, str):
            raise ConfigError(
                "split_seed: a problem without a run has no seed to follow: give a number", field="split_seed"
            )
        if batch_size is None and sampling != "shuffle":
            raise ConfigError(
                f"sampling: {sampling} needs a batch_size: without one each step uses all training samples",
                field="sampling",
            )
        self.sampling = sampling
        dataset = self._dataset = load(data, Layout(target, header, index, split))
        self.task = task
        self.loss, targets = self._loss_and_targets(dataset)
        classes = isinstance(self.loss, ClassLoss)
        if dataset.parts is None:
            rows = drawn_parts(
                targets if classes else None,
                len(targets),
                test=test_fraction,
                validation=validation_fraction,
                seed=split_seed,
            )
        else:
            rows = given_parts(dataset.parts, dataset.shown)
        train = rows["train"]
        if batch_size is not None and batch_size > len(train):
            raise ConfigError(
                f"batch_size: {batch_size:,} is more than the {len(train):,} training samples",
                field="batch_size",
            )
        self.inferred = dataset.inferred({part: len(own) for part, own in rows.items()}, by_class=classes)
        self.notes = dataset.remarks(by_class=classes)
        features = dataset.features
        if standardize:
            features = standardized(features, features[train])
            targets = targets if classes else standardized(targets, targets[train])
        self._check_range(features, "features", standardize=standardize)
        self._check_range(targets, "targets", standardize=standardize)
        self.l2 = l2
        self.batch_size = batch_size
        self.steps_per_epoch = -(-len(train) // (batch_size or len(train)))
        if bias:
            features = np.column_stack([features, np.ones(len(features))])
        # In full-batch steps, products are faster if the samples of a feature are contiguous.
        order = "F" if batch_size is None else "C"
        self.inputs: dict[str, Array] = {
            part: arrays.xp.asarray(features[own], arrays.dtype, order=order)
            for part, own in rows.items()
            if len(own)
        }
        """The features of each part, with a column of ones if there are biases."""
        self.layers = self._layers(features.shape[1] - bias, bias)
        self.parts = {
            part: (self.inputs[part][:, : self.layers.widths[0]], arrays.array(targets[rows[part]]))
            for part in self.inputs
        }
        self._passes: dict[tuple[int, ...], Pass] = {}
        self._bound: dict[tuple[int, ...], Passes] = {}

    def _check_range(self, values: Array, what: str, *, standardize: bool) -> None:
        """Raise ConfigError if a value is too large for the dtype."""
        dtype = self.arrays.dtype
        largest = max(abs(float(values.max())), abs(float(values.min())))
        if not largest <= float(np.finfo(dtype).max):
            remedy = "dtype: float64" if standardize else "standardize: true, or dtype: float64,"
            raise ConfigError(
                f"data: the {what} reach {largest:.3g}, which {dtype} cannot hold: {remedy} may, or scale them",
                field="data",
            )

    @abstractmethod
    def _loss_and_targets(self, dataset: Dataset) -> tuple[Loss, Array]:
        """Return the loss, and the targets ``[N]`` in its form; ConfigError if they do not suit it."""

    @abstractmethod
    def _layers(self, features: int, bias: bool) -> Layers: ...

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.layers.shapes

    @property
    def inputs_first(self) -> frozenset[str]:
        """The weights, all of which are `[in, out]`."""
        return frozenset(self.layers.weights)

    @property
    def fingerprint(self) -> str:
        return self._dataset.fingerprint

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

    def evaluate(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return ``loss`` (with penalty), and for each part the mean loss (without penalty) and the accuracy."""
        metrics: dict[str, Array] = {}
        for part, x in self.inputs.items():
            y = self.parts[part][1]
            passes = self._bind(params, {}, 1, len(x))
            passes.gather()
            targets = self.loss.prepared(y[None])
            accuracies = []
            for tile in passes.chunks[0].tiles:
                outputs = tile.run.forward(tile.matrices, x)
                if isinstance(self.loss, ClassLoss):
                    accuracies.append(self.loss.accuracy(outputs[:, 0], y))
                self.loss(outputs, targets, tile.loss)
            if accuracies:
                metrics[f"{part}_accuracy"] = self.arrays.xp.concatenate(accuracies)
            metrics[f"{part}_loss"] = passes.loss
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
