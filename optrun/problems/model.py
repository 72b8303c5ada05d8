"""A model: dense layers and the loss that they are trained by, whatever the samples."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from optrun.arrays import Array, Arrays
from optrun.kernels.stepper import LoopEngine
from optrun.problems.data import Target
from optrun.problems.layers import Layers, Pass
from optrun.problems.losses import ClassLoss, Loss
from optrun.problems.metrics.prediction import ClassPredictions, Predictions, measured
from optrun.problems.passes import Passes

TILE_BYTES = 1 << 18
"""Approximate size of a pass's widest array, so that the arrays of a few lanes fit into the L2 cache."""

DEVICE_TILE_BYTES = 1 << 28
"""The same on a device, where larger tiles are faster."""


class DenseModel:
    """Dense layers and their loss: outputs, predictions and figures of any samples, for all lanes.

    Shapes: B lanes, n samples, o outputs; inputs ``[n, d]``, with a column of ones if there are biases.
    """

    def __init__(self, arrays: Arrays, layers: Layers, loss: Loss, target: Target) -> None:
        self.arrays = arrays
        self.layers = layers
        self.loss = loss
        self.target = target
        self.loops: LoopEngine | None = None
        self._passes: dict[tuple[int, ...], Pass] = {}

    def use(self, loops: LoopEngine | None) -> None:
        """Let an engine run what it can as compiled loops, with the same bits."""
        self.loops = loops
        self._passes.clear()

    def bind(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], seeds: int, samples: int
    ) -> Passes:
        """Return the passes of parameters ``[B, *shape]`` over batches of so many samples, one for each seed."""
        # Lanes with the same samples share their inputs.
        widest = samples * max(self.layers.widths[seeds == 1 :])
        lane = widest * np.dtype(self.arrays.dtype).itemsize
        tile = TILE_BYTES if self.arrays.xp is np else DEVICE_TILE_BYTES
        at_once = 1 if self.layers.parts(samples) else max(1, round(tile / lane))
        return Passes(
            self.layers, params, grads, self._pass, seeds=seeds, samples=samples, lanes_at_once=at_once
        )

    def _pass(self, lanes: tuple[int, int], samples: int) -> Pass:
        """Return the pass for this shape, whose arrays are reused tile by tile."""
        key = (*lanes, samples)
        if key not in self._passes:
            self._passes[key] = Pass(self.layers, lanes, samples, self.loops)
        return self._passes[key]

    def outputs(self, params: Mapping[str, Array], inputs: Array) -> Iterator[tuple[Array, Array]]:
        """Yield the outputs ``[b, 1, o, n]`` of some lanes after the other, and the array ``[b, 1]`` of their loss.

        The next outputs overwrite them.
        """
        passes = self.bind(params, {}, 1, len(inputs))
        passes.gather()
        for tile in passes.chunks[0].tiles:
            yield tile.run.forward(tile.matrices, inputs), tile.loss

    def figures(
        self,
        params: Mapping[str, Array],
        inputs: Array,
        targets: Array,
        own: Array,
        measure: Sequence[str] = (),
    ) -> dict[str, Array]:
        """Return ``accuracy`` of classes, ``loss`` (without penalty) and the metrics called ``measure``, on the host.

        ``targets [n]`` are in the form of the loss, ``own [n]`` as `Predictions` have them.
        """
        prepared = self.loss.prepared(targets[None])
        found = []
        for outputs, loss in self.outputs(params, inputs):
            measures = measured(measure, self.predictions(own, outputs[:, 0])) if measure else {}
            found.append(self.figures_of(outputs, loss, targets, prepared, measures))
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}

    def figures_of(
        self, outputs: Array, loss: Array, targets: Array, prepared: Array, measures: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Return the figures of some lanes, whose outputs are overwritten, and their measures of predictions."""
        figures = {}
        if isinstance(self.loss, ClassLoss):
            figures["accuracy"] = self.arrays.to_host(self.loss.accuracy(outputs[:, 0], targets))
        self.loss(outputs, prepared, loss)
        figures["loss"] = self.arrays.to_host(loss[:, 0])
        return figures | {name: values for name, values in measures.items() if name not in figures}

    def predictions(self, targets: Array, outputs: Array) -> Predictions:
        """Return what outputs ``[B, o, n]`` predict for samples with these targets ``[n]``."""
        return predictions_of(self.loss, self.target, targets, self.arrays.to_host(outputs))


def predictions_of(loss: Loss, target: Target, targets: Array, outputs: Array) -> Predictions:
    """Return what outputs ``[B, o, n]`` on the host predict for samples with these targets ``[n]``."""
    outputs = outputs.astype(np.float64)
    finite = np.asarray(np.isfinite(outputs).all(axis=(-2, -1)))
    with np.errstate(all="ignore"):
        if not isinstance(loss, ClassLoss):
            return Predictions(targets, target.decoded(loss.predicted(outputs)), finite)
        shares = loss.probabilities(outputs)
        predicted = loss.predicted(outputs).astype(np.int64)
    return ClassPredictions(targets, predicted, finite, scores=shares, probabilities=shares)


def inputs_of(arrays: Arrays, features: Array, *, bias: bool, batch_size: int | None) -> Array:
    """Return the inputs ``[n, d]`` of features ``[n, *shape]``, with a column of ones if there are biases."""
    flat = features.reshape(len(features), -1)
    if bias:
        flat = arrays.xp.concatenate([flat, arrays.filled((len(flat), 1), 1)], axis=1)
    # In full-batch steps, products are faster if the samples of a feature are contiguous.
    ordered: Array = arrays.xp.asarray(flat, order="F" if batch_size is None else "C")
    return ordered
