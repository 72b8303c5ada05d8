"""Dense layers trained on a data set: options, samples, batches and full-data metrics."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Lt

from optrun.arrays import Array, Arrays, stream
from optrun.errors import ConfigError
from optrun.problems.data import Dataset, DataSource, load, split, standardized
from optrun.problems.layers import Layers
from optrun.problems.losses import ClassLoss, Loss
from optrun.problems.problem import Batches, Problem
from optrun.registry import NonNegative, PositiveInt

CHUNK = 1 << 20
"""Elements of an evaluation's widest array: lanes are evaluated a few at a time, so that memory stays small."""


class Supervised(Problem, ABC):
    """Dense layers whose mean loss on the training samples is minimized, with a penalty on the weights.

        f(θ) = 1/n Σᵢ loss(outputs(xᵢ; θ), yᵢ) + l2/2 ‖weights‖²

    Which samples are for testing depends on ``split_seed`` alone, so all runs are measured on the same ones.

    Raises ConfigError where the data cannot be read or do not suit the loss, and where a batch is larger than
    the training part.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        data: DataSource,
        target: Annotated[str | int | None, "target column of a CSV file, by default the last"] = None,
        batch_size: Annotated[PositiveInt | None, "samples per step; null for all of them"] = None,
        l2: Annotated[NonNegative, "strength of the penalty on the weights; biases have none"] = 0.0,
        bias: Annotated[bool, "whether layers have biases"] = True,
        standardize: Annotated[
            bool, "scale features, and a real target, to mean 0 and variance 1 in training"
        ] = True,
        test_fraction: Annotated[float, Ge(0), Lt(1), "part of the samples held out for testing"] = 0.2,
        split_seed: Annotated[int, Ge(0), "chooses the samples held out"] = 0,
    ) -> None:
        super().__init__(arrays)
        dataset = load(data, target)
        self.loss, targets = self._loss_and_targets(dataset)
        classes = isinstance(self.loss, ClassLoss)
        train, test = split(targets if classes else None, len(targets), test_fraction, split_seed)
        if batch_size is not None and batch_size > len(train):
            raise ConfigError(
                f"batch_size: {batch_size:,} is more than the {len(train):,} training samples",
                field="batch_size",
            )
        features = dataset.features
        if standardize:
            features = standardized(features, features[train])
            targets = targets if classes else standardized(targets, targets[train])
        self.l2 = l2
        self.batch_size = batch_size
        self.steps_per_epoch = -(-len(train) // (batch_size or len(train)))
        self.parts = {
            part: (arrays.array(features[rows]), arrays.array(targets[rows]))
            for part, rows in (("train", train), ("test", test))
            if len(rows)
        }
        self.layers = self._layers(features.shape[1], bias)

    @abstractmethod
    def _loss_and_targets(self, dataset: Dataset) -> tuple[Loss, Array]:
        """Return the loss and the targets ``[N]`` as it wants them, or raise ConfigError."""

    @abstractmethod
    def _layers(self, features: int, bias: bool) -> Layers: ...

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.layers.shapes

    @property
    def fingerprint(self) -> str:
        digest = sha256()
        for part in self.parts.values():
            for values in part:
                digest.update(np.ascontiguousarray(self.arrays.to_host(values)).tobytes())
        return digest.hexdigest()

    def batches(self, seeds: Sequence[int]) -> Batches:
        if self.batch_size is None:
            return Batches()
        return SampleBatches(self.arrays, seeds, len(self.parts["train"][0]), self.batch_size)

    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        x, y = self._samples(batch)
        delta = self.layers.forward(params, x)
        loss = self.loss(delta, y)
        self.layers.backward(params, grads, delta)
        if self.l2:
            loss += self.layers.penalty(params, self.l2)
            self.layers.add_penalty_grad(params, grads, self.l2)
        return loss

    def evaluate(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return ``loss`` (with penalty), and of each part the mean loss (without) and the accuracy."""
        lanes = len(next(iter(params.values())))
        largest = max(len(x) for x, _ in self.parts.values()) * max(self.layers.widths)
        step = max(1, CHUNK // largest)
        chunks = [
            self._evaluate({name: values[start : start + step] for name, values in params.items()})
            for start in range(0, lanes, step)
        ]
        return {metric: np.concatenate([chunk[metric] for chunk in chunks]) for metric in chunks[0]}

    def _evaluate(self, params: Mapping[str, Array]) -> dict[str, Array]:
        metrics: dict[str, Array] = {}
        for part, (x, y) in self.parts.items():
            outputs = self.layers.forward(params, x)
            if isinstance(self.loss, ClassLoss):
                metrics[f"{part}_accuracy"] = self.loss.accuracy(outputs, y)
            metrics[f"{part}_loss"] = self.loss(outputs, y).copy()
        full = metrics["train_loss"]
        metrics = {"loss": full + self.layers.penalty(params, self.l2) if self.l2 else full, **metrics}
        return {name: self.arrays.to_host(values) for name, values in metrics.items()}

    def _samples(self, batch: Array | None) -> tuple[Array, Array]:
        x, y = self.parts["train"]
        if batch is None:
            return x, y
        some_x = self.scratch("x", *batch.shape, x.shape[1])
        some_y = self.scratch("y", *batch.shape)
        return self.arrays.take(x, batch, some_x), self.arrays.take(y, batch, some_y)


class SampleBatches(Batches):
    """Indices of step t's samples: ``[n]`` where all lanes have one seed, else ``[B, n]``.

    Each epoch goes once through a permutation of its own; its last batch holds what is left.
    """

    def __init__(self, arrays: Arrays, seeds: Sequence[int], samples: int, batch_size: int) -> None:
        self.arrays = arrays
        self.seeds = list(seeds) if len(set(seeds)) > 1 else None
        self.seed = seeds[0]
        self.samples = samples
        self.starts = range(0, samples, batch_size)
        self._epoch = -1
        self._batches: list[Array] = []

    def __getitem__(self, t: int) -> Array:
        epoch, position = divmod(t, len(self.starts))
        if epoch != self._epoch:
            self._batches = self._shuffle(epoch)
            self._epoch = epoch
        return self._batches[position]

    def _shuffle(self, epoch: int) -> list[Array]:
        orders = {seed: self._order(seed, epoch) for seed in set(self.seeds or [self.seed])}
        order = orders[self.seed] if self.seeds is None else np.stack([orders[s] for s in self.seeds])
        batches = np.split(order, list(self.starts[1:]), axis=-1)
        # One transfer for the epoch: its batches lie one after the other, each contiguous.
        flat = self.arrays.xp.asarray(np.concatenate([batch.ravel() for batch in batches]))
        ends = np.cumsum([0, *(batch.size for batch in batches)]).tolist()
        return [
            flat[start:end].reshape(batch.shape)
            for start, end, batch in zip(ends, ends[1:], batches, strict=False)
        ]

    def _order(self, seed: int, epoch: int) -> Array:
        return stream(seed, "batch order", epoch).permutation(self.samples)
